#include "coordinator/planner/candidate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

// Workers that may be used, best first, and what else they do.
struct pool {
    const struct candidate_task *task;
    int count;
    int *workers; // indices into the task's workers
    int *rank;    // previous group that the worker of this index provided, or GROUPS_MAX: none
};

static int64_t load_us(const struct pool *p, int worker, int64_t extra_us)
{
    uint32_t cores = p->task->workers[worker].cores;
    return (p->task->workers[worker].busy_us + extra_us) / (cores ? cores : 1);
}

static bool shares(const struct candidate_task *task, int worker)
{
    uint64_t host = task->workers[worker].host;
    for (int i = 0; i < task->edge_count; i++)
        if (!host || task->edge_hosts[i] != host)
            return false;
    return true;
}

int64_t candidate_group_us(const struct candidate_task *task, uint32_t from, uint32_t to,
                           int worker)
{
    bool beneath = from > 0 && task->below_adjust[to] > task->below_adjust[from];
    return task->below_us[to] - task->below_us[from] +
           planner_group_link_us(task->width, task->height, from == 0, beneath,
                                 shares(task, worker));
}

// ---- The pool ---------------------------------------------------------------------------------

static int previous_rank(const struct candidate_task *task, const char *name)
{
    for (int i = 0; i < task->previous_count; i++) {
        if (!strcmp(task->previous[i].provider, name))
            return i;
    }
    return PLANNER_GROUPS_MAX;
}

// Steps of a tenth of a frame: a small difference in load is no reason to leave a known worker.
static int64_t busy_step(const struct pool *p, int worker)
{
    int64_t step = p->task->frame_us / 10;
    return load_us(p, worker, 0) / (step > 0 ? step : 1);
}

// Total: names differ.
static int worker_order(const void *left, const void *right, void *opaque)
{
    const struct pool *p = opaque;
    int a = *(const int *)left, b = *(const int *)right;
    const struct planner_node *x = &p->task->workers[a], *y = &p->task->workers[b];
    if (busy_step(p, a) != busy_step(p, b))
        return busy_step(p, a) < busy_step(p, b) ? -1 : 1;
    if (p->rank[a] != p->rank[b])
        return p->rank[a] < p->rank[b] ? -1 : 1;
    if (x->cores != y->cores)
        return x->cores > y->cores ? -1 : 1;
    return strcmp(x->name, y->name);
}

static void pool_finish(struct pool *p)
{
    free(p->workers);
    free(p->rank);
}

static int pool_init(struct pool *p, const struct candidate_task *task)
{
    size_t n = (size_t)task->worker_count;
    *p = (struct pool){
        .task = task, .workers = calloc(n, sizeof *p->workers), .rank = calloc(n, sizeof *p->rank)};
    if (!p->workers || !p->rank) {
        pool_finish(p);
        return -ENOMEM;
    }
    for (int i = 0; i < task->worker_count; i++)
        p->rank[i] = previous_rank(task, task->workers[i].name);
    for (int i = 0; i < task->worker_count; i++)
        p->workers[p->count++] = i;
    qsort_r(p->workers, n, sizeof *p->workers, worker_order, p);
    return 0;
}

// ---- Scoring ----------------------------------------------------------------------------------

static int64_t worker_us(const struct pool *p, const struct candidate *c, int worker)
{
    int64_t us = 0;
    for (int i = 0; i < c->count; i++) {
        if (c->groups[i].worker == worker)
            us += candidate_group_us(p->task, c->groups[i].from, c->groups[i].to, worker);
    }
    return us;
}

static void candidate_score(const struct pool *p, struct candidate *c)
{
    c->busiest_us = 0;
    for (int i = 0; i < c->count; i++) {
        int worker = c->groups[i].worker;
        int64_t us = load_us(p, worker, worker_us(p, c, worker));
        if (us > c->busiest_us)
            c->busiest_us = us;
    }
}

// Whether a group has to start at this track: at forced cuts and at seams.
static bool is_cut(const struct candidate_task *task, uint32_t track)
{
    for (int i = 0; i < task->cut_count; i++)
        if (task->cuts[i] == track)
            return true;
    for (int i = 0; i < task->seam_count; i++)
        if (task->seams[i] == track)
            return true;
    return false;
}

// ---- The previous placement, as it is or mended -----------------------------------------------

static bool starts_group(const struct candidate_task *task, uint32_t track)
{
    for (int i = 0; i < task->previous_count; i++) {
        if (task->previous[i].track_from == track)
            return true;
    }
    return false;
}

