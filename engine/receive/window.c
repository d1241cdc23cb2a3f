#include "engine/receive/window.h"

#include "engine/base/thread.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY_MAX 2048
#define NEVER        INT64_MAX
#define LONG_AGO     (INT64_MIN / 2)

struct slot {
    int64_t frame;      // which frame this place stands for now
    int64_t base_frame; // valid when `present`
    bool present;       // a message is here, coded, being decoded or decoded
    bool decoding;
    struct frame_body *body; // NULL when taken by a job or decoded
    struct group_frame *decoded;
    int32_t *stem;
    int64_t noticed_ns; // when something newer showed that this one is missing
    int64_t asked_ns;   // when it was last asked for
};

struct base {
    int64_t frame;
    bool decoding;
    struct frame_body *body;
    struct group_frame *decoded; // neither body nor decoded: the entry is free
};

// A key below the cursor that differences wait for, and when it was last asked for.
struct asked_key {
    int64_t frame, asked_ns;
};

struct window {
    struct window_config config;
    struct take_log *live;
    int64_t cursor, newest; // newest message so far, cursor - 1 at first
    int64_t end;            // no credit at or beyond it
    int capacity;
    size_t bytes;
    int64_t heard_ns; // when something was last stored, or nothing was owed
    struct base bases[WINDOW_BASES_MAX];
    struct asked_key asked_keys[WINDOW_BASES_MAX];
    struct window_counts counts;
    struct slot slots[];
};

static struct slot empty_slot(int64_t frame)
{
    return (struct slot){.frame = frame, .noticed_ns = NEVER, .asked_ns = LONG_AGO};
}

struct window *window_create(const struct window_config *config)
{
    int lead = config->lead_frames < 1 ? 1 : config->lead_frames;
    int capacity = lead + 64 > CAPACITY_MAX ? CAPACITY_MAX : lead + 64;
    struct window *w = base_alloc(sizeof *w + (size_t)capacity * sizeof w->slots[0]);
    w->config = *config;
    w->config.lead_frames = lead > capacity - 64 ? capacity - 64 : lead;
    w->capacity = capacity;
    w->cursor = config->cursor;
    w->newest = config->cursor - 1;
    w->end = INT64_MAX;
    w->heard_ns = NEVER;
    for (int i = 0; i < WINDOW_BASES_MAX; i++)
        w->asked_keys[i] = (struct asked_key){-1, LONG_AGO};
    for (int64_t n = w->cursor; n < w->cursor + capacity; n++)
        w->slots[n % capacity] = empty_slot(n);
    return w;
}

static void slot_clear(struct window *w, struct slot *s, int64_t frame)
{
    if (s->body)
        w->bytes -= s->body->size;
    frame_body_unref(&s->body);
    free(s->stem);
    group_frame_unref(&s->decoded);
    *s = empty_slot(frame);
}

static void base_clear(struct window *w, struct base *b)
{
    if (b->body)
        w->bytes -= b->body->size;
    frame_body_unref(&b->body);
    group_frame_unref(&b->decoded);
    *b = (struct base){0};
}

static bool base_used(const struct base *b)
{
    return b->body || b->decoded || b->decoding;
}

void window_destroy(struct window **window)
{
    struct window *w = *window;
    if (!w)
        return;
    *window = NULL;
    for (int i = 0; i < w->capacity; i++)
        slot_clear(w, &w->slots[i], 0);
    for (int i = 0; i < WINDOW_BASES_MAX; i++)
        base_clear(w, &w->bases[i]);
    take_log_unref(&w->live);
    free(w);
}

static bool inside(const struct window *w, int64_t n)
{
    return n >= w->cursor && n < w->cursor + w->capacity;
}

static struct slot *slot_of(const struct window *w, int64_t n)
{
    return inside(w, n) ? (struct slot *)&w->slots[n % w->capacity] : NULL;
}

static struct base *find_base(const struct window *w, int64_t frame)
{
    for (int i = 0; i < WINDOW_BASES_MAX; i++)
        if (base_used(&w->bases[i]) && w->bases[i].frame == frame)
            return (struct base *)&w->bases[i];
    return NULL;
}

// Whether a stored difference that is not decoded yet refers to key frame `frame`.
static bool base_needed(const struct window *w, int64_t frame)
{
    for (int64_t n = w->cursor; n <= w->newest; n++) {
        const struct slot *s = slot_of(w, n);
        if (s && s->present && !s->decoded && s->base_frame == frame && s->frame != frame)
            return true;
    }
    return false;
}

