// The builder of group frames (group.h).
//
// Layers are only noted while they are put on; `finish` draws them. An opaque group is one OPAQUE
// picture, drawn in one pass over all its layers. Otherwise each tile has a stack; a layer's tile
// is merged into the top entry, or pushed, by these rules, which hold block by block (2x2) because
// every blend mode treats each block by itself:
//   1. A fully opaque tile in normal mode hides the stack: it becomes the only entry.
//   2. The top entry has normal mode, and in each block the layer is empty, or the entry is opaque,
//      or (layer in normal mode) the layer is opaque or the entry is empty: blend over the entry.
//      Over an opaque block the result is opaque and owes nothing to what lies beneath.
//   3. Layer and entry have one mode, and in each block one of the two is empty: put the layer's
//      blocks beside the entry's. Putting is normal blending over nothing: it keeps P' and a'.
//   4. Otherwise the tile is a new entry, in the next level.
//
// Damage: tiles that no changed layer touches, now or in the frame before, are taken over from
// there. Pictures are const, and those of the frame before are kept here, so a layer of the same
// picture at the same place shows the same.
#include "engine/compose/group.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/crew.h"
#include "engine/base/thread.h"
#include "engine/compose/kernels.h"

#define LAYERS_MAX (GROUP_DEPTH_MAX + 1) // and the base
// Of an opaque group's picture, drawn with all its layers at once: less costs more calls than it
// saves traffic, more does not stay in a core's second cache.
#define BAND_BYTES (768 << 10)
#define STACK_ROWS 8 // of tiles, whose stacks one thread draws at a time

struct placed_layer {
    struct picture *picture; // a reference
    int x, y, opacity;
    enum blend_mode mode;
};

struct layer_list {
    int count;
    struct placed_layer layer[LAYERS_MAX];
};

struct group_builder {
    // -- constant after create
    int width, height, tiles;
    uint64_t maker; // names this builder among all
    // -- the frame being built, and the one before
    struct layer_list *layers, *layers_before;
    struct group_frame *frame, *before; // frame: only within finish; before NULL: none to take from
    uint64_t made;                      // frames finished
    uint8_t *damaged;                   // [tiles]
    uint8_t *top;                       // entries in each tile's stack
    pthread_mutex_t level_lock;         // guards frame->depth while stacks are drawn
};

struct group_builder *group_builder_create(int width, int height)
{
    static _Atomic uint64_t makers;
    struct group_builder *b = base_alloc(sizeof *b);
    struct group_frame *shape = group_frame_create(width, height);
    b->width = width;
    b->height = height;
    b->tiles = shape->tiles_x * shape->tiles_y;
    b->maker = atomic_fetch_add(&makers, 1) + 1;
    group_frame_unref(&shape);
    b->layers = base_alloc(sizeof *b->layers);
    b->layers_before = base_alloc(sizeof *b->layers_before);
    b->damaged = base_alloc((size_t)b->tiles);
    b->top = base_alloc((size_t)b->tiles);
    pthread_mutex_init(&b->level_lock, NULL);
    return b;
}

static void list_clear(struct layer_list *list)
{
    while (list->count)
        picture_unref(&list->layer[--list->count].picture);
}

void group_builder_forget(struct group_builder *builder)
{
    list_clear(builder->layers_before);
    group_frame_unref(&builder->before);
}

void group_builder_destroy(struct group_builder **builder)
{
    struct group_builder *b = *builder;
    if (!b)
        return;
    *builder = NULL;
    group_builder_forget(b);
    list_clear(b->layers);
    free(b->layers);
    free(b->layers_before);
    free(b->damaged);
    free(b->top);
    pthread_mutex_destroy(&b->level_lock);
    free(b);
}

void group_builder_begin(struct group_builder *builder, const struct picture *base)
{
    list_clear(builder->layers);
    assert(!base || (base->format == PICTURE_OPAQUE && base->width == builder->width &&
                     base->height == builder->height));
    if (base)
        group_builder_add(builder, base, 0, 0, 255, BLEND_NORMAL);
}

static bool hides(const struct group_builder *b, const struct placed_layer *l)
{
    return group_layer_hides(b->width, b->height, l->picture, l->x, l->y, l->opacity, l->mode);
}

