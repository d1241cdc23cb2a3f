// Takes: what people put on a channel's live tracks (engine/timeline/takes.h). The leader gives
// each a number and a frame that no worker may have rendered yet, tells the nodes, and has it
// written; that can wait until the database is back. Until it is written edges tell takes back with
// their reports, so that another leader knows them too.
#include "coordinator/control/farm_private.h"
#include "engine/base/log.h"
#include "engine/base/thread.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef Vistter__Control__V1__LiveTake take_message;

// Takes that frames so far back depend on are kept: longer than any node may be behind.
#define KEPT_SECONDS 5
// Takes of a channel that wait for the database.
#define JOURNAL_MAX 100000

static struct channel *channel_named(struct farm *farm, const char *name)
{
    for (int i = 0; i < farm->channel_count; i++) {
        const channel_plan_message *m = farm->channels[i]->wanted;
        if (m && !strcmp(m->channel_name, name))
            return farm->channels[i];
    }
    return NULL;
}

static void take_free(struct take *take)
{
    free(take->track);
    free(take->text);
}

void takes_drop(struct channel *c)
{
    for (int i = 0; i < c->take_count; i++)
        take_free(&c->takes[i]);
    free(c->takes);
    c->takes = NULL;
    c->take_count = 0;
}

static bool is_alike(const struct take *a, const struct take *b)
{
    return a->facts.fades == b->facts.fades && !strcmp(a->track, b->track);
}

// Marks those whose place two later ones of their kind and track have taken at `frame`, below which
// nothing is rendered any more; of these the written ones go. Returns how many nodes still need.
static int takes_prune(struct channel *c, int64_t frame)
{
    struct {
        const struct take *like;
        int later;
    } kinds[2 * TIMELINE_TRACKS_MAX];
    int kind_count = 0, kept = 0, needed = 0;
    for (int i = c->take_count; i--;) {
        struct take *take = &c->takes[i];
        int k = 0;
        while (k < kind_count && !is_alike(kinds[k].like, take))
            k++;
        if (k == kind_count && k < 2 * TIMELINE_TRACKS_MAX) {
            kinds[kind_count].later = 0;
            kinds[kind_count++].like = take;
        }
        if (k == kind_count)
            continue; // of a revision long gone
        take->over = kinds[k].later >= 2;
        kinds[k].later += take->at_frame <= frame;
        needed += !take->over;
    }
    for (int i = 0; i < c->take_count; i++) {
        if (c->takes[i].over && c->takes[i].stored)
            take_free(&c->takes[i]);
        else
            c->takes[kept++] = c->takes[i];
    }
    c->take_count = kept;
    return needed;
}

static void take_add(struct channel *c, uint64_t sequence, int64_t at_frame, const char *text,
                     bool stored)
{
    struct take take = {.sequence = sequence, .at_frame = at_frame, .stored = stored};
    take.track = take_track(text, &take.facts);
    if (!take.track)
        return;
    take.text = base_strdup(text);
    c->takes = realloc(c->takes, ((size_t)c->take_count + 1) * sizeof *c->takes);
    if (!c->takes)
        abort();
    c->takes[c->take_count++] = take;
    c->take_sequence = sequence;
}

// The newest take of a track, and where its fader stands; NULL: there was none.
static const struct take *take_newest(const struct channel *c, const char *track, double *ret_fader)
{
    *ret_fader = -1;
    for (int i = c->take_count; i--;) {
        const struct take *take = &c->takes[i];
        if (strcmp(take->track, track) != 0)
            continue;
        if (!take->facts.fades)
            return take;
        if (*ret_fader < 0)
            *ret_fader = take->facts.fader;
    }
    return NULL;
}

static void nodes_touch(struct farm *farm, const struct channel *c)
{
    farm_plan_touch(farm, c->current);
    farm_plan_touch(farm, c->next);
}

// The first frame that nobody may have asked for, with time for the nodes to hear of it. Takes of a
// track do not share a frame; positions of a fader may, the last one counts.
static int64_t take_frame(const struct farm *farm, const struct channel *c, const char *track,
                          bool fades, struct farm_time now)
{
    int64_t at = channel_cursor(farm, c, now) + c->current->message->lead_frames + FARM_TAKE_FRAMES;
    for (int i = 0; i < c->take_count; i++) {
        bool apart = !fades && !strcmp(c->takes[i].track, track);
        int64_t least = c->takes[i].at_frame + apart;
        at = at > least ? at : least;
    }
    return at;
}