// A free entry, or the oldest that nothing refers to, or simply the oldest.
static struct base *make_base(struct window *w, int64_t frame)
{
    struct base *best = NULL;
    bool best_needed = false;
    for (int i = 0; i < WINDOW_BASES_MAX; i++) {
        struct base *b = &w->bases[i];
        if (!base_used(b)) {
            best = b;
            break;
        }
        if (b->decoding)
            continue;
        bool needed = base_needed(w, b->frame);
        if (!best || (best_needed && !needed) ||
            (best_needed == needed && b->frame < best->frame)) {
            best = b;
            best_needed = needed;
        }
    }
    if (best) {
        base_clear(w, best);
        best->frame = frame;
    }
    return best;
}

bool window_admits(const struct window *w, const struct frame_header *h)
{
    const struct window_config *c = &w->config;
    uint8_t revision[8];
    takes_revision(w->live, h->frame, c->revision, revision);
    return h->kind == FRAME_MESSAGE_PICTURE && h->channel == c->channel && h->group == c->group &&
           h->plan_epoch == c->plan_epoch && !memcmp(h->revision, revision, 8) &&
           h->width == c->width && h->height == c->height && h->base_frame <= h->frame;
}

static int put_late(struct window *w, const struct frame_header *h, struct frame_body *body)
{
    bool useful = h->base_frame == h->frame && base_needed(w, h->frame) && !find_base(w, h->frame);
    struct base *b = useful ? make_base(w, h->frame) : NULL;
    if (!b) {
        frame_body_unref(&body);
        w->counts.late++;
        return -ESTALE;
    }
    b->body = body;
    w->bytes += body->size;
    w->counts.stored++;
    return 0;
}

int window_put(struct window *w, const struct frame_header *h, struct frame_body *body,
               int64_t now_ns)
{
    if (!window_admits(w, h)) {
        frame_body_unref(&body);
        w->counts.wrong++;
        return -EBADMSG;
    }
    if (h->frame < w->cursor)
        return put_late(w, h, body);
    struct slot *s = slot_of(w, h->frame);
    if (s && s->present) {
        frame_body_unref(&body);
        w->counts.duplicate++;
        return -EEXIST;
    }
    // The next frames are taken even when the bytes are used up: without them nothing would move.
    bool full = w->bytes + body->size > w->config.bytes_max && h->frame > w->cursor + 8;
    if (!s || full) {
        frame_body_unref(&body);
        w->counts.overflow++;
        return -ENOSPC;
    }
    s->present = true;
    w->heard_ns = now_ns;
    s->base_frame = h->base_frame;
    s->body = body;
    w->bytes += body->size;
    w->counts.stored++;
    for (int64_t n = w->newest + 1; n < h->frame; n++) {
        struct slot *gap = slot_of(w, n);
        if (gap && !gap->present)
            gap->noticed_ns = now_ns;
    }
    if (h->frame > w->newest)
        w->newest = h->frame;
    return 0;
}

bool window_live(struct window *w, const struct take_log *log)
{
    bool gone = false;
    for (int64_t n = w->cursor; n <= w->newest; n++) {
        struct slot *s = slot_of(w, n);
        if (!s || !s->present || takes_mark(w->live, n) == takes_mark(log, n))
            continue;
        gone = true;
        slot_clear(w, s, n);
        s->noticed_ns = 0; // to be asked for at once
    }
    for (int i = 0; i < WINDOW_BASES_MAX; i++) {
        struct base *b = &w->bases[i];
        if (base_used(b) && takes_mark(w->live, b->frame) != takes_mark(log, b->frame))
            base_clear(w, b);
    }
    take_log_unref(&w->live);
    w->live = take_log_ref(log);
    return gone;
}

