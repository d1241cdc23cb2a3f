// Placement: the rules of planner.h, by hand-made cases and thousands of random farms.
#include "coordinator/planner/planner.h"

#include "tests/check.h"

#include <errno.h>

#define CASES       6000
#define NODES       12
#define FRAME_30_US 33333

static const struct planner_output programme[] = {{1280, 720, 0}};

// ---- A random farm ----------------------------------------------------------------------------

struct world {
    struct planner_request request;
    struct planner_track tracks[PLANNER_TRACKS_MAX];
    struct planner_node workers[NODES], edges[NODES];
    struct planner_output outputs[PLANNER_OUTPUTS_MAX];
    char names[2 * NODES][16], addresses[NODES][24];
    uint32_t cuts[PLANNER_TRACKS_MAX];
};

static int pick(uint64_t *seed, int low, int high)
{
    return low + (int)(check_random(seed) % (uint64_t)(high - low + 1));
}

static void world_make(struct world *w, uint64_t *seed)
{
    memset(w, 0, sizeof *w);
    struct planner_request *r = &w->request;
    *r = (struct planner_request){.channel = (uint64_t)pick(seed, 1, 1000),
                                  .plan_epoch = (uint32_t)pick(seed, 1, 1000),
                                  .frame_us = FRAME_30_US,
                                  .tracks = w->tracks,
                                  .workers = w->workers,
                                  .edges = w->edges,
                                  .outputs = w->outputs,
                                  .cuts = w->cuts,
                                  .cut_count = -1};
    r->track_count = pick(seed, 0, 9) ? pick(seed, 0, 16) : PLANNER_TRACKS_MAX;
    r->worker_count = pick(seed, 1, NODES);
    r->edge_count = pick(seed, 1, 3);
    r->output_count = pick(seed, 1, 4);
    r->backup_edges = pick(seed, 0, 1);
    r->no_standbys = pick(seed, 0, 4) == 0;
    static const struct planner_output sizes[] = {{1280, 720, 0}, {640, 360, 0}, {720, 1280, 0}};
    for (int i = 0; i < r->output_count; i++) {
        w->outputs[i] = sizes[pick(seed, 0, 3) ? 0 : pick(seed, 0, 2)];
        w->outputs[i].tracks = pick(seed, 0, 2) ? 0 : (uint32_t)pick(seed, 1, 20);
    }
    for (int i = 0; i < r->track_count; i++)
        w->tracks[i] = (struct planner_track){pick(seed, 0, 12000), pick(seed, 0, 3000000),
                                              pick(seed, 0, 9) == 0};
    for (int i = 0; i < r->worker_count; i++) {
        snprintf(w->names[i], sizeof w->names[i], "w%02d", i);
        snprintf(w->addresses[i], sizeof w->addresses[i], "10.0.0.%d:9000", i);
        w->workers[i] =
            (struct planner_node){.name = w->names[i],
                                  .frame_address = w->addresses[i],
                                  .cores = (uint32_t)pick(seed, 0, 8),
                                  .host = (uint64_t)pick(seed, 0, 3),
                                  .busy_us = pick(seed, 0, 1) ? 0 : pick(seed, 0, 50000)};
        w->workers[i].golden[0] = pick(seed, 0, 4) ? 1 : 2;
    }
    for (int i = 0; i < r->edge_count; i++) {
        snprintf(w->names[NODES + i], sizeof w->names[0], "e%02d", i);
        w->edges[i] = (struct planner_node){.name = w->names[NODES + i],
                                            .host = (uint64_t)pick(seed, 0, 3),
                                            .outputs = (uint32_t)pick(seed, 0, 3)};
    }
    if (r->track_count > 1 && pick(seed, 0, 3) == 0) {
        r->cut_count = 0;
        for (int i = 1; i < r->track_count && r->cut_count < 12; i++)
            if (pick(seed, 0, 2) == 0)
                w->cuts[r->cut_count++] = (uint32_t)i;
    }
}

static const struct planner_node *find(const struct planner_node *nodes, int count,
                                       const char *name)
{
    for (int i = 0; i < count; i++)
        if (!strcmp(nodes[i].name, name))
            return &nodes[i];
    return NULL;
}

