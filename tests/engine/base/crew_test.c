// The crew: every part is done once, whoever asks and however many ask at a time.
#include "engine/base/crew.h"

#include <stdatomic.h>

#include "engine/base/thread.h"
#include "tests/check.h"

#define PARTS 64

struct work {
    _Atomic int done[PARTS];
};

static void do_part(void *opaque, int i)
{
    struct work *w = opaque;
    atomic_fetch_add(&w->done[i], 1);
}

static void share(int count)
{
    struct work w = {0};
    crew_share(count, do_part, &w);
    for (int i = 0; i < PARTS; i++)
        CHECK(w.done[i], ==, i < count ? 1 : 0);
}

static void *share_often(void *unused)
{
    for (int i = 0; i < 2000; i++)
        share(i % (PARTS + 1));
    return unused;
}

static void meet(void *barrier, int i)
{
    (void)i;
    pthread_barrier_wait(barrier);
}

// Two parts that wait for each other: another hand must have taken one of them.
static void test_helped(void)
{
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, 2);
    crew_start(2);
    crew_share(2, meet, &barrier);
    crew_end();
    CHECK(crew_helped_ns(), >, 0);
    pthread_barrier_destroy(&barrier);
}

int main(void)
{
    share(PARTS); // without a crew
    CHECK(crew_helped_ns(), ==, 0);
    test_helped();
    for (int hands = 0; hands < 5; hands++) {
        pthread_t callers[3];
        crew_start(hands);
        for (int i = 0; i < 3; i++)
            CHECK_OK(thread_start(&callers[i], "caller", share_often, NULL));
        for (int i = 0; i < 3; i++)
            thread_join(callers[i]);
        crew_end();
    }
    crew_start_all();
    share(PARTS);
    crew_end();
    return check_end();
}