void window_advance(struct window *w, int64_t cursor)
{
    // Far jumps (a clock that skipped) need not walk over every frame number.
    if (cursor - w->cursor > w->capacity) {
        for (int i = 0; i < w->capacity; i++)
            slot_clear(w, &w->slots[i], 0);
        for (int64_t n = cursor; n < cursor + w->capacity; n++)
            w->slots[n % w->capacity].frame = n;
        w->cursor = cursor;
    }
    for (; w->cursor < cursor; w->cursor++) {
        struct slot *s = slot_of(w, w->cursor);
        // Another provider's key may be a difference here: decoded it serves as well.
        bool key = s->decoded || (s->body && s->base_frame == s->frame);
        bool keep = key && !find_base(w, s->frame) && base_needed(w, s->frame);
        struct base *b = keep ? make_base(w, s->frame) : NULL;
        if (b && s->decoded) {
            b->decoded = group_frame_ref(s->decoded);
        } else if (b) {
            b->body = s->body;
            s->body = NULL;
        }
        slot_clear(w, s, w->cursor + w->capacity);
    }
    if (w->newest < w->cursor - 1)
        w->newest = w->cursor - 1;
}

void window_set_end(struct window *w, int64_t end)
{
    w->end = end;
}

int64_t window_cursor(const struct window *w)
{
    return w->cursor;
}

// ---- Decoding ----------------------------------------------------------------------------------

static bool job_from_slot(struct window *w, struct slot *s, struct group_frame *base,
                          struct window_job *ret)
{
    *ret = (struct window_job){
        .frame = s->frame,
        .key = s->base_frame == s->frame,
        .body = s->body,
        .base = base ? group_frame_ref(base) : NULL,
        .mark = takes_mark(w->live, s->frame),
    };
    w->bytes -= s->body->size;
    s->body = NULL;
    s->decoding = true;
    return true;
}

static bool job_from_base(struct window *w, struct base *b, struct window_job *ret)
{
    *ret = (struct window_job){
        .frame = b->frame, .key = true, .body = b->body, .mark = takes_mark(w->live, b->frame)};
    w->bytes -= b->body->size;
    b->body = NULL;
    b->decoding = true;
    return true;
}

bool window_next_job(struct window *w, int64_t limit, struct window_job *ret)
{
    for (int64_t n = w->cursor; n < limit && n <= w->newest; n++) {
        struct slot *s = slot_of(w, n);
        if (!s || !s->body)
            continue;
        if (s->base_frame == s->frame)
            return job_from_slot(w, s, NULL, ret);
        struct base *b = find_base(w, s->base_frame);
        if (b && b->decoded)
            return job_from_slot(w, s, b->decoded, ret);
        if (b && b->body)
            return job_from_base(w, b, ret);
        // The key may stand in the window itself, before `limit` or (never from our workers) after.
        struct slot *key = slot_of(w, s->base_frame);
        if (key && key->body && key->base_frame == key->frame)
            return job_from_slot(w, key, NULL, ret);
        // Another provider's key, which here is a difference: the same picture.
        struct base *own = key && key->body ? find_base(w, key->base_frame) : NULL;
        if (own && own->decoded)
            return job_from_slot(w, key, own->decoded, ret);
        if (key && key->decoded)
            return job_from_slot(w, s, key->decoded, ret);
    }
    return false;
}

void window_done(struct window *w, struct window_job *job, struct group_frame **frame,
                 int32_t **stem, int64_t now_ns)
{
    w->counts.broken += !*frame;
    if (takes_mark(w->live, job->frame) != job->mark)
        group_frame_unref(frame); // shown by now is another; its place has been cleared
    struct base *b = find_base(w, job->frame);
    if (b && b->decoding) {
        b->decoding = false;
        if (*frame)
            b->decoded = group_frame_ref(*frame);
    } else if (job->key && *frame && !b && (b = make_base(w, job->frame))) {
        b->decoded = group_frame_ref(*frame);
    }
    struct slot *s = slot_of(w, job->frame);
    if (s && s->decoding) {
        s->decoding = false;
        if (*frame) {
            s->decoded = *frame;
            s->stem = *stem;
            *frame = NULL;
            *stem = NULL;
        } else {
            slot_clear(w, s, job->frame);
            s->noticed_ns = now_ns - WINDOW_GAP_NS; // ask again at once
        }
    }
    group_frame_unref(frame);
    free(*stem);
    *stem = NULL;
    group_frame_unref(&job->base);
    frame_body_unref(&job->body);
    *job = (struct window_job){0};
}

bool window_stores(const struct window *w, int64_t n)
{
    const struct slot *s = slot_of(w, n);
    return s && s->present;
}

bool window_could_decode(const struct window *w, int64_t n)
{
    const struct slot *s = slot_of(w, n);
    return s && s->present &&
           (s->base_frame == n || window_stores(w, s->base_frame) || find_base(w, s->base_frame));
}

