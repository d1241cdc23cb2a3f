#include "engine/render/composition.h"

#include "engine/base/clock.h"
#include "engine/base/crew.h"
#include "engine/base/thread.h"
#include "engine/compose/convert.h"
#include "engine/frame/checksum.h"
#include "engine/media/media.h"
#include "engine/render/transition.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Clips stay open this many calls after their last use, and as many as the look ahead spans: long
// enough for a cut back and forth, short enough that decoders of past clips do not pile up.
#define IDLE_CALLS 32
// Clips that come are opened and positioned so long before, and by as much earlier as the slowest
// start of the timeline's assets takes.
#define AHEAD_SECONDS     1
#define AHEAD_SECONDS_MAX 10

struct open_clip {
    const struct clip *clip;
    struct clip_view *view;
    struct transition_view *way; // into it, once it was taken; NULL: not yet
    uint64_t last_call;
    uint64_t last_placed;
    bool prepared; // for where it comes next, and not placed since
};

struct composition {
    struct clip_context context;
    struct timeline *timeline;
    struct takes *live;    // NULL: live tracks show nothing
    struct rational ahead; // seconds
    uint64_t idle_calls;
    struct layer *layers;      // [track_count]
    struct layer *coming;      // [track_count]: the same, a little later
    struct clip_instant hider; // the layer that hid those beneath in the last call; clip NULL: none
    // Clips near the playhead; at most a few per track.
    struct open_clip *open;
    size_t open_count, open_capacity;
    uint64_t calls;
    int64_t followed; // frames since the call of composition_follow before
    // The last nested picture, reused while nothing in it changes.
    struct picture *last_picture;
    uint64_t last_key;
};

// Tells a problem with font `i` at its place in the document.
static int refuse_font(const struct timeline *timeline, size_t i, const struct diagnostic *why,
                       struct diagnostic *reterr)
{
    char place[32];
    snprintf(place, sizeof place, "fonts[%zu]", i);
    return diagnostic_set(reterr, why->error, why->code, place, "\"%s\": %s", timeline->fonts[i],
                          why->text);
}

static int fonts_open(const struct render_config *config, const struct timeline *timeline,
                      struct font_set **ret, struct diagnostic *reterr)
{
    size_t count = timeline->font_count, named = count;
    if (!count)
        return 0;
    struct diagnostic why = {0};
    char **paths = base_alloc(count * sizeof *paths);
    int error = 0;
    for (size_t i = 0; i < count && !error; i++) {
        paths[i] = base_alloc(PATH_MAX);
        error =
            config->resolver.resolve(config->resolver.opaque, timeline->fonts[i], paths[i], &why);
        if (error)
            named = i;
    }
    if (!error)
        error = font_set_create((const char *const *)paths, count, ret, &why);
    for (size_t i = 0; i < count && error && named == count; i++)
        if (paths[i] && !strcmp(paths[i], why.path))
            named = i;
    if (error && named < count)
        error = refuse_font(timeline, named, &why, reterr);
    else if (error && reterr)
        *reterr = why;
    for (size_t i = 0; i < count; i++)
        free(paths[i]);
    free(paths);
    return error;
}

// From what import measured; a machine that is slower or busy has the whole second besides.
static struct rational look_ahead_seconds(const struct render_config *config,
                                          const struct timeline *timeline)
{
    int64_t us = 0;
    char path[PATH_MAX];
    struct media_info info;
    for (size_t i = 0; i < timeline->asset_count && config->resolver.resolve; i++)
        if (!config->resolver.resolve(config->resolver.opaque, timeline->assets[i].uri, path,
                                      NULL) &&
            !media_info_read(path, &info, NULL) && info.start_known && info.start_slowest_us > us)
            us = info.start_slowest_us;
    us += AHEAD_SECONDS * INT64_C(1000000);
    int64_t most = AHEAD_SECONDS_MAX * INT64_C(1000000);
    return rational_make(us < most ? us : most, 1000000);
}

int composition_create(const struct render_config *config, struct cameras *cameras,
                       const struct timeline *timeline, int width, int height, int depth,
                       struct composition **ret, struct diagnostic *reterr)
{
    struct composition *c = base_alloc(sizeof *c);
    c->timeline = timeline_ref(timeline);
    c->context = (struct clip_context){
        .timeline = timeline,
        .config = config,
        .cameras = cameras,
        .placer = placer_create(),
        .width = width,
        .height = height,
        .scale_x = (double)width / timeline->width,
        .scale_y = (double)height / timeline->height,
        .depth = depth,
    };
    c->ahead = look_ahead_seconds(config, timeline);
    c->idle_calls =
        IDLE_CALLS + 1 +
        (uint64_t)muldiv_floor(rational_floor(c->ahead, config->rate.num), 1, config->rate.den);
    c->layers = base_alloc(timeline->track_count * sizeof *c->layers);
    c->coming = base_alloc(timeline->track_count * sizeof *c->coming);
    int error = fonts_open(config, timeline, &c->context.fonts, reterr);
    if (error) {
        composition_destroy(&c);
        return error;
    }
    *ret = c;
    return 0;
}

