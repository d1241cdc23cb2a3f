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
        [PLANNER_KIND_EMPTY] = 0,       [PLANNER_KIND_AUDIO] = 0,    [PLANNER_KIND_STILL] = 500,
        [PLANNER_KIND_MOVING] = 2000,   [PLANNER_KIND_VIDEO] = 4000, [PLANNER_KIND_ADJUST] = 3000,
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

int64_t planner_link_us(uint32_t width, uint32_t height, bool opaque, bool shared)
{
    // Per million samples of picture, measured at 1080p: lossless coding, sealing and SRT of camera
    // material; one copy; sparse graphics.
    int64_t per_megapixel_us = !opaque ? 300 : shared ? 100 : 2500;
    return 50 + per_megapixel_us * width * height / 1000000;
}

int64_t planner_group_link_us(uint32_t width, uint32_t height, bool from_base, bool needs_beneath,
                              bool shared)
{
    return planner_link_us(width, height, from_base || needs_beneath, shared) +
           (needs_beneath ? planner_link_us(width, height, true, false) : 0);
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
    for (int i = 0; i < r->output_count; i++)
        if (!r->outputs[i].width || !r->outputs[i].height)
            return diagnostic_set(reterr, -EINVAL, "plan_outputs", "outputs",
                                  "output %d has no size", i + 1);
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

// ---- Workers and sizes ------------------------------------------------------------------------

static bool provided_before(const struct planner_request *r, const char *name)
{
    for (int i = 0; r->previous && i < r->previous->group_count; i++) {
        if (!strcmp(r->previous->groups[i].provider, name))
            return true;
    }
    return false;
}

// Equal golden hashes make equal bits (rule 3): the class with most previous providers, then most
// cores, then the smallest hash.
static const uint8_t *golden_choose(const struct planner_request *r)
{
    const uint8_t *best = NULL;
    int64_t best_score = -1;
    for (int i = 0; i < r->worker_count; i++) {
        const uint8_t *golden = r->workers[i].golden;
        int64_t score = 0;
        int first = 0;
        while (memcmp(r->workers[first].golden, golden, PLANNER_GOLDEN_BYTES))
            first++;
        if (first < i)
            continue; // of a class that has been looked at
        for (int k = 0; k < r->worker_count; k++) {
            const struct planner_node *w = &r->workers[k];
            if (!memcmp(w->golden, golden, PLANNER_GOLDEN_BYTES))
                score += (w->cores ? w->cores : 1) +
                         (provided_before(r, w->name) ? INT64_C(1) << 40 : 0);
        }
        if (score > best_score ||
            (score == best_score && memcmp(golden, best, PLANNER_GOLDEN_BYTES) < 0)) {
            best = golden;
            best_score = score;
        }
    }
    return best;
}

// The workers of the chosen class; what the channel adds to them is counted here.
static struct planner_node *workers_choose(const struct planner_request *r, int *ret_count)
{
    struct planner_node *workers = calloc((size_t)r->worker_count, sizeof *workers);
    const uint8_t *golden = golden_choose(r);
    *ret_count = 0;
    for (int i = 0; workers && i < r->worker_count; i++)
        if (!memcmp(r->workers[i].golden, golden, PLANNER_GOLDEN_BYTES))
            workers[(*ret_count)++] = r->workers[i];
    return workers;
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

static bool same_size(const struct planner_output *a, const struct planner_output *b)
{
    return a->width == b->width && a->height == b->height;
}

static bool size_seen(const struct planner_request *r, int output)
{
    for (int i = 0; i < output; i++)
        if (same_size(&r->outputs[i], &r->outputs[output]))
            return true;
    return false;
}

// One size's share of the request. `previous` has room for all groups.
static void task_fill(const struct planner_request *r, const struct plan_placement *placed,
                      const struct planner_output *size, struct plan_group *previous,
                      struct candidate_task *ret)
{
    int64_t pixels = (int64_t)size->width * size->height;
    int64_t reference = (int64_t)r->outputs[0].width * r->outputs[0].height;
    *ret = (struct candidate_task){.frame_us = r->frame_us,
                                   .width = size->width,
                                   .height = size->height,
                                   .track_count = r->track_count,
                                   .previous = previous,
                                   .cuts = r->cuts,
                                   .cut_count = r->cut_count};
    for (int i = 0; i < r->track_count; i++) {
        ret->below_us[i + 1] = ret->below_us[i] + r->tracks[i].cost_us * pixels / reference;
        ret->below_adjust[i + 1] = ret->below_adjust[i] + r->tracks[i].has_adjust;
    }
    for (int i = 0; r->previous && i < r->previous->group_count; i++) {
        const struct plan_group *g = &r->previous->groups[i];
        if (g->width == size->width && g->height == size->height)
            previous[ret->previous_count++] = *g;
    }
    for (int o = 0; o < r->output_count; o++) {
        if (!same_size(&r->outputs[o], size))
            continue;
        const struct planner_node *edge = node_by_name(r->edges, r->edge_count, placed->edges[o]);
        ret->edge_hosts[ret->edge_count++] = edge->host;
        edge = node_by_name(r->edges, r->edge_count, placed->backups[o]);
        if (edge)
            ret->edge_hosts[ret->edge_count++] = edge->host;
    }
    for (uint32_t t = 1; t < (uint32_t)r->track_count; t++) {
        bool seam = false;
        for (int i = 0; i < r->output_count; i++)
            seam = seam || (same_size(&r->outputs[i], size) && r->outputs[i].tracks == t);
        if (seam)
            ret->seams[ret->seam_count++] = t;
    }
}

bool plan_group_shown(const struct plan_group *group, const struct planner_output *output,
                      uint32_t track_count)
{
    uint32_t tracks = output->tracks && output->tracks < track_count ? output->tracks : track_count;
    return group->width == output->width && group->height == output->height &&
           group->track_to <= tracks;
}

// ---- From a candidate to a placement ----------------------------------------------------------

static bool has_adjust(const struct planner_request *r, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        if (r->tracks[i].has_adjust)
            return true;
    }
    return false;
}

static uint32_t edge_outputs(const struct plan_placement *placed, int placed_count,
                             const struct planner_node *edge)
{
    uint32_t outputs = edge->outputs;
    for (int k = 0; k < placed_count; k++)
        outputs += !strcmp(placed->edges[k], edge->name) || !strcmp(placed->backups[k], edge->name);
    return outputs;
}

// The edge of output `o`: the one it had, then its backup, then the one with the fewest outputs,
// those placed here counted, then by name.
static const struct planner_node *edge_choose(const struct planner_request *r,
                                              const struct plan_placement *placed, int o)
{
    const struct planner_node *best = NULL;
    if (r->previous && o < r->previous->output_count)
        best = node_by_name(r->edges, r->edge_count, r->previous->edges[o]);
    if (!best && r->previous && o < r->previous->output_count)
        best = node_by_name(r->edges, r->edge_count, r->previous->backups[o]);
    if (best)
        return best;
    for (int i = 0; i < r->edge_count; i++) {
        const struct planner_node *edge = &r->edges[i];
        uint32_t outputs = edge_outputs(placed, o, edge);
        uint32_t least = best ? edge_outputs(placed, o, best) : 0;
        if (!best || outputs < least || (outputs == least && strcmp(edge->name, best->name) < 0))
            best = edge;
    }
    return best;
}

// Whether the edge had the output, or was its backup.
static bool edge_had(const struct planner_request *r, int o, const struct planner_node *edge)
{
    return r->previous && o < r->previous->output_count &&
           (!strcmp(edge->name, r->previous->edges[o]) ||
            !strcmp(edge->name, r->previous->backups[o]));
}

// Rule 7. Whether `a` is the better backup.
static bool backup_before(const struct planner_request *r, const struct plan_placement *placed,
                          int o, const struct planner_node *edge, const struct planner_node *a,
                          const struct planner_node *b)
{
    bool near_a = a->host && a->host == edge->host, near_b = b->host && b->host == edge->host;
    bool had_a = edge_had(r, o, a), had_b = edge_had(r, o, b);
    uint32_t outputs_a = edge_outputs(placed, o, a), outputs_b = edge_outputs(placed, o, b);
    if (near_a != near_b)
        return near_b;
    if (had_a != had_b)
        return had_a;
    if (outputs_a != outputs_b)
        return outputs_a < outputs_b;
    return strcmp(a->name, b->name) < 0;
}

// NULL: there is no other edge, or none is asked for.
static const struct planner_node *backup_choose(const struct planner_request *r,
                                                const struct plan_placement *placed, int o,
                                                const struct planner_node *edge)
{
    const struct planner_node *best = NULL;
    for (int i = 0; r->backup_edges && i < r->edge_count; i++) {
        const struct planner_node *e = &r->edges[i];
        if (e != edge && (!best || backup_before(r, placed, o, edge, e, best)))
            best = e;
    }
    return best;
}

static void edges_place(const struct planner_request *r, struct plan_placement *ret)
{
    for (int o = 0; o < r->output_count; o++) {
        const struct planner_node *edge = edge_choose(r, ret, o);
        snprintf(ret->edges[o], sizeof ret->edges[o], "%s", edge->name);
        snprintf(ret->edge_addresses[o], sizeof ret->edge_addresses[o], "%s",
                 edge->frame_address ? edge->frame_address : "");
        const struct planner_node *backup = backup_choose(r, ret, o, edge);
        if (!backup)
            continue;
        snprintf(ret->backups[o], sizeof ret->backups[o], "%s", backup->name);
        snprintf(ret->backup_addresses[o], sizeof ret->backup_addresses[o], "%s",
                 backup->frame_address ? backup->frame_address : "");
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
        group->links = calloc(PLAN_LINKS_MAX, sizeof *group->links);
        if (!group->links)
            return -ENOMEM;
        for (int o = 0; o < ret->output_count; o++) {
            if (!plan_group_shown(group, &r->outputs[o], (uint32_t)r->track_count))
                continue;
            link_add(r, group, ret->edges[o]);
            if (*ret->backups[o])
                link_add(r, group, ret->backups[o]);
        }
        // Up to the next group of this size that needs beneath: that one is opaque, nobody above
        // looks further.
        for (int above = i + 1; above < ret->group_count && !ret->groups[above].from_base;
             above++) {
            if (ret->groups[above].needs_beneath) {
                link_add(r, group, ret->groups[above].provider);
                for (int k = 0; k < ret->groups[above].standby_count; k++)
                    link_add(r, group, ret->groups[above].standbys[k].node);
                break;
            }
        }
    }
    return 0;
}

// Adds the groups of one size.
static int groups_add(const struct planner_request *r, const struct planner_output *size,
                      const struct candidate_task *task, const struct candidate *c,
                      struct planner_node *workers, struct plan_placement *ret)
{
    if (ret->group_count + c->count > PLANNER_GROUPS_MAX)
        return -E2BIG;
    for (int i = 0; i < c->count; i++) {
        const struct candidate_group *g = &c->groups[i];
        struct planner_node *worker = &workers[g->worker];
        struct plan_group *group = &ret->groups[ret->group_count++];
        *group = (struct plan_group){.group = (uint32_t)ret->group_count,
                                     .track_from = g->from,
                                     .track_to = g->to,
                                     .width = size->width,
                                     .height = size->height,
                                     .from_base = i == 0,
                                     .needs_beneath = i > 0 && has_adjust(r, g->from, g->to)};
        for (uint32_t t = g->from; t < g->to; t++)
            group->start_us += r->tracks[t].start_us;
        snprintf(group->provider, sizeof group->provider, "%s", worker->name);
        snprintf(group->provider_address, sizeof group->provider_address, "%s",
                 worker->frame_address ? worker->frame_address : "");
        worker->busy_us += candidate_group_us(task, g->from, g->to, g->worker);
    }
    return 0;
}

static const struct plan_group *group_before(const struct planner_request *r,
                                             const struct plan_group *group)
{
    for (int i = 0; r->previous && i < r->previous->group_count; i++) {
        const struct plan_group *g = &r->previous->groups[i];
        if (g->width == group->width && g->height == group->height &&
            g->track_from == group->track_from && g->track_to == group->track_to)
            return g;
    }
    return NULL;
}

// What rule 6 compares.
struct standby_rank {
    int near;     // of the group's other workers, how many are on its host
    int before;   // which standby it was, PLANNER_STANDBYS_MAX: none
    int64_t load; // of one core
};

static struct standby_rank standby_rank(const struct planner_node *w,
                                        const struct planner_node *const taken[], int taken_count,
                                        const struct plan_group *before)
{
    struct standby_rank rank = {.before = PLANNER_STANDBYS_MAX,
                                .load = w->busy_us / (w->cores ? w->cores : 1)};
    for (int i = 0; i < taken_count; i++)
        rank.near += w->host && taken[i]->host == w->host;
    for (int i = 0; before && i < before->standby_count; i++)
        if (!strcmp(w->name, before->standbys[i].node))
            rank.before = i;
    return rank;
}

static bool standby_before(const struct planner_node *a, const struct standby_rank *rank_a,
                           const struct planner_node *b, const struct standby_rank *rank_b)
{
    if (rank_a->near != rank_b->near)
        return rank_a->near < rank_b->near;
    if (rank_a->before != rank_b->before)
        return rank_a->before < rank_b->before;
    if (rank_a->load != rank_b->load)
        return rank_a->load < rank_b->load;
    return strcmp(a->name, b->name) < 0;
}

// The next standby of a group, beside the workers that it has. NULL: nobody is left.
static struct planner_node *standby_choose(struct planner_node *workers, int count,
                                           const struct plan_group *group,
                                           const struct plan_group *before)
{
    const struct planner_node *taken[1 + PLANNER_STANDBYS_MAX];
    int taken_count = 0;
    taken[taken_count++] = node_by_name(workers, count, group->provider);
    for (int i = 0; i < group->standby_count; i++)
        taken[taken_count++] = node_by_name(workers, count, group->standbys[i].node);
    struct planner_node *best = NULL;
    struct standby_rank best_rank = {0};
    for (int k = 0; k < count; k++) {
        bool free_one = true;
        for (int i = 0; i < taken_count; i++)
            free_one = free_one && &workers[k] != taken[i];
        if (!free_one)
            continue;
        struct standby_rank rank = standby_rank(&workers[k], taken, taken_count, before);
        if (best && !standby_before(&workers[k], &rank, best, &best_rank))
            continue;
        best = &workers[k];
        best_rank = rank;
    }
    return best;
}

// `workers` are busy with what they provide; what they stand by for is added.
static void standbys_place(const struct planner_request *r, struct planner_node *workers, int count,
                           struct plan_placement *ret)
{
    if (r->no_standbys)
        return;
    for (int i = 0; i < PLANNER_STANDBYS_MAX * ret->group_count; i++) {
        struct plan_group *group = &ret->groups[i % ret->group_count];
        struct planner_node *best = standby_choose(workers, count, group, group_before(r, group));
        if (!best)
            return;
        struct plan_standby *standby = &group->standbys[group->standby_count++];
        snprintf(standby->node, sizeof standby->node, "%s", best->name);
        snprintf(standby->address, sizeof standby->address, "%s",
                 best->frame_address ? best->frame_address : "");
        for (uint32_t t = group->track_from; t < group->track_to; t++)
            best->busy_us += r->tracks[t].cost_us;
    }
}

static void busiest_find(const struct planner_node *workers, int count, struct plan_placement *ret)
{
    for (int i = 0; i < ret->group_count; i++) {
        const struct planner_node *w = node_by_name(workers, count, ret->groups[i].provider);
        int64_t us = w->busy_us / (w->cores ? w->cores : 1);
        if (us > ret->busiest_us)
            ret->busiest_us = us;
    }
}

static int groups_place(const struct planner_request *r, struct plan_placement *ret)
{
    int worker_count, error = 0;
    struct planner_node *workers = workers_choose(r, &worker_count);
    struct plan_group *previous = calloc(PLANNER_GROUPS_MAX, sizeof *previous);
    struct candidate *best = calloc(1, sizeof *best);
    ret->groups = calloc(PLANNER_GROUPS_MAX, sizeof *ret->groups);
    if (!workers || !previous || !best || !ret->groups)
        error = -ENOMEM;
    for (int o = 0; o < r->output_count && !error; o++) {
        struct candidate_task task;
        if (size_seen(r, o))
            continue;
        task_fill(r, ret, &r->outputs[o], previous, &task);
        task.workers = workers;
        task.worker_count = worker_count;
        error = candidate_choose(&task, best);
        if (!error)
            error = groups_add(r, &r->outputs[o], &task, best, workers, ret);
    }
    if (!error) {
        busiest_find(workers, worker_count, ret);
        standbys_place(r, workers, worker_count, ret);
    }
    free(workers);
    free(previous);
    free(best);
    return error;
}

int plan_place(const struct planner_request *request, struct plan_placement *ret,
               struct diagnostic *reterr)
{
    int r = request_check(request, reterr);
    if (r < 0)
        return r;
    struct plan_placement placement = {0};
    edges_place(request, &placement);
    r = groups_place(request, &placement);
    if (r == 0)
        r = links_place(request, &placement);
    if (r < 0) {
        placement_finish(&placement);
        return r == -E2BIG
                   ? diagnostic_set(reterr, r, "plan_groups", "outputs",
                                    "more than %d groups; ask for fewer cuts or outputs",
                                    PLANNER_GROUPS_MAX)
                   : diagnostic_set(reterr, r, "out_of_memory", "", "no memory to place a channel");
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
        if (x->track_from != y->track_from || x->track_to != y->track_to || x->width != y->width ||
            x->height != y->height || x->needs_beneath != y->needs_beneath ||
            strcmp(x->provider, y->provider) || strcmp(x->provider_address, y->provider_address) ||
            x->standby_count != y->standby_count)
            return false;
        for (int k = 0; k < x->standby_count; k++)
            if (strcmp(x->standbys[k].node, y->standbys[k].node) ||
                strcmp(x->standbys[k].address, y->standbys[k].address))
                return false;
    }
    for (int i = 0; i < a->output_count; i++) {
        if (strcmp(a->edges[i], b->edges[i]) || strcmp(a->backups[i], b->backups[i]) ||
            strcmp(a->edge_addresses[i], b->edge_addresses[i]) ||
            strcmp(a->backup_addresses[i], b->backup_addresses[i]))
            return false;
    }
    return true;
}