void group_builder_add(struct group_builder *builder, const struct picture *picture, int x, int y,
                       int opacity, enum blend_mode mode)
{
    struct placed_layer layer = {(struct picture *)picture, x, y, opacity, mode};
    assert(x % 2 == 0 && y % 2 == 0 && opacity >= 0 && opacity <= 255);
    if (opacity == 0)
        return;
    layer.picture = picture_ref(picture);
    if (hides(builder, &layer))
        list_clear(builder->layers);
    assert(builder->layers->count < LAYERS_MAX);
    builder->layers->layer[builder->layers->count++] = layer;
}

// ---- Stacks -----------------------------------------------------------------------------------

static struct rect layer_area(const struct group_builder *b, const struct placed_layer *layer)
{
    return rect_intersect(
        (struct rect){0, 0, b->width, b->height},
        (struct rect){layer->x, layer->y, layer->picture->width, layer->picture->height});
}

static const uint8_t *alpha_at(const struct picture *p, int x, int y)
{
    return p->plane[3] + y * p->stride[3] + x;
}

// By the map of its cover: what the layer covers of `part`, as far as that is known.
static enum cover layer_cover(const struct placed_layer *layer, struct rect part)
{
    if (layer->picture->format == PICTURE_OPAQUE)
        return COVER_FULL;
    const uint8_t *cover = picture_cover(layer->picture);
    if (!cover)
        return COVER_MIXED;
    int stride = picture_cover_stride(layer->picture);
    int left = (part.x - layer->x) / COVER_WIDTH,
        right = (part.x - layer->x + part.width - 1) / COVER_WIDTH;
    int top = (part.y - layer->y) / COVER_HEIGHT,
        bottom = (part.y - layer->y + part.height - 1) / COVER_HEIGHT;
    enum cover kind = (enum cover)cover[top * stride + left];
    for (int i = top; i <= bottom && kind != COVER_MIXED; i++)
        for (int k = left; k <= right; k++)
            kind = cover[i * stride + k] == kind ? kind : COVER_MIXED;
    return kind;
}

// What the layer shows within `part`: anything at all, and all opaque?
static void layer_look(const struct placed_layer *layer, struct rect part, bool *ret_any,
                       bool *ret_all)
{
    enum cover kind = layer_cover(layer, part);
    if (kind != COVER_MIXED) {
        *ret_any = kind == COVER_FULL;
        *ret_all = kind == COVER_FULL && layer->opacity == 255;
        return;
    }
    uint8_t any = 0, all = 255;
    for (int y = 0; y < part.height; y++) {
        const uint8_t *row = alpha_at(layer->picture, part.x - layer->x, part.y + y - layer->y);
        for (int x = 0; x < part.width; x++) {
            any |= row[x];
            all &= row[x];
        }
    }
    *ret_any = any != 0;
    *ret_all = layer->opacity == 255 && all == 255;
}

struct block_look {
    bool empty, opaque;
};

static inline struct block_look block_look(const uint8_t *upper, const uint8_t *lower, int opacity)
{
    int all = upper[0] & upper[1] & lower[0] & lower[1];
    bool empty = true;
    for (int i = 0; i < 2; i++)
        empty = empty && divide_255(upper[i] * opacity) == 0 && divide_255(lower[i] * opacity) == 0;
    return (struct block_look){.empty = empty, .opaque = all == 255 && opacity == 255};
}

// Which of rules 2 and 3 holds for all blocks of `part`.
static void merge_look(const struct placed_layer *layer, const struct picture *entry,
                       struct rect part, bool *over, bool *beside)
{
    static const uint8_t full[2] = {255, 255};
    const struct picture *src = layer->picture;
    for (int y = part.y; y < part.y + part.height; y += 2)
        for (int x = part.x; x < part.x + part.width && (*over || *beside); x += 2) {
            const uint8_t *rows[2] = {full, full};
            for (int i = 0; i < 2 && src->format == PICTURE_ALPHA; i++)
                rows[i] = alpha_at(src, x - layer->x, y + i - layer->y);
            struct block_look l = block_look(rows[0], rows[1], layer->opacity);
            struct block_look e = block_look(alpha_at(entry, x, y), alpha_at(entry, x, y + 1), 255);
            *over = *over &&
                    (l.empty || e.opaque || (layer->mode == BLEND_NORMAL && (l.opaque || e.empty)));
            *beside = *beside && (l.empty || e.empty);
        }
}

