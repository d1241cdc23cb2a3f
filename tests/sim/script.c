// From a seed to a setup, and from a failing setup to a smaller one.
#include "tests/sim/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define APART_NS (25 * SIM_S) // between the troubles of workers

static const char *const bugs[SIM_BUGS] = {"none",   "unfenced", "lower", "forgetful",
                                           "reused", "early",    "torn",  "repeat",
                                           "deaf",   "amnesia",  "long"};

const char *sim_bug_name(enum sim_bug bug)
{
    return bugs[bug];
}

static void peer_name(int peer, char *ret, int size)
{
    if (peer == SIM_DATABASE)
        snprintf(ret, (size_t)size, "database");
    else if (peer >= SIM_EDGE)
        snprintf(ret, (size_t)size, "edge%d", peer - SIM_EDGE);
    else if (peer >= SIM_WORKER)
        snprintf(ret, (size_t)size, "worker%d", peer - SIM_WORKER);
    else
        snprintf(ret, (size_t)size, "coordinator%d", peer);
}

const char *sim_action_text(const struct sim_action *x, char *buffer, int size)
{
    static const char *const kinds[SIM_KINDS] = {[SIM_KILL] = "kill",
                                                 [SIM_POWER] = "power cut",
                                                 [SIM_DARK] = "lights out",
                                                 [SIM_FREEZE] = "freeze",
                                                 [SIM_CUT] = "cut",
                                                 [SIM_PART] = "part",
                                                 [SIM_CLOG] = "clog",
                                                 [SIM_STALL] = "stall",
                                                 [SIM_SLOW] = "slow down",
                                                 [SIM_SESSIONS] = "kill sessions",
                                                 [SIM_FAILOVER] = "fail over",
                                                 [SIM_REFUSE] = "refuses",
                                                 [SIM_SLUGGISH] = "is sluggish",
                                                 [SIM_EDIT] = "edit",
                                                 [SIM_TIMELINE] = "another timeline",
                                                 [SIM_START_STOP] = "start or stop",
                                                 [SIM_DRAIN] = "drain"};
    char a[24] = "", b[24] = "";
    double at = (double)x->at_ns / 1e9, lasts = (double)x->for_ns / 1e9;
    if (x->kind >= SIM_EDIT && x->kind != SIM_DRAIN)
        snprintf(a, sizeof a, "channel %d", x->a);
    else if (x->kind == SIM_DARK)
        snprintf(a, sizeof a, "for all");
    else if (x->kind >= SIM_STALL && x->kind <= SIM_FAILOVER)
        snprintf(a, sizeof a, "database");
    else
        peer_name(x->a, a, sizeof a);
    if (x->kind == SIM_CUT || x->kind == SIM_CLOG) {
        char to[20];
        peer_name(x->b, to, sizeof to);
        snprintf(b, sizeof b, " to %s", to);
    }
    if (x->for_ns)
        snprintf(buffer, (size_t)size, "%.3f s, for %.3f s: %s %s%s", at, lasts, kinds[x->kind], a,
                 b);
    else
        snprintf(buffer, (size_t)size, "%.3f s: %s %s%s", at, kinds[x->kind], a, b);
    return buffer;
}

// ---- Making -----------------------------------------------------------------------------------

