#include "worker/gateway/ingest.h"

#include "engine/base/rate.h"
#include "engine/base/thread.h"
#include "engine/live/sound_map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MS_NS INT64_C(1000000)
// What is not there by now may still be on its way: a gap is only told up to so long ago. Sound
// comes in packets of up to a fifth of a second, and later than the pictures beside it.
static const int64_t grace_ns[UNIT_STREAMS] = {200 * MS_NS, 300 * MS_NS};
// So often it is told, so that nobody who shows the source 400 ms late has to wait.
#define TELL_NS       (40 * MS_NS)
#define GAP_PERIODS   3
#define FORGOTTEN_NS  (10000 * MS_NS) // what came last is no longer in the log
#define SOUND_GAP_NS  (100 * MS_NS)   // three units of most codecs
#define PERIOD_NS     (40 * MS_NS)    // of pictures, until it is known
#define PERIOD_NS_MAX (2000 * MS_NS)
// Sound whose stamp is so much later than where the samples before it end has a hole before it; a
// milder difference is the stamps' rounding. One that is so much earlier is another clock.
#define SOUND_HOLE_NS (20 * MS_NS)
#define SOUND_BACK_NS (-100 * MS_NS)
// Sound that is not later than this comes before it is told missing; all of a source is shown so
// much later that it is not.
#define SOUND_LATE_NS (150 * MS_NS)
#define SHIFT_NS_MAX  (1000 * MS_NS)
// Pictures that all come too late for so long belong to another mapping.
#define LATE_NS     (1000 * MS_NS)
#define BUFFERED_NS (100 * MS_NS)
// What waits until the first arrivals are known; more than half a second of any source.
#define WAITING_MAX 1024
// Sound alone leads when pictures were announced and do not come.
#define LEAD_NS (2000 * MS_NS)

struct waiting {
    struct ingest_unit unit;
    struct unit_format format;
    uint8_t *bytes;
    int64_t arrival_ns;
};

struct stream {
    struct unit_format format; // as logged in this gen; codec empty: not yet
    int64_t index;
    int64_t last_farm_ns; // the greatest that pictures had; where sound ends
    int64_t gap_from_ns, gap_done_ns;
    int64_t last_ticks, last_samples; // of the sound before
    bool in_gap;
    struct ingest_stream_stats stats;
};

struct ingest {
    struct live_log *log;
    uint32_t gen;
    struct stream streams[UNIT_STREAMS];
    enum unit_stream leader;
    int64_t begin_ns;      // arrival of the connection's first unit; INT64_MIN: none yet
    int64_t arrival_ns;    // of the newest unit
    int64_t late_since_ns; // since when all pictures came too late; INT64_MAX: the last did not
    struct stamper stamper;
    int64_t
        shift_ns; // how much later than by the stamper all is shown, so that sound is there by then
    struct sound_map_maker map;
    bool mapped;
    struct waiting *waiting;
    int waiting_count;
    struct ingest_stats stats;
};

struct ingest *ingest_create(struct live_log *log)
{
    struct ingest *g = base_alloc(sizeof *g);
    g->log = log;
    g->gen = live_log_gen(log);
    g->waiting = base_alloc(WAITING_MAX * sizeof *g->waiting);
    for (int i = 0; i < UNIT_STREAMS; i++) {
        struct stream *s = &g->streams[i];
        s->gap_done_ns = live_log_done_ns(log, i);
        // Patience counts from what came last: where that is long ago, a gap goes on.
        s->last_farm_ns = live_log_last_ns(log, i);
        if (s->last_farm_ns == INT64_MIN && s->gap_done_ns != INT64_MIN)
            s->last_farm_ns = s->gap_done_ns - FORGOTTEN_NS;
    }
    g->begin_ns = INT64_MIN;
    return g;
}

static void drop_waiting(struct ingest *g)
{
    for (int i = 0; i < g->waiting_count; i++)
        free(g->waiting[i].bytes);
    g->waiting_count = 0;
}

void ingest_destroy(struct ingest **ingest)
{
    struct ingest *g = *ingest;
    if (!g)
        return;
    *ingest = NULL;
    drop_waiting(g);
    free(g->waiting);
    free(g);
}

static void begin_gen(struct ingest *g)
{
    drop_waiting(g);
    g->gen++;
    g->stats.gen = g->gen;
    g->stamper = (struct stamper){0};
    g->shift_ns = 0;
    g->late_since_ns = INT64_MAX;
    g->mapped = false;
    for (int i = 0; i < UNIT_STREAMS; i++) {
        g->streams[i].format = (struct unit_format){0};
        g->streams[i].index = 0;
    }
}