static void clear_area(struct picture *p, struct rect area)
{
    for (int i = 0; i < 4; i++) {
        int half = i == 1 || i == 2;
        for (int row = area.y >> half; row < (area.y + area.height) >> half; row++)
            memset(p->plane[i] + row * p->stride[i] + (area.x >> half), 0,
                   (size_t)(area.width >> half));
    }
}

static void put(struct picture *entry, const struct placed_layer *layer, enum blend_mode mode,
                const struct rect *tile)
{
    blend_picture(entry, layer->picture, layer->x, layer->y, layer->opacity, mode, tile);
}

static int need_level(struct group_builder *b, int entry)
{
    int r = 0;
    pthread_mutex_lock(&b->level_lock);
    if (entry >= b->frame->depth) {
        struct picture *picture = picture_create(PICTURE_ALPHA, b->width, b->height);
        r = picture ? group_frame_push(b->frame, &picture) : -ENOMEM;
        picture_unref(&picture);
    }
    pthread_mutex_unlock(&b->level_lock);
    return r;
}

// Makes the layer's tile entry number `entry` (from 0) of its stack.
static int push_tile(struct group_builder *b, int tile, const struct placed_layer *layer,
                     struct rect area, int entry, bool opaque)
{
    int r = need_level(b, entry);
    if (r < 0)
        return r;
    struct group_level *level = &b->frame->level[entry];
    if (!opaque)
        clear_area(level->picture, area);
    put(level->picture, layer, BLEND_NORMAL, &area);
    level->kind[tile] = opaque ? TILE_OPAQUE : TILE_MIXED;
    level->mode[tile] = (uint8_t)layer->mode;
    b->top[tile] = (uint8_t)(entry + 1);
    return 0;
}

static int add_tile(struct group_builder *b, int tile, const struct placed_layer *layer)
{
    struct rect area = group_tile_rect(b->frame, tile);
    struct rect part = rect_intersect(
        area, (struct rect){layer->x, layer->y, layer->picture->width, layer->picture->height});
    bool any, all;
    if (part.width == 0)
        return 0;
    layer_look(layer, part, &any, &all);
    if (!any)
        return 0;
    all = all && part.width == area.width && part.height == area.height;
    int top = b->top[tile];
    if (top == 0)
        return push_tile(b, tile, layer, area, 0, all);
    if (all && layer->mode == BLEND_NORMAL) {
        for (int i = 0; i < top; i++) {
            b->frame->level[i].kind[tile] = TILE_EMPTY;
            b->frame->level[i].mode[tile] = BLEND_NORMAL;
        }
        return push_tile(b, tile, layer, area, 0, true);
    }
    struct group_level *level = &b->frame->level[top - 1];
    bool over = level->mode[tile] == BLEND_NORMAL;
    bool beside = level->mode[tile] == (uint8_t)layer->mode;
    if (!over || level->kind[tile] != TILE_OPAQUE)
        merge_look(layer, level->picture, part, &over, &beside);
    if (over)
        put(level->picture, layer, layer->mode, &area);
    else if (beside)
        put(level->picture, layer, BLEND_NORMAL, &area);
    else
        return push_tile(b, tile, layer, area, top, all);
    return 0;
}

// The tile's stack as it was in the frame before.
static int take_tile(struct group_builder *b, int tile)
{
    const struct group_frame *before = b->before;
    for (int i = 0; i < before->depth && before->level[i].kind[tile] != TILE_EMPTY; i++) {
        int r = need_level(b, i);
        if (r < 0)
            return r;
        struct group_level *level = &b->frame->level[i];
        group_tile_copy(level->picture, before->level[i].picture, group_tile_rect(b->frame, tile));
        level->kind[tile] = before->level[i].kind[tile];
        level->mode[tile] = before->level[i].mode[tile];
        b->top[tile] = (uint8_t)(i + 1);
    }
    return 0;
}

static int draw_tile(struct group_builder *b, int tile)
{
    for (int i = 0; i < b->layers->count; i++) {
        int r = add_tile(b, tile, &b->layers->layer[i]);
        if (r < 0)
            return r;
    }
    return 0;
}

