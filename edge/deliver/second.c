#include "edge/deliver/second.h"

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/thread.h"
#include "engine/link/frame_link.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW      256                 // units
#define ASK_NS      INT64_C(300000000)  // before a unit that is missing is asked for again
#define GIVE_UP_NS  INT64_C(2000000000) // before it is done without
#define ALIVE_NS    INT64_C(1500000000)
#define HEARD_NS    INT64_C(800000000)
#define UNIT_LIMITS INT64_C(4611686018427387904)

struct second {
    struct second_config config;
    struct frame_client *client;
    _Atomic bool ended;
    // -- guarded by lock
    pthread_mutex_t lock;
    bool left;                    // nobody is called back any more
    struct unit *pending[WINDOW]; // by number % WINDOW
    int64_t next;                 // to be given; -1: none has come
    int64_t stuck_ns, asked_ns;   // since when `next` is missing; 0: it is not
};

// ---- With the lock held -------------------------------------------------------------------------

static struct unit **slot(struct second *s, int64_t number)
{
    return &s->pending[number % WINDOW];
}

static void drop(struct unit **unit)
{
    if (*unit)
        unit_clear(*unit);
    free(*unit);
    *unit = NULL;
}

// The lowest that waits; -1: none does.
static int64_t lowest(struct second *s)
{
    for (int64_t n = s->next; n < s->next + WINDOW; n++)
        if (*slot(s, n))
            return n;
    return -1;
}

static void give(struct second *s)
{
    struct unit **unit;
    while (*(unit = slot(s, s->next))) {
        s->config.on_unit(s->config.opaque, *unit);
        drop(unit);
        s->next++;
        s->stuck_ns = 0;
    }
}

static void take(struct second *s, int64_t number, struct unit **unit)
{
    if (s->next < 0 || number >= s->next + WINDOW || number < s->next - WINDOW) {
        for (int i = 0; i < WINDOW; i++)
            drop(&s->pending[i]);
        s->next = number;
    }
    if (number < s->next || *slot(s, number))
        return;
    *slot(s, number) = *unit;
    *unit = NULL;
    give(s);
}

// ---- The link -----------------------------------------------------------------------------------

static void on_frame(void *opaque, const struct frame_header *header, struct frame_body *body)
{
    struct second *s = opaque;
    struct unit *unit = base_alloc(sizeof *unit);
    struct publish_id id;
    if (header->frame < 0) { // no unit: the relay's last word
        bool taken = !unit_end_unpack(body->bytes, body->size, &id);
        atomic_store(&s->ended, true);
        pthread_mutex_lock(&s->lock);
        if (!s->left)
            s->config.on_end(s->config.opaque, taken ? &id : NULL);
        pthread_mutex_unlock(&s->lock);
    } else if (header->channel == s->config.link.channel && header->group == s->config.link.group &&
               !unit_unpack(body->bytes, body->size, unit)) {
        atomic_store(&s->ended, false); // it may give again what it had taken
        pthread_mutex_lock(&s->lock);
        if (!s->left)
            take(s, header->frame, &unit);
        pthread_mutex_unlock(&s->lock);
    }
    drop(&unit);
    frame_body_unref(&body);
}

static void on_state(void *opaque, bool connected)
{
    const struct second *s = opaque;
    log_info("other_edge", "link=%s state=%s", s->config.link.link_id,
             connected ? "connected" : "lost");
}

int second_create(const struct second_config *config, struct second **ret)
{
    struct second *s = base_alloc(sizeof *s);
    s->config = *config;
    s->next = -1;
    pthread_mutex_init(&s->lock, NULL);
    struct frame_client_config link = {
        .address = s->config.link.address,
        .consumer = s->config.link.consumer,
        .link_id = s->config.link.link_id,
        .latency_ms = config->link.latency_ms,
        .on_frame = on_frame,
        .on_state = on_state,
        .opaque = s,
    };
    memcpy(link.key, config->link.key, sizeof link.key);
    int error = frame_client_create(&link, &s->client, NULL);
    explicit_bzero(link.key, sizeof link.key);
    if (error)
        second_destroy(&s);
    else
        *ret = s;
    return error;
}

void second_destroy(struct second **second)
{
    struct second *s = *second;
    if (!s)
        return;
    *second = NULL;
    frame_client_destroy(&s->client);
    for (int i = 0; i < WINDOW; i++)
        drop(&s->pending[i]);
    pthread_mutex_destroy(&s->lock);
    explicit_bzero(&s->config.link, sizeof s->config.link);
    free(s);
}

static void *end_left(void *opaque)
{
    struct second *s = opaque;
    second_destroy(&s);
    return NULL;
}

void second_leave(struct second **second)
{
    struct second *s = *second;
    pthread_t thread;
    if (!s)
        return;
    *second = NULL;
    pthread_mutex_lock(&s->lock);
    s->left = true;
    pthread_mutex_unlock(&s->lock);
    if (thread_start(&thread, "second-end", end_left, s))
        second_destroy(&s);
    else
        (void)pthread_detach(thread); // it ends with the process at the latest
}

const struct deliver_second *second_link(const struct second *s)
{
    return &s->config.link;
}

void second_tick(struct second *s, int64_t now_ns)
{
    struct frame_want want = {.channel = s->config.link.channel,
                              .group = s->config.link.group,
                              .start = 1,
                              .credit = UNIT_LIMITS};
    pthread_mutex_lock(&s->lock);
    int64_t low = s->next < 0 ? -1 : lowest(s);
    if (low < 0)
        s->stuck_ns = 0;
    else if (!s->stuck_ns)
        s->stuck_ns = s->asked_ns = now_ns;
    if (s->stuck_ns && now_ns - s->stuck_ns > GIVE_UP_NS) {
        s->next = low;
        give(s);
    } else if (s->stuck_ns && now_ns - s->asked_ns > ASK_NS) {
        s->asked_ns = now_ns;
        for (int64_t n = s->next; n < low && want.missing_count < FRAME_WANT_MISSING_MAX; n++)
            want.missing[want.missing_count++] = n;
    }
    want.from = s->next;
    pthread_mutex_unlock(&s->lock);
    frame_client_want(s->client, &want);
}

bool second_alive(struct second *s, int64_t now_ns)
{
    return !atomic_load(&s->ended) && now_ns - frame_client_heard_ns(s->client) < ALIVE_NS;
}

bool second_heard(struct second *s, int64_t now_ns)
{
    return now_ns - frame_client_heard_ns(s->client) < HEARD_NS;
}
