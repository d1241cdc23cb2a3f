#include "worker/sources.h"

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/thread.h"
#include "engine/link/frame_link.h"
#include "engine/live/decoders.h"
#include "engine/live/input.h"
#include "engine/live/log_follower.h"
#include "worker/child.h"
#include "worker/rtmp.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

typedef Vistter__Control__V1__SourcePlan source_plan;
typedef Vistter__Control__V1__SourceReport source_report;

#define SECOND_NS INT64_C(1000000000)
#define END_NS    (2 * SECOND_NS) // for gateways when the worker ends
#define FORKED_NS (60 * SECOND_NS)

struct source {
    char name[FRAME_LOG_NAME_MAX + 1];
    bool home, wanted;
    uint64_t term;
    bool quarantined;
    char *input;                                         // of a home; secret
    char rtmp_key[DOOR_KEY_MAX + 1];                     // "": is not sent to our RTMP server
    char address[128], link_id[FRAME_LOG_NAME_MAX + 16]; // of the home, for who follows it
    uint8_t key[LINK_KEY_BYTES];
    // -- what runs: at most one of them
    struct child gateway;
    bool has_gateway, stopping;
    struct log_follower *follower, *leaving; // leaving: it has been stopped, its thread has not
    int64_t retry_ns;
    char error[640];
    struct log_follower_stats stats; // as reported
    char *status;                    // the same, where it is not the gateway's alone
    int64_t forked_at_ns;            // when the log was given up that went on by itself; 0: never
    char forked[256];                // about it
    source_report report;
};

struct sources {
    char folder[PATH_MAX - FRAME_LOG_NAME_MAX - 8];
    char node[128];
    int latency_ms, count;
    int64_t begun_ns;                 // farm time
    struct source *list[SOURCES_MAX]; // by nothing
    source_report *reports[SOURCES_MAX];
    struct rtmp *rtmp;
};

int sources_create(const struct sources_config *config, struct sources **ret,
                   struct diagnostic *reterr)
{
    struct sources *s = base_alloc(sizeof *s);
    int length = snprintf(s->folder, sizeof s->folder, "%s", config->folder);
    snprintf(s->node, sizeof s->node, "%s", config->node);
    s->latency_ms = config->latency_ms;
    s->begun_ns = clock_realtime_ns();
    if (length >= (int)sizeof s->folder || (mkdir(s->folder, 0700) && errno != EEXIST)) {
        int error = length >= (int)sizeof s->folder ? -ENAMETOOLONG : -errno;
        free(s);
        return diagnostic_set(reterr, error, "live_folder", config->folder,
                              "the folder for live sources cannot be made: %s", strerror(-error));
    }
    int error = rtmp_create(config->rtmp_folder, config->rtmp_listen, &s->rtmp, reterr);
    if (error)
        free(s);
    else
        *ret = s;
    return error;
}

static void wipe(char **text)
{
    if (*text)
        explicit_bzero(*text, strlen(*text));
    free(*text);
    *text = NULL;
}

// ---- What runs --------------------------------------------------------------------------------

static bool has_left(struct source *s)
{
    if (s->leaving && log_follower_ended(s->leaving))
        log_follower_destroy(&s->leaving);
    return !s->leaving;
}

// Nobody else may write the log before a gateway, or a follower, has let go of it. -EAGAIN: not
// yet.
static int end_run(struct source *s)
{
    if (s->has_gateway && child_stop(&s->gateway))
        return -EAGAIN;
    if (s->follower && (log_follower_stop(s->follower) || !has_left(s)))
        return -EAGAIN;
    if (s->has_gateway)
        child_finish(&s->gateway);
    s->has_gateway = s->stopping = false;
    if (s->follower)
        s->leaving = s->follower;
    s->follower = NULL;
    return 0;
}

static const char *const gateway_argv[] = {"vistter-gateway", NULL};