static bool cuts_hold(const struct candidate_task *task)
{
    uint32_t next = 0;
    for (int i = 0; i < task->previous_count; i++) {
        const struct plan_group *g = &task->previous[i];
        if (g->track_from != next || g->track_to < next || (i && g->track_from == g->track_to))
            return false;
        next = g->track_to;
    }
    int needed = 1;
    for (int i = 0; i < task->seam_count; i++)
        if (!starts_group(task, task->seams[i]))
            return false;
    for (int i = 0; i < task->cut_count; i++)
        if (!starts_group(task, task->cuts[i]))
            return false;
    // Forced cuts are all the cuts there are, seams aside.
    for (uint32_t t = 1; t < (uint32_t)task->track_count && task->cut_count >= 0; t++)
        needed += is_cut(task, t);
    return next == (uint32_t)task->track_count && task->previous_count > 0 &&
           (task->cut_count < 0 || task->previous_count == needed);
}

// The worker on which a group costs least, one that has no group yet before others.
static int worker_freest(const struct pool *p, const struct candidate *c,
                         const struct candidate_group *g)
{
    int best = -1;
    int64_t best_us = 0;
    for (int i = 0; i < p->count; i++) {
        int worker = p->workers[i];
        int64_t us = candidate_group_us(p->task, g->from, g->to, worker);
        int64_t load = load_us(p, worker, worker_us(p, c, worker) + us);
        if (best < 0 || load < best_us) {
            best = worker;
            best_us = load;
        }
    }
    return best;
}

static bool candidate_previous(const struct pool *p, struct candidate *ret)
{
    const struct candidate_task *r = p->task;
    if (!cuts_hold(r))
        return false;
    ret->count = r->previous_count;
    for (int i = 0; i < ret->count; i++) {
        const struct plan_group *g = &r->previous[i];
        ret->groups[i] = (struct candidate_group){g->track_from, g->track_to, -1};
        for (int k = 0; k < r->worker_count; k++) {
            if (!strcmp(r->workers[k].name, g->provider))
                ret->groups[i].worker = k;
        }
        for (int s = 0; s < g->standby_count; s++) // it renders it already
            for (int k = 0; k < r->worker_count && ret->groups[i].worker < 0; k++)
                if (!strcmp(r->workers[k].name, g->standbys[s].node))
                    ret->groups[i].worker = k;
    }
    for (int i = 0; i < ret->count; i++) {
        if (ret->groups[i].worker < 0)
            ret->groups[i].worker = worker_freest(p, ret, &ret->groups[i]);
    }
    candidate_score(p, ret);
    return true;
}

// ---- Cutting anew -----------------------------------------------------------------------------

// Best cut into `count` groups for these workers in this order, by dynamic programming:
// best[g][t] = smallest busiest load with the first g groups covering tracks below t.
struct table {
    int64_t best[PLANNER_GROUPS_MAX + 1][PLANNER_TRACKS_MAX + 1];
    uint32_t from[PLANNER_GROUPS_MAX + 1][PLANNER_TRACKS_MAX + 1];
};

static bool candidate_cut(const struct pool *p, const int *workers, int count, struct table *table,
                          struct candidate *ret)
{
    uint32_t tracks = (uint32_t)p->task->track_count;
    for (uint32_t t = 0; t <= tracks; t++)
        table->best[0][t] = t == 0 ? 0 : INT64_MAX;
    for (int g = 1; g <= count; g++) {
        for (uint32_t t = 0; t <= tracks; t++) {
            table->best[g][t] = INT64_MAX;
            for (uint32_t from = 0; from < t || (from == 0 && t == 0 && tracks == 0); from++) {
                if (table->best[g - 1][from] == INT64_MAX)
                    continue;
                int worker = workers[g - 1];
                int64_t us = load_us(p, worker, candidate_group_us(p->task, from, t, worker));
                if (us < table->best[g - 1][from])
                    us = table->best[g - 1][from];
                if (us < table->best[g][t]) {
                    table->best[g][t] = us;
                    table->from[g][t] = from;
                }
            }
        }
    }
    if (table->best[count][tracks] == INT64_MAX)
        return false;
    ret->count = count;
    uint32_t to = tracks;
    for (int g = count; g > 0; g--) {
        ret->groups[g - 1] = (struct candidate_group){table->from[g][to], to, workers[g - 1]};
        to = table->from[g][to];
    }
    candidate_score(p, ret);
    return true;
}

// The best worker that shares memory with the edges, as a place in the pool; p->count: none does.
static int first_sharing(const struct pool *p)
{
    int i = 0;
    while (i < p->count && !shares(p->task, p->workers[i]))
        i++;
    return i;
}