bool window_keyed(const struct window *w, const struct frame_header *h)
{
    return h->base_frame == h->frame || window_stores(w, h->base_frame) ||
           find_base(w, h->base_frame);
}

bool window_has(const struct window *w, int64_t n)
{
    const struct slot *s = slot_of(w, n);
    return s && s->decoded && s->stem;
}

bool window_look(const struct window *w, int64_t n, struct group_frame **ret_frame,
                 const int32_t **ret_stem)
{
    if (!window_has(w, n))
        return false;
    *ret_frame = group_frame_ref(slot_of(w, n)->decoded);
    *ret_stem = slot_of(w, n)->stem;
    return true;
}

bool window_take(struct window *w, int64_t n, struct group_frame **ret_frame, int32_t **ret_stem)
{
    if (!window_has(w, n))
        return false;
    struct slot *s = slot_of(w, n);
    *ret_frame = group_frame_ref(s->decoded);
    *ret_stem = s->stem;
    s->stem = NULL;
    return true;
}

// ---- Asking ------------------------------------------------------------------------------------

// Names `frame` unless it was named a short time ago: an answer may be on its way.
static void ask(const struct window *w, int64_t frame, int64_t *asked_ns, int64_t now_ns,
                struct frame_want *want)
{
    if (now_ns - *asked_ns < w->config.repeat_ns || want->missing_count == FRAME_WANT_MISSING_MAX)
        return;
    *asked_ns = now_ns;
    want->missing[want->missing_count++] = frame;
}

// A key that a difference in the window needs and that is nowhere.
static void ask_key(struct window *w, int64_t frame, int64_t now_ns, struct frame_want *want)
{
    struct slot *slot = slot_of(w, frame);
    if (slot) {
        ask(w, frame, &slot->asked_ns, now_ns, want);
        return;
    }
    struct asked_key *best = &w->asked_keys[0];
    for (int i = 0; i < WINDOW_BASES_MAX && best->frame != frame; i++)
        if (w->asked_keys[i].frame == frame || w->asked_keys[i].asked_ns < best->asked_ns)
            best = &w->asked_keys[i];
    if (best->frame != frame)
        *best = (struct asked_key){frame, LONG_AGO};
    ask(w, frame, &best->asked_ns, now_ns, want);
    if (frame < want->from)
        want->from = frame;
}

static bool key_here(const struct window *w, const struct slot *s)
{
    const struct slot *key = slot_of(w, s->base_frame);
    return s->decoded || s->base_frame == s->frame || find_base(w, s->base_frame) ||
           (key && key->present);
}

void window_want(struct window *w, int64_t now_ns, struct frame_want *ret)
{
    *ret = (struct frame_want){.channel = w->config.channel,
                               .group = w->config.group,
                               .plan_epoch = w->config.plan_epoch,
                               .from = w->cursor,
                               .credit = w->cursor + w->config.lead_frames};
    // Memory before lead: what is here already may be used up first.
    if (w->bytes > w->config.bytes_max / 4 * 3 && ret->credit > w->newest + 1)
        ret->credit = w->newest + 1;
    if (ret->credit > w->end)
        ret->credit = w->end > w->cursor ? w->end : w->cursor;
    if (w->heard_ns == NEVER || ret->credit <= w->newest + 1)
        w->heard_ns = now_ns;
    bool silent = now_ns - w->heard_ns >= WINDOW_SILENCE * w->config.repeat_ns;
    int64_t end = silent && ret->credit > w->newest + 1 ? ret->credit : w->newest + 1;
    for (int64_t n = w->cursor; n < end; n++) {
        struct slot *s = slot_of(w, n);
        bool gap = s->noticed_ns != NEVER && now_ns - s->noticed_ns >= WINDOW_GAP_NS;
        if (!s->present && (gap || silent))
            ask(w, n, &s->asked_ns, now_ns, ret);
        else if (s->present && !key_here(w, s))
            ask_key(w, s->base_frame, now_ns, ret);
    }
}

int64_t window_slack(const struct window *w)
{
    int64_t n = w->cursor;
    while (inside(w, n) && slot_of(w, n)->present)
        n++;
    return n - w->cursor;
}

void window_counts(const struct window *w, struct window_counts *ret)
{
    *ret = w->counts;
}