void ingest_begin(struct ingest *g, bool has_pictures)
{
    begin_gen(g);
    g->begin_ns = INT64_MIN;
    g->leader = has_pictures ? UNIT_PICTURE : UNIT_SOUND;
}

// ---- To the log ------------------------------------------------------------------------------

static int append(struct ingest *g, struct unit *u)
{
    u->gen = g->gen;
    int error = live_log_append(g->log, u);
    if (error < 0) {
        g->stats.unlogged++;
        g->stats.log_error = error;
    }
    return error;
}

static void append_format(struct ingest *g, enum unit_stream stream,
                          const struct unit_format *format)
{
    struct stream *s = &g->streams[stream];
    uint8_t body[UNIT_FORMAT_BYTES];
    if (unit_format_equal(&s->format, format))
        return;
    struct unit u = {.kind = UNIT_FORMAT,
                     .stream = stream,
                     .pts = UNIT_NO_TIME,
                     .dts = UNIT_NO_TIME,
                     .chan_ns = live_log_done_ns(g->log, stream),
                     .done_ns = live_log_done_ns(g->log, stream),
                     .body = body,
                     .size = unit_format_write(format, body)};
    if (append(g, &u) == 0)
        s->format = s->stats.format = *format;
}

static void append_data(struct ingest *g, const struct ingest_unit *unit, int64_t chan_ns,
                        int64_t done_ns)
{
    struct stream *s = &g->streams[unit->stream];
    int64_t before = live_log_done_ns(g->log, unit->stream);
    bool late = chan_ns <= before; // after it was told that nothing comes there
    if (late)
        chan_ns = before + 1;
    done_ns = done_ns < before ? before : done_ns;
    struct unit u = {.kind = UNIT_DATA,
                     .stream = unit->stream,
                     .flags = (unit->key ? UNIT_KEY : 0u) | (unit->damaged ? UNIT_DAMAGED : 0u) |
                              (late && unit->stream == UNIT_PICTURE ? UNIT_LATE : 0u),
                     .pts = unit->pts,
                     .dts = unit->dts,
                     .chan_ns = chan_ns,
                     .done_ns = done_ns,
                     .index = s->index,
                     .body = unit->bytes,
                     .size = unit->size};
    if (append(g, &u) < 0)
        return;
    if (unit->stream == UNIT_PICTURE && !late && chan_ns > s->last_farm_ns)
        s->last_farm_ns = chan_ns;
    s->in_gap = s->in_gap && late;
    g->late_since_ns = unit->stream != UNIT_PICTURE    ? g->late_since_ns
                       : !late                         ? INT64_MAX
                       : g->late_since_ns == INT64_MAX ? g->arrival_ns
                                                       : g->late_since_ns;
    s->stats.units++;
    s->stats.bytes += unit->size;
    s->stats.damaged += unit->damaged;
}

static int64_t farm_of(const struct ingest *g, int64_t ticks)
{
    return stamper_farm_ns(&g->stamper, ticks) + g->shift_ns;
}

static void add_picture(struct ingest *g, const struct ingest_unit *unit)
{
    if (g->late_since_ns < g->arrival_ns - LATE_NS) { // the way has become longer
        begin_gen(g);
        return;
    }
    struct stream *s = &g->streams[UNIT_PICTURE];
    int64_t dts = unit->dts != UNIT_NO_TIME ? unit->dts : unit->pts;
    int64_t pts = unit->pts != UNIT_NO_TIME ? unit->pts : dts;
    int64_t chan_ns = farm_of(g, pts), done_ns = farm_of(g, dts);
    if (s->index) {
        int64_t step = ticks_between_ns(s->last_ticks, dts);
        step = step < 0 ? 0 : step > PERIOD_NS_MAX ? PERIOD_NS_MAX : step;
        s->stats.period_ns += s->stats.period_ns ? (step - s->stats.period_ns) / 8 : step;
    }
    s->last_ticks = dts;
    append_data(g, unit, chan_ns, done_ns < chan_ns ? done_ns : chan_ns);
    s->index++;
}

// ---- Sound -----------------------------------------------------------------------------------