static bool linked(const struct plan_group *group, const char *consumer)
{
    int found = 0;
    for (int i = 0; i < group->link_count; i++)
        found += !strcmp(group->links[i].consumer, consumer);
    CHECK(found, <=, 1);
    return found == 1;
}

static bool adjusts(const struct planner_request *r, uint32_t from, uint32_t to)
{
    bool any = false;
    for (uint32_t t = from; t < to; t++)
        any |= r->tracks[t].has_adjust;
    return any;
}

// ---- The rules, checked from outside ----------------------------------------------------------

static bool seam(const struct planner_request *r, const struct planner_output *size, uint32_t t)
{
    for (int o = 0; o < r->output_count; o++)
        if (r->outputs[o].width == size->width && r->outputs[o].height == size->height &&
            r->outputs[o].tracks == t)
            return true;
    return false;
}

static bool forced(const struct planner_request *r, uint32_t t)
{
    for (int i = 0; i < r->cut_count; i++)
        if (r->cuts[i] == t)
            return true;
    return false;
}

static bool shares_host(const struct planner_node *a, const struct planner_node *b)
{
    return a->host && a->host == b->host;
}

// There are two where there can be: other workers of the same bits, each of another host than the
// workers before it if possible.
static void check_standbys(const struct planner_request *r, const struct plan_group *g,
                           const struct planner_node *provider)
{
    const struct planner_node *taken[3] = {provider};
    for (int n = 0; n < 2; n++) {
        int least = -1;
        for (int i = 0; i < r->worker_count && !r->no_standbys; i++) {
            const struct planner_node *w = &r->workers[i];
            int near = 0;
            bool other = !memcmp(w->golden, provider->golden, PLANNER_GOLDEN_BYTES);
            for (int k = 0; k <= n; k++) {
                other = other && w != taken[k];
                near += shares_host(w, taken[k]);
            }
            if (other && (least < 0 || near < least))
                least = near;
        }
        CHECK(g->standby_count > n, ==, least >= 0);
        const struct planner_node *standby =
            g->standby_count > n ? find(r->workers, r->worker_count, g->standbys[n].node) : NULL;
        if (!standby)
            return;
        CHECK_TEXT(g->standbys[n].address, standby->frame_address);
        CHECK(memcmp(standby->golden, provider->golden, PLANNER_GOLDEN_BYTES), ==, 0);
        for (int k = 0; k <= n; k++) {
            CHECK_TRUE(standby != taken[k]);
            least -= shares_host(standby, taken[k]);
        }
        CHECK(least, ==, 0);
        taken[n + 1] = standby;
    }
}

// The groups of one size, which stand together from index `at` on. Gives the index after them.
static int check_size(const struct planner_request *r, const struct plan_placement *p, int at)
{
    const struct planner_output size = {p->groups[at].width, p->groups[at].height, 0};
    const struct planner_node *first = find(r->workers, r->worker_count, p->groups[0].provider);
    uint32_t next = 0;
    int i = at;
    for (; i < p->group_count && p->groups[i].width == size.width &&
           p->groups[i].height == size.height;
         i++) {
        const struct plan_group *g = &p->groups[i];
        const struct planner_node *worker = find(r->workers, r->worker_count, g->provider);
        CHECK(g->group, ==, i + 1);
        CHECK(g->track_from, ==, next);
        if (r->track_count > 0)
            CHECK(g->track_to, >, g->track_from);
        for (uint32_t t = g->track_from + 1; t < g->track_to; t++)
            CHECK_TRUE(!seam(r, &size, t) && !forced(r, t));
        if (r->cut_count >= 0 && g->track_from > 0)
            CHECK_TRUE(seam(r, &size, g->track_from) || forced(r, g->track_from));
        next = g->track_to;
        int64_t start_us = 0;
        for (uint32_t t = g->track_from; t < g->track_to; t++)
            start_us += r->tracks[t].start_us;
        CHECK(g->start_us, ==, start_us);
        CHECK(g->from_base, ==, i == at);
        CHECK(g->needs_beneath, ==, i > at && adjusts(r, g->track_from, g->track_to));
        CHECK_TRUE(worker != NULL);
        if (!worker || !first)
            continue;
        CHECK_TEXT(g->provider_address, worker->frame_address);
        CHECK(memcmp(worker->golden, first->golden, PLANNER_GOLDEN_BYTES), ==, 0);
        check_standbys(r, g, worker);
    }
    CHECK(next, ==, r->track_count);
    return i;
}

