// Live sources: who takes each in, and who follows its log (farm.h).
#include "coordinator/control/farm_private.h"
#include "engine/base/log.h"
#include "engine/base/thread.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef Vistter__Control__V1__SourceReport source_report;
typedef Vistter__Control__V1__LinkPlan link_message;

// A log so little behind the home's may go on in its place.
#define CAUGHT_UP_NS INT64_C(1000000000)
// So many units that end decoders, in so long, and a source is not taken in for a while, each time
// for twice as long, up to a limit, until it has been well for the last of these.
#define SECOND_NS         INT64_C(1000000000)
#define BAD_TIME_NS       INT64_C(60000000000)
#define QUARANTINE_NS     INT64_C(30000000000)
#define QUARANTINE_LEVELS 5
#define WELL_NS           INT64_C(600000000000)
// A home that says nothing for so long, three reports, whose connection has closed, and whose log
// nobody has seen grow, has ended: until FARM_NODE_LOST_NS every frame that shows the source would
// wait. None of the three is enough by itself: a link may break, and a busy home be late.
#define ENDED_NS INT64_C(300000000)
// A home that has written nothing for so long may be left for one that has not followed.
#define BARREN_NS INT64_C(2000000000)
// Who follows goes on so long: the plan before may still be on air.
#define FOLLOW_ON_NS INT64_C(30000000000)

static struct source *source_find(const struct farm *farm, const char *name)
{
    for (int i = 0; i < farm->source_count; i++)
        if (!strcmp(farm->sources[i].name, name))
            return &farm->sources[i];
    return NULL;
}

static void source_finish(struct source *s)
{
    if (s->input)
        explicit_bzero(s->input, strlen(s->input));
    free(s->input);
    explicit_bzero(s, sizeof *s);
}

void sources_destroy(struct farm *farm)
{
    for (int i = 0; i < farm->source_count; i++)
        source_finish(&farm->sources[i]);
    free(farm->sources);
}

int farm_set_sources(struct farm *farm, const struct farm_source *wanted, size_t count)
{
    int error = count > FARM_SOURCES_MAX ? -ENOSPC : 0;
    count = error ? FARM_SOURCES_MAX : count;
    struct source *list = base_alloc((count + 1) * sizeof *list);
    for (size_t i = 0; i < count; i++) {
        const struct source *before = source_find(farm, wanted[i].name);
        if (before)
            list[i] = *before;
        if (before && strcmp(before->input, wanted[i].input) != 0) { // it is another now
            list[i].quarantined = false;
            list[i].bad_count = list[i].quarantines = 0;
        }
        snprintf(list[i].name, sizeof list[i].name, "%s", wanted[i].name);
        snprintf(list[i].pinned, sizeof list[i].pinned, "%s", wanted[i].worker);
        list[i].input = base_strdup(wanted[i].input);
    }
    sources_destroy(farm);
    farm->sources = list;
    farm->source_count = (int)count;
    farm->generation++;
    return error;
}

// ---- Who is home ------------------------------------------------------------------------------

static const source_report *report_of(const struct node *node, const struct source *s)
{
    for (size_t i = 0; node && i < node->report->n_sources; i++)
        if (!strcmp(node->report->sources[i]->source, s->name))
            return node->report->sources[i];
    return NULL;
}

void sources_adopt(struct farm *farm, const farm_report_message *report, int64_t now_ns)
{
    for (size_t i = 0; i < report->n_sources; i++) {
        const source_report *r = report->sources[i];
        struct source *s = source_find(farm, r->source);
        if (s && r->term == s->term && r->seq > s->seq) {
            s->seq = r->seq;
            s->grown_ns = now_ns;
        }
        if (!s || r->term < s->term || (r->term == s->term && (!r->home || *s->home)))
            continue;
        s->term = r->term;
        s->seq = r->seq;
        s->grown_ns = now_ns;
        snprintf(s->home, sizeof s->home, "%s", r->home ? report->node : "");
        farm->generation++;
    }
}

static bool may_follow(const struct node *node)
{
    return node && node->alive &&
           node->report->role == VISTTER__CONTROL__V1__NODE_ROLE__NODE_ROLE_WORKER;
}

