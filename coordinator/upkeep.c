// What has time: a thread that notes nodes in the store, and tells the farm again what it could not
// be told when it was changed, because the store did not answer. Blocks in the store, and nobody on
// it.
#include "coordinator/coordinator_private.h"
#include "engine/base/clock.h"
#include "engine/base/thread.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UPKEEP_NS INT64_C(1000000000)
#define SEEN_NS   INT64_C(60000000000) // how often a node that stays as it is is noted again

struct noted {
    struct store_node node;
    int64_t at_ns;
};

struct upkeep {
    struct coordinator *coordinator;
    struct queue *closing; // closed: the thread ends
    pthread_t thread;
    // -- owned by the thread
    struct noted noted[FARM_NODES_MAX];
    int noted_count;
    bool listed; // the table has been read since it was written
};

static void describe(const struct farm_node_view *view, struct store_node *ret)
{
    bool edge = view->role == VISTTER__CONTROL__V1__NODE_ROLE__NODE_ROLE_EDGE;
    memset(ret, 0, sizeof *ret); // compared as bytes
    snprintf(ret->name, sizeof ret->name, "%s", view->name);
    snprintf(ret->role, sizeof ret->role, "%s", edge ? "edge" : "worker");
    snprintf(ret->version, sizeof ret->version, "%s", view->version);
    snprintf(ret->frame_address, sizeof ret->frame_address, "%s", view->frame_address);
    snprintf(ret->preview_url, sizeof ret->preview_url, "%s", view->preview_url);
}

static struct noted *find(struct upkeep *u, const char *name)
{
    for (int i = 0; i < u->noted_count; i++)
        if (!strcmp(u->noted[i].node.name, name))
            return &u->noted[i];
    return NULL;
}

static bool note_node(struct upkeep *u, const struct farm_node_view *view)
{
    struct store_node node;
    struct noted *noted = find(u, view->name);
    int64_t now_ns = clock_monotonic_ns();
    describe(view, &node);
    if (!view->alive ||
        (noted && !memcmp(&noted->node, &node, sizeof node) && now_ns - noted->at_ns < SEEN_NS))
        return true;
    if (store_node_put(u->coordinator->store, &node, NULL))
        return false;
    if (!noted && u->noted_count < FARM_NODES_MAX)
        noted = &u->noted[u->noted_count++];
    if (noted)
        *noted = (struct noted){node, now_ns};
    u->listed = false;
    return true;
}

void nodes_note(struct coordinator *c, struct store_node *nodes, size_t count)
{
    pthread_mutex_lock(&c->lock);
    free(c->known.nodes);
    c->known.nodes = nodes;
    c->known.node_count = count;
    pthread_mutex_unlock(&c->lock);
}

void coordinators_note(struct coordinator *c, struct store_coordinator *list, size_t count)
{
    pthread_mutex_lock(&c->lock);
    free(c->known.coordinators);
    c->known.coordinators = list;
    c->known.coordinator_count = count;
    pthread_mutex_unlock(&c->lock);
}

static void list_coordinators(struct coordinator *c)
{
    struct store_coordinator *list;
    size_t count;
    if (!store_coordinator_list(c->store, &list, &count, NULL))
        coordinators_note(c, list, count);
}

static void list_nodes(struct upkeep *u)
{
    struct coordinator *c = u->coordinator;
    struct store_node *nodes;
    size_t count;
    if (u->listed || store_node_list(c->store, &nodes, &count, NULL))
        return;
    nodes_note(c, nodes, count);
    u->listed = true;
}

static void *upkeep_main(void *opaque)
{
    struct upkeep *u = opaque;
    struct coordinator *c = u->coordinator;
    void *nothing;
    do {
        if (atomic_exchange(&c->unapplied, false) && !channels_apply(c))
            atomic_store(&c->unapplied, true);
        struct farm_snapshot *snapshot = coordinator_snapshot(c);
        bool ok = true;
        for (int i = 0; i < snapshot->node_count && ok; i++)
            ok = note_node(u, &snapshot->nodes[i]);
        farm_snapshot_destroy(&snapshot);
        list_nodes(u);
        list_coordinators(c);
    } while (queue_pop(u->closing, &nothing, UPKEEP_NS) == -EAGAIN);
    return NULL;
}

int upkeep_create(struct coordinator *c, struct upkeep **ret)
{
    struct upkeep *u = base_alloc(sizeof *u);
    u->coordinator = c;
    u->closing = queue_create(1, NULL);
    int error = thread_start(&u->thread, "upkeep", upkeep_main, u);
    if (error) {
        queue_destroy(&u->closing);
        free(u);
        return error;
    }
    *ret = u;
    return 0;
}

void upkeep_destroy(struct upkeep **upkeep)
{
    struct upkeep *u = *upkeep;
    if (!u)
        return;
    *upkeep = NULL;
    queue_close(u->closing);
    thread_join(u->thread);
    queue_destroy(&u->closing);
    free(u);
}