static void begin_gateway(struct sources *all, struct source *s, int64_t now_ns)
{
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%s/%s", all->folder, s->name);
    json_t *input = json_loads(s->input, 0, NULL);
    if (*s->rtmp_key) {
        char url[256];
        rtmp_url(all->rtmp, s->name, url, sizeof url);
        json_decref(input);
        input = json_pack("{s:s, s:s}", "kind", "pull", "url", url);
    }
    json_t *settings =
        json_pack("{s:s, s:s, s:b, s:o, s:b}", "source", s->name, "folder", folder, "quarantined",
                  s->quarantined, "input", input, "relay", *s->rtmp_key != 0);
    char *text = settings ? json_dumps(settings, JSON_COMPACT) : NULL;
    json_decref(settings);
    if (!text) {
        snprintf(s->error, sizeof s->error, "what the source is, is no JSON");
        s->retry_ns = INT64_MAX;
        return;
    }
    s->error[0] = 0;
    child_init(&s->gateway, "the gateway", gateway_argv, text);
    child_step(&s->gateway, now_ns);
    s->has_gateway = true;
}

static void begin_follower(struct sources *all, struct source *s, int64_t now_ns)
{
    struct log_follower_config config = {
        .source = s->name,
        .root = all->folder,
        .address = s->address,
        .consumer = all->node,
        .link_id = s->link_id,
        .latency_ms = all->latency_ms,
    };
    struct diagnostic why = {0};
    memcpy(config.key, s->key, sizeof config.key);
    s->stats = (struct log_follower_stats){0};
    int error = log_follower_create(&config, &s->follower, &why);
    explicit_bzero(config.key, sizeof config.key);
    s->retry_ns = now_ns + SECOND_NS;
    snprintf(s->error, sizeof s->error, "%s", error ? why.text : "");
}

static void source_step(struct sources *all, struct source *s, int64_t now_ns)
{
    (void)has_left(s);
    if (s->stopping && end_run(s))
        return;
    if (s->has_gateway)
        child_step(&s->gateway, now_ns);
    else if (!s->follower && now_ns >= s->retry_ns && s->home)
        begin_gateway(all, s, now_ns);
    else if (!s->follower && now_ns >= s->retry_ns && *s->address)
        begin_follower(all, s, now_ns);
}

static void source_free(struct source *s)
{
    wipe(&s->input);
    free(s->status);
    explicit_bzero(s, sizeof *s);
    free(s);
}

void sources_step(struct sources *all, int64_t now_ns)
{
    int kept = 0;
    for (int i = 0; i < all->count; i++) {
        struct source *s = all->list[i];
        if (s->wanted || end_run(s) || !has_left(s)) {
            all->list[kept++] = s;
        } else {
            source_free(s);
        }
    }
    all->count = kept;
    rtmp_step(all->rtmp, now_ns);
    for (int i = 0; i < all->count; i++)
        if (all->list[i]->wanted)
            source_step(all, all->list[i], now_ns);
}

// ---- What is told -----------------------------------------------------------------------------

static struct source *source_of(struct sources *all, const source_plan *plan)
{
    for (int i = 0; i < all->count; i++)
        if (!strcmp(all->list[i]->name, plan->source))
            return all->list[i];
    if (all->count == SOURCES_MAX || !frame_log_name_valid(plan->source)) {
        log_error("source_refused", "source=%s", plan->source);
        return NULL;
    }
    struct source *s = base_alloc(sizeof *s);
    snprintf(s->name, sizeof s->name, "%s", plan->source);
    return all->list[all->count++] = s;
}

// The link of a follower; NULL: it has none.
static const Vistter__Control__V1__LinkPlan *link_of(const source_plan *plan, const char *node)
{
    for (size_t i = 0; i < plan->n_links; i++)
        if (!strcmp(plan->links[i]->consumer, node) && plan->links[i]->key.len == LINK_KEY_BYTES)
            return plan->links[i];
    return NULL;
}

