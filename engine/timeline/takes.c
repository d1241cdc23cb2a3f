#include "engine/timeline/takes.h"

#include "engine/base/thread.h"
#include "engine/timeline/arithmetic.h"
#include "engine/timeline/evaluate.h"
#include "engine/timeline/parse.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

// A take and the clip that it shows with: the track's clip with a start and a transition of its
// own.
struct take {
    _Atomic int references;
    uint64_t sequence;
    struct rational at; // position in the timeline, loops counted on
    struct take_facts facts;
    struct clip clip; // of a fader's position: none
};

struct takes {
    _Atomic int references;
    struct timeline *timeline;
    struct clip *nothing; // [track_count]: before the first take
    size_t count;
    struct take *takes[]; // in the log's order
};

// ---- The log ------------------------------------------------------------------------------------

struct take_log *take_log_create(const struct take_event *events, size_t count)
{
    struct take_log *log = base_alloc(sizeof *log + count * sizeof *events);
    log->references = 1;
    for (; log->count < count && log->count < TAKES_MAX; log->count++) {
        const struct take_event *event = &events[log->count];
        log->events[log->count] =
            (struct take_event){event->sequence, event->at_frame, base_strdup(event->take)};
    }
    return log;
}

struct take_log *take_log_ref(const struct take_log *log)
{
    struct take_log *counted = (struct take_log *)(uintptr_t)log;
    if (counted)
        atomic_fetch_add_explicit(&counted->references, 1, memory_order_relaxed);
    return counted;
}