static void append_point(struct ingest *g, struct sound_point point)
{
    int64_t done_ns = live_log_done_ns(g->log, UNIT_SOUND);
    struct unit u = {.kind = UNIT_MAP,
                     .stream = UNIT_SOUND,
                     .pts = UNIT_NO_TIME,
                     .dts = UNIT_NO_TIME,
                     .chan_ns = point.farm_ns,
                     .done_ns = done_ns,
                     .index = point.index};
    (void)append(g, &u); // counted there
}

// False: it belongs to another time scale.
static bool place_sound(struct ingest *g, const struct ingest_unit *unit, int64_t farm_ns)
{
    struct stream *s = &g->streams[UNIT_SOUND];
    int rate = unit->format->sample_rate;
    if (!g->mapped) {
        struct sound_point points[2];
        sound_map_begin(&g->map, rate, farm_ns, points);
        append_point(g, points[0]);
        append_point(g, points[1]);
        g->mapped = true;
        return true;
    }
    int64_t between_ns = ticks_between_ns(s->last_ticks, unit->pts);
    int64_t more_ns = between_ns - s->last_samples * 1000000000 / rate;
    if (more_ns < SOUND_BACK_NS)
        return false;
    if (more_ns <= SOUND_HOLE_NS)
        return true;
    s->index += muldiv_floor(more_ns, rate, 1000000000);
    struct sound_point point;
    if (sound_map_skip(&g->map, s->index, &point))
        append_point(g, point);
    return true;
}

static void add_sound(struct ingest *g, const struct ingest_unit *unit)
{
    struct stream *s = &g->streams[UNIT_SOUND];
    int rate = unit->format->sample_rate;
    int64_t farm_ns = farm_of(g, unit->pts);
    struct sound_point point;
    if (!g->mapped && farm_ns <= live_log_done_ns(g->log, UNIT_SOUND))
        return; // silence has been told for then: it begins a little later
    if (!place_sound(g, unit, farm_ns)) {
        begin_gen(g);
        return;
    }
    while (sound_map_arrive(&g->map, s->index, farm_ns, &point))
        append_point(g, point);
    int64_t chan_ns = sound_map_farm_ns(&g->map, s->index);
    int64_t end_ns = sound_map_farm_ns(&g->map, s->index + unit->samples);
    // Where silence has been told, silence it is.
    if (chan_ns <= s->gap_done_ns)
        g->stats.refused++;
    else
        append_data(g, unit, chan_ns, end_ns - 1);
    s->index += unit->samples;
    s->last_ticks = unit->pts;
    s->last_samples = unit->samples;
    s->last_farm_ns = end_ns > s->last_farm_ns ? end_ns : s->last_farm_ns;
    s->stats.period_ns = (int64_t)unit->samples * 1000000000 / rate;
}

// ---- What arrives ----------------------------------------------------------------------------

static void add_stamped(struct ingest *g, const struct ingest_unit *unit)
{
    // Beside a leader that has jumped, the other stream does so a moment sooner or later.
    int64_t ticks = unit->dts != UNIT_NO_TIME ? unit->dts : unit->pts;
    int64_t off_ns = ticks_between_ns(g->stamper.last_ticks, ticks);
    if (off_ns > STAMP_JUMP_NS || off_ns < -STAMP_JUMP_NS) {
        g->stats.refused++;
        return;
    }
    const struct unit_format *now = &g->streams[UNIT_SOUND].format;
    if (unit->stream == UNIT_SOUND && *now->codec && !unit_format_equal(now, unit->format))
        begin_gen(g); // samples of another rate are another count
    if (!g->stamper.acquired)
        return;
    append_format(g, unit->stream, unit->format);
    if (unit->stream == UNIT_PICTURE)
        add_picture(g, unit);
    else
        add_sound(g, unit);
}

static void add_waiting(struct ingest *g, const struct ingest_unit *unit, int64_t arrival_ns)
{
    uint8_t *bytes = g->waiting_count < WAITING_MAX ? malloc(unit->size ? unit->size : 1) : NULL;
    if (!bytes) {
        g->stats.refused++;
        return;
    }
    memcpy(bytes, unit->bytes, unit->size);
    struct waiting *w = &g->waiting[g->waiting_count++];
    *w = (struct waiting){*unit, *unit->format, bytes, arrival_ns};
    w->unit.bytes = bytes;
    w->unit.format = &w->format;
}