static void close_clip(struct open_clip *open)
{
    clip_view_destroy(&open->view);
    transition_view_destroy(&open->way);
}

void composition_destroy(struct composition **composition)
{
    struct composition *c = *composition;
    if (!c)
        return;
    *composition = NULL;
    for (size_t i = 0; i < c->open_count; i++)
        close_clip(&c->open[i]);
    free(c->open);
    picture_unref(&c->last_picture);
    placer_destroy(&c->context.placer);
    font_set_destroy(&c->context.fonts);
    takes_unref(&c->live);
    timeline_unref(&c->timeline);
    free(c->layers);
    free(c->coming);
    free(c);
}

void composition_live(struct composition *c, const struct takes *live)
{
    for (size_t i = 0; i < c->open_count;) {
        bool gone = takes_hold(c->live, c->open[i].clip) && !takes_hold(live, c->open[i].clip);
        if (gone) {
            close_clip(&c->open[i]);
            c->open[i] = c->open[--c->open_count];
        } else {
            i++;
        }
    }
    takes_unref(&c->live);
    c->live = takes_ref(live);
}

void composition_natural_size(const struct clip_context *outer, const struct timeline *nested,
                              int *ret_width, int *ret_height)
{
    int width = (int)(nested->width * outer->scale_x + 0.5) & ~1;
    int height = (int)(nested->height * outer->scale_y + 0.5) & ~1;
    *ret_width = width < 2 ? 2 : width > PICTURE_SIDE_MAX ? PICTURE_SIDE_MAX : width;
    *ret_height = height < 2 ? 2 : height > PICTURE_SIDE_MAX ? PICTURE_SIDE_MAX : height;
}

static struct open_clip *slot_for(struct composition *c, const struct clip *clip)
{
    for (size_t i = 0; i < c->open_count; i++) {
        if (c->open[i].clip == clip) {
            c->open[i].last_call = c->calls;
            return &c->open[i];
        }
    }
    if (c->open_count == c->open_capacity) {
        c->open_capacity = c->open_capacity ? 2 * c->open_capacity : 16;
        c->open = realloc(c->open, c->open_capacity * sizeof *c->open);
        assert(c->open);
    }
    struct open_clip *slot = &c->open[c->open_count++];
    *slot = (struct open_clip){
        .clip = clip,
        .view = clip_view_create(&c->context, clip),
        .last_call = c->calls,
    };
    return slot;
}

static struct clip_view *view_for(struct composition *c, const struct clip *clip)
{
    struct open_clip *slot = slot_for(c, clip);
    slot->last_placed = c->calls;
    slot->prepared = false;
    return slot->view;
}

static void close_idle(struct composition *c)
{
    for (size_t i = 0; i < c->open_count;) {
        if (c->open[i].last_call + c->idle_calls < c->calls) {
            close_clip(&c->open[i]);
            c->open[i] = c->open[--c->open_count];
        } else {
            i++;
        }
    }
}

static uint64_t key_of(const void *parts, size_t size)
{
    uint64_t key = checksum_add(checksum_begin(), parts, size);
    return key ? key : 1;
}

static bool has_picture(const struct clip_instant *at)
{
    return at->clip && at->clip->kind != CLIP_AUDIO && at->opacity > 0;
}

static struct picture *canvas_create(const struct composition *c)
{
    return picture_create(PICTURE_ALPHA, c->context.width, c->context.height);
}

// Gives what else than the two, their opacities and the share decides the bits.
static uint64_t draw_transition(struct composition *c, const struct layer *layer,
                                const struct placed *from, const struct placed *to,
                                struct picture *canvas, struct render_report *report)
{
    struct wipe_side out = {from->picture, from->x, from->y, layer->from.opacity};
    struct wipe_side in = {to->picture, to->x, to->y, layer->now.opacity};
    if (!layer->now.clip->how) {
        blend_dissolve(canvas, out.picture, out.x, out.y, out.opacity, in.picture, in.x, in.y,
                       in.opacity, layer->mix);
        return 0;
    }
    struct open_clip *open = slot_for(c, layer->now.clip);
    uint64_t key;
    if (!open->way)
        open->way = transition_view_create(&c->context, layer->now.clip);
    transition_view_draw(open->way, layer, &out, &in, canvas, &key, report);
    return key;
}

