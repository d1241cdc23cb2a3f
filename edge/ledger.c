#include "edge/ledger.h"

#include "engine/base/log.h"
#include "engine/base/thread.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RUNS_MAX 256 // between two calls of ledger_write

enum step { STEP_NONE, STEP_HOLD, STEP_FALLBACK, STEP_SLATE, STEP_SKIPPED, STEP_OPTIONAL };

struct run {
    enum step step;
    uint32_t output, plan_epoch, group;
    int64_t from, to;
};

struct ledger {
    // -- constant after create
    uint64_t channel;
    char path[PATH_MAX];
    // -- guarded by lock
    pthread_mutex_t lock;
    struct run open[PLAN_OUTPUTS_MAX]; // by output's place in the plan; STEP_NONE: all is well
    struct run ended[RUNS_MAX];
    int ended_count;
    uint64_t lost; // runs for which there was no room
    // -- the control thread
    int error; // of the newest write
};

struct ledger *ledger_create(uint64_t channel, const char *path)
{
    struct ledger *l = base_alloc(sizeof *l);
    l->channel = channel;
    snprintf(l->path, sizeof l->path, "%s", path);
    mutex_init_urgent(&l->lock);
    return l;
}

// Called with the lock held.
static void end_run(struct ledger *l, struct run *run)
{
    if (run->step != STEP_NONE && l->ended_count < RUNS_MAX)
        l->ended[l->ended_count++] = *run;
    else if (run->step != STEP_NONE)
        l->lost++;
    run->step = STEP_NONE;
}

static enum step step_of(const struct mixer_result *r)
{
    static const enum step steps[] = {[MIXER_FRESH] = STEP_NONE,
                                      [MIXER_HOLD] = STEP_HOLD,
                                      [MIXER_FALLBACK] = STEP_FALLBACK,
                                      [MIXER_SLATE] = STEP_SLATE};
    return steps[r->worst];
}

void ledger_note(struct ledger *l, const struct plan *plan, int64_t n,
                 const struct desk_result *result)
{
    pthread_mutex_lock(&l->lock);
    for (int i = 0; i < PLAN_OUTPUTS_MAX; i++) {
        struct run *open = &l->open[i];
        struct run now = {.from = n, .to = n};
        if (i < plan->output_count) {
            now.step = step_of(&result->output[i]);
            now.output = plan->outputs[i].output;
            now.plan_epoch = plan->epoch;
            now.group = result->output[i].worst_group;
            if (now.step == STEP_NONE && plan->without_optional) {
                now.step = STEP_OPTIONAL;
                now.group = 0;
            }
        }
        bool goes_on = open->step == now.step && open->output == now.output &&
                       open->plan_epoch == now.plan_epoch && open->group == now.group &&
                       open->to == n - 1;
        if (goes_on && now.step != STEP_NONE) {
            open->to = n;
        } else {
            end_run(l, open);
            *open = now;
        }
    }
    pthread_mutex_unlock(&l->lock);
}

void ledger_skipped(struct ledger *l, const struct plan *plan, int64_t from, int64_t to)
{
    pthread_mutex_lock(&l->lock);
    for (int i = 0; i < plan->output_count; i++) {
        struct run skipped = {.step = STEP_SKIPPED,
                              .output = plan->outputs[i].output,
                              .plan_epoch = plan->epoch,
                              .from = from,
                              .to = to};
        end_run(l, &l->open[i]);
        end_run(l, &skipped);
    }
    pthread_mutex_unlock(&l->lock);
}

// ---- Writing -----------------------------------------------------------------------------------

static int take_ended(struct ledger *l, struct run *ret, uint64_t *ret_lost)
{
    pthread_mutex_lock(&l->lock);
    int count = l->ended_count;
    memcpy(ret, l->ended, (size_t)count * sizeof *ret);
    l->ended_count = 0;
    *ret_lost = l->lost;
    l->lost = 0;
    pthread_mutex_unlock(&l->lock);
    return count;
}

static int write_runs(const struct ledger *l, const struct run *runs, int count)
{
    static const char *const names[] = {"none",  "hold",    "fallback",
                                        "slate", "skipped", "without_optional"};
    FILE *file = *l->path ? fopen(l->path, "ae") : NULL;
    int error = *l->path && !file ? -errno : 0;
    for (int i = 0; i < count; i++) {
        const struct run *r = &runs[i];
        char line[256];
        snprintf(line, sizeof line,
                 "{\"channel\":%" PRIu64 ",\"output\":%" PRIu32 ",\"from\":%" PRId64
                 ",\"to\":%" PRId64 ",\"plan_epoch\":%" PRIu32 ",\"group\":%" PRIu32
                 ",\"step\":\"%s\"}",
                 l->channel, r->output, r->from, r->to, r->plan_epoch, r->group, names[r->step]);
        log_warning("as_run", "run=%s", line);
        if (file && fprintf(file, "%s\n", line) < 0)
            error = -EIO;
    }
    bool full = file && ftell(file) > LEDGER_BYTES_MAX;
    if (file && fclose(file))
        error = -errno;
    if (full) {
        char before[PATH_MAX + 3];
        snprintf(before, sizeof before, "%s.1", l->path);
        if (rename(l->path, before))
            error = -errno;
    }
    return error;
}

int ledger_write(struct ledger *l)
{
    struct run runs[RUNS_MAX];
    uint64_t lost;
    int count = take_ended(l, runs, &lost);
    if (lost)
        log_error("as_run_lost", "channel=%" PRIu64 " runs=%" PRIu64, l->channel, lost);
    if (!count)
        return l->error;
    int error = write_runs(l, runs, count);
    if (error && error != l->error)
        log_error("as_run_failed", "path=\"%s\" error=\"%s\"", l->path, strerror(-error));
    return l->error = error;
}

void ledger_destroy(struct ledger **ledger)
{
    struct ledger *l = *ledger;
    if (!l)
        return;
    *ledger = NULL;
    pthread_mutex_lock(&l->lock);
    for (int i = 0; i < PLAN_OUTPUTS_MAX; i++)
        end_run(l, &l->open[i]);
    pthread_mutex_unlock(&l->lock);
    (void)ledger_write(l); // said in the log
    pthread_mutex_destroy(&l->lock);
    free(l);
}