// Muxers hold sound back until a packet is full, ffmpeg for up to 350 ms: what was so late in the
// first half second will be again. Its very beginning is what was buffered while streams were
// found.
static void find_shift(struct ingest *g)
{
    for (int i = 0; i < g->waiting_count; i++) {
        const struct waiting *w = &g->waiting[i];
        int64_t late_ns = w->arrival_ns - stamper_farm_ns(&g->stamper, w->unit.pts) - SOUND_LATE_NS;
        bool buffered = w->arrival_ns < g->waiting[0].arrival_ns + BUFFERED_NS;
        if (w->unit.stream == UNIT_SOUND && !buffered && late_ns > g->shift_ns)
            g->shift_ns = late_ns < SHIFT_NS_MAX ? late_ns : SHIFT_NS_MAX;
    }
}

static void add_all_waiting(struct ingest *g)
{
    find_shift(g);
    int count = g->waiting_count;
    g->waiting_count = 0;
    for (int i = 0; i < count; i++) {
        struct waiting w = g->waiting[i];
        w.unit.format = &w.format;
        add_stamped(g, &w.unit);
        free(w.bytes);
    }
}

void ingest_add(struct ingest *g, const struct ingest_unit *unit, int64_t arrival_ns)
{
    int64_t ticks = unit->dts != UNIT_NO_TIME ? unit->dts : unit->pts;
    bool sound = unit->stream == UNIT_SOUND;
    if (ticks == UNIT_NO_TIME || !unit->size ||
        (sound &&
         (unit->pts == UNIT_NO_TIME || unit->samples <= 0 || unit->format->sample_rate <= 0))) {
        g->stats.refused++;
        return;
    }
    g->streams[unit->stream].stats.last_ns = arrival_ns;
    g->arrival_ns = arrival_ns;
    if (g->begin_ns == INT64_MIN)
        g->begin_ns = arrival_ns;
    if (!g->stamper.started && unit->stream != g->leader && arrival_ns - g->begin_ns > LEAD_NS)
        g->leader = unit->stream;
    if (unit->stream == g->leader &&
        stamper_arrive(&g->stamper, ticks, arrival_ns) == STAMP_JUMPED) {
        begin_gen(g);
        (void)stamper_arrive(&g->stamper, ticks, arrival_ns); // the first: it is taken as it is
    }
    if (!g->stamper.acquired) {
        add_waiting(g, unit, arrival_ns);
        return;
    }
    if (g->waiting_count)
        add_all_waiting(g);
    add_stamped(g, unit);
}

// ---- What does not ---------------------------------------------------------------------------

static void tick_stream(struct ingest *g, enum unit_stream stream, int64_t now_ns)
{
    struct stream *s = &g->streams[stream];
    int64_t up_to_ns = now_ns - grace_ns[stream];
    int64_t period_ns = s->stats.period_ns ? s->stats.period_ns : PERIOD_NS;
    int64_t patience_ns = stream == UNIT_PICTURE ? GAP_PERIODS * period_ns : SOUND_GAP_NS;
    if (s->last_farm_ns == INT64_MIN) // nothing has ever come
        s->last_farm_ns = up_to_ns - patience_ns - 1;
    int64_t done_ns = live_log_done_ns(g->log, stream);
    if (up_to_ns < done_ns + TELL_NS)
        return;
    bool gap = up_to_ns - s->last_farm_ns > patience_ns;
    // It begins where all before has been told done: what was shown there stays as it was.
    if (gap && !s->in_gap)
        s->gap_from_ns = done_ns > s->last_farm_ns ? done_ns : s->last_farm_ns;
    struct unit u = {.kind = gap ? UNIT_GAP : UNIT_IDLE,
                     .stream = stream,
                     .pts = UNIT_NO_TIME,
                     .dts = UNIT_NO_TIME,
                     .chan_ns = gap ? s->gap_from_ns : s->last_farm_ns,
                     .done_ns = up_to_ns};
    if (append(g, &u) < 0)
        return;
    s->gap_done_ns = up_to_ns;
    s->stats.gaps += gap && !s->in_gap && s->stats.units; // before the first nothing is missing
    s->in_gap = s->in_gap || gap;
}

void ingest_tick(struct ingest *g, int64_t now_ns)
{
    for (int i = 0; i < UNIT_STREAMS; i++)
        tick_stream(g, (enum unit_stream)i, now_ns);
}

void ingest_stats(const struct ingest *g, struct ingest_stats *ret)
{
    *ret = g->stats;
    uint32_t crc;
    ret->slope = g->stamper.loop.slope;
    ret->done_ns = live_log_done_ns(g->log, UNIT_PICTURE);
    live_log_newest(g->log, &ret->seq, &crc);
    for (int i = 0; i < UNIT_STREAMS; i++)
        ret->streams[i] = g->streams[i].stats;
}
