// The builder of group frames (group.h).
//
// An opaque group is one OPAQUE picture that layers are blended into. Otherwise each tile has a
// stack; a layer's tile is merged into the top entry, or pushed, by these rules, which hold block
// by block (2x2) because every blend mode treats each block by itself:
//   1. A fully opaque tile in normal mode hides the stack: it becomes the only entry.
//   2. The top entry has normal mode, and in each block the layer is empty, or the entry is opaque,
//      or (layer in normal mode) the layer is opaque or the entry is empty: blend over the entry.
//      Over an opaque block the result is opaque and owes nothing to what lies beneath.
//   3. Layer and entry have one mode, and in each block one of the two is empty: put the layer's
//      blocks beside the entry's. Putting is normal blending over nothing: it keeps P' and a'.
//   4. Otherwise the tile is a new entry, in the next level.
#include "engine/compose/group.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/thread.h"
#include "engine/compose/kernels.h"

struct group_builder {
    // -- constant after create
    int width, height, tiles;
    // -- of the frame being built
    struct group_frame *frame; // NULL between frames
    bool owned;                // opaque group: level 0 is a picture of ours, not one lent to us
    int error;                 // first failure, returned by finish
    uint8_t *top;              // entries in each tile's stack
};

struct placed_layer {
    const struct picture *picture;
    int x, y, opacity;
    enum blend_mode mode;
};

struct group_builder *group_builder_create(int width, int height)
{
    struct group_builder *b = base_alloc(sizeof *b);
    struct group_frame *shape = group_frame_create(width, height);
    b->width = width;
    b->height = height;
    b->tiles = shape->tiles_x * shape->tiles_y;
    group_frame_unref(&shape);
    b->top = base_alloc((size_t)b->tiles);
    return b;
}

void group_builder_destroy(struct group_builder **builder)
{
    struct group_builder *b = *builder;
    if (!b)
        return;
    *builder = NULL;
    group_frame_unref(&b->frame);
    free(b->top);
    free(b);
}

// Starts anew: the frame is empty, or opaque from `picture`, which is taken.
static int restart(struct group_builder *b, struct picture **picture)
{
    group_frame_unref(&b->frame);
    b->frame = group_frame_create(b->width, b->height);
    b->owned = false;
    memset(b->top, 0, (size_t)b->tiles);
    if (!picture)
        return 0;
    int r = group_frame_push(b->frame, picture);
    if (r < 0)
        return r;
    b->frame->opaque = true;
    memset(b->frame->level[0].kind, TILE_OPAQUE, (size_t)b->tiles);
    return 0;
}

void group_builder_begin(struct group_builder *builder, const struct picture *base)
{
    builder->error = 0;
    struct picture *picture = base ? picture_ref(base) : NULL;
    assert(!base || base->format == PICTURE_OPAQUE);
    builder->error = restart(builder, base ? &picture : NULL);
    picture_unref(&picture);
}

// Level 0 of an opaque group may be somebody else's picture; from now on it is ours.
static int own_base(struct group_builder *b)
{
    if (b->owned)
        return 0;
    struct picture *copy = picture_create(PICTURE_OPAQUE, b->width, b->height);
    if (!copy)
        return -ENOMEM;
    picture_copy(copy, b->frame->level[0].picture);
    picture_unref(&b->frame->level[0].picture);
    b->frame->level[0].picture = copy;
    b->owned = true;
    return 0;
}

// An opaque layer that covers the canvas hides all the rest.
static int replace_all(struct group_builder *b, const struct placed_layer *layer)
{
    const struct picture *src = layer->picture;
    bool exact = src->width == b->width && src->height == b->height;
    struct picture *picture =
        exact ? picture_ref(src) : picture_create(PICTURE_OPAQUE, b->width, b->height);
    if (!picture)
        return -ENOMEM;
    if (!exact)
        blend_picture(picture, src, layer->x, layer->y, 255, BLEND_NORMAL, NULL);
    int r = restart(b, &picture);
    picture_unref(&picture);
    b->owned = r == 0 && !exact;
    return r;
}

static const uint8_t *alpha_at(const struct picture *p, int x, int y)
{
    return p->plane[3] + y * p->stride[3] + x;
}

