// sim: runs seeds, and makes those that fail small. `sim --help`.
#include "tests/sim/sim.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char help[] =
    "sim [--from SEED] [--seeds N] [--seconds S] [--fails | --apart | --lights] [--bug NAME]\n"
    "    runs N seeds (2000), or as many as there is time for; exit status 1: one fails\n"
    "    --fails: the database fails over and loses commits; --apart: one worker is in trouble at "
    "a\n"
    "    time, and no frame may be lost; --lights: all nodes lose their power, and coordinators\n"
    "    and database stay away\n"
    "    --hashes: only each run's hash\n"
    "sim --seed SEED [--keep I,J,...] [--size C,W,E,N] [--calm] [--log]\n"
    "    one run: its hash, and what happens in it. --keep: only these of its actions;\n"
    "    --size: coordinators, workers, edges, channels; --calm: a good network\n"
    "sim --planted N\n"
    "    that each planted fault is found within N seeds\n";

static int usage(FILE *to)
{
    fputs(help, to);
    return to == stdout ? EXIT_SUCCESS : 2;
}

static double clock_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

#define NO_SEED      UINT64_MAX
#define FAILURES_MAX 5 // then it is enough

struct options {
    uint64_t from, seeds, seconds, seed, planted;
    bool fails, apart, lights, calm, log, hashes;
    const char *keep, *size, *bug;
};

static enum sim_bug bug_of(const struct options *o)
{
    int bug = SIM_BUG_NONE;
    while (bug < SIM_BUGS && strcmp(sim_bug_name((enum sim_bug)bug), o->bug))
        bug++;
    return (enum sim_bug)bug;
}

static void setup_make(const struct options *o, uint64_t seed, struct sim_setup *ret)
{
    sim_setup_make(seed,
                   o->fails    ? SIM_FAILS
                   : o->apart  ? SIM_APART
                   : o->lights ? SIM_LIGHTS
                               : SIM_CHAOS,
                   ret);
    ret->bug = bug_of(o);
}

// ---- Failing seeds ----------------------------------------------------------------------------

static const char *const profiles[] = {"", " --fails", " --lights", " --apart"};

static bool same_action(const struct sim_action *a, const struct sim_action *b)
{
    return a->at_ns == b->at_ns && a->kind == b->kind && a->a == b->a && a->b == b->b;
}

static void print_repeat(const struct sim_setup *s, const struct sim_setup *whole)
{
    char text[160];
    printf("  %d coordinators, %d workers, %d edges, %d channels\n", s->coordinators, s->workers,
           s->edges, s->channels);
    for (int i = 0; i < s->action_count; i++)
        printf("  %s\n", sim_action_text(&s->actions[i], text, sizeof text));
    printf("  repeat: sim --seed %" PRIu64 "%s --size %d,%d,%d,%d%s", s->seed, profiles[s->profile],
           s->coordinators, s->workers, s->edges, s->channels,
           !s->lose && !s->repeat && !s->buggify && s->delay_ms == 5 ? " --calm" : "");
    if (s->bug)
        printf(" --bug %s", sim_bug_name(s->bug));
    const char *comma = " --keep ";
    for (int i = 0; i < whole->action_count; i++)
        for (int k = 0; k < s->action_count; k++)
            if (same_action(&whole->actions[i], &s->actions[k])) {
                printf("%s%d", comma, i);
                comma = ",";
                break;
            }
    printf("%s --log\n", s->action_count ? "" : " --keep none");
}

static void report_failure(const struct sim_setup *whole, const struct sim_result *r)
{
    struct sim_setup small = *whole;
    printf("seed %" PRIu64 ": %s: %s (after %.3f s)\n", whole->seed, r->broken, r->text,
           (double)r->virtual_ns / 1e9);
    fflush(stdout);
    sim_shrink(&small, r->broken);
    struct sim_result again;
    sim_run(&small, false, &again);
    printf("  smallest: %s: %s (after %.3f s)\n", again.broken, again.text,
           (double)again.virtual_ns / 1e9);
    print_repeat(&small, whole);
}

// ---- Ways to run ------------------------------------------------------------------------------

static void keep_actions(struct sim_setup *s, const char *list)
{
    struct sim_setup whole = *s;
    char *end;
    s->action_count = 0;
    for (const char *p = list; *p >= '0' && *p <= '9'; p = *end == ',' ? end + 1 : end) {
        long i = strtol(p, &end, 10);
        if (i >= 0 && i < whole.action_count)
            s->actions[s->action_count++] = whole.actions[i];
    }
}

static int run_one(const struct options *o)
{
    struct sim_setup s;
    struct sim_result r;
    char text[160];
    setup_make(o, o->seed, &s);
    if (o->keep)
        keep_actions(&s, o->keep);
    if (o->size &&
        sscanf(o->size, "%d,%d,%d,%d", &s.coordinators, &s.workers, &s.edges, &s.channels) != 4)
        return usage(stderr);
    if (o->calm)
        sim_setup_calm(&s);
    sim_run(&s, o->log, &r);
    for (int i = 0; i < s.action_count; i++)
        printf("%3d: %s\n", i, sim_action_text(&s.actions[i], text, sizeof text));
    printf("seed %" PRIu64 " hash %016" PRIx64 " events %" PRIu64 " frames %" PRIu64
           " commits %" PRIu64 " concealed %" PRIu64 " virtual %.1f s healed %.1f s %s %s\n",
           s.seed, r.hash, r.events, r.frames, r.commits, r.concealed, (double)r.virtual_ns / 1e9,
           (double)r.heal_ns / 1e9, *r.broken ? r.broken : "well", r.text);
    return *r.broken ? EXIT_FAILURE : EXIT_SUCCESS;
}

