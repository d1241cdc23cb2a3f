#include "engine/receive/links.h"

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/thread.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INTAKES_MAX 128

struct link {
    struct links *links;
    struct link_target target;
    struct frame_client *client;
    _Atomic bool connected;
    int users;
    struct link *next;
};

struct links {
    // -- constant after create
    char node[64];
    int latency_ms;
    pthread_t thread;
    // -- guarded by list_lock
    pthread_mutex_t list_lock;
    pthread_cond_t changed;
    struct link *first;
    struct link *released; // closed; the thread destroys them
    bool closing;
    // -- guarded by lock
    pthread_mutex_t lock;
    struct intake *intakes[INTAKES_MAX];
    int intake_count;
    uint64_t stray; // messages that belonged to nobody
};

static void on_frame(void *opaque, const struct frame_header *header, struct frame_body *body)
{
    const struct link *link = opaque;
    struct links *l = link->links;
    pthread_mutex_lock(&l->lock);
    struct intake *in = NULL;
    for (int i = 0; i < l->intake_count && !in; i++)
        if (intake_takes(l->intakes[i], header->channel, header->plan_epoch, header->group))
            in = l->intakes[i];
    if (in) {
        (void)intake_put(in, link, header, body); // counted there
    } else {
        l->stray++;
        frame_body_unref(&body);
    }
    pthread_mutex_unlock(&l->lock);
}

static void on_state(void *opaque, bool connected)
{
    struct link *link = opaque;
    atomic_store(&link->connected, connected);
    log_info("frame_link", "link=%s provider=%s state=%s", link->target.link_id,
             link->target.address, connected ? "connected" : "lost");
}

// ---- Life -------------------------------------------------------------------------------------

// Ends what was released: a client may be looking up a name, and nobody else should wait for it.
static void *end_released(void *opaque)
{
    struct links *l = opaque;
    pthread_mutex_lock(&l->list_lock);
    for (;;) {
        while (!l->released && !l->closing)
            pthread_cond_wait(&l->changed, &l->list_lock);
        struct link *link = l->released;
        if (!link)
            break;
        l->released = link->next;
        pthread_mutex_unlock(&l->list_lock);
        frame_client_destroy(&link->client);
        explicit_bzero(link->target.key, sizeof link->target.key);
        free(link);
        pthread_mutex_lock(&l->list_lock);
    }
    pthread_mutex_unlock(&l->list_lock);
    return NULL;
}

struct links *links_create(const char *node, int latency_ms)
{
    struct links *l = base_alloc(sizeof *l);
    snprintf(l->node, sizeof l->node, "%s", node);
    l->latency_ms = latency_ms;
    pthread_mutex_init(&l->lock, NULL);
    pthread_mutex_init(&l->list_lock, NULL);
    pthread_cond_init(&l->changed, NULL);
    int error = thread_start(&l->thread, "links-end", end_released, l);
    assert(!error);
    return l;
}

void links_destroy(struct links **links)
{
    struct links *l = *links;
    if (!l)
        return;
    *links = NULL;
    pthread_mutex_lock(&l->list_lock);
    l->closing = true;
    pthread_cond_signal(&l->changed);
    pthread_mutex_unlock(&l->list_lock);
    thread_join(l->thread);
    assert(!l->first);
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->list_lock);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

int links_latency_ms(const struct links *links)
{
    return links->latency_ms;
}

// ---- Links ------------------------------------------------------------------------------------

// Called with the list's lock held.
static struct link *find_link(struct links *l, const struct link_target *target)
{
    for (struct link *link = l->first; link; link = link->next)
        if (!strcmp(link->target.address, target->address) &&
            !strcmp(link->target.link_id, target->link_id) &&
            !memcmp(link->target.key, target->key, LINK_KEY_BYTES))
            return link;
    return NULL;
}