static bool waits(const struct composition *c)
{
    return c->context.cameras && cameras_wait(c->context.cameras, NULL);
}

static void transition_layer(struct composition *c, const struct layer *layer,
                             struct composed_layer *ret, struct render_report *report)
{
    struct placed from = {0}, to = {0};
    if (has_picture(&layer->from))
        clip_view_place(view_for(c, layer->from.clip), &layer->from, &from, report);
    if (has_picture(&layer->now))
        clip_view_place(view_for(c, layer->now.clip), &layer->now, &to, report);
    if (!waits(c) && (from.picture || to.picture || transition_colours(layer->now.clip))) {
        struct picture *canvas = canvas_create(c);
        if (canvas) {
            uint64_t how = draw_transition(c, layer, &from, &to, canvas, report);
            uint64_t parts[] = {(uint64_t)(uintptr_t)layer->from.clip,
                                from.key,
                                (uint64_t)layer->from.opacity,
                                (uint64_t)(uintptr_t)layer->now.clip,
                                to.key,
                                (uint64_t)layer->now.opacity,
                                (uint64_t)layer->mix,
                                (uint64_t)layer->share,
                                how};
            *ret = (struct composed_layer){
                .placed = {.picture = canvas},
                .opacity = 255,
                .mode = layer->now.clip ? layer->now.clip->blend : BLEND_NORMAL,
                .key = key_of(parts, sizeof parts),
            };
        }
    }
    picture_unref(&from.picture);
    picture_unref(&to.picture);
}

static void single_layer(struct composition *c, const struct clip_instant *at,
                         struct composed_layer *ret, struct render_report *report)
{
    if (at->clip->kind == CLIP_ADJUST) {
        uint64_t parts[5] = {(uint64_t)(uintptr_t)at->clip, (uint64_t)at->opacity};
        memcpy(&parts[2], &at->brightness, sizeof at->brightness);
        memcpy(&parts[3], &at->contrast, sizeof at->contrast);
        memcpy(&parts[4], &at->saturation, sizeof at->saturation);
        ret->adjust = at;
        ret->key = key_of(parts, sizeof parts);
        return;
    }
    transition_view_destroy(&slot_for(c, at->clip)->way); // it is over
    clip_view_place(view_for(c, at->clip), at, &ret->placed, report);
    if (!ret->placed.picture)
        return;
    ret->opacity = at->opacity;
    ret->mode = at->clip->blend;
    uint64_t parts[] = {(uint64_t)(uintptr_t)at->clip, ret->placed.key, (uint64_t)at->opacity};
    ret->key = key_of(parts, sizeof parts);
}

// What comes of a camera is not known beforehand: it is prepared all the time.
static bool has_camera(const struct clip *clip)
{
    return clip->kind == CLIP_CAMERA || (clip->nested && timeline_has_camera(clip->nested));
}

static void prepare_clip(struct composition *c, const struct clip_instant *at)
{
    struct open_clip *slot = slot_for(c, at->clip);
    if ((slot->prepared && !has_camera(at->clip)) || slot->last_placed == c->calls)
        return;
    clip_view_prepare(slot->view, at);
    slot->prepared = true;
}

static void follow_clip(struct composition *c, const struct clip_instant *at)
{
    clip_view_follow(view_for(c, at->clip), at, c->followed);
}

// Whether what hides all beneath now does so at `at` as well.
static bool still_hides(const struct composition *c, const struct clip_instant *at)
{
    const struct placement *a = &at->placement, *b = &c->hider.placement;
    return at->clip && at->clip == c->hider.clip && at->opacity == 255 && a->x == b->x &&
           a->y == b->y && a->width == b->width && a->height == b->height &&
           a->rotation == b->rotation && a->crop_left == b->crop_left &&
           a->crop_top == b->crop_top && a->crop_right == b->crop_right &&
           a->crop_bottom == b->crop_bottom && a->radius == b->radius;
}

// Calls `see` for what will be seen at `seconds`.
static void look_ahead(struct composition *c, struct rational seconds, bool loop, int from, int to,
                       void (*see)(struct composition *, const struct clip_instant *))
{
    timeline_evaluate_at(c->timeline, c->live, seconds, loop, c->context.width, c->context.height,
                         c->coming);
    for (int track = to - 1; track >= from; track--) {
        const struct layer *layer = &c->coming[track];
        if (has_picture(&layer->from) && layer->from.clip->kind != CLIP_ADJUST)
            see(c, &layer->from);
        if (has_picture(&layer->now) && layer->now.clip->kind != CLIP_ADJUST)
            see(c, &layer->now);
        if (!layer->from.clip && still_hides(c, &layer->now))
            return;
    }
}

