#include "coordinator/planner/planner.h"

#include "coordinator/planner/candidate.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int64_t planner_default_us(enum planner_kind kind, uint32_t width, uint32_t height)
{
    // Microseconds per million samples of picture, from the kernels' and decoders' benchmarks with
    // head-room; measured costs replace them as soon as a worker reports.
    static const int64_t per_megapixel_us[] = {
        [PLANNER_KIND_EMPTY] = 0,       [PLANNER_KIND_AUDIO] = 0,    [PLANNER_KIND_STILL] = 1200,
        [PLANNER_KIND_MOVING] = 3000,   [PLANNER_KIND_VIDEO] = 6000, [PLANNER_KIND_ADJUST] = 3000,
        [PLANNER_KIND_TIMELINE] = 8000,
    };
    static const int64_t fixed_us[] = {
        [PLANNER_KIND_EMPTY] = 1,      [PLANNER_KIND_AUDIO] = 150, [PLANNER_KIND_STILL] = 50,
        [PLANNER_KIND_MOVING] = 300,   [PLANNER_KIND_VIDEO] = 500, [PLANNER_KIND_ADJUST] = 50,
        [PLANNER_KIND_TIMELINE] = 500,
    };
    int64_t pixels = (int64_t)width * height;
    return fixed_us[kind] + per_megapixel_us[kind] * pixels / 1000000;
}

// ---- Checks -----------------------------------------------------------------------------------

static int request_check(const struct planner_request *r, struct diagnostic *reterr)
{
    if (r->track_count < 0 || r->track_count > PLANNER_TRACKS_MAX)
        return diagnostic_set(reterr, -EINVAL, "plan_tracks", "tracks",
                              "%d tracks; a timeline has at most %d", r->track_count,
                              PLANNER_TRACKS_MAX);
    if (r->output_count < 1 || r->output_count > PLANNER_OUTPUTS_MAX)
        return diagnostic_set(reterr, -EINVAL, "plan_outputs", "outputs",
                              "%d outputs; a channel has 1 to %d", r->output_count,
                              PLANNER_OUTPUTS_MAX);
    for (int i = 0; i < r->cut_count; i++) {
        if (r->cuts[i] == 0 || r->cuts[i] >= (uint32_t)r->track_count)
            return diagnostic_set(reterr, -EINVAL, "plan_cuts", "cuts",
                                  "a cut at track %" PRIu32
                                  " leaves an empty group; with %d tracks "
                                  "cuts lie between 1 and %d",
                                  r->cuts[i], r->track_count, r->track_count - 1);
        if (i && r->cuts[i] <= r->cuts[i - 1])
            return diagnostic_set(reterr, -EINVAL, "plan_cuts", "cuts", "cuts must rise");
    }
    if (r->worker_count < 1)
        return diagnostic_set(
            reterr, -EHOSTUNREACH, "no_worker", "",
            "no worker is up: start a vistter-worker, or see that it reaches this "
            "coordinator");
    if (r->edge_count < 1)
        return diagnostic_set(reterr, -EHOSTUNREACH, "no_edge", "",
                              "no edge is up: start a vistter-edge, or see that it reaches this "
                              "coordinator");
    return 0;
}

// ---- From a candidate to a placement ----------------------------------------------------------

static bool group_has_adjust(const struct planner_request *r, const struct candidate_group *g)
{
    for (uint32_t i = g->from; i < g->to; i++) {
        if (r->tracks[i].has_adjust)
            return true;
    }
    return false;
}

static const struct planner_node *node_by_name(const struct planner_node *nodes, int count,
                                               const char *name)
{
    for (int i = 0; i < count; i++) {
        if (!strcmp(nodes[i].name, name))
            return &nodes[i];
    }
    return NULL;
}

// The edge with the fewest outputs, those placed here counted; then by name.
static const struct planner_node *edge_freest(const struct planner_request *r,
                                              const struct plan_placement *placed, int placed_count)
{
    const struct planner_node *best = NULL;
    uint32_t best_outputs = 0;
    for (int i = 0; i < r->edge_count; i++) {
        const struct planner_node *edge = &r->edges[i];
        uint32_t outputs = edge->outputs;
        for (int k = 0; k < placed_count; k++)
            outputs += !strcmp(placed->edges[k], edge->name);
        if (!best || outputs < best_outputs ||
            (outputs == best_outputs && strcmp(edge->name, best->name) < 0)) {
            best = edge;
            best_outputs = outputs;
        }
    }
    return best;
}