// Called with the list's lock held.
static int make_link(struct links *l, const struct link_target *target, struct link **ret,
                     struct diagnostic *reterr)
{
    struct link *link = base_alloc(sizeof *link);
    link->links = l;
    link->target = *target;
    struct frame_client_config config = {
        .address = link->target.address,
        .consumer = l->node,
        .link_id = link->target.link_id,
        .latency_ms = l->latency_ms,
        .on_frame = on_frame,
        .on_state = on_state,
        .opaque = link,
    };
    memcpy(config.key, target->key, LINK_KEY_BYTES);
    int result = frame_client_create(&config, &link->client, reterr);
    explicit_bzero(config.key, sizeof config.key);
    if (result) {
        free(link);
        return result;
    }
    link->next = l->first;
    *ret = l->first = link;
    return 0;
}

int links_acquire(struct links *l, const struct link_target *target, struct link **ret,
                  struct diagnostic *reterr)
{
    pthread_mutex_lock(&l->list_lock);
    struct link *link = find_link(l, target);
    int result = link ? 0 : make_link(l, target, &link, reterr);
    if (!result) {
        link->users++;
        *ret = link;
    }
    pthread_mutex_unlock(&l->list_lock);
    return result;
}

void links_release(struct links *l, struct link **link)
{
    struct link *gone = *link;
    *link = NULL;
    if (!gone)
        return;
    pthread_mutex_lock(&l->list_lock);
    if (!--gone->users) {
        struct link **at = &l->first;
        while (*at != gone)
            at = &(*at)->next;
        *at = gone->next;
        frame_client_close(gone->client);
        gone->next = l->released;
        l->released = gone;
        pthread_cond_signal(&l->changed);
    }
    pthread_mutex_unlock(&l->list_lock);
}

void link_want(struct link *link, const struct frame_want *want)
{
    frame_client_want(link->client, want);
}

bool link_connected(const struct link *link)
{
    return atomic_load(&link->connected);
}

enum link_life link_life(const struct link *link)
{
    int64_t now = clock_monotonic_ns();
    int64_t quiet_ns = now - frame_client_heard_ns(link->client);
    int64_t hushed_ns = now - frame_client_received_ns(link->client);
    if (!link_connected(link) || quiet_ns >= FRAME_QUIET_MS * INT64_C(1000000))
        return LINK_LOST;
    return hushed_ns >= FRAME_HUSH_MS * INT64_C(1000000) ? LINK_HUSHED : LINK_LIVES;
}

const char *link_address(const struct link *link)
{
    return link->target.address;
}

static void log_link(const struct link *link)
{
    struct frame_link_stats s;
    frame_client_stats(link->client, &s);
    log_info("frame_link_stats",
             "link=%s provider=%s messages=%" PRIu64 " bytes=%" PRIu64 " incomplete=%" PRIu64
             " bad=%" PRIu64 " replayed=%" PRIu64 " resent=%" PRIu64 " dropped=%" PRIu64
             " loss_percent=%.2f rtt_ms=%.1f",
             link->target.link_id, link->target.address, s.messages, s.bytes, s.incomplete, s.bad,
             s.replayed, s.resent, s.dropped, s.loss_percent, s.rtt_ms);
}

void links_log(struct links *l)
{
    pthread_mutex_lock(&l->lock);
    uint64_t stray = l->stray;
    pthread_mutex_unlock(&l->lock);
    pthread_mutex_lock(&l->list_lock);
    for (const struct link *link = l->first; link; link = link->next)
        log_link(link);
    pthread_mutex_unlock(&l->list_lock);
    if (stray)
        log_info("frame_links_stray", "messages=%" PRIu64, stray);
}

// ---- Intakes ----------------------------------------------------------------------------------

int links_add_intake(struct links *l, struct intake *intake)
{
    pthread_mutex_lock(&l->lock);
    int result = l->intake_count == INTAKES_MAX ? -ENOSPC : 0;
    if (!result)
        l->intakes[l->intake_count++] = intake;
    pthread_mutex_unlock(&l->lock);
    return result;
}

void links_remove_intake(struct links *l, struct intake *intake)
{
    pthread_mutex_lock(&l->lock);
    for (int i = 0; i < l->intake_count; i++) {
        if (l->intakes[i] == intake) {
            l->intakes[i] = l->intakes[--l->intake_count];
            break;
        }
    }
    pthread_mutex_unlock(&l->lock);
}