void take_log_unref(struct take_log **log)
{
    struct take_log *old = *log;
    *log = NULL;
    if (!old || atomic_fetch_sub_explicit(&old->references, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < old->count; i++)
        free((char *)(uintptr_t)old->events[i].take);
    free(old);
}

bool take_log_equal(const struct take_log *a, const struct take_log *b)
{
    size_t count = a ? a->count : 0;
    if (count != (b ? b->count : 0))
        return false;
    for (size_t i = 0; i < count; i++)
        if (a->events[i].sequence != b->events[i].sequence ||
            a->events[i].at_frame != b->events[i].at_frame ||
            strcmp(a->events[i].take, b->events[i].take) != 0)
            return false;
    return true;
}

uint64_t takes_mark(const struct take_log *log, int64_t n)
{
    uint64_t sequence = 0;
    for (size_t i = 0; log && i < log->count; i++)
        if (log->events[i].at_frame <= n && log->events[i].sequence > sequence)
            sequence = log->events[i].sequence;
    // Spread over all bits: it is mixed into names that are compared in part (splitmix64's finish).
    sequence = (sequence ^ sequence >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    sequence = (sequence ^ sequence >> 27) * UINT64_C(0x94d049bb133111eb);
    return sequence ^ sequence >> 31;
}

void takes_revision(const struct take_log *log, int64_t n, const uint8_t timeline[8],
                    uint8_t ret[8])
{
    uint64_t mark = takes_mark(log, n);
    for (int i = 0; i < 8; i++)
        ret[i] = (uint8_t)(timeline[i] ^ mark >> 8 * i);
}

// ---- One take ----------------------------------------------------------------------------------

// What is seen when nothing is taken. Dissolves are between two of a kind; this is either.
static void take_nothing(struct clip *clip, const struct track *track)
{
    static struct pattern_style none = {.kind = PATTERN_COLOUR};
    static struct keyframe zero = {.at = {0, 1}}, one = {.at = {0, 1}, .value = {1, 1}};
    struct property nothing = {1, &zero}, whole = {1, &one};
    const struct clip *like = track->clip_count ? &track->clips[0] : NULL;
    *clip = (struct clip){
        .kind = like && like->kind == CLIP_AUDIO ? CLIP_AUDIO : CLIP_PATTERN,
        .asset = -1,
        .speed = {1, 1},
        .in = {0, 1},
        .duration = TIMELINE_FRAMES_MAX,
        .blend = like ? like->blend : BLEND_NORMAL,
        .muted = true,
        .pattern = &none,
        .opacity = nothing,
        .position = nothing,
        .size = nothing,
        .anchor = nothing,
        .rotation = nothing,
        .crop_lt = nothing,
        .crop_rb = nothing,
        .radius = nothing,
        .border = nothing,
        .gain_db = nothing,
        .pan = nothing,
        .brightness = nothing,
        .contrast = whole,
        .saturation = whole,
        .fallback.asset = -1,
    };
}

static const struct track *find_track(const struct timeline *t, const char *name)
{
    for (size_t i = 0; i < t->track_count; i++)
        if (t->tracks[i].live && !strcmp(t->tracks[i].name, name))
            return &t->tracks[i];
    return NULL;
}

static const struct clip *find_clip(const struct track *track, const char *id)
{
    for (size_t i = 0; i < track->clip_count; i++)
        if (!strcmp(track->clips[i].id, id))
            return &track->clips[i];
    return NULL;
}

static int read_track(struct parser *parser, const json_t *object, const struct track **ret)
{
    char *name = NULL;
    int result = require(parser, object, "track");
    if (!result)
        result = read_text(parser, object, "track", 1, 200, &name);
    if (!result && !(*ret = find_track(parser->timeline, name)))
        result =
            refuse(parser, "track", "live_unknown_track",
                   "\"%.*s\" is no live track of the timeline on air", text_limit(name, 120), name);
    free(name);
    return result;
}

// From the JSON to a clip that has a transition but no start yet. `ret` is to be finished by
// take_finish, also after an error.
static int read_take(struct parser *parser, const json_t *object, struct take_facts *ret_facts,
                     struct clip *ret)
{
    static const char *const known[] = {"track", "clip", "transition", "manual", NULL};
    static const char *const fading[] = {"track", "fader", NULL};
    const struct track *track = NULL;
    const struct clip *clip = NULL;
    char *id = NULL;
    int result = check_object(parser, object);
    ret_facts->fades = json_object_get(object, "fader");
    if (result < 0 ||
        (result = check_fields(parser, object, ret_facts->fades ? fading : known, NULL)) < 0 ||
        (result = read_track(parser, object, &track)) < 0)
        return result;
    ret_facts->track = (int)(track - parser->timeline->tracks);
    if (ret_facts->fades)
        return read_number(parser, object, "fader", 0, 1, &ret_facts->fader);
    bool nothing =
        !json_object_get(object, "clip") || json_is_null(json_object_get(object, "clip"));
    if (!nothing && (result = read_text(parser, object, "clip", 1, 64, &id)) < 0)
        return result;
    if (id && !(clip = find_clip(track, id)))
        result = refuse(parser, "clip", "live_unknown_clip",
                        "\"%.*s\" is no clip of track \"%.*s\" of the timeline on air",
                        text_limit(id, 64), id, text_limit(track->name, 120), track->name);
    free(id);
    if (result < 0)
        return result;
    if (clip)
        *ret = *clip;
    else
        take_nothing(ret, track);
    ret->how = NULL;
    if ((result = parse_transition(parser, object, ret)) < 0 ||
        (result = read_bool(parser, object, "manual", &ret_facts->manual)) < 0)
        return result;
    return ret_facts->manual ? require(parser, object, "transition") : 0;
}

// All else of a take's clip is its track's.
static void take_finish(struct clip *clip)
{
    free(clip->how);
    clip->how = NULL;
}

static int parse_take(const struct timeline *timeline, const char *take,
                      struct take_facts *ret_facts, struct clip *ret, struct diagnostic *reterr)
{
    struct session session = {.reterr = reterr};
    // Only read: what a take names is looked up in it.
    struct parser parser = {.session = &session,
                            .timeline = (struct timeline *)(uintptr_t)timeline,
                            .asset_indices = json_object()};
    json_t *object = NULL;
    int result = strlen(take) > TAKE_BYTES_MAX
                     ? diagnostic_set(reterr, -E2BIG, "live_take", "",
                                      "a take has at most %d bytes", TAKE_BYTES_MAX)
                     : 0;
    json_error_t error;
    if (!result && !(object = json_loads(take, JSON_REJECT_DUPLICATES, &error)))
        result = diagnostic_set(reterr, -EINVAL, "live_take", "", "not valid JSON");
    for (size_t i = 0; i < timeline->asset_count && !result; i++)
        if (json_object_set_new(parser.asset_indices, timeline->assets[i].name,
                                json_integer((json_int_t)i)) < 0)
            result = refuse_memory(&parser);
    if (!result)
        result = read_take(&parser, object, ret_facts, ret);
    json_decref(object);
    json_decref(parser.asset_indices);
    return result;
}

int take_check(const struct timeline *timeline, const char *take, struct take_facts *ret,
               struct diagnostic *reterr)
{
    struct diagnostic unused = {0};
    struct clip clip = {0};
    struct take_facts facts = {0};
    int result = parse_take(timeline, take, &facts, &clip, reterr ? reterr : &unused);
    take_finish(&clip);
    if (!result && ret)
        *ret = facts;
    return result;
}

char *take_track(const char *take, struct take_facts *ret)
{
    json_t *object = json_loads(take, 0, NULL);
    const json_t *fader = json_object_get(object, "fader");
    const char *name = json_string_value(json_object_get(object, "track"));
    char *track = name ? base_strdup(name) : NULL;
    if (ret)
        *ret = (struct take_facts){
            .manual = json_is_true(json_object_get(object, "manual")),
            .fades = fader,
            .fader = json_number_value(fader),
        };
    json_decref(object);
    return track;
}

// ---- For a timeline ----------------------------------------------------------------------------

static struct take *find_take(const struct takes *live, uint64_t sequence)
{
    for (size_t i = 0; live && i < live->count; i++)
        if (live->takes[i]->sequence == sequence)
            return live->takes[i];
    return NULL;
}

static void take_unref(struct take *take)
{
    if (atomic_fetch_sub_explicit(&take->references, 1, memory_order_acq_rel) != 1)
        return;
    take_finish(&take->clip);
    free(take);
}

// Another revision may have lost the clip, or have it with a blend mode that does not dissolve; the
// track shows nothing then. NULL: it has no such track.
static struct take *take_create(const struct timeline *timeline, struct rate rate,
                                int64_t start_frame, const struct take_event *event)
{
    struct diagnostic unused = {0};
    struct take *take = base_alloc(sizeof *take);
    int result = parse_take(timeline, event->take, &take->facts, &take->clip, &unused);
    if (result < 0) {
        take_finish(&take->clip);
        char *name = take_track(event->take, NULL);
        const struct track *track = name ? find_track(timeline, name) : NULL;
        free(name);
        if (!track) {
            free(take);
            return NULL;
        }
        take->facts = (struct take_facts){.track = (int)(track - timeline->tracks)};
        take_nothing(&take->clip, track);
    }
    take->references = 1;
    take->sequence = event->sequence;
    take->at = takes_position(timeline, output_seconds(rate, event->at_frame - start_frame));
    take->clip.start = rational_floor(take->at, 1);
    return take;
}

struct takes *takes_create(const struct timeline *timeline, struct rate rate, int64_t start_frame,
                           const struct take_log *log, const struct takes *before)
{
    size_t count = log ? log->count : 0;
    struct takes *live = base_alloc(sizeof *live + count * sizeof(struct take *));
    live->references = 1;
    live->timeline = timeline_ref(timeline);
    live->nothing = base_alloc(timeline->track_count * sizeof *live->nothing);
    for (size_t i = 0; i < timeline->track_count; i++)
        take_nothing(&live->nothing[i], &timeline->tracks[i]);
    for (size_t i = 0; i < count; i++) {
        struct take *take = find_take(before, log->events[i].sequence);
        if (take)
            atomic_fetch_add_explicit(&take->references, 1, memory_order_relaxed);
        else
            take = take_create(timeline, rate, start_frame, &log->events[i]);
        if (take)
            live->takes[live->count++] = take;
    }
    return live;
}

struct takes *takes_ref(const struct takes *live)
{
    struct takes *counted = (struct takes *)(uintptr_t)live;
    if (counted)
        atomic_fetch_add_explicit(&counted->references, 1, memory_order_relaxed);
    return counted;
}

void takes_unref(struct takes **live)
{
    struct takes *old = *live;
    *live = NULL;
    if (!old || atomic_fetch_sub_explicit(&old->references, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < old->count; i++)
        take_unref(old->takes[i]);
    free(old->nothing);
    timeline_unref(&old->timeline);
    free(old);
}

bool takes_hold(const struct takes *live, const struct clip *clip)
{
    for (size_t i = 0; live && i < live->count; i++)
        if (&live->takes[i]->clip == clip)
            return true;
    return false;
}

// Where the fader stands since the manual take `now`, at a position.
static double fader_at(const struct takes *live, const struct take *now, struct rational position)
{
    double fader = 0;
    for (size_t i = 0; i < live->count && fader < 1; i++) {
        const struct take *take = live->takes[i];
        if (take->facts.fades && take->facts.track == now->facts.track &&
            take->sequence > now->sequence && rational_compare(take->at, position) <= 0)
            fader = take->facts.fader;
    }
    return fader;
}

struct moment takes_moment(const struct takes *live, size_t index, struct rational position,
                           struct rational *ret_cut)
{
    struct moment moment = {0};
    const struct take *now = NULL, *before = NULL;
    for (size_t i = live ? live->count : 0; i-- && !before;) {
        const struct take *take = live->takes[i];
        if (take->facts.fades || take->facts.track != (int)index ||
            rational_compare(take->at, position) > 0)
            continue;
        // Of takes at one frame the last one counts, and gives way to what was before them all.
        if (!now)
            now = take;
        else if (rational_compare(take->at, now->at) < 0)
            before = take;
    }
    if (ret_cut)
        *ret_cut = now ? now->at : (struct rational){INT64_MIN / 2, 1};
    if (!now)
        return moment;
    moment.now = &now->clip;
    struct rational local = clip_local(moment.now, position), end = {now->clip.transition, 1};
    if (now->facts.manual)
        moment.share = fader_at(live, now, position);
    bool over = now->facts.manual ? moment.share >= 1 : rational_compare(local, end) >= 0;
    if (now->clip.transition > 0 && !over)
        moment.from = before ? &before->clip : &live->nothing[index];
    moment.manual = now->facts.manual && moment.from;
    return moment;
}