static void edges_place(const struct planner_request *r, struct plan_placement *ret)
{
    for (int o = 0; o < r->output_count; o++) {
        const struct planner_node *edge = NULL;
        if (r->previous && o < r->previous->output_count)
            edge = node_by_name(r->edges, r->edge_count, r->previous->edges[o]);
        if (!edge)
            edge = edge_freest(r, ret, o);
        snprintf(ret->edges[o], sizeof ret->edges[o], "%s", edge->name);
    }
    ret->output_count = r->output_count;
}

static void link_add(const struct planner_request *r, struct plan_group *group,
                     const char *consumer)
{
    for (int i = 0; i < group->link_count; i++) {
        if (!strcmp(group->links[i].consumer, consumer))
            return;
    }
    struct plan_link *link = &group->links[group->link_count++];
    snprintf(link->consumer, sizeof link->consumer, "%s", consumer);
    snprintf(link->id, sizeof link->id, "c%" PRIu64 "-p%" PRIu32 "-g%" PRIu32 "-%d", r->channel,
             r->plan_epoch, group->group, group->link_count);
}

static int links_place(const struct planner_request *r, struct plan_placement *ret)
{
    for (int i = 0; i < ret->group_count; i++) {
        struct plan_group *group = &ret->groups[i];
        group->links = calloc((size_t)(r->output_count + ret->group_count), sizeof *group->links);
        if (!group->links)
            return -ENOMEM;
        for (int o = 0; o < ret->output_count; o++)
            link_add(r, group, ret->edges[o]);
        // Up to the next group that needs beneath: that one is opaque, nobody above looks further.
        for (int above = i + 1; above < ret->group_count; above++) {
            if (ret->groups[above].needs_beneath) {
                link_add(r, group, ret->groups[above].provider);
                break;
            }
        }
    }
    return 0;
}

static int placement_build(const struct planner_request *r, const struct candidate *c,
                           struct plan_placement *ret)
{
    *ret = (struct plan_placement){.group_count = c->count, .busiest_us = c->busiest_us};
    ret->groups = calloc((size_t)c->count, sizeof *ret->groups);
    if (!ret->groups)
        return -ENOMEM;
    for (int i = 0; i < c->count; i++) {
        const struct candidate_group *g = &c->groups[i];
        const struct planner_node *worker = &r->workers[g->worker];
        struct plan_group *group = &ret->groups[i];
        group->group = (uint32_t)i + 1;
        group->track_from = g->from;
        group->track_to = g->to;
        group->from_base = i == 0;
        group->needs_beneath = i > 0 && group_has_adjust(r, g);
        snprintf(group->provider, sizeof group->provider, "%s", worker->name);
        snprintf(group->provider_address, sizeof group->provider_address, "%s",
                 worker->frame_address ? worker->frame_address : "");
    }
    edges_place(r, ret);
    return links_place(r, ret);
}

int plan_place(const struct planner_request *request, struct plan_placement *ret,
               struct diagnostic *reterr)
{
    int r = request_check(request, reterr);
    if (r < 0)
        return r;
    struct candidate *best = calloc(1, sizeof *best);
    struct plan_placement placement = {0};
    r = best ? candidate_choose(request, best) : -ENOMEM;
    if (r == 0)
        r = placement_build(request, best, &placement);
    free(best);
    if (r < 0) {
        placement_finish(&placement);
        return diagnostic_set(reterr, r, "out_of_memory", "", "no memory to place a channel");
    }
    *ret = placement;
    return 0;
}

// ---- Placements -------------------------------------------------------------------------------

void placement_finish(struct plan_placement *placement)
{
    for (int i = 0; placement->groups && i < placement->group_count; i++)
        free(placement->groups[i].links);
    free(placement->groups);
    *placement = (struct plan_placement){0};
}

bool placement_equal(const struct plan_placement *a, const struct plan_placement *b)
{
    if (a->group_count != b->group_count || a->output_count != b->output_count)
        return false;
    for (int i = 0; i < a->group_count; i++) {
        const struct plan_group *x = &a->groups[i], *y = &b->groups[i];
        if (x->track_from != y->track_from || x->track_to != y->track_to ||
            x->needs_beneath != y->needs_beneath || strcmp(x->provider, y->provider) ||
            strcmp(x->provider_address, y->provider_address))
            return false;
    }
    for (int i = 0; i < a->output_count; i++) {
        if (strcmp(a->edges[i], b->edges[i]))
            return false;
    }
    return true;
}