static void check_groups(const struct planner_request *r, const struct plan_placement *p)
{
    int sizes = 0, groups = 0;
    for (int at = 0; at < p->group_count; sizes++)
        at = check_size(r, p, at);
    for (int o = 0; o < r->output_count; o++) {
        bool seen = false;
        for (int k = 0; k < o; k++)
            seen |= r->outputs[k].width == r->outputs[o].width &&
                    r->outputs[k].height == r->outputs[o].height;
        groups += !seen;
    }
    CHECK(sizes, ==, groups);
}

static bool shows(const struct planner_request *r, const struct planner_output *o,
                  const struct plan_group *g)
{
    return o->width == g->width && o->height == g->height &&
           (!o->tracks || o->tracks >= (uint32_t)r->track_count || g->track_to <= o->tracks);
}

static bool makes(const struct plan_placement *p, int output, const char *edge)
{
    return !strcmp(p->edges[output], edge) || !strcmp(p->backups[output], edge);
}

static void check_links(const struct planner_request *r, const struct plan_placement *p)
{
    CHECK(p->output_count, ==, r->output_count);
    for (int o = 0; o < p->output_count; o++) {
        CHECK(*p->backups[o] != 0, ==, r->backup_edges && r->edge_count > 1);
        CHECK_TRUE(strcmp(p->edges[o], p->backups[o]) != 0);
    }
    for (int i = 0; i < p->group_count; i++) {
        const struct plan_group *g = &p->groups[i];
        for (int e = 0; e < r->edge_count; e++) {
            bool wanted = false;
            for (int o = 0; o < p->output_count; o++)
                wanted |= makes(p, o, r->edges[e].name) && shows(r, &r->outputs[o], g);
            CHECK(linked(g, r->edges[e].name), ==, wanted);
        }
        // Walking down from each group that needs beneath to the nearest opaque one.
        if (!g->needs_beneath)
            continue;
        for (int below = i - 1; below >= 0; below--) {
            CHECK_TRUE(linked(&p->groups[below], g->provider));
            for (int k = 0; k < g->standby_count; k++)
                CHECK_TRUE(linked(&p->groups[below], g->standbys[k].node));
            if (p->groups[below].needs_beneath || p->groups[below].from_base)
                break;
        }
    }
}

// What handing over a group costs: less on the host of all its edges.
static int64_t link_us(const struct planner_request *r, const struct plan_placement *p,
                       const struct plan_group *g, const struct planner_node *worker)
{
    bool shared = worker->host != 0;
    for (int o = 0; o < r->output_count; o++)
        for (int e = 0; e < r->edge_count; e++)
            if (r->outputs[o].width == g->width && r->outputs[o].height == g->height &&
                makes(p, o, r->edges[e].name))
                shared = shared && r->edges[e].host == worker->host;
    int64_t us = planner_link_us(g->width, g->height, g->from_base || g->needs_beneath, shared);
    return us + (g->needs_beneath ? planner_link_us(g->width, g->height, true, false) : 0);
}

static int64_t load_us(const struct planner_request *r, const struct plan_placement *p,
                       const struct planner_node *worker)
{
    int64_t us = worker->busy_us;
    for (int i = 0; i < p->group_count; i++) {
        const struct plan_group *g = &p->groups[i];
        if (strcmp(g->provider, worker->name))
            continue;
        us += link_us(r, p, g, worker);
        for (uint32_t t = g->track_from; t < g->track_to; t++)
            us += r->tracks[t].cost_us * (g->width * g->height) /
                  (r->outputs[0].width * r->outputs[0].height);
    }
    return us / (worker->cores ? worker->cores : 1);
}

static int64_t busiest_us(const struct planner_request *r, const struct plan_placement *p)
{
    int64_t busiest = 0;
    for (int i = 0; i < r->worker_count; i++) {
        bool uses = false;
        for (int g = 0; g < p->group_count; g++)
            uses |= !strcmp(p->groups[g].provider, r->workers[i].name);
        int64_t us = uses ? load_us(r, p, &r->workers[i]) : 0;
        busiest = us > busiest ? us : busiest;
    }
    CHECK(busiest, ==, p->busiest_us);
    return busiest;
}