static uint64_t next(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static int between(uint64_t *state, int low, int high)
{
    return low + (int)(next(state) % (uint64_t)(high - low + 1));
}

static int peer_of(uint64_t *random, const struct sim_setup *s)
{
    int k = between(random, 0, s->coordinators + s->workers + s->edges - 1);
    if (k < s->coordinators)
        return k;
    k -= s->coordinators;
    return k < s->workers ? SIM_WORKER + k : SIM_EDGE + k - s->workers;
}

static int64_t span(uint64_t *random, int low_ms, int high_ms)
{
    return between(random, low_ms, high_ms) * SIM_MS;
}

static void add(struct sim_setup *s, const struct sim_action *action)
{
    if (s->action_count == SIM_ACTIONS_MAX || action->at_ns >= s->chaos_ns)
        return;
    struct sim_action a = *action;
    int64_t left = s->chaos_ns - a.at_ns;
    a.for_ns = a.for_ns > left ? left : a.for_ns;
    int i = s->action_count++;
    for (; i && s->actions[i - 1].at_ns > a.at_ns; i--)
        s->actions[i] = s->actions[i - 1];
    s->actions[i] = a;
}

// Links clogged and reopened in random order.
static void add_swizzle(struct sim_setup *s, uint64_t *random, int64_t at_ns)
{
    int count = between(random, 2, 8);
    for (int i = 0; i < count; i++) {
        int a = between(random, 0, 2) ? peer_of(random, s) : SIM_DATABASE, b = peer_of(random, s);
        if (between(random, 0, 1)) {
            int c = a;
            a = b, b = c;
        }
        add(s, &(struct sim_action){.at_ns = at_ns + span(random, 0, 2000),
                                    .for_ns = span(random, 100, 12000),
                                    .kind = SIM_CLOG,
                                    .a = a,
                                    .b = b});
    }
}

static void add_fault(struct sim_setup *s, uint64_t *random, int64_t at_ns,
                      enum sim_profile profile)
{
    struct sim_action a = {.at_ns = at_ns, .a = peer_of(random, s), .b = peer_of(random, s)};
    int what = between(random, 0, 99);
    if (what < 22) {
        a.kind = SIM_KILL;
        a.for_ns = span(random, 50, between(random, 0, 1) ? 800 : 9000);
    } else if (what < 28) {
        a.kind = SIM_POWER;
        a.b = between(random, 0, 3) == 0;
        a.for_ns = span(random, 500, 9000);
    } else if (what < 42) {
        a.kind = SIM_FREEZE;
        a.for_ns = span(random, 100, between(random, 0, 1) ? 2000 : 10000);
    } else if (what < 54) {
        a.kind = SIM_CUT;
        a.for_ns = span(random, 100, 8000);
        if (between(random, 0, 5) == 0)
            a.b = SIM_DATABASE;
    } else if (what < 62) {
        a.kind = SIM_PART;
        a.for_ns = span(random, 100, 8000);
    } else if (what < 72) {
        add_swizzle(s, random, at_ns);
        return;
    } else if (what < 78) {
        a.kind = SIM_STALL;
        a.for_ns = span(random, 100, 8000);
    } else if (what < 82) {
        a.kind = SIM_SLOW;
        a.for_ns = span(random, 1000, 9000);
    } else if (what < 86) {
        a.kind = profile == SIM_FAILS ? SIM_FAILOVER : SIM_SESSIONS;
        a.a = between(random, 1, 2);
    } else {
        a.kind = what < 93 ? SIM_REFUSE : SIM_SLUGGISH;
        a.a = SIM_WORKER + between(random, 0, s->workers - 1);
        a.for_ns = span(random, 500, 6000);
    }
    add(s, &a);
}

static void add_wish(struct sim_setup *s, uint64_t *random, int64_t at_ns)
{
    struct sim_action a = {.at_ns = at_ns, .a = between(random, 0, s->channels - 1)};
    int what = between(random, 0, 9);
    a.kind = what < 5 ? SIM_EDIT : what < 6 ? SIM_TIMELINE : what < 8 ? SIM_START_STOP : SIM_DRAIN;
    if (a.kind == SIM_DRAIN) {
        a.a = SIM_WORKER + between(random, 0, s->workers - 1);
        a.for_ns = span(random, 2000, 12000);
    }
    add(s, &a);
}

// Another worker fails in the same moment: there are two standbys.
static void add_second(struct sim_setup *s, uint64_t *random, const struct sim_action *first)
{
    struct sim_action a = *first;
    int other = (a.a - SIM_WORKER + between(random, 1, s->workers - 1)) % s->workers;
    if (a.kind != SIM_KILL && a.kind != SIM_FREEZE)
        return;
    a.a = SIM_WORKER + other;
    a.for_ns = span(random, 100, 8000);
    add(s, &a);
}

// Workers fail one after the other, or two at once; meanwhile coordinators and the database do as
// they like.
static void make_apart(struct sim_setup *s, uint64_t *random)
{
    s->workers = between(random, 3, 5);
    s->delay_ms = between(random, 1, 20);
    s->chaos_ns = 110 * SIM_S;
    for (int i = 0; i < 4; i++) {
        static const enum sim_kind kinds[] = {SIM_KILL, SIM_FREEZE, SIM_CUT, SIM_CUT, SIM_PART};
        struct sim_action a = {.at_ns = 10 * SIM_S + i * APART_NS + span(random, 0, 3000),
                               .for_ns = span(random, 100, 8000),
                               .kind = kinds[between(random, 0, 4)],
                               .a = SIM_WORKER + between(random, 0, s->workers - 1)};
        a.b = SIM_EDGE + between(random, 0, s->edges - 1);
        if (a.kind == SIM_CUT && between(random, 0, 1)) {
            int b = a.a;
            a.a = a.b, a.b = b;
        }
        add(s, &a);
        if (between(random, 0, 1))
            add_second(s, random, &a);
        if (between(random, 0, 1))
            add(s, &(struct sim_action){.at_ns = a.at_ns - span(random, 0, 4000),
                                        .kind = SIM_EDIT,
                                        .a = between(random, 0, s->channels - 1)});
        if (between(random, 0, 2) == 0)
            add(s, &(struct sim_action){.at_ns = a.at_ns - span(random, 0, 4000),
                                        .for_ns = span(random, 500, 9000),
                                        .kind = between(random, 0, 1) ? SIM_KILL : SIM_FREEZE,
                                        .a = between(random, 0, s->coordinators - 1)});
        if (between(random, 0, 2) == 0)
            add(s, &(struct sim_action){.at_ns = a.at_ns - span(random, 0, 4000),
                                        .for_ns = span(random, 500, 9000),
                                        .kind = SIM_STALL});
    }
}

// Wishes, then peace for what they have caused to be written, then the power goes.
static void make_lights(struct sim_setup *s, uint64_t *random)
{
    int wishes = between(random, 0, 4);
    s->delay_ms = between(random, 1, 20);
    s->buggify = between(random, 0, 1);
    s->chaos_ns = 60 * SIM_S;
    for (int i = 0; i < wishes; i++)
        add(s, &(struct sim_action){.at_ns = span(random, 2000, 12000),
                                    .kind = between(random, 0, 1) ? SIM_EDIT : SIM_TIMELINE,
                                    .a = between(random, 0, s->channels - 1)});
    add(s, &(struct sim_action){.at_ns = span(random, 20000, 28000),
                                .for_ns = span(random, 25000, 30000),
                                .kind = SIM_DARK});
}

void sim_setup_make(uint64_t seed, enum sim_profile profile, struct sim_setup *s)
{
    uint64_t random = seed;
    *s = (struct sim_setup){.seed = seed, .profile = profile};
    s->coordinators = between(&random, 1, 2) + (between(&random, 0, 7) == 0);
    s->workers = between(&random, 0, 7) ? between(&random, 2, 4) : between(&random, 2, 8);
    s->edges = between(&random, 1, 3);
    s->channels = between(&random, 0, 3) ? between(&random, 1, 2) : between(&random, 1, 4);
    if (profile == SIM_APART || profile == SIM_LIGHTS) {
        (profile == SIM_APART ? make_apart : make_lights)(s, &random);
        return;
    }
    bool rough = between(&random, 0, 2) == 0; // networks are good, or bad
    s->lose = rough ? between(&random, 0, 250) : 0;
    s->repeat = rough ? between(&random, 0, 250) : 0;
    s->delay_ms = rough ? between(&random, 5, 400) : between(&random, 1, 20);
    s->buggify = between(&random, 0, 3) == 0;
    s->chaos_ns = span(&random, 12000, 40000);
    int faults = between(&random, 1, 12), wishes = between(&random, 1, 8);
    for (int i = 0; i < faults; i++)
        add_fault(s, &random, span(&random, 2000, (int)(s->chaos_ns / SIM_MS)), profile);
    for (int i = 0; i < wishes; i++)
        add_wish(s, &random, span(&random, 1000, (int)(s->chaos_ns / SIM_MS)));
}

void sim_setup_calm(struct sim_setup *s)
{
    s->lose = s->repeat = 0;
    s->delay_ms = 5;
    s->buggify = false;
}

// ---- Shrinking --------------------------------------------------------------------------------

static bool still(const struct sim_setup *s, const char *broken)
{
    struct sim_result r;
    sim_run(s, false, &r);
    return !strcmp(r.broken, broken);
}

static bool try(struct sim_setup *s, const struct sim_setup *smaller, const char *broken)
{
    if (!still(smaller, broken))
        return false;
    *s = *smaller;
    return true;
}

static bool drop_actions(struct sim_setup *s, const char *broken)
{
    bool any = false;
    for (int size = s->action_count / 2; size >= 1; size /= 2) {
        for (int i = 0; i + size <= s->action_count;) {
            struct sim_setup t = *s;
            memmove(&t.actions[i], &t.actions[i + size],
                    (size_t)(t.action_count - i - size) * sizeof t.actions[0]);
            t.action_count -= size;
            if (try(s, &t, broken))
                any = true;
            else
                i += size;
        }
    }
    return any;
}

static bool fits(const struct sim_setup *s)
{
    for (int i = 0; i < s->action_count; i++) {
        const struct sim_action *a = &s->actions[i];
        int peers[] = {a->a, a->kind == SIM_CUT || a->kind == SIM_CLOG ? a->b : SIM_DATABASE};
        bool channel = a->kind >= SIM_EDIT && a->kind != SIM_DRAIN;
        if (channel && a->a >= s->channels)
            return false;
        for (int k = 0; k < 2 && !channel; k++) {
            int p = peers[k];
            if ((p < SIM_WORKER && p >= s->coordinators && a->kind != SIM_FAILOVER) ||
                (p >= SIM_WORKER && p < SIM_EDGE && p >= SIM_WORKER + s->workers) ||
                (p >= SIM_EDGE && p < SIM_DATABASE && p >= SIM_EDGE + s->edges))
                return false;
        }
    }
    return true;
}

static bool fewer(struct sim_setup *s, const char *broken)
{
    bool any = false;
    int least[] = {1, 1, 1, 1};
    for (int k = 0; k < 4; k++) {
        struct sim_setup t = *s;
        int *of_t[] = {&t.channels, &t.edges, &t.workers, &t.coordinators};
        if (--*of_t[k] >= least[k] && fits(&t))
            any = try(s, &t, broken) || any;
    }
    return any;
}

static bool calmer(struct sim_setup *s, const char *broken)
{
    struct sim_setup t = *s;
    sim_setup_calm(&t);
    return (s->lose || s->repeat || s->buggify || s->delay_ms != t.delay_ms) && try(s, &t, broken);
}

void sim_shrink(struct sim_setup *s, const char *broken)
{
    for (int round = 0; round < 8; round++) {
        bool any = calmer(s, broken);
        any = drop_actions(s, broken) || any;
        any = fewer(s, broken) || any;
        if (!any)
            return;
    }
}