struct stacks {
    struct group_builder *builder;
    _Atomic int error;
};

static void draw_stacks_part(void *opaque, int part)
{
    struct stacks *s = opaque;
    struct group_builder *b = s->builder;
    int each = STACK_ROWS * b->frame->tiles_x;
    for (int tile = part * each; tile < b->tiles && tile < (part + 1) * each; tile++) {
        int r = b->damaged[tile] ? draw_tile(b, tile) : take_tile(b, tile);
        if (r < 0) {
            atomic_store(&s->error, r);
            return;
        }
    }
}

static int draw_stacks(struct group_builder *b)
{
    memset(b->top, 0, (size_t)b->tiles);
    struct stacks stacks = {.builder = b};
    crew_share((b->frame->tiles_y + STACK_ROWS - 1) / STACK_ROWS, draw_stacks_part, &stacks);
    if (stacks.error)
        return stacks.error;
    // Levels that opaque tiles have emptied.
    int deepest = 0;
    for (int tile = 0; tile < b->tiles; tile++)
        deepest = b->top[tile] > deepest ? b->top[tile] : deepest;
    group_frame_truncate(b->frame, deepest);
    return 0;
}

// ---- Opaque groups ----------------------------------------------------------------------------

static void draw_run(const struct group_builder *b, struct picture *dst, struct rect area,
                     bool damaged)
{
    if (!damaged)
        blend_picture(dst, b->before->level[0].picture, 0, 0, 255, BLEND_NORMAL, &area);
    for (int i = 0; damaged && i < b->layers->count; i++)
        put(dst, &b->layers->layer[i], b->layers->layer[i].mode, &area);
}

// How many rows of tiles from `row` on, up to `end`, are wholly damaged.
static int damaged_rows(const struct group_builder *b, int row, int end)
{
    const struct group_frame *f = b->frame;
    int count = 0;
    while (row + count < end &&
           !memchr(b->damaged + (row + count) * f->tiles_x, false, (size_t)f->tiles_x))
        count++;
    return count;
}

struct canvas {
    const struct group_builder *builder;
    struct picture *dst;
    int band_rows; // of tiles
};

// One pass: a band gets all its layers while what one wrote is still in the cache for the next.
// Rows that are damaged in part are drawn in runs of tiles that are alike.
static void draw_band(void *opaque, int band)
{
    const struct canvas *c = opaque;
    const struct group_builder *b = c->builder;
    const struct group_frame *f = b->frame;
    int end = (band + 1) * c->band_rows;
    end = end < f->tiles_y ? end : f->tiles_y;
    for (int row = band * c->band_rows, rows; row < end; row += rows) {
        rows = damaged_rows(b, row, end);
        if (rows) {
            struct rect area = {0, row * GROUP_TILE_HEIGHT, b->width, rows * GROUP_TILE_HEIGHT};
            draw_run(b, c->dst, area, true);
            continue;
        }
        rows = 1;
        for (int i = 0, next; i < f->tiles_x; i = next) {
            int tile = row * f->tiles_x + i;
            struct rect area = group_tile_rect(f, tile);
            bool damaged = b->damaged[tile];
            for (next = i + 1; next < f->tiles_x && b->damaged[tile + next - i] == damaged; next++)
                area.width += group_tile_rect(f, tile + next - i).width;
            draw_run(b, c->dst, area, damaged);
        }
    }
}

static struct picture *draw_canvas(const struct group_builder *b)
{
    struct canvas c = {
        .builder = b,
        .dst = picture_create(PICTURE_OPAQUE, b->width, b->height),
        .band_rows = BAND_BYTES / (b->width * GROUP_TILE_HEIGHT * 3 / 2),
    };
    c.band_rows = c.band_rows ? c.band_rows : 1;
    if (c.dst)
        crew_share((b->frame->tiles_y + c.band_rows - 1) / c.band_rows, draw_band, &c);
    return c.dst;
}

