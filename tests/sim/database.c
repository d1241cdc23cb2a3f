// Stands for PostgreSQL with the statements of coordinator/store: the lease, what is reserved, what
// is committed, and what people have asked for. Transactions begin with a look at the lease and
// hold it until they end.
#include "coordinator/control/farm.h"
#include "tests/sim/world.h"

#include "engine/base/thread.h"
#include "proto/control.pb-c.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define IDLE_NS (5 * SIM_S)    // idle_in_transaction_session_timeout
#define LOCK_NS (800 * SIM_MS) // lock_timeout
#define SLOW_NS (2 * SIM_S)

// ---- Tables -----------------------------------------------------------------------------------

void tables_copy(const struct tables *from, struct tables *ret)
{
    *ret = *from;
    for (int c = 0; c < SIM_CHANNELS_MAX; c++)
        for (int i = 0; i < ret->channels[c].plan_count; i++)
            (void)blob_ref(ret->channels[c].plans[i].plan);
}

void tables_finish(struct tables *t)
{
    for (int c = 0; c < SIM_CHANNELS_MAX; c++)
        for (int i = 0; i < t->channels[c].plan_count; i++)
            blob_unref(&t->channels[c].plans[i].plan);
    *t = (struct tables){0};
}

// Before each commit, for a failover that loses it.
static void remember(struct database *d)
{
    tables_finish(&d->past[1]);
    d->past[1] = d->past[0];
    tables_copy(&d->now, &d->past[0]);
}

void database_start(struct world *w)
{
    for (int c = 0; c < w->setup->channels; c++) {
        struct channel_row *row = &w->database.now.channels[c];
        row->running = true;
        row->revision = 1;
        row->run = ++w->serial;
        row->start_frame = FARM_START_AT_SWITCH;
        row->tracks = (int)world_between(w, 0, TRACKS_MAX);
        row->outputs = (int)world_between(w, 1, 2);
        row->backup_edges = world_between(w, 0, 2);
        row->single_address = world_between(w, 0, 1);
    }
}

void database_finish(struct world *w)
{
    tables_finish(&w->database.now);
    tables_finish(&w->database.past[0]);
    tables_finish(&w->database.past[1]);
}

// ---- Transactions -----------------------------------------------------------------------------

static int shares(const struct database *d)
{
    int count = 0;
    for (int i = 0; i < SESSIONS; i++)
        count += d->sessions[i].open;
    return count;
}

static struct session *session_find(struct database *d, uint64_t id)
{
    for (int i = 0; i < SESSIONS; i++)
        if (d->sessions[i].open && d->sessions[i].id == id)
            return &d->sessions[i];
    return NULL;
}

void database_idle(struct world *w, uint64_t id)
{
    struct session *s = session_find(&w->database, id);
    if (s)
        s->open = false;
}

void database_sessions_kill(struct world *w, int coordinator)
{
    for (int i = 0; i < SESSIONS; i++)
        if (coordinator < 0 || w->database.sessions[i].coordinator == coordinator)
            w->database.sessions[i].open = false;
}

void database_failover(struct world *w, int commits)
{
    struct database *d = &w->database;
    database_sessions_kill(w, -1);
    d->server++;
    for (int i = 0; i < commits && d->past[0].lease_epoch; i++) {
        tables_finish(&d->now);
        d->now = d->past[0];
        d->past[0] = d->past[1];
        d->past[1] = (struct tables){0};
    }
    for (int c = 0; c < w->setup->channels; c++)
        check_lost(w, c, d->now.channels[c].last_at_frame);
}