// What the layer shows within `part`: anything at all, and all opaque?
static void layer_look(const struct placed_layer *layer, struct rect part, bool *ret_any,
                       bool *ret_all)
{
    uint8_t any = 0, all = 255;
    *ret_any = true;
    *ret_all = layer->opacity == 255;
    if (layer->picture->format == PICTURE_OPAQUE || part.width == 0)
        return;
    const uint8_t *cover = picture_cover(layer->picture);
    int stride = picture_cover_stride(layer->picture);
    int left = (part.x - layer->x) / COVER_WIDTH,
        right = (part.x - layer->x + part.width - 1) / COVER_WIDTH;
    int top = (part.y - layer->y) / COVER_HEIGHT,
        bottom = (part.y - layer->y + part.height - 1) / COVER_HEIGHT;
    enum cover kind = cover ? (enum cover)cover[top * stride + left] : COVER_MIXED;
    for (int i = top; i <= bottom && kind != COVER_MIXED; i++)
        for (int k = left; k <= right; k++)
            kind = cover[i * stride + k] == kind ? kind : COVER_MIXED;
    if (kind != COVER_MIXED) {
        *ret_any = kind == COVER_FULL;
        *ret_all = *ret_all && kind == COVER_FULL;
        return;
    }
    for (int y = 0; y < part.height; y++) {
        const uint8_t *row = alpha_at(layer->picture, part.x - layer->x, part.y + y - layer->y);
        for (int x = 0; x < part.width; x++) {
            any |= row[x];
            all &= row[x];
        }
    }
    *ret_any = any != 0;
    *ret_all = *ret_all && all == 255;
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

// Makes the layer's tile entry number `entry` (from 0) of its stack.
static int push_tile(struct group_builder *b, int tile, const struct placed_layer *layer,
                     struct rect area, int entry, bool opaque)
{
    if (entry == b->frame->depth) {
        struct picture *picture = picture_create(PICTURE_ALPHA, b->width, b->height);
        int r = picture ? group_frame_push(b->frame, &picture) : -ENOMEM;
        picture_unref(&picture);
        if (r < 0)
            return r;
    }
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
    layer_look(layer, part, &any, &all);
    if (!any || part.width == 0)
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

static int add_tiles(struct group_builder *b, const struct placed_layer *layer)
{
    struct rect area = rect_intersect(
        (struct rect){0, 0, b->width, b->height},
        (struct rect){layer->x, layer->y, layer->picture->width, layer->picture->height});
    if (area.width == 0)
        return 0;
    int right = (area.x + area.width - 1) / GROUP_TILE_WIDTH;
    int bottom = (area.y + area.height - 1) / GROUP_TILE_HEIGHT;
    for (int row = area.y / GROUP_TILE_HEIGHT; row <= bottom; row++)
        for (int column = area.x / GROUP_TILE_WIDTH; column <= right; column++) {
            int r = add_tile(b, row * b->frame->tiles_x + column, layer);
            if (r < 0)
                return r;
        }
    return 0;
}

int group_builder_add(struct group_builder *builder, const struct picture *picture, int x, int y,
                      int opacity, enum blend_mode mode)
{
    const struct placed_layer layer = {picture, x, y, opacity, mode};
    assert(builder->frame && x % 2 == 0 && y % 2 == 0 && opacity >= 0 && opacity <= 255);
    if (builder->error < 0 || opacity == 0)
        return builder->error;
    if (group_layer_hides(builder->width, builder->height, picture, x, y, opacity, mode)) {
        builder->error = replace_all(builder, &layer);
    } else if (builder->frame->opaque) {
        builder->error = own_base(builder);
        if (builder->error == 0)
            put(builder->frame->level[0].picture, &layer, mode, NULL);
    } else {
        builder->error = add_tiles(builder, &layer);
    }
    return builder->error;
}

int group_builder_finish(struct group_builder *builder, struct group_frame **ret)
{
    assert(builder->frame);
    if (builder->error < 0) {
        group_frame_unref(&builder->frame);
        return builder->error;
    }
    // Levels that opaque tiles have emptied.
    int deepest = builder->frame->opaque ? 1 : 0;
    for (int tile = 0; tile < builder->tiles; tile++)
        deepest = builder->top[tile] > deepest ? builder->top[tile] : deepest;
    group_frame_truncate(builder->frame, deepest);
    *ret = builder->frame;
    builder->frame = NULL;
    return 0;
}