static int draw_opaque(struct group_builder *b)
{
    const struct picture *bottom = b->layers->layer[0].picture;
    bool alone = b->layers->count == 1 && bottom->width == b->width && bottom->height == b->height;
    struct picture *picture = alone ? picture_ref(bottom) : draw_canvas(b);
    int r = picture ? group_frame_push(b->frame, &picture) : -ENOMEM;
    picture_unref(&picture);
    if (r < 0)
        return r;
    b->frame->opaque = true;
    memset(b->frame->level[0].kind, TILE_OPAQUE, (size_t)b->tiles);
    return 0;
}

// ---- Damage -----------------------------------------------------------------------------------

// Marks the tiles in which the layer may show anything.
static void mark(struct group_builder *b, const struct placed_layer *layer)
{
    struct rect area = layer_area(b, layer);
    if (area.width == 0)
        return;
    int tiles_x = (b->width + GROUP_TILE_WIDTH - 1) / GROUP_TILE_WIDTH;
    int right = (area.x + area.width - 1) / GROUP_TILE_WIDTH;
    int bottom = (area.y + area.height - 1) / GROUP_TILE_HEIGHT;
    for (int y = area.y / GROUP_TILE_HEIGHT; y <= bottom; y++)
        for (int x = area.x / GROUP_TILE_WIDTH; x <= right; x++) {
            struct rect tile = {x * GROUP_TILE_WIDTH, y * GROUP_TILE_HEIGHT, GROUP_TILE_WIDTH,
                                GROUP_TILE_HEIGHT};
            struct rect part = rect_intersect(area, tile);
            uint8_t *damaged = &b->damaged[y * tiles_x + x];
            *damaged = *damaged || layer_cover(layer, part) != COVER_EMPTY;
        }
}

static bool same_layer(const struct placed_layer *a, const struct placed_layer *b)
{
    return a->picture == b->picture && a->x == b->x && a->y == b->y && a->opacity == b->opacity &&
           a->mode == b->mode;
}

// Where a list has become longer or shorter, what is the same at both ends is set against each
// other.
static void find_damage(struct group_builder *b)
{
    const struct layer_list *now = b->layers, *then = b->layers_before;
    bool opaque = now->count && hides(b, &now->layer[0]);
    bool all = !b->before || b->before->opaque != opaque;
    memset(b->damaged, all, (size_t)b->tiles);
    if (all)
        return;
    int shorter = now->count < then->count ? now->count : then->count;
    int from = 0, ends = 0; // the same at the bottom, and at the top
    if (now->count != then->count) {
        while (from < shorter && same_layer(&now->layer[from], &then->layer[from]))
            from++;
        while (ends < shorter - from &&
               same_layer(&now->layer[now->count - 1 - ends], &then->layer[then->count - 1 - ends]))
            ends++;
    }
    for (int i = from; i < now->count - ends; i++)
        if (now->count != then->count || !same_layer(&now->layer[i], &then->layer[i]))
            mark(b, &now->layer[i]);
    for (int i = from; i < then->count - ends; i++)
        if (now->count != then->count || !same_layer(&now->layer[i], &then->layer[i]))
            mark(b, &then->layer[i]);
}

static int draw(struct group_builder *b)
{
    b->frame = group_frame_create(b->width, b->height);
    b->frame->maker = b->maker;
    b->frame->made = base_alloc((size_t)b->tiles * sizeof *b->frame->made);
    b->made++;
    for (int tile = 0; tile < b->tiles; tile++)
        b->frame->made[tile] = b->damaged[tile] ? b->made : b->before->made[tile];
    return b->layers->count && hides(b, &b->layers->layer[0]) ? draw_opaque(b) : draw_stacks(b);
}

int group_builder_finish(struct group_builder *builder, struct group_frame **ret)
{
    struct group_builder *b = builder;
    find_damage(b);
    int error = 0;
    if (!memchr(b->damaged, false, (size_t)b->tiles))
        group_frame_unref(&b->before); // its memory serves the new one
    if (!b->before || memchr(b->damaged, true, (size_t)b->tiles)) {
        error = draw(b);
        group_frame_unref(&b->before);
        b->before = b->frame;
        b->frame = NULL;
    }
    struct layer_list *spare = b->layers_before;
    b->layers_before = b->layers;
    b->layers = spare;
    list_clear(b->layers);
    if (error)
        group_builder_forget(b);
    else
        *ret = group_frame_ref(b->before);
    return error;
}