static int begin(struct world *w, int coordinator, const struct request *r)
{
    struct database *d = &w->database;
    const struct tables *t = &d->now;
    bool fenced = t->lease_holder != r->holder || t->lease_epoch != r->epoch ||
                  t->lease_expires_ns <= w->now_ns;
    if (fenced && w->setup->bug != SIM_BUG_UNFENCED)
        return -ESTALE;
    for (int i = 0; i < SESSIONS; i++) {
        if (d->sessions[i].open)
            continue;
        d->sessions[i] = (struct session){true, r->id, coordinator, w->processes[coordinator].life};
        world_add(w, &(struct event){.at_ns = w->now_ns + IDLE_NS, .kind = EVENT_IDLE, .a = r->id});
        return 0;
    }
    return -EIO;
}

static void plan_remove(struct channel_row *row, int i)
{
    blob_unref(&row->plans[i].plan);
    row->plans[i] = row->plans[--row->plan_count];
    row->plans[row->plan_count] = (struct plan_row){0};
}

// What comes before a plan in its transaction, as in coordinator/store/store_plans.c. 1: that is
// all.
static int put_begin(struct channel_row *row, const struct request *r)
{
    if (r->restored) {
        if (!row->running && row->stop_frame >= r->at_frame)
            return -ESTALE;
        if (row->last_at_frame >= r->at_frame)
            return 1; // known, and there, or history
        if (!row->running || row->revision != r->revision)
            row->start_frame = FARM_START_AT_SWITCH; // its event is lost, too
        row->running = true;
        row->revision = r->revision;
    }
    for (int i = 0; i < row->plan_count; i++)
        if (r->replaces == row->plans[i].epoch)
            plan_remove(row, i);
    return row->running ? 0 : -ESTALE;
}

static int plan_put(struct world *w, const struct request *r)
{
    struct channel_row *row = &w->database.now.channels[r->channel];
    uint32_t epoch = r->plan_epoch - (w->setup->bug == SIM_BUG_REUSED && row->plan_count);
    int older = -1, done = put_begin(row, r);
    if (done)
        return done < 0 ? done : 0;
    for (int i = 0; i < row->plan_count; i++) {
        if (row->plans[i].epoch == epoch && w->setup->bug != SIM_BUG_REUSED)
            return 0; // written before: its answer was lost
        if (row->plans[i].epoch < epoch)
            older = i;
    }
    check_commit(w, r, epoch);
    struct plan_row plans[2] = {{0}}, added = {epoch, r->at_frame, blob_ref(r->plan)};
    int count = 0;
    for (int i = 0; i < row->plan_count; i++) {
        if (i == older)
            plans[count++] = row->plans[i];
        else
            blob_unref(&row->plans[i].plan);
    }
    plans[count++] = added;
    memcpy(row->plans, plans, sizeof plans);
    row->plan_count = count;
    row->last_epoch = epoch > row->last_epoch ? epoch : row->last_epoch;
    row->last_at_frame = r->at_frame;
    if (row->start_frame == FARM_START_AT_SWITCH && row->revision == r->revision)
        row->start_frame = r->start_frame;
    return 0;
}

static void change_put(struct world *w, const struct request *r)
{
    struct tables *t = &w->database.now;
    const struct sim_action *a = &w->setup->actions[r->action];
    if (a->kind == SIM_DRAIN) {
        t->draining[a->a - SIM_WORKER] = !r->ends;
        return;
    }
    struct channel_row *row = &t->channels[a->a];
    if (a->kind == SIM_START_STOP)
        row->running = !row->running;
    if (a->kind == SIM_TIMELINE || (a->kind == SIM_START_STOP && row->running)) {
        row->run = ++w->serial;
        row->start_frame = FARM_START_AT_SWITCH;
    }
    if (!row->running) {
        row->stop_frame = r->at_frame;
        while (row->plan_count)
            plan_remove(row, 0);
    }
    if (a->kind != SIM_START_STOP) {
        row->revision = (uint32_t)++w->serial;
        row->tracks = (int)(row->revision * 7 % (TRACKS_MAX + 1));
    }
    world_say(w, "channel %d is to be revision %u%s", a->a, row->revision,
              row->running ? "" : ", stopped");
}