// The first `count` workers of the pool, those with previous groups in the order of these; before
// them the one in place `first`, if that is not negative.
static void workers_order(const struct pool *p, int count, int first, int *ret)
{
    int placed = 0;
    if (first >= 0)
        ret[placed++] = p->workers[first];
    for (int i = 0; placed < count; i++) {
        if (i == first)
            continue;
        int at = placed++, worker = p->workers[i];
        for (; at > (first >= 0) && p->rank[worker] < p->rank[ret[at - 1]]; at--)
            ret[at] = ret[at - 1];
        ret[at] = worker;
    }
}

// With cuts of our own: the best of each number of groups, fewer where more hardly helps or where
// the busiest worker is idle for half of the time as it is (rule 4).
static int candidate_fresh(const struct pool *p, struct candidate *ret)
{
    struct table *table = malloc(sizeof *table);
    struct candidate *try = malloc(sizeof *try);
    int workers[PLANNER_GROUPS_MAX], max = p->task->track_count;
    if (max < 1)
        max = 1;
    if (max > p->count)
        max = p->count;
    int r = table && try ? 0 : -ENOMEM;
    ret->busiest_us = INT64_MAX;
    for (int count = 1; r == 0 && count <= max && ret->busiest_us > p->task->frame_us / 2;
         count++) {
        // The lowest group is opaque: also with the best worker of the edge's host for it.
        for (int first = -1; first < p->count; first = first < 0 ? first_sharing(p) : p->count) {
            workers_order(p, count, first, workers);
            if (!candidate_cut(p, workers, count, table, try))
                continue;
            // A twentieth better at least: each further group costs links and memory.
            if (try->busiest_us < ret->busiest_us - ret->busiest_us / 20)
                *ret = *try;
        }
    }
    free(table);
    free(try);
    return r;
}

// Cuts at the seams that fall inside groups; both halves stay where the whole was.
static void candidate_split(const struct pool *p, struct candidate *c)
{
    for (int s = 0; s < p->task->seam_count; s++) {
        uint32_t seam = p->task->seams[s];
        int i = 0;
        while (i < c->count && !(c->groups[i].from < seam && seam < c->groups[i].to))
            i++;
        if (i == c->count)
            continue;
        memmove(&c->groups[i + 1], &c->groups[i], (size_t)(c->count - i) * sizeof c->groups[0]);
        c->count++;
        c->groups[i].to = c->groups[i + 1].from = seam;
    }
    candidate_score(p, c);
}

// With forced cuts: the heaviest group first, each to the worker that is then least busy.
static void candidate_forced(const struct pool *p, struct candidate *ret)
{
    uint32_t tracks = (uint32_t)p->task->track_count;
    ret->count = 0;
    for (uint32_t from = 0, t = 1; t <= tracks || !ret->count; t++) {
        if (t < tracks && !is_cut(p->task, t))
            continue;
        ret->groups[ret->count++] = (struct candidate_group){from, t < tracks ? t : tracks, -1};
        from = t;
    }
    for (int placed = 0; placed < ret->count; placed++) {
        int heaviest = -1;
        int64_t heaviest_us = -1;
        for (int i = 0; i < ret->count; i++) {
            int64_t us =
                p->task->below_us[ret->groups[i].to] - p->task->below_us[ret->groups[i].from];
            if (ret->groups[i].worker < 0 && us > heaviest_us) {
                heaviest = i;
                heaviest_us = us;
            }
        }
        ret->groups[heaviest].worker = worker_freest(p, ret, &ret->groups[heaviest]);
    }
    candidate_score(p, ret);
}

// ---- The choice -------------------------------------------------------------------------------

int candidate_choose(const struct candidate_task *task, struct candidate *ret)
{
    struct pool pool;
    struct candidate *previous = malloc(sizeof *previous);
    int r = previous ? pool_init(&pool, task) : -ENOMEM;
    if (r < 0) {
        free(previous);
        return r;
    }
    if (task->cut_count >= 0)
        candidate_forced(&pool, ret);
    else
        r = candidate_fresh(&pool, ret);
    if (r == 0 && task->cut_count < 0)
        candidate_split(&pool, ret);
    // Rule 5: what is on air stays where it is as long as it fits.
    if (r == 0 && candidate_previous(&pool, previous) &&
        (previous->busiest_us <= task->frame_us / 4 ||
         previous->busiest_us <= ret->busiest_us + ret->busiest_us / 4))
        *ret = *previous;
    free(previous);
    pool_finish(&pool);
    return r;
}