static bool may_take_in(const struct node *node)
{
    return may_follow(node) && !node->gone; // else it could not even be told
}

// Who is home stays so for longer.
static bool is_home(const struct node *home, const struct source *s, int64_t now_ns)
{
    bool ended = home && home->gone && now_ns - home->report_ns > ENDED_NS &&
                 now_ns - s->grown_ns > ENDED_NS;
    return may_follow(home) && !ended;
}

static int homes_of(const struct farm *farm, const char *node)
{
    int count = 0;
    for (int i = 0; i < farm->source_count; i++)
        count += !strcmp(farm->sources[i].home, node);
    return count;
}

// What it says of this term. Before, its log may have been another.
static const source_report *report_now(const struct node *node, const struct source *s)
{
    const source_report *r = report_of(node, s);
    return r && r->term == s->term && r->seq ? r : NULL;
}

// Whose log is newest; of those without one, who has the least to do.
static const struct node *home_choose(const struct farm *farm, const struct source *s)
{
    const struct node *best = NULL;
    int64_t best_done = 0, best_load = 0;
    for (int i = 0; i < farm->node_count; i++) {
        const struct node *node = farm->nodes[i];
        const source_report *r = report_now(node, s);
        int64_t done = r ? r->done_ns : 0;
        int64_t load = homes_of(farm, node->name);
        if (farm_node_drains(farm, node->name))
            load += FARM_SOURCES_MAX; // rather than nobody
        if (!may_take_in(node) || (best && done < best_done) ||
            (best && done == best_done && load >= best_load))
            continue;
        best = node;
        best_done = done;
        best_load = load;
    }
    return best;
}

// It has followed, and is about as far.
static bool has_caught_up(const struct node *node, const struct node *home, const struct source *s,
                          int64_t now_ns)
{
    const source_report *own = report_now(node, s), *theirs = report_now(home, s);
    if (!theirs)
        return now_ns - s->grown_ns > BARREN_NS;
    return own && own->done_ns > theirs->done_ns - CAUGHT_UP_NS;
}

static void home_step(struct farm *farm, struct source *s, int64_t now_ns)
{
    const struct node *home = *s->home ? farm_node(farm, s->home) : NULL;
    const struct node *pinned = *s->pinned ? farm_node(farm, s->pinned) : NULL;
    bool stays = is_home(home, s, now_ns);
    const struct node *next = stays ? home : home_choose(farm, s);
    if (may_take_in(pinned) && (!stays || has_caught_up(pinned, home, s, now_ns)))
        next = pinned;
    if (!next || next == home)
        return;
    s->term++;
    s->seq = 0;
    s->grown_ns = now_ns;
    log_info("source_home", "source=%s home=%s before=%s term=%llu", s->name, next->name, s->home,
             (unsigned long long)s->term);
    snprintf(s->home, sizeof s->home, "%s", next->name);
    farm->generation++;
}

// ---- What ends decoders -----------------------------------------------------------------------

static void quarantine_begin(struct farm *farm, struct source *s, int64_t now_ns)
{
    if (now_ns - s->quarantined_until_ns > WELL_NS)
        s->quarantines = 0;
    int64_t time_ns = QUARANTINE_NS << s->quarantines;
    s->quarantines += s->quarantines < QUARANTINE_LEVELS;
    s->quarantined = true;
    s->quarantined_until_ns = now_ns + time_ns;
    farm->generation++;
    log_warning("source_quarantined", "source=%s seconds=%lld", s->name,
                (long long)(time_ns / SECOND_NS));
}

static void quarantine_end(struct farm *farm, struct source *s)
{
    s->quarantined = false;
    s->bad_count = 0;
    farm->generation++;
    log_info("source_released", "source=%s", s->name);
}