static void follow_home(struct source *s, const source_plan *plan, const char *node)
{
    const Vistter__Control__V1__LinkPlan *link = link_of(plan, node);
    bool same_home =
        !s->home && link && !strcmp(s->address, plan->address) && s->term == plan->term;
    struct log_follower_stats stats = {0};
    if (s->follower)
        log_follower_stats(s->follower, &stats);
    // Another leader makes other keys. A link that stands needs none until it breaks.
    bool same_key = link && !memcmp(s->key, link->key.data, LINK_KEY_BYTES);
    if (link) {
        snprintf(s->address, sizeof s->address, "%s", plan->address);
        snprintf(s->link_id, sizeof s->link_id, "%s", link->link_id);
        memcpy(s->key, link->key.data, LINK_KEY_BYTES);
    } else {
        s->address[0] = 0;
    }
    if (!same_home || (!same_key && !stats.connected))
        s->stopping = true;
    s->home = false;
    wipe(&s->input);
    explicit_bzero(s->rtmp_key, sizeof s->rtmp_key);
}

static void set_rtmp_key(struct source *s)
{
    struct live_input in;
    json_t *input = json_loads(s->input, 0, NULL);
    bool rtmp = !live_input_parse(input, s->name, &in, NULL) && in.kind == LIVE_INPUT_RTMP;
    json_decref(input);
    memset(s->rtmp_key, 0, sizeof s->rtmp_key);
    if (rtmp)
        memcpy(s->rtmp_key, in.key, strnlen(in.key, DOOR_KEY_MAX));
    explicit_bzero(&in, sizeof in);
}

static void follow_keys(struct sources *all)
{
    struct door_key keys[SOURCES_MAX];
    size_t count = 0;
    for (int i = 0; i < all->count; i++)
        if (all->list[i]->wanted && *all->list[i]->rtmp_key)
            keys[count++] = (struct door_key){all->list[i]->name, all->list[i]->rtmp_key};
    rtmp_follow(all->rtmp, keys, count);
}

static void be_home(struct source *s, const source_plan *plan)
{
    bool same_mode = s->quarantined == plan->quarantined;
    if (!s->home || !s->input || strcmp(s->input, plan->input) != 0 || !same_mode) {
        bool relayed = s->home && *s->rtmp_key && same_mode;
        s->quarantined = plan->quarantined;
        wipe(&s->input);
        s->input = base_strdup(plan->input);
        set_rtmp_key(s);
        if (!relayed || !*s->rtmp_key) // a gateway has no part in keys
            s->stopping = true;
    }
    s->home = true;
    s->address[0] = 0;
}

void sources_follow(struct sources *all, const Vistter__Control__V1__DesiredState *state)
{
    for (int i = 0; i < all->count; i++)
        all->list[i]->wanted = false;
    for (size_t i = 0; i < state->n_sources; i++) {
        const source_plan *plan = state->sources[i];
        struct source *s = source_of(all, plan);
        if (!s)
            continue;
        if (!strcmp(plan->home, all->node))
            be_home(s, plan);
        else
            follow_home(s, plan, all->node);
        s->wanted = true;
        s->term = plan->term;
        s->retry_ns = 0;
    }
    follow_keys(all);
    sources_step(all, clock_monotonic_ns());
}

// ---- What is reported -------------------------------------------------------------------------

// Beside what the gateway says: who sends, and who may not.
static void report_rtmp(const struct sources *all, struct source *s, json_t *status,
                        source_report *r)
{
    struct rtmp_facts f = rtmp_facts(all->rtmp, s->name);
    if (*f.error)
        r->error = (char *)(uintptr_t)f.error;
    json_t *rtmp = json_pack("{s:s, s:s, s:I, s:I, s:s, s:s}", "listen", f.listen, "sender",
                             f.sender, "connections", (json_int_t)f.connections, "refusals",
                             (json_int_t)f.refusals, "refused", f.refused, "refusal", f.refusal);
    json_object_set_new(status, "rtmp", rtmp);
    free(s->status);
    s->status = json_dumps(status, JSON_COMPACT | JSON_REAL_PRECISION(6));
    if (s->status)
        r->status = s->status;
}