static bool same(const struct plan_placement *a, const struct plan_placement *b)
{
    bool links = placement_equal(a, b);
    for (int i = 0; links && i < a->group_count; i++) {
        links = a->groups[i].link_count == b->groups[i].link_count;
        for (int l = 0; links && l < a->groups[i].link_count; l++)
            links = !strcmp(a->groups[i].links[l].id, b->groups[i].links[l].id) &&
                    !strcmp(a->groups[i].links[l].consumer, b->groups[i].links[l].consumer);
    }
    return links;
}

// ---- Random cases -----------------------------------------------------------------------------

static bool has_part(const struct plan_group *group, const char *name)
{
    bool has = !strcmp(group->provider, name);
    for (int k = 0; k < group->standby_count; k++)
        has = has || !strcmp(group->standbys[k].node, name);
    return has;
}

// Nodes in any order: only names may break ties.
static void shuffle(struct planner_node *nodes, int count, uint64_t *seed)
{
    for (int i = count - 1; i > 0; i--) {
        int k = pick(seed, 0, i);
        struct planner_node swap = nodes[i];
        nodes[i] = nodes[k];
        nodes[k] = swap;
    }
}

static void check_sticky(struct world *w, const struct plan_placement *placed, uint64_t *seed)
{
    // Nothing has changed: nothing moves.
    struct plan_placement again;
    w->request.previous = placed;
    w->request.plan_epoch++;
    CHECK_OK(plan_place(&w->request, &again, NULL));
    CHECK_TRUE(placement_equal(placed, &again));
    placement_finish(&again);
    // A worker that has nothing to do with it goes: nothing moves either.
    int victim = pick(seed, 0, w->request.worker_count - 1);
    char name[16];
    snprintf(name, sizeof name, "%s", w->workers[victim].name);
    struct planner_node gone = w->workers[victim];
    bool used = false;
    for (int g = 0; g < placed->group_count; g++)
        used |= has_part(&placed->groups[g], name);
    w->workers[victim] = w->workers[--w->request.worker_count];
    if (w->request.worker_count > 0) {
        CHECK_OK(plan_place(&w->request, &again, NULL));
        check_groups(&w->request, &again);
        for (int g = 0; g < again.group_count; g++)
            CHECK_TRUE(strcmp(again.groups[g].provider, name) != 0);
        // Rule 5: it moves only when much is to be gained. (Each size is judged by itself.)
        bool gains = placed->busiest_us > w->request.frame_us / 4 &&
                     (w->request.output_count > 1 ||
                      again.busiest_us + again.busiest_us / 4 < placed->busiest_us);
        if (!used && !gains)
            CHECK_TRUE(placement_equal(placed, &again));
        placement_finish(&again);
    } else {
        struct diagnostic d;
        CHECK_ERROR(plan_place(&w->request, &again, &d), -EHOSTUNREACH);
        CHECK_TEXT(d.code, "no_worker");
    }
    w->workers[w->request.worker_count++] = gone;
    w->request.previous = NULL;
}

static void test_random(uint64_t seed)
{
    static struct world w;
    for (int i = 0; i < CASES && check_failures < 20; i++) {
        uint64_t case_seed = seed;
        struct plan_placement a, b;
        world_make(&w, &seed);
        CHECK_OK(plan_place(&w.request, &a, NULL));
        check_groups(&w.request, &a);
        check_links(&w.request, &a);
        (void)busiest_us(&w.request, &a);
        shuffle(w.workers, w.request.worker_count, &seed);
        shuffle(w.edges, w.request.edge_count, &seed);
        CHECK_OK(plan_place(&w.request, &b, NULL));
        CHECK_TRUE(same(&a, &b));
        placement_finish(&b);
        check_sticky(&w, &a, &seed);
        placement_finish(&a);
        if (check_failures)
            fprintf(stderr, "case seed %llu\n", (unsigned long long)case_seed);
    }
}