// Whoever decodes it tells the same units.
static void quarantine_step(struct farm *farm, struct source *s, int64_t now_ns)
{
    if (s->quarantined && now_ns >= s->quarantined_until_ns)
        quarantine_end(farm, s);
    for (int i = 0; i < farm->node_count; i++) {
        const source_report *r = report_of(farm->nodes[i], s);
        // A unit that its log has not reached is of a source that had the name before.
        if (!r || r->bad_unit <= s->bad_unit || r->bad_unit > r->seq)
            continue;
        s->bad_unit = r->bad_unit;
        s->bad_ns[s->bad_count++ % QUARANTINE_UNITS] = now_ns;
        int64_t first_ns = s->bad_ns[s->bad_count % QUARANTINE_UNITS];
        if (s->bad_count >= QUARANTINE_UNITS && now_ns - first_ns < BAD_TIME_NS && !s->quarantined)
            quarantine_begin(farm, s, now_ns);
    }
}

// ---- Who follows ------------------------------------------------------------------------------

struct wish {
    const char *nodes[FOLLOWERS_MAX];
    int count;
};

static void wish_add(struct wish *wish, const struct source *s, const struct node *node)
{
    if (!may_follow(node) || !strcmp(node->name, s->home) || wish->count == FOLLOWERS_MAX)
        return;
    for (int i = 0; i < wish->count; i++)
        if (!strcmp(wish->nodes[i], node->name))
            return;
    wish->nodes[wish->count++] = node->name;
}

static bool channel_names(const struct channel *channel, const struct source *s)
{
    for (size_t i = 0; channel->timeline && i < channel->timeline->source_count; i++)
        if (!strcmp(channel->timeline->sources[i], s->name))
            return true;
    return false;
}

static void wish_add_plan(const struct farm *farm, struct wish *wish, const struct source *s,
                          const struct plan *plan)
{
    const char *name, *address;
    for (int i = 0; plan && (name = plan_node(plan, i, &address)); i++)
        wish_add(wish, s, farm_node(farm, name));
}

// Always the same one, as long as nodes do not come and go.
static void wish_add_spare(const struct farm *farm, struct wish *wish, const struct source *s)
{
    for (int i = 0; i < s->follower_count && !wish->count; i++)
        wish_add(wish, s, farm_node(farm, s->followers[i].node));
    const struct node *best = NULL;
    for (int i = 0; i < farm->node_count && !wish->count; i++) {
        const struct node *node = farm->nodes[i];
        if (may_follow(node) && strcmp(node->name, s->home) != 0 &&
            (!best || strcmp(node->name, best->name) < 0))
            best = node;
    }
    if (best)
        wish_add(wish, s, best);
}

static bool is_wished(const struct wish *wish, const char *node)
{
    int i = 0;
    while (i < wish->count && strcmp(wish->nodes[i], node) != 0)
        i++;
    return i < wish->count;
}

static bool follows(const struct source *s, const char *node)
{
    int i = 0;
    while (i < s->follower_count && strcmp(s->followers[i].node, node) != 0)
        i++;
    return i < s->follower_count;
}

static void followers_step(struct farm *farm, struct source *s, int64_t now_ns)
{
    struct wish wish = {.count = 0};
    for (int i = 0; i < farm->channel_count; i++) {
        const struct channel *channel = farm->channels[i];
        if (!channel->running || !channel_names(channel, s))
            continue;
        wish_add_plan(farm, &wish, s, channel->current);
        wish_add_plan(farm, &wish, s, channel->next);
    }
    wish_add(&wish, s, *s->pinned ? farm_node(farm, s->pinned) : NULL);
    wish_add_spare(farm, &wish, s);
    int kept = 0;
    for (int i = 0; i < s->follower_count; i++) {
        struct follower *f = &s->followers[i];
        if (is_wished(&wish, f->node))
            f->wished_ns = now_ns;
        if (now_ns - f->wished_ns < FOLLOW_ON_NS && strcmp(f->node, s->home) != 0)
            s->followers[kept++] = *f;
    }
    bool changed = kept != s->follower_count;
    s->follower_count = kept;
    for (int i = 0; i < wish.count; i++) {
        struct follower *f = &s->followers[s->follower_count];
        if (follows(s, wish.nodes[i]) || s->follower_count == FOLLOWERS_MAX ||
            farm->config.random(farm->config.opaque, f->key, sizeof f->key) < 0)
            continue;
        snprintf(f->node, sizeof f->node, "%s", wish.nodes[i]);
        f->wished_ns = now_ns;
        s->follower_count++;
        changed = true;
    }
    if (changed)
        farm->generation++;
}

