#include "coordinator/planner/candidate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

// Workers that may be used, best first, and what else they do.
struct pool {
    const struct planner_request *request;
    int count;
    int *workers;     // indices into the request's workers
    int *rank;        // previous group that the worker of this index provided, or GROUPS_MAX: none
    int64_t *busy_us; // per worker index: for other channels
    int64_t prefix_us[PLANNER_TRACKS_MAX + 1]; // cost of the tracks below
};

static int64_t load_us(const struct pool *p, int worker, int64_t extra_us)
{
    uint32_t cores = p->request->workers[worker].cores;
    return (p->busy_us[worker] + extra_us) / (cores ? cores : 1);
}

// Milliseconds of group [from, to), its link included. What is taken in from beneath counts as one
// more link: the groups below arrive one by one, but mostly there is one.
static int64_t range_us(const struct pool *p, uint32_t from, uint32_t to)
{
    int64_t us = p->prefix_us[to] - p->prefix_us[from] + PLANNER_LINK_US;
    for (uint32_t i = from; from > 0 && i < to; i++) {
        if (p->request->tracks[i].has_adjust)
            return us + PLANNER_LINK_US;
    }
    return us;
}

// ---- The pool ---------------------------------------------------------------------------------

static int previous_rank(const struct planner_request *r, const char *name)
{
    for (int i = 0; r->previous && i < r->previous->group_count; i++) {
        if (!strcmp(r->previous->groups[i].provider, name))
            return i;
    }
    return PLANNER_GROUPS_MAX;
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
        for (int k = 0; k < r->worker_count; k++) {
            const struct planner_node *w = &r->workers[k];
            if (!memcmp(w->golden, golden, PLANNER_GOLDEN_BYTES))
                score += (w->cores ? w->cores : 1) +
                         (previous_rank(r, w->name) < PLANNER_GROUPS_MAX ? INT64_C(1) << 40 : 0);
        }
        if (score > best_score ||
            (score == best_score && memcmp(golden, best, PLANNER_GOLDEN_BYTES) < 0)) {
            best = golden;
            best_score = score;
        }
    }
    return best;
}

// Steps of a tenth of a frame: a small difference in load is no reason to leave a known worker.
static int64_t busy_step(const struct pool *p, int worker)
{
    int64_t step = p->request->frame_us / 10;
    return load_us(p, worker, 0) / (step > 0 ? step : 1);
}

static bool worker_before(const struct pool *p, int a, int b)
{
    const struct planner_node *x = &p->request->workers[a], *y = &p->request->workers[b];
    if (busy_step(p, a) != busy_step(p, b))
        return busy_step(p, a) < busy_step(p, b);
    if (p->rank[a] != p->rank[b])
        return p->rank[a] < p->rank[b];
    if (x->cores != y->cores)
        return x->cores > y->cores;
    return strcmp(x->name, y->name) < 0;
}

static void pool_finish(struct pool *p)
{
    free(p->workers);
    free(p->rank);
    free(p->busy_us);
}

static int pool_init(struct pool *p, const struct planner_request *r)
{
    size_t n = (size_t)r->worker_count;
    *p = (struct pool){.request = r,
                       .workers = calloc(n, sizeof *p->workers),
                       .rank = calloc(n, sizeof *p->rank),
                       .busy_us = calloc(n, sizeof *p->busy_us)};
    if (!p->workers || !p->rank || !p->busy_us) {
        pool_finish(p);
        return -ENOMEM;
    }
    for (int i = 0; i < r->track_count; i++)
        p->prefix_us[i + 1] = p->prefix_us[i] + r->tracks[i].cost_us;
    const uint8_t *golden = golden_choose(r);
    for (int i = 0; i < r->worker_count; i++) {
        p->rank[i] = previous_rank(r, r->workers[i].name);
        p->busy_us[i] = r->workers[i].busy_us;
    }
    for (int i = 0; i < r->worker_count; i++) {
        if (memcmp(r->workers[i].golden, golden, PLANNER_GOLDEN_BYTES))
            continue;
        int at = p->count++;
        for (; at > 0 && worker_before(p, i, p->workers[at - 1]); at--)
            p->workers[at] = p->workers[at - 1];
        p->workers[at] = i;
    }
    if (r->workers_max > 0 && p->count > r->workers_max)
        p->count = r->workers_max;
    return 0;
}

static bool pool_has(const struct pool *p, int worker)
{
    for (int i = 0; i < p->count; i++) {
        if (p->workers[i] == worker)
            return true;
    }
    return false;
}

// ---- Scoring ----------------------------------------------------------------------------------