// Equal idle workers and free cuts: no busier than an even share and one track more, or than half
// of a frame's time.
static void test_balance(uint64_t seed)
{
    static struct world w;
    for (int i = 0; i < CASES / 4 && check_failures < 20; i++) {
        struct plan_placement p;
        world_make(&w, &seed);
        struct planner_request *r = &w.request;
        r->cut_count = -1;
        r->output_count = 1;
        w.outputs[0].tracks = 0;
        int64_t total = 0, largest = 0;
        for (int t = 0; t < r->track_count; t++) {
            w.tracks[t].has_adjust = false;
            total += w.tracks[t].cost_us;
            largest = w.tracks[t].cost_us > largest ? w.tracks[t].cost_us : largest;
        }
        for (int k = 0; k < r->worker_count; k++) {
            w.workers[k].cores = 1;
            w.workers[k].busy_us = 0;
            w.workers[k].golden[0] = 0;
            w.workers[k].host = 0;
        }
        CHECK_OK(plan_place(r, &p, NULL));
        int64_t link = planner_link_us(w.outputs[0].width, w.outputs[0].height, true, false);
        int64_t bound = total / r->worker_count + largest + link, light = r->frame_us / 2;
        bound = bound > light ? bound : light;
        CHECK(busiest_us(r, &p), <=,
              bound + bound / 19 + 1); // a twentieth may be left on the table
        CHECK(p.busiest_us, <=, total + link);
        placement_finish(&p);
    }
}

// ---- By hand ----------------------------------------------------------------------------------

// A request by hand, channel 7 at its third plan: one edge, one output, cuts as the planner likes.
static struct planner_request by_hand(const struct planner_track *tracks, int track_count,
                                      const struct planner_node *workers, int worker_count,
                                      const struct planner_node *edge)
{
    return (struct planner_request){.channel = 7,
                                    .plan_epoch = 3,
                                    .frame_us = FRAME_30_US,
                                    .tracks = tracks,
                                    .track_count = track_count,
                                    .workers = workers,
                                    .worker_count = worker_count,
                                    .edges = edge,
                                    .edge_count = 1,
                                    .outputs = programme,
                                    .output_count = 1,
                                    .cut_count = -1};
}

static void test_two_workers(void)
{
    const struct planner_track tracks[] = {{30000, 0, false}, {6000, 0, false}, {24000, 0, false}};
    const struct planner_node workers[] = {{.name = "a", .frame_address = "h:1", .cores = 2},
                                           {.name = "b", .frame_address = "h:2", .cores = 2}};
    const struct planner_node edges[] = {{.name = "e"}};
    struct planner_request r = by_hand(tracks, 3, workers, 2, edges);
    struct plan_placement p, q;
    CHECK_OK(plan_place(&r, &p, NULL));
    // 30 | 6 + 24: the first sends full pictures of 0.9216 megapixels, (30000 + 50 + 2304) / 2.
    CHECK(p.group_count, ==, 2);
    CHECK(p.groups[0].track_to, ==, 1);
    CHECK(p.busiest_us, ==, 16177);
    CHECK_TEXT(p.groups[0].provider, "a");
    CHECK_TEXT(p.groups[1].provider, "b");
    CHECK_TEXT(p.groups[1].links[0].id, "c7-p3-g2-1");
    CHECK_TEXT(p.groups[1].links[0].consumer, "e");
    // a dies: its group goes to b, b's group stays or both become one; all on b.
    r.workers = &workers[1];
    r.worker_count = 1;
    r.previous = &p;
    CHECK_OK(plan_place(&r, &q, NULL));
    for (int i = 0; i < q.group_count; i++)
        CHECK_TEXT(q.groups[i].provider, "b");
    placement_finish(&q);
    placement_finish(&p);
}

// One worker does alone what leaves it half of a frame's time, 16666 us: (tracks + 50 + 2304) / 2.
static void test_light(void)
{
    const struct planner_node workers[] = {{.name = "a", .frame_address = "h:1", .cores = 2},
                                           {.name = "b", .frame_address = "h:2", .cores = 2}};
    const struct planner_node edges[] = {{.name = "e"}};
    for (int heavy = 0; heavy < 2; heavy++) {
        const struct planner_track tracks[] = {{20000, 0, false}, {10978 + 2 * heavy, 0, false}};
        struct planner_request r = by_hand(tracks, 2, workers, 2, edges);
        struct plan_placement p;
        CHECK_OK(plan_place(&r, &p, NULL));
        CHECK(p.group_count, ==, 1 + heavy);
        placement_finish(&p);
    }
}