void composition_layers(struct composition *c, struct rational seconds, bool loop, int from, int to,
                        struct composed_layer *layers, struct render_report *report)
{
    c->calls++;
    timeline_evaluate_at(c->timeline, c->live, seconds, loop, c->context.width, c->context.height,
                         c->layers);
    memset(layers, 0, (size_t)(to - from) * sizeof *layers);
    c->hider.clip = NULL;
    for (int track = to - 1; track >= from && !c->hider.clip && !waits(c); track--) {
        int64_t start_ns = clock_monotonic_ns() + crew_helped_ns();
        struct composed_layer *ret = &layers[track - from];
        const struct layer *layer = &c->layers[track];
        if (layer->from.clip)
            transition_layer(c, layer, ret, report);
        else if (has_picture(&layer->now))
            single_layer(c, &layer->now, ret, report);
        if (!c->context.depth)
            report->track_ns[track] += clock_monotonic_ns() + crew_helped_ns() - start_ns;
        if (ret->placed.picture && !c->context.config->plain &&
            group_layer_hides(c->context.width, c->context.height, ret->placed.picture,
                              ret->placed.x, ret->placed.y, ret->opacity, ret->mode))
            c->hider = layer->now;
    }
    if (waits(c)) {
        c->calls--; // it is made again, or never
        return;
    }
    if (!c->context.config->plain)
        look_ahead(c, rational_add(seconds, c->ahead), loop, from, to, prepare_clip);
    close_idle(c);
}

void composition_prepare(struct composition *c, struct rational seconds, bool loop, int from,
                         int to)
{
    c->calls++;
    look_ahead(c, seconds, loop, from, to, prepare_clip);
}

void composition_follow(struct composition *c, struct rational seconds, bool loop, int from, int to,
                        int64_t frames)
{
    c->followed = frames;
    c->calls += frames > 1 ? (uint64_t)frames : 1; // clips are idle by programme time
    look_ahead(c, seconds, loop, from, to, follow_clip);
    look_ahead(c, rational_add(seconds, c->ahead), loop, from, to, prepare_clip);
    close_idle(c);
}

void composition_release(struct composed_layer *layers, int count)
{
    for (int i = 0; i < count; i++)
        picture_unref(&layers[i].placed.picture);
}

static int draw(struct composition *c, const struct composed_layer *layers, int count,
                struct picture **ret)
{
    struct picture *canvas = canvas_create(c);
    if (!canvas)
        return -ENOMEM;
    picture_clear(canvas);
    for (int i = 0; i < count; i++) {
        const struct composed_layer *layer = &layers[i];
        if (layer->placed.picture)
            blend_picture(canvas, layer->placed.picture, layer->placed.x, layer->placed.y,
                          layer->opacity, layer->mode, NULL);
        if (!layer->adjust)
            continue;
        struct picture *adjusted = canvas_create(c);
        if (!adjusted) {
            picture_unref(&canvas);
            return -ENOMEM;
        }
        convert_adjust(adjusted, canvas, layer->adjust->brightness, layer->adjust->contrast,
                       layer->adjust->saturation, layer->adjust->opacity);
        picture_unref(&canvas);
        canvas = adjusted;
    }
    *ret = canvas;
    return 0;
}

int composition_picture(struct composition *c, struct rational seconds, bool loop,
                        struct picture **ret, uint64_t *ret_key, struct render_report *report)
{
    struct composed_layer layers[TIMELINE_TRACKS_MAX];
    const struct timeline *t = c->timeline;
    int count = (int)t->track_count;
    struct rational last = rational_make((t->duration - 1) * t->rate.den, t->rate.num);
    struct rational end = rational_make(t->duration * t->rate.den, t->rate.num);
    if (!loop && rational_compare(seconds, end) >= 0)
        seconds = last;
    composition_layers(c, seconds, loop, 0, count, layers, report);
    if (waits(c)) {
        composition_release(layers, count);
        return -EAGAIN;
    }
    uint64_t key = checksum_begin();
    for (int i = 0; i < count; i++)
        key = checksum_add(key, &layers[i].key, sizeof layers[i].key);
    int error = 0;
    if (c->context.config->plain || !c->last_picture || key != c->last_key) {
        struct picture *picture;
        error = draw(c, layers, count, &picture);
        if (!error) {
            picture_unref(&c->last_picture);
            c->last_picture = picture;
            c->last_key = key;
        }
    }
    composition_release(layers, count);
    if (error)
        return error;
    *ret = picture_ref(c->last_picture);
    *ret_key = key & ~(UINT64_C(1) << 63); // the top bit marks fallbacks, see clip_view.c
    return 0;
}
