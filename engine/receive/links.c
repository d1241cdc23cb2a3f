#include "engine/receive/links.h"

#include "engine/base/log.h"
#include "engine/base/thread.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INTAKES_MAX 128
#define LATENCY_MS  50

struct link {
    struct link_target target;
    struct frame_client *client;
    int users;
    struct link *next;
};

struct links {
    // -- constant after create
    char node[64];
    // -- the control thread
    struct link *first;
    // -- guarded by lock
    pthread_mutex_t lock;
    struct intake *intakes[INTAKES_MAX];
    int intake_count;
    uint64_t stray;
};

static void on_frame(void *opaque, const struct frame_header *header, uint8_t *payload, size_t size)
{
    struct links *l = opaque;
    pthread_mutex_lock(&l->lock);
    struct intake *in = NULL;
    for (int i = 0; i < l->intake_count && !in; i++)
        if (intake_takes(l->intakes[i], header->channel, header->plan_epoch, header->group))
            in = l->intakes[i];
    if (in) {
        (void)intake_put(in, header, payload, size); // counted there
    } else {
        l->stray++;
        free(payload);
    }
    pthread_mutex_unlock(&l->lock);
}

static void on_state(void *opaque, bool connected)
{
    (void)opaque;
    log_info("frame_link", "state=%s", connected ? "connected" : "lost");
}

struct links *links_create(const char *node)
{
    struct links *l = base_alloc(sizeof *l);
    snprintf(l->node, sizeof l->node, "%s", node);
    pthread_mutex_init(&l->lock, NULL);
    return l;
}

void links_destroy(struct links **links)
{
    struct links *l = *links;
    if (!l)
        return;
    *links = NULL;
    while (l->first) {
        struct link *link = l->first;
        l->first = link->next;
        frame_client_destroy(&link->client);
        free(link);
    }
    pthread_mutex_destroy(&l->lock);
    free(l);
}

int links_acquire(struct links *l, const struct link_target *target, struct link **ret,
                  struct diagnostic *reterr)
{
    for (struct link *link = l->first; link; link = link->next) {
        if (!strcmp(link->target.address, target->address) &&
            !strcmp(link->target.link_id, target->link_id) &&
            !memcmp(link->target.key, target->key, LINK_KEY_BYTES)) {
            link->users++;
            *ret = link;
            return 0;
        }
    }
    struct link *link = base_alloc(sizeof *link);
    link->target = *target;
    struct frame_client_config config = {
        .address = link->target.address,
        .consumer = l->node,
        .link_id = link->target.link_id,
        .latency_ms = LATENCY_MS,
        .on_frame = on_frame,
        .on_state = on_state,
        .opaque = l,
    };
    memcpy(config.key, target->key, LINK_KEY_BYTES);
    int result = frame_client_create(&config, &link->client, reterr);
    if (result) {
        free(link);
        return result;
    }
    link->users = 1;
    link->next = l->first;
    l->first = link;
    *ret = link;
    return 0;
}

void links_release(struct links *l, struct link **link)
{
    struct link *gone = *link;
    *link = NULL;
    if (!gone || --gone->users)
        return;
    for (struct link **at = &l->first; *at; at = &(*at)->next) {
        if (*at == gone) {
            *at = gone->next;
            break;
        }
    }
    frame_client_destroy(&gone->client);
    free(gone);
}

void link_want(struct link *link, const struct frame_want *want)
{
    frame_client_want(link->client, want);
}

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

uint64_t links_stray(struct links *l)
{
    pthread_mutex_lock(&l->lock);
    uint64_t stray = l->stray;
    pthread_mutex_unlock(&l->lock);
    return stray;
}