int farm_take(struct farm *farm, const char *channel, const char *take, struct farm_time now,
              struct farm_took *ret, struct diagnostic *reterr)
{
    struct channel *c = channel_named(farm, channel);
    struct take_facts facts;
    double fader;
    if (!c)
        return diagnostic_set(reterr, -ENOENT, "not_found", channel, "there is no such channel");
    if (!c->running || !c->timeline || !c->current)
        return diagnostic_set(reterr, -EBUSY, "not_on_air", channel,
                              "is not on air: there is nothing to switch");
    if (!farm->settled)
        return diagnostic_set(reterr, -ESTALE, "not_settled", channel,
                              "this coordinator has just begun to lead and still hears what is on "
                              "air; ask again");
    int error = take_check(c->timeline, take, &facts, reterr);
    if (error)
        return error;
    const char *track = c->timeline->tracks[facts.track].name;
    const struct take *newest = take_newest(c, track, &fader);
    if (facts.fades && (!newest || !newest->facts.manual || fader >= 1))
        return diagnostic_set(reterr, -EINVAL, "live_no_fader", "fader",
                              "there is no transition by hand on this track now; take a clip with "
                              "\"manual\": true first");
    struct rate rate = {(int32_t)c->current->message->rate_num,
                        (int32_t)c->current->message->rate_den};
    int64_t kept = (int64_t)KEPT_SECONDS * rate.num / rate.den;
    int needed = takes_prune(c, channel_cursor(farm, c, now) - kept);
    if (needed >= TAKES_MAX || c->take_count >= JOURNAL_MAX)
        return diagnostic_set(reterr, -EBUSY, "live_busy", channel,
                              "has had more takes in a short time, or while the database is away, "
                              "than there is room for (%d, %d); wait some seconds",
                              TAKES_MAX, JOURNAL_MAX);
    *ret = (struct farm_took){.sequence = c->take_sequence + 1,
                              .at_frame = take_frame(farm, c, track, facts.fades, now)};
    take_add(c, ret->sequence, ret->at_frame, take, false);
    nodes_touch(farm, c);
    return 0;
}

void farm_load_take(struct farm *farm, uint64_t channel, const struct farm_take *take)
{
    struct channel *c = farm_channel_find(farm, channel);
    if (c && take->sequence > c->take_sequence)
        take_add(c, take->sequence, take->at_frame, take->text, true);
}

void takes_adopt(struct farm *farm, const farm_report_message *report)
{
    for (size_t i = 0; i < report->n_channels; i++) {
        const Vistter__Control__V1__ChannelReport *r = report->channels[i];
        struct channel *c = r->n_takes ? farm_channel_find(farm, r->channel) : NULL;
        for (size_t k = 0; c && k < r->n_takes; k++) {
            const take_message *take = r->takes[k];
            if (take->sequence <= c->take_sequence)
                continue;
            log_info("take_adopted", "channel=%llu sequence=%llu at_frame=%lld",
                     (unsigned long long)c->id, (unsigned long long)take->sequence,
                     (long long)take->at_frame);
            take_add(c, take->sequence, take->at_frame, take->take, false);
            nodes_touch(farm, c);
        }
    }
}

void takes_step(struct farm *farm, int64_t now_ns, const struct farm_outputs *outputs)
{
    for (int i = 0; i < farm->channel_count && outputs->take && !outputs->fenced; i++) {
        struct channel *c = farm->channels[i];
        for (int k = 0; k < c->take_count; k++) {
            struct take *take = &c->takes[k];
            if (take->stored || take->waits_on_store || now_ns < take->store_ns)
                continue;
            take->waits_on_store = true;
            take->store_ns = now_ns + FARM_STORE_NS;
            outputs->take(
                outputs->opaque, c->id,
                &(struct farm_take){take->sequence, take->at_frame, take->track, take->text});
        }
    }
}

void farm_taken(struct farm *farm, uint64_t channel, uint64_t sequence, int result)
{
    struct channel *c = farm_channel_find(farm, channel);
    for (int i = 0; c && i < c->take_count; i++) {
        struct take *take = &c->takes[i];
        if (take->sequence != sequence)
            continue;
        take->waits_on_store = false;
        take->stored = result >= 0;
        if (take->stored)
            nodes_touch(farm, c); // edges need not tell it any more
    }
}

// ---- What nodes are told
// -------------------------------------------------------------------------

size_t takes_fill(const struct channel *c, take_message messages[TAKES_MAX],
                  take_message *list[TAKES_MAX], uint64_t *ret_stored)
{
    size_t count = 0;
    *ret_stored = c->take_sequence;
    for (int i = c->take_count; i--;)
        if (!c->takes[i].stored)
            *ret_stored = c->takes[i].sequence - 1;
    for (int i = 0; i < c->take_count && count < TAKES_MAX; i++) {
        const struct take *take = &c->takes[i];
        if (take->over)
            continue;
        vistter__control__v1__live_take__init(&messages[count]);
        messages[count].sequence = take->sequence;
        messages[count].at_frame = take->at_frame;
        messages[count].take = take->text;
        list[count] = &messages[count];
        count++;
    }
    return count;
}

void takes_view(const struct channel *c, struct farm_shown shown[TIMELINE_TRACKS_MAX])
{
    for (size_t t = 0; c->timeline && t < c->timeline->track_count; t++) {
        const struct track *track = &c->timeline->tracks[t];
        double fader;
        const struct take *newest = track->live ? take_newest(c, track->name, &fader) : NULL;
        if (newest)
            shown[t] = (struct farm_shown){newest->sequence, newest->at_frame, fader,
                                           base_strdup(newest->text)};
    }
}