void sources_step(struct farm *farm, int64_t now_ns)
{
    for (int i = 0; i < farm->source_count; i++) {
        home_step(farm, &farm->sources[i], now_ns);
        quarantine_step(farm, &farm->sources[i], now_ns);
        followers_step(farm, &farm->sources[i], now_ns);
    }
}

// ---- What nodes are told ----------------------------------------------------------------------

size_t sources_fill(const struct farm *farm, const char *node, struct source_parts *parts)
{
    size_t count = 0;
    for (int i = 0; i < farm->source_count; i++) {
        struct source *s = &farm->sources[i];
        bool home = !strcmp(s->home, node);
        const struct node *at = *s->home ? farm_node(farm, s->home) : NULL;
        if (!at || (!home && !follows(s, node)))
            continue;
        struct source_parts *p = &parts[count++];
        vistter__control__v1__source_plan__init(&p->plan);
        p->plan.source = s->name;
        p->plan.term = s->term;
        p->plan.home = s->home;
        p->plan.address = at->report->frame_address;
        if (home) {
            p->plan.input = s->input;
            p->plan.quarantined = s->quarantined;
        }
        snprintf(p->link_id, sizeof p->link_id, "source-%s", s->name);
        for (int k = 0; k < s->follower_count; k++) {
            struct follower *f = &s->followers[k];
            if (!home && strcmp(f->node, node) != 0)
                continue;
            link_message *link = &p->links[p->plan.n_links];
            vistter__control__v1__link_plan__init(link);
            link->consumer = f->node;
            link->link_id = p->link_id;
            link->key = (ProtobufCBinaryData){sizeof f->key, f->key};
            p->link_list[p->plan.n_links++] = link;
        }
        p->plan.links = p->link_list;
    }
    return count;
}

// ---- For people -------------------------------------------------------------------------------

static void follower_view(const struct farm *farm, const struct source *s, const struct follower *f,
                          struct farm_time now, struct farm_follower_view *ret)
{
    const source_report *own = report_of(farm_node(farm, f->node), s);
    snprintf(ret->node, sizeof ret->node, "%s", f->node);
    ret->behind_ms = -1;
    if (own && own->seq)
        ret->behind_ms =
            now.realtime_ns > own->done_ns ? (now.realtime_ns - own->done_ns) / 1000000 : 0;
    snprintf(ret->error, sizeof ret->error, "%s", own ? own->error : "");
}

void sources_view(const struct farm *farm, struct farm_time now, struct farm_snapshot *ret)
{
    int64_t now_ns = now.monotonic_ns;
    ret->sources =
        farm->source_count ? base_alloc((size_t)farm->source_count * sizeof *ret->sources) : NULL;
    for (int i = 0; i < farm->source_count; i++) {
        const struct source *s = &farm->sources[i];
        struct farm_source_view *v = &ret->sources[ret->source_count++];
        const struct node *home = *s->home ? farm_node(farm, s->home) : NULL;
        const source_report *r = report_of(home, s);
        bool says = home && home->alive && r && r->home;
        snprintf(v->name, sizeof v->name, "%s", s->name);
        snprintf(v->home, sizeof v->home, "%s", s->home);
        v->home_alive = home && home->alive;
        v->status = base_strdup(says ? r->status : "");
        snprintf(v->error, sizeof v->error, "%s", says ? r->error : "");
        if (s->quarantined)
            snprintf(v->error, sizeof v->error,
                     "what it sends has ended decoders %d times, and is not taken in for %lld s "
                     "more",
                     s->bad_count, (long long)((s->quarantined_until_ns - now_ns) / SECOND_NS));
        if (s->follower_count)
            v->followers = base_alloc((size_t)s->follower_count * sizeof *v->followers);
        for (int k = 0; k < s->follower_count; k++)
            follower_view(farm, s, &s->followers[k], now, &v->followers[v->follower_count++]);
    }
}