static void report_gateway(const struct sources *all, struct source *s, source_report *r)
{
    const struct child *g = &s->gateway;
    json_t *status = json_loads(g->status, 0, NULL);
    r->seq = (uint64_t)json_integer_value(json_object_get(status, "seq"));
    r->done_ns = json_integer_value(json_object_get(status, "done_ns"));
    r->status = s->gateway.status;
    r->error = s->gateway.error;
    if (*s->rtmp_key && status)
        report_rtmp(all, s, status, r);
    json_decref(status);
}

static void note_fork(struct source *s)
{
    time_t second = (time_t)(s->stats.fork_ns / SECOND_NS);
    char at[32];
    struct tm day;
    strftime(at, sizeof at, "%F %T", gmtime_r(&second, &day));
    s->forked_at_ns = clock_monotonic_ns();
    snprintf(s->forked, sizeof s->forked,
             "%s: this worker's log was not its home's; what it showed up to %s UTC others may "
             "have shown otherwise",
             s->name, at);
    log_warning("source_forked", "source=%s until_ns=%" PRId64, s->name, s->stats.fork_ns);
}

const char *sources_forked(const struct sources *all, int64_t now_ns)
{
    const struct source *newest = NULL;
    for (int i = 0; i < all->count; i++) {
        const struct source *s = all->list[i];
        if (s->forked_at_ns && now_ns - s->forked_at_ns < FORKED_NS &&
            (!newest || s->forked_at_ns > newest->forked_at_ns))
            newest = s;
    }
    return newest ? newest->forked : NULL;
}

static void report_follower(const struct sources *all, struct source *s, source_report *r)
{
    struct log_follower_stats *stats = &s->stats;
    uint64_t forks = stats->forks;
    log_follower_stats(s->follower, stats);
    if (stats->forks > forks && stats->fork_ns > all->begun_ns) // else nobody here has shown it
        note_fork(s);
    if (stats->agreed) { // else what is here may be what this worker wrote apart from the home
        r->seq = stats->seq;
        r->done_ns = stats->done_ns[UNIT_PICTURE];
    }
    s->error[0] = 0;
    if (stats->error)
        snprintf(s->error, sizeof s->error, "the copy cannot be written: %s",
                 strerror(-stats->error));
    else if (!stats->connected && !s->stopping)
        snprintf(s->error, sizeof s->error, "%s cannot be reached", s->address);
}

size_t sources_report(struct sources *all, source_report ***ret)
{
    for (int i = 0; i < all->count; i++) {
        struct source *s = all->list[i];
        source_report *r = all->reports[i] = &s->report;
        vistter__control__v1__source_report__init(r);
        r->source = s->name;
        r->term = s->term;
        r->home = s->home;
        r->error = s->error;
        r->bad_unit = live_decoders_newest_blamed(s->name);
        // What is on its way out says nothing about this term.
        if (s->has_gateway && s->home)
            report_gateway(all, s, r);
        else if (s->follower && !s->home)
            report_follower(all, s, r);
    }
    *ret = all->reports;
    return (size_t)all->count;
}

void sources_destroy(struct sources **sources)
{
    struct sources *all = *sources;
    if (!all)
        return;
    *sources = NULL;
    int64_t end_ns = clock_monotonic_ns() + END_NS;
    for (int i = 0; i < all->count; i++)
        all->list[i]->wanted = false;
    while (all->count && clock_monotonic_ns() < end_ns) {
        sources_step(all, clock_monotonic_ns());
        if (all->count)
            clock_sleep_until_ns(clock_monotonic_ns() + SECOND_NS / 50);
    }
    for (int i = 0; i < all->count; i++) { // that do not listen
        child_finish(&all->list[i]->gateway);
        log_follower_destroy(&all->list[i]->follower);
        log_follower_destroy(&all->list[i]->leaving);
        source_free(all->list[i]);
    }
    rtmp_destroy(&all->rtmp);
    free(all);
}