struct sum {
    uint64_t seeds, failed, events, frames, commits, concealed, lit;
    double virtual_s, heal_s;
};

static void sum_add(struct sum *sum, const struct sim_result *r)
{
    double heal_s = (double)r->heal_ns / 1e9;
    sum->seeds++;
    sum->failed += *r->broken != 0;
    sum->events += r->events;
    sum->frames += r->frames;
    sum->commits += r->commits;
    sum->concealed += r->concealed;
    sum->lit += (uint64_t)r->lit;
    sum->virtual_s += (double)r->virtual_ns / 1e9;
    sum->heal_s = heal_s > sum->heal_s ? heal_s : sum->heal_s;
}

static int run_many(const struct options *o)
{
    double start = clock_s();
    struct sum sum = {0};
    for (uint64_t seed = o->from;
         o->seconds ? clock_s() - start < (double)o->seconds : sum.seeds < o->seeds; seed++) {
        struct sim_setup s;
        struct sim_result r;
        setup_make(o, seed, &s);
        sim_run(&s, false, &r);
        sum_add(&sum, &r);
        if (o->hashes)
            printf("%" PRIu64 " %016" PRIx64 "\n", seed, r.hash);
        if (*r.broken)
            report_failure(&s, &r);
        if (sum.failed == FAILURES_MAX)
            break;
    }
    double took = clock_s() - start;
    if (!o->hashes) // the same each time, then
        printf("%" PRIu64 " seeds, %" PRIu64 " failed: %.1f s, %.0f seeds/s, %.0f events/s, %.0f "
               "times real time; %" PRIu64 " frames, %" PRIu64 " concealed, %" PRIu64
               " commits; well again within %.1f s\n",
               sum.seeds, sum.failed, took, (double)sum.seeds / took, (double)sum.events / took,
               sum.virtual_s / took, sum.frames, sum.concealed, sum.commits, sum.heal_s);
    if (o->lights && !o->hashes)
        printf("%" PRIu64 " channels on air again by what their nodes remembered\n", sum.lit);
    return sum.failed || (o->lights && !sum.lit) ? EXIT_FAILURE : EXIT_SUCCESS;
}

// A planted fault that is not found within `seeds`: the checks are blind to it.
static int run_planted(uint64_t seeds)
{
    int missed = 0;
    for (int bug = SIM_BUG_NONE + 1; bug < SIM_BUGS; bug++) {
        struct sim_result r = {0};
        uint64_t seed = 1;
        for (; seed <= seeds && !*r.broken; seed++) {
            struct sim_setup s;
            sim_setup_make(seed, bug == SIM_BUG_AMNESIA ? SIM_LIGHTS : SIM_CHAOS, &s);
            s.bug = (enum sim_bug)bug;
            sim_run(&s, false, &r);
        }
        printf("%-10s %s %s (%" PRIu64 " seeds)\n", sim_bug_name((enum sim_bug)bug),
               *r.broken ? r.broken : "NOT FOUND", r.text, seed - 1);
        missed += !*r.broken;
    }
    return missed ? EXIT_FAILURE : EXIT_SUCCESS;
}

// --name, --name VALUE. 0, or -1 for what is not known.
static int options_read(int argc, char **argv, struct options *o)
{
    struct {
        const char *name;
        bool *flag;
        uint64_t *number;
        const char **text;
    } table[] = {{"--from", .number = &o->from},       {"--seeds", .number = &o->seeds},
                 {"--seconds", .number = &o->seconds}, {"--seed", .number = &o->seed},
                 {"--planted", .number = &o->planted}, {"--keep", .text = &o->keep},
                 {"--size", .text = &o->size},         {"--bug", .text = &o->bug},
                 {"--fails", .flag = &o->fails},       {"--apart", .flag = &o->apart},
                 {"--lights", .flag = &o->lights},     {"--calm", .flag = &o->calm},
                 {"--log", .flag = &o->log},           {"--hashes", .flag = &o->hashes}};
    for (int i = 1; i < argc; i++) {
        size_t k = 0, count = sizeof table / sizeof table[0];
        while (k < count && strcmp(table[k].name, argv[i]))
            k++;
        if (k == count || (!table[k].flag && i + 1 == argc))
            return -1;
        if (table[k].flag)
            *table[k].flag = true;
        else if (table[k].text)
            *table[k].text = argv[++i];
        else
            *table[k].number = strtoull(argv[++i], NULL, 10);
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct options o = {.from = 1, .seeds = 2000, .seed = NO_SEED, .bug = "none"};
    if (argc == 2 && !strcmp(argv[1], "--help"))
        return usage(stdout);
    if (options_read(argc, argv, &o) || bug_of(&o) == SIM_BUGS)
        return usage(stderr);
    // Plans of an edge are large and short-lived: their pages are kept.
    mallopt(M_MMAP_THRESHOLD, 64 << 20);
    mallopt(M_TRIM_THRESHOLD, 256 << 20);
    if (o.planted)
        return run_planted(o.planted);
    return o.seed != NO_SEED ? run_one(&o) : run_many(&o);
}
