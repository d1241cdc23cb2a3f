// Time, chance, the network and what happens to processes.
#include "tests/sim/world.h"

#include "engine/base/thread.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REAL_NS   INT64_C(5000000000000)
#define DARK_NS   (15 * SIM_S) // for nodes that have been off to be on air again
#define STEP_LATE 5            // per mille of messages, buggified, that take seconds

// ---- Chance -----------------------------------------------------------------------------------

uint64_t world_random(struct world *w)
{
    w->random ^= w->random >> 12;
    w->random ^= w->random << 25;
    w->random ^= w->random >> 27;
    return w->random * UINT64_C(2685821657736338717);
}

int64_t world_between(struct world *w, int64_t low, int64_t high)
{
    return low + (int64_t)(world_random(w) % (uint64_t)(high - low + 1));
}

bool world_chance(struct world *w, int per_mille)
{
    return !w->peace && per_mille && world_between(w, 1, 1000) <= per_mille;
}

bool world_buggify(struct world *w, int per_mille)
{
    return w->setup->buggify && world_chance(w, per_mille);
}

// ---- Events -----------------------------------------------------------------------------------

static bool before(const struct event *a, const struct event *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

void world_add(struct world *w, const struct event *event)
{
    if (w->event_count == w->event_size) {
        w->event_size = w->event_size ? 2 * w->event_size : 256;
        w->events = realloc(w->events, (size_t)w->event_size * sizeof *w->events);
        if (!w->events)
            abort();
    }
    struct event e = *event;
    e.order = ++w->order;
    int i = w->event_count++;
    for (; i && before(&e, &w->events[(i - 1) / 2]); i = (i - 1) / 2)
        w->events[i] = w->events[(i - 1) / 2];
    w->events[i] = e;
}

static struct event take(struct world *w)
{
    struct event first = w->events[0], last = w->events[--w->event_count];
    int i = 0;
    for (int child; (child = 2 * i + 1) < w->event_count; i = child) {
        if (child + 1 < w->event_count && before(&w->events[child + 1], &w->events[child]))
            child++;
        if (!before(&w->events[child], &last))
            break;
        w->events[i] = w->events[child];
    }
    w->events[i] = last;
    return first;
}

void world_after(struct world *w, int64_t ns, enum event_kind kind, int to, uint64_t a, uint64_t b)
{
    world_add(w, &(struct event){.at_ns = w->now_ns + ns,
                                 .kind = kind,
                                 .to = to,
                                 .life = w->processes[to].life,
                                 .a = a,
                                 .b = b});
}

// ---- Clocks -----------------------------------------------------------------------------------

int64_t world_monotonic_ns(const struct world *w, int peer)
{
    const struct process *p = &w->processes[peer];
    return p->base_ns + w->now_ns + w->now_ns / 1000000 * p->drift_ppb / 1000;
}

int64_t world_realtime_ns(const struct world *w, int peer)
{
    return REAL_NS + w->now_ns + w->processes[peer].offset_ns;
}

int64_t world_when_ns(const struct world *w, int peer, int64_t monotonic_ns)
{
    const struct process *p = &w->processes[peer];
    int64_t left = monotonic_ns - world_monotonic_ns(w, peer);
    return left <= 0 ? w->now_ns : w->now_ns + left - left / 1000000 * p->drift_ppb / 1000 + 1000;
}

// ---- What is said -----------------------------------------------------------------------------

static struct world *saying; // of this run; what the programs log is shown with its time

void world_say(const struct world *w, const char *format, ...)
{
    char text[512];
    va_list list;
    if (!w->log)
        return;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    fprintf(stderr, "%10.3f %s\n", (double)w->now_ns / 1e9, text);
}

// Stands for engine/base/log.c.
void log_line(int level, const char *event, const char *format, ...);
void log_line(int level, const char *event, const char *format, ...)
{
    char text[512];
    va_list list;
    (void)level;
    if (!saying || !saying->log)
        return;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    world_say(saying, "    %s %s", event, text);
}

void world_note(struct world *w, uint64_t value)
{
    uint64_t h = (w->result->hash ^ value) * UINT64_C(0x9e3779b97f4a7c15);
    w->result->hash = h ^ h >> 29;
}

struct blob *blob_make(const void *bytes, size_t size)
{
    struct blob *blob = base_alloc(sizeof *blob + size);
    blob->references = 1;
    blob->size = size;
    memcpy(blob->bytes, bytes, size);
    return blob;
}

struct blob *blob_ref(struct blob *blob)
{
    if (blob)
        blob->references++;
    return blob;
}

void blob_unref(struct blob **blob_of)
{
    struct blob *blob = *blob_of;
    *blob_of = NULL;
    if (blob && --blob->references == 0)
        free(blob);
}

// ---- The network ------------------------------------------------------------------------------

bool world_runs(const struct world *w, int peer)
{
    return w->processes[peer].alive && w->processes[peer].frozen_ns <= w->now_ns;
}

bool world_hears(const struct world *w, int from, int to)
{
    return w->cut_ns[from][to] <= w->now_ns && w->clog_ns[from][to] <= w->now_ns;
}

void world_send(struct world *w, int from, int to, uint64_t leader, uint8_t *bytes, size_t size)
{
    int copies = world_chance(w, w->setup->lose) ? 0 : 1 + world_chance(w, w->setup->repeat);
    for (int i = 0; i < copies; i++) {
        uint8_t *copy = bytes;
        if (i + 1 < copies) {
            copy = base_alloc(size);
            memcpy(copy, bytes, size);
        }
        int64_t delay = world_between(w, SIM_MS / 10, (w->peace ? 5 : w->setup->delay_ms) * SIM_MS);
        if (world_buggify(w, STEP_LATE))
            delay += world_between(w, 0, 10 * SIM_S);
        world_add(w, &(struct event){.at_ns = w->now_ns + delay,
                                     .kind = EVENT_MESSAGE,
                                     .from = from,
                                     .to = to,
                                     .leader = leader,
                                     .bytes = copy,
                                     .size = size});
    }
    if (!copies)
        free(bytes);
}

// ---- Processes --------------------------------------------------------------------------------

static bool is_coordinator(int peer)
{
    return peer < SIM_WORKER;
}

static bool is_worker(int peer)
{
    return peer >= SIM_WORKER && peer < SIM_EDGE;
}

static void process_start(struct world *w, int peer)
{
    struct process *p = &w->processes[peer];
    p->alive = true;
    p->life++;
    p->instance = world_random(w) | 1;
    p->sequence = 0;
    p->frozen_ns = 0;
    world_say(w, "start %s", p->name);
    if (is_coordinator(peer))
        coordinator_start(w, peer);
    else if (is_worker(peer))
        worker_start(w, peer);
    else
        edge_start(w, peer);
}

static void process_end(struct world *w, int peer)
{
    struct process *p = &w->processes[peer];
    if (!p->alive)
        return;
    p->alive = false;
    if (is_coordinator(peer))
        coordinator_end(w, peer);
    else if (is_worker(peer))
        worker_end(w, peer);
    else
        edge_end(w, peer);
    p->life++;
}

void world_kill(struct world *w, int peer, int64_t for_ns)
{
    if (!w->processes[peer].alive)
        return;
    process_end(w, peer);
    world_after(w, for_ns, EVENT_RESTART, peer, 0, 0);
}

static void raise(int64_t *until_ns, int64_t ns)
{
    if (*until_ns < ns)
        *until_ns = ns;
}

static void cut_all(struct world *w, int peer, int64_t until_ns)
{
    for (int i = 0; i < SIM_PEERS; i++) {
        raise(&w->cut_ns[peer][i], until_ns);
        raise(&w->cut_ns[i][peer], until_ns);
    }
}

static void freeze(struct world *w, int peer, int64_t until_ns)
{
    raise(&w->processes[peer].frozen_ns, until_ns);
    raise(&w->processes[peer].thawed_ns, until_ns);
}

static void power_cut(struct world *w, int peer, const struct sim_action *a)
{
    disk_lose(w, peer, a->b);
    world_kill(w, peer, a->for_ns);
}

// All nodes are off for a while, each for its own; nobody else comes back before long after.
static void darken(struct world *w, int64_t for_ns)
{
    int64_t most = 0;
    check_darkens(w);
    raise(&w->database.stalled_ns, w->now_ns + for_ns);
    for (int i = 0; i < SIM_DATABASE; i++) {
        int64_t off = is_coordinator(i) ? for_ns : world_between(w, 300 * SIM_MS, 4 * SIM_S);
        disk_lose(w, i, false);
        world_kill(w, i, off);
        most = !is_coordinator(i) && off > most ? off : most;
    }
    world_add(w, &(struct event){.at_ns = w->now_ns + most + DARK_NS, .kind = EVENT_DARK});
}

static void change(struct world *w, int action, bool ends)
{
    if (!coordinator_change(w, action, ends))
        world_add(w, &(struct event){.at_ns = w->now_ns + 500 * SIM_MS,
                                     .kind = EVENT_USER,
                                     .a = (uint64_t)action,
                                     .b = ends});
}

static void act(struct world *w, int index)
{
    const struct sim_action *a = &w->setup->actions[index];
    int64_t until = w->now_ns + a->for_ns;
    char text[128];
    world_say(w, "-- %s", sim_action_text(a, text, sizeof text));
    switch (a->kind) {
    case SIM_KILL:
        world_kill(w, a->a, a->for_ns);
        break;
    case SIM_POWER:
        power_cut(w, a->a, a);
        break;
    case SIM_DARK:
        darken(w, a->for_ns);
        break;
    case SIM_FREEZE:
        freeze(w, a->a, until);
        break;
    case SIM_CUT:
        raise(&w->cut_ns[a->a][a->b], until);
        break;
    case SIM_PART:
        cut_all(w, a->a, until);
        break;
    case SIM_CLOG:
        raise(&w->clog_ns[a->a][a->b], until);
        break;
    case SIM_STALL:
        raise(&w->database.stalled_ns, until);
        break;
    case SIM_SLOW:
        raise(&w->database.slow_ns, until);
        break;
    case SIM_SESSIONS:
        database_sessions_kill(w, -1);
        break;
    case SIM_FAILOVER:
        database_failover(w, a->a);
        break;
    case SIM_REFUSE:
        raise(&w->processes[a->a].refuse_ns, until);
        break;
    case SIM_SLUGGISH:
        raise(&w->processes[a->a].sluggish_ns, until);
        break;
    default:
        change(w, index, false);
        break;
    }
}

static void process_event(struct world *w, const struct event *e)
{
    if (is_coordinator(e->to))
        coordinator_event(w, e);
    else if (is_worker(e->to))
        worker_event(w, e);
    else
        edge_event(w, e);
}

// Puts off what cannot happen now; false: it happens.
static bool postponed(struct world *w, struct event *e)
{
    bool travels = e->kind == EVENT_MESSAGE || e->kind == EVENT_QUERY || e->kind == EVENT_ANSWER;
    int64_t until = 0;
    if (travels && w->clog_ns[e->from][e->to] > w->now_ns)
        until = w->clog_ns[e->from][e->to] + world_between(w, 0, 20 * SIM_MS);
    else if (e->kind == EVENT_QUERY && w->database.stalled_ns > w->now_ns)
        until = w->database.stalled_ns;
    else if (e->life || travels)
        until = w->processes[e->to].frozen_ns;
    if (until <= w->now_ns)
        return false;
    e->at_ns = until;
    world_add(w, e);
    return true;
}

static void event_release(struct event *e)
{
    if (e->kind == EVENT_ANSWER) {
        struct answer *answer = e->bytes;
        if (answer->tables)
            tables_finish(answer->tables);
        free(answer->tables);
    }
    if (e->kind == EVENT_QUERY)
        blob_unref(&((struct request *)e->bytes)->plan);
    free(e->bytes);
}

static void happen(struct world *w, struct event *e)
{
    bool travels = e->kind == EVENT_MESSAGE || e->kind == EVENT_QUERY || e->kind == EVENT_ANSWER;
    if (postponed(w, e))
        return;
    if ((travels && w->cut_ns[e->from][e->to] > w->now_ns) ||
        (e->life && e->life != w->processes[e->to].life)) {
        event_release(e);
        return;
    }
    w->result->events++;
    world_note(w, (uint64_t)w->now_ns);
    world_note(w, (uint64_t)e->kind << 48 ^ (uint64_t)e->to << 40 ^ (uint64_t)e->from << 32 ^ e->a);
    if (e->kind == EVENT_ACTION)
        act(w, (int)e->a);
    else if (e->kind == EVENT_USER)
        change(w, (int)e->a, e->b);
    else if (e->kind == EVENT_RESTART)
        process_start(w, e->to);
    else if (e->kind == EVENT_QUERY)
        database_query(w, e);
    else if (e->kind == EVENT_IDLE)
        database_idle(w, e->a);
    else if (e->kind == EVENT_DARK)
        check_dark(w);
    else if (e->kind == EVENT_POLL)
        check_poll(w);
    else if (w->processes[e->to].alive)
        process_event(w, e);
    event_release(e);
    check_reach(w);
}

// ---- The run ----------------------------------------------------------------------------------

static void process_make(struct world *w, int peer, const char *kind, int number)
{
    struct process *p = &w->processes[peer];
    p->exists = true;
    p->base_ns = world_between(w, 1000, 2000) * SIM_S;
    p->offset_ns = world_between(w, -40, 40) * SIM_MS;
    p->drift_ppb = world_between(w, -150000, 150000);
    snprintf(p->name, sizeof p->name, "%s%d", kind, number);
    snprintf(p->address, sizeof p->address, "10.0.0.%d:7000", peer);
    world_after(w, world_between(w, 0, SIM_S), EVENT_RESTART, peer, 0, 0);
}

static void world_make(struct world *w, const struct sim_setup *setup)
{
    for (int i = 0; i < 8; i++)
        (void)world_random(w);
    for (int i = 0; i < SIM_PEERS; i++) {
        w->links[i] = (struct links){w, i};
        w->files[i] = (struct state_file){w, i};
    }
    for (int i = 0; i < setup->coordinators; i++)
        process_make(w, i, "coordinator", i);
    for (int i = 0; i < setup->workers; i++)
        process_make(w, SIM_WORKER + i, "worker", i);
    for (int i = 0; i < setup->edges; i++)
        process_make(w, SIM_EDGE + i, "edge", i);
    snprintf(w->processes[SIM_DATABASE].name, sizeof w->processes[0].name, "database");
    w->processes[SIM_DATABASE].alive = true;
    database_start(w);
    for (int i = 0; i < setup->action_count; i++)
        world_add(w, &(struct event){
                         .at_ns = setup->actions[i].at_ns, .kind = EVENT_ACTION, .a = (uint64_t)i});
    world_add(w, &(struct event){.at_ns = setup->chaos_ns, .kind = EVENT_POLL});
}

static void world_finish(struct world *w)
{
    for (int i = 0; i < SIM_DATABASE; i++)
        process_end(w, i);
    database_finish(w);
    for (int i = 0; i < SIM_PEERS; i++)
        disk_finish(w, i);
    while (w->event_count) {
        event_release(&w->events[--w->event_count]);
    }
    free(w->events);
}

void sim_run(const struct sim_setup *setup, bool log, struct sim_result *ret)
{
    struct world *w = base_alloc(sizeof *w);
    *ret = (struct sim_result){.hash = setup->seed};
    w->setup = setup;
    w->result = ret;
    w->log = log;
    w->random = setup->seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
    saying = w;
    world_make(w, setup);
    while (w->event_count && !*ret->broken && w->well < 3) {
        struct event e = take(w);
        w->now_ns = e.at_ns;
        happen(w, &e);
    }
    ret->virtual_ns = w->now_ns;
    world_finish(w);
    saying = NULL;
    free(w);
}
