#include "edge/receive/links.h"

#include "engine/base/log.h"
#include "engine/base/thread.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INTAKES_MAX 128
#define LATENCY_MS  50

struct link {
    char address[128], link_id[64];
    uint8_t key[LINK_KEY_BYTES];
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
    for (int i = 0; i < l->intake_count && !in; i++) {
        const struct plan *p = intake_plan(l->intakes[i]);
        if (p->channel == header->channel && p->epoch == header->plan_epoch)
            in = l->intakes[i];
    }
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

int links_acquire(struct links *l, const struct plan_group *group, struct link **ret,
                  struct diagnostic *reterr)
{
    for (struct link *link = l->first; link; link = link->next) {
        if (!strcmp(link->address, group->address) && !strcmp(link->link_id, group->link_id) &&
            !memcmp(link->key, group->key, LINK_KEY_BYTES)) {
            link->users++;
            *ret = link;
            return 0;
        }
    }
    struct link *link = base_alloc(sizeof *link);
    memcpy(link->address, group->address, sizeof link->address);
    memcpy(link->link_id, group->link_id, sizeof link->link_id);
    memcpy(link->key, group->key, LINK_KEY_BYTES);
    struct frame_client_config config = {
        .address = link->address,
        .consumer = l->node,
        .link_id = link->link_id,
        .latency_ms = LATENCY_MS,
        .on_frame = on_frame,
        .on_state = on_state,
        .opaque = l,
    };
    memcpy(config.key, group->key, LINK_KEY_BYTES);
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