static int64_t worker_us(const struct pool *p, const struct candidate *c, int worker)
{
    int64_t us = 0;
    for (int i = 0; i < c->count; i++) {
        if (c->groups[i].worker == worker)
            us += range_us(p, c->groups[i].from, c->groups[i].to);
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

// ---- The previous placement, as it is or mended -----------------------------------------------

static bool cuts_hold(const struct pool *p, const struct plan_placement *previous)
{
    const struct planner_request *r = p->request;
    if (previous->group_count < 1 || previous->group_count > PLANNER_GROUPS_MAX ||
        (r->cut_count >= 0 && previous->group_count != r->cut_count + 1) ||
        previous->groups[previous->group_count - 1].track_to != (uint32_t)r->track_count)
        return false;
    uint32_t next = 0;
    for (int i = 0; i < previous->group_count; i++) {
        const struct plan_group *g = &previous->groups[i];
        if (g->track_from != next || g->track_to < next || (i && g->track_from == g->track_to))
            return false;
        if (i && r->cut_count >= 0 && r->cuts[i - 1] != next)
            return false;
        next = g->track_to;
    }
    return true;
}

// The worker on which a group costs least, one that has no group yet before others.
static int worker_freest(const struct pool *p, const struct candidate *c, int64_t us)
{
    int best = -1;
    int64_t best_us = 0;
    for (int i = 0; i < p->count; i++) {
        int worker = p->workers[i];
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
    const struct planner_request *r = p->request;
    if (!r->previous || !cuts_hold(p, r->previous))
        return false;
    ret->count = r->previous->group_count;
    for (int i = 0; i < ret->count; i++) {
        const struct plan_group *g = &r->previous->groups[i];
        ret->groups[i] = (struct candidate_group){g->track_from, g->track_to, -1};
        for (int k = 0; k < r->worker_count; k++) {
            if (!strcmp(r->workers[k].name, g->provider) && pool_has(p, k))
                ret->groups[i].worker = k;
        }
    }
    for (int i = 0; i < ret->count; i++) {
        if (ret->groups[i].worker < 0)
            ret->groups[i].worker =
                worker_freest(p, ret, range_us(p, ret->groups[i].from, ret->groups[i].to));
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
    uint32_t tracks = (uint32_t)p->request->track_count;
    for (uint32_t t = 0; t <= tracks; t++)
        table->best[0][t] = t == 0 ? 0 : INT64_MAX;
    for (int g = 1; g <= count; g++) {
        for (uint32_t t = 0; t <= tracks; t++) {
            table->best[g][t] = INT64_MAX;
            for (uint32_t from = 0; from < t || (from == 0 && t == 0 && tracks == 0); from++) {
                if (table->best[g - 1][from] == INT64_MAX)
                    continue;
                int64_t us = load_us(p, workers[g - 1], range_us(p, from, t));
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

// The first `count` workers of the pool, those with previous groups in the order of these.
static void workers_order(const struct pool *p, int count, int *ret)
{
    for (int i = 0; i < count; i++) {
        int at = i, worker = p->workers[i];
        for (; at > 0 && p->rank[worker] < p->rank[ret[at - 1]]; at--)
            ret[at] = ret[at - 1];
        ret[at] = worker;
    }
}

// With cuts of our own: the best of each number of groups, fewer where more hardly helps.
static int candidate_fresh(const struct pool *p, struct candidate *ret)
{
    struct table *table = malloc(sizeof *table);
    struct candidate *try = malloc(sizeof *try);
    int workers[PLANNER_GROUPS_MAX], max = p->request->track_count;
    if (max < 1)
        max = 1;
    if (max > p->count)
        max = p->count;
    int r = table && try ? 0 : -ENOMEM;
    for (int count = 1; r == 0 && count <= max; count++) {
        workers_order(p, count, workers);
        if (!candidate_cut(p, workers, count, table, try))
            continue;
        // A twentieth better at least: each further group costs links and memory.
        if (count == 1 || try->busiest_us < ret->busiest_us - ret->busiest_us / 20)
            *ret = *try;
    }
    free(table);
    free(try);
    return r;
}

// With forced cuts: the heaviest group first, each to the worker that is then least busy.
static void candidate_forced(const struct pool *p, struct candidate *ret)
{
    const struct planner_request *r = p->request;
    ret->count = r->cut_count + 1;
    for (int i = 0; i < ret->count; i++)
        ret->groups[i] = (struct candidate_group){
            i ? r->cuts[i - 1] : 0, i < r->cut_count ? r->cuts[i] : (uint32_t)r->track_count, -1};
    for (int placed = 0; placed < ret->count; placed++) {
        int heaviest = -1;
        int64_t heaviest_us = -1;
        for (int i = 0; i < ret->count; i++) {
            int64_t us = range_us(p, ret->groups[i].from, ret->groups[i].to);
            if (ret->groups[i].worker < 0 && us > heaviest_us) {
                heaviest = i;
                heaviest_us = us;
            }
        }
        ret->groups[heaviest].worker = worker_freest(p, ret, heaviest_us);
    }
    candidate_score(p, ret);
}

// ---- The choice -------------------------------------------------------------------------------

int candidate_choose(const struct planner_request *request, struct candidate *ret)
{
    struct pool pool;
    struct candidate *previous = malloc(sizeof *previous);
    int r = previous ? pool_init(&pool, request) : -ENOMEM;
    if (r < 0) {
        free(previous);
        return r;
    }
    if (request->cut_count >= 0)
        candidate_forced(&pool, ret);
    else
        r = candidate_fresh(&pool, ret);
    // Rule 5: what is on air stays where it is as long as it fits.
    if (r == 0 && candidate_previous(&pool, previous) &&
        (previous->busiest_us <= request->frame_us / 4 ||
         previous->busiest_us <= ret->busiest_us + ret->busiest_us / 4))
        *ret = *previous;
    free(previous);
    pool_finish(&pool);
    return r;
}