static int commit(struct world *w, const struct request *r)
{
    struct session *s = session_find(&w->database, r->id);
    if (!s)
        return -EIO; // the session was killed: nothing is written
    s->open = false;
    remember(&w->database);
    struct channel_row *row = &w->database.now.channels[r->channel];
    if (r->kind == REQUEST_COMMIT)
        return plan_put(w, r);
    if (r->kind == REQUEST_CHANGE)
        change_put(w, r);
    else if (r->plan_epoch > row->last_epoch && w->setup->bug != SIM_BUG_FORGETFUL)
        row->last_epoch = r->plan_epoch;
    return 0;
}

// Changes of holder that are lost must not let an epoch be used twice.
static uint64_t floor_now(const struct world *w)
{
    return (uint64_t)(w->now_ns / SIM_MS);
}

// As store_lease.
static int lease(struct world *w, const struct request *r, uint64_t *ret_epoch)
{
    struct tables *t = &w->database.now;
    if (t->lease_epoch && t->lease_holder != r->holder && t->lease_expires_ns > w->now_ns)
        return -EAGAIN;
    if (t->lease_holder != r->holder || t->lease_epoch <= r->above) {
        uint64_t next = t->lease_epoch + 1, above = r->above + 1, floor = floor_now(w);
        remember(&w->database);
        t = &w->database.now;
        next = next > above ? next : above;
        t->lease_epoch = next > floor ? next : floor;
    }
    t->lease_holder = r->holder;
    t->lease_expires_ns = w->now_ns + LEASE_TTL_NS;
    *ret_epoch = t->lease_epoch;
    return 0;
}

// ---- Questions and answers --------------------------------------------------------------------

static void reply(struct world *w, const struct event *e, struct answer *answer)
{
    const struct request *r = e->bytes;
    struct answer *copy = base_alloc(sizeof *copy);
    int64_t work = world_between(w, SIM_MS / 5, 8 * SIM_MS);
    *copy = *answer;
    copy->id = r->id;
    copy->lane = r->lane;
    if (world_buggify(w, 20))
        work += world_between(w, 0, 4 * SIM_S);
    if (w->database.slow_ns > w->now_ns)
        work += SLOW_NS;
    world_add(w, &(struct event){.at_ns = w->now_ns + work,
                                 .kind = EVENT_ANSWER,
                                 .from = SIM_DATABASE,
                                 .to = e->from,
                                 .a = r->id,
                                 .bytes = copy});
}

void database_query(struct world *w, const struct event *e)
{
    struct request *r = e->bytes;
    struct answer answer = {0};
    if (r->kind == REQUEST_LEASE && shares(&w->database)) {
        // Who writes keeps the lease as it is.
        if ((uint64_t)w->now_ns - e->b >= LOCK_NS) {
            answer.result = -EIO;
        } else {
            struct event again = *e;
            again.at_ns = w->now_ns + 10 * SIM_MS;
            again.bytes = base_alloc(sizeof *r);
            memcpy(again.bytes, r, sizeof *r);
            world_add(w, &again);
            return;
        }
    } else if (r->kind == REQUEST_LEASE) {
        answer.result = lease(w, r, &answer.epoch);
        answer.server = w->database.server;
    } else if (r->kind == REQUEST_LOAD) {
        answer.tables = base_alloc(sizeof *answer.tables);
        tables_copy(&w->database.now, answer.tables);
        if (w->setup->bug == SIM_BUG_FORGETFUL)
            for (int c = 0; c < SIM_CHANNELS_MAX; c++)
                answer.tables->channels[c].last_epoch = 0;
    } else if (r->commits) {
        answer.result = commit(w, r);
        if (world_buggify(w, 30)) {
            return; // done, and nobody hears of it
        }
    } else {
        answer.result = begin(w, e->from, r);
        answer.open = !answer.result;
    }
    reply(w, e, &answer);
}
