// Queues: order, bounds, closing from either side while the other waits.
#include "engine/base/thread.h"

#include "tests/check.h"

#include <errno.h>

static void *push_all(void *opaque)
{
    struct queue *q = opaque;
    for (intptr_t i = 1; i <= 10000; i++)
        if (queue_push(q, (void *)i, -1))
            return (void *)i;
    queue_close(q);
    return NULL;
}

static int released;
static void count_release(void *item)
{
    (void)item;
    released++;
}

int main(void)
{
    struct queue *q = queue_create(4, NULL);
    pthread_t thread;
    CHECK_OK(thread_start(&thread, "pusher", push_all, q));
    void *item;
    intptr_t expected = 1;
    while (!queue_pop(q, &item, -1))
        CHECK((intptr_t)item, ==, expected++);
    CHECK(expected, ==, 10001);
    thread_join(thread);
    queue_destroy(&q);

    q = queue_create(2, count_release);
    CHECK_OK(queue_push(q, q, 0));
    CHECK_OK(queue_push(q, q, 0));
    CHECK_ERROR(queue_push(q, q, 0), -EAGAIN);
    CHECK_ERROR(queue_push(q, q, 1000000), -EAGAIN);
    queue_close(q);
    CHECK_ERROR(queue_push(q, q, -1), -EPIPE);
    CHECK_OK(queue_pop(q, &item, 0));
    queue_destroy(&q);
    CHECK(released, ==, 1);

    q = queue_create(4, NULL);
    CHECK_OK(thread_start(&thread, "pusher", push_all, q));
    CHECK_OK(queue_pop(q, &item, -1));
    queue_close(q); // the receiver no longer wants anything: the waiting sender returns
    thread_join(thread);
    queue_destroy(&q);
    return check_end();
}