// Who sends full pictures stays on the edge's host, unless it has so much to do that sending them
// costs less.
static void test_hosts(void)
{
    const struct planner_track tracks[] = {{6000, 0, false}, {3000, 0, false}};
    struct planner_node workers[] = {{.name = "a", .frame_address = "h:1", .cores = 2, .host = 5},
                                     {.name = "b", .frame_address = "h:2", .cores = 2, .host = 9}};
    const struct planner_node edges[] = {{.name = "e", .host = 9}};
    const uint32_t cut = 1;
    struct planner_request r = by_hand(tracks, 2, workers, 2, edges);
    static const struct {
        int cut_count;
        int64_t busy_us;
        const char *lower;
    } cases[] = {{-1, 0, "b"},   {1, 0, "b"},      {0, 0, "b"},    {-1, 1000, "b"},
                 {1, 1000, "b"}, {-1, 90000, "a"}, {1, 90000, "a"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct plan_placement p;
        r.cuts = &cut;
        r.cut_count = cases[i].cut_count;
        workers[1].busy_us = cases[i].busy_us;
        CHECK_OK(plan_place(&r, &p, NULL));
        CHECK_TEXT(p.groups[0].provider, cases[i].lower);
        placement_finish(&p);
    }
    CHECK(planner_link_us(1920, 1080, true, false), >,
          10 * planner_link_us(1920, 1080, true, true));
}

static void test_adjust(void)
{
    const struct planner_track tracks[] = {
        {10000, 0, false}, {10000, 0, false}, {100, 0, true}, {10000, 0, false}, {10000, 0, false}};
    const struct planner_node workers[] = {{.name = "a", .frame_address = "h:1"},
                                           {.name = "b", .frame_address = "h:2"},
                                           {.name = "c", .frame_address = "h:3"}};
    const struct planner_node edges[] = {{.name = "e"}};
    const uint32_t cuts[] = {1, 2, 4};
    struct planner_request r = by_hand(tracks, 5, workers, 3, edges);
    struct plan_placement p;
    // Group 3 (tracks 2 and 3) takes groups 1 and 2 in; group 4 needs nothing.
    r.cuts = cuts;
    r.cut_count = 3;
    CHECK_OK(plan_place(&r, &p, NULL));
    CHECK(p.group_count, ==, 4);
    CHECK(p.groups[2].needs_beneath, ==, true);
    CHECK(p.groups[3].needs_beneath, ==, false);
    CHECK_TRUE(linked(&p.groups[0], p.groups[2].provider));
    CHECK_TRUE(linked(&p.groups[1], p.groups[2].provider));
    CHECK(p.groups[2].link_count, ==, 1);
    CHECK(p.groups[3].link_count, ==, 1);
    placement_finish(&p);
}

static void test_refusals(void)
{
    const struct planner_track tracks[] = {{1, 0, false}, {1, 0, false}};
    const struct planner_node node = {.name = "n", .frame_address = "h:1"};
    const uint32_t bad_cuts[] = {2};
    struct planner_request r = by_hand(tracks, 2, &node, 1, &node);
    r.edge_count = 0;
    r.cuts = bad_cuts;
    struct plan_placement p;
    struct diagnostic d;
    CHECK_ERROR(plan_place(&r, &p, &d), -EHOSTUNREACH);
    CHECK_TEXT(d.code, "no_edge");
    r.edge_count = 1;
    r.cut_count = 1;
    CHECK_ERROR(plan_place(&r, &p, &d), -EINVAL);
    CHECK_TEXT(d.code, "plan_cuts");
    r.cut_count = -1;
    r.track_count = PLANNER_TRACKS_MAX + 1;
    CHECK_ERROR(plan_place(&r, &p, &d), -EINVAL);
    r.track_count = 0; // nothing but the background
    CHECK_OK(plan_place(&r, &p, &d));
    CHECK(p.group_count, ==, 1);
    CHECK(p.groups[0].track_to, ==, 0);
    CHECK(p.groups[0].from_base, ==, true);
    placement_finish(&p);
}

// A lost provider's place is taken by its standby, which renders already; and a standby stays one.
static void test_standby_follows(void)
{
    const struct planner_track tracks[] = {{2000, 0, false}, {1000, 0, false}};
    struct planner_node workers[] = {{.name = "a", .frame_address = "h:1", .host = 1},
                                     {.name = "b", .frame_address = "h:2", .host = 1},
                                     {.name = "c", .frame_address = "h:3", .host = 2},
                                     {.name = "d", .frame_address = "h:4", .host = 2}};
    const struct planner_node edges[] = {{.name = "e", .host = 1}};
    struct planner_request r = by_hand(tracks, 2, workers, 4, edges);
    struct plan_placement p, q;
    CHECK_OK(plan_place(&r, &p, NULL));
    CHECK(p.group_count, ==, 1);
    CHECK_TEXT(p.groups[0].provider, "a");
    CHECK(p.groups[0].standby_count, ==, 2);
    CHECK_TEXT(p.groups[0].standbys[0].node, "c"); // of another host, though b is as free
    CHECK_TEXT(p.groups[0].standbys[1].node, "b"); // one is near each
    r.previous = &p;
    r.workers = workers + 1; // a is lost
    r.worker_count = 3;
    CHECK_OK(plan_place(&r, &q, NULL));
    CHECK_TEXT(q.groups[0].provider, "c");
    CHECK_TEXT(q.groups[0].standbys[0].node, "b");
    CHECK_TEXT(q.groups[0].standbys[1].node, "d");
    placement_finish(&q);
    // Two are lost in the same moment.
    struct planner_node left[] = {workers[1], workers[3]};
    r.workers = left;
    r.worker_count = 2;
    CHECK_OK(plan_place(&r, &q, NULL));
    CHECK_TEXT(q.groups[0].provider, "b"); // it stands by already
    CHECK_TEXT(q.groups[0].standbys[0].node, "d");
    CHECK(q.groups[0].standby_count, ==, 1);
    placement_finish(&q);
    // Another one would be freer now: no reason to change a standby.
    workers[2].busy_us = 3000;
    r.workers = workers;
    r.worker_count = 4;
    CHECK_OK(plan_place(&r, &q, NULL));
    CHECK_TEXT(q.groups[0].standbys[0].node, "c");
    CHECK_TEXT(q.groups[0].standbys[1].node, "b");
    placement_finish(&q);
    placement_finish(&p);
}

// Rule 7.
static void test_backup_edge(void)
{
    const struct planner_track tracks[] = {{2000, 0, false}};
    const struct planner_node workers[] = {{.name = "w", .frame_address = "h:1"}};
    struct planner_node edges[] = {{.name = "e", .host = 1},
                                   {.name = "f", .host = 1},
                                   {.name = "g", .host = 2, .outputs = 3},
                                   {.name = "h", .host = 3, .outputs = 4}};
    struct planner_request r = by_hand(tracks, 1, workers, 1, edges);
    struct plan_placement p, q;
    r.edge_count = 4;
    CHECK_OK(plan_place(&r, &p, NULL));
    CHECK_TEXT(p.backups[0], "");
    placement_finish(&p);
    r.backup_edges = true;
    CHECK_OK(plan_place(&r, &p, NULL));
    CHECK_TEXT(p.edges[0], "e");
    CHECK_TEXT(p.backups[0], "g"); // of another host, though f is freer
    r.previous = &p;
    edges[2].outputs = 9; // no reason to change it
    CHECK_OK(plan_place(&r, &q, NULL));
    CHECK_TRUE(placement_equal(&p, &q));
    placement_finish(&q);
    r.edges = edges + 1; // e is lost
    r.edge_count = 3;
    CHECK_OK(plan_place(&r, &q, NULL));
    CHECK_TEXT(q.edges[0], "g");
    CHECK_TEXT(q.backups[0], "f"); // the freest of those that are not on g's host
    placement_finish(&q);
    placement_finish(&p);
}

int main(int argc, char **argv)
{
    test_standby_follows();
    test_backup_edge();
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : UINT64_C(0x9e3779b97f4a7c15);
    fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
    test_two_workers();
    test_light();
    test_hosts();
    test_adjust();
    test_refusals();
    test_random(seed);
    test_balance(seed);
    return check_end();
}
