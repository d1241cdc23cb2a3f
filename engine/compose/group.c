#include "engine/compose/group.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/thread.h"

struct group_frame *group_frame_create(int width, int height)
{
    struct group_frame *frame = base_alloc(sizeof *frame);
    frame->width = width;
    frame->height = height;
    frame->tiles_x = (width + GROUP_TILE_WIDTH - 1) / GROUP_TILE_WIDTH;
    frame->tiles_y = (height + GROUP_TILE_HEIGHT - 1) / GROUP_TILE_HEIGHT;
    atomic_init(&frame->references, 1);
    return frame;
}

struct group_frame *group_frame_ref(const struct group_frame *frame)
{
    struct group_frame *f = (struct group_frame *)frame;
    atomic_fetch_add_explicit(&f->references, 1, memory_order_relaxed);
    return f;
}

static void level_finish(struct group_level *level)
{
    picture_unref(&level->picture);
    free(level->kind);
    free(level->mode);
    *level = (struct group_level){0};
}

void group_frame_truncate(struct group_frame *frame, int depth)
{
    while (frame->depth > depth)
        level_finish(&frame->level[--frame->depth]);
}

void group_frame_unref(struct group_frame **frame)
{
    struct group_frame *f = *frame;
    if (!f)
        return;
    *frame = NULL;
    if (atomic_fetch_sub_explicit(&f->references, 1, memory_order_acq_rel) != 1)
        return;
    group_frame_truncate(f, 0);
    free(f->made);
    free(f);
}

int group_frame_push(struct group_frame *frame, struct picture **picture)
{
    if (frame->depth == GROUP_DEPTH_MAX)
        return -E2BIG;
    assert((*picture)->width == frame->width && (*picture)->height == frame->height);
    size_t tiles = (size_t)(frame->tiles_x * frame->tiles_y);
    struct group_level level = {
        .kind = calloc(tiles, 1),
        .mode = calloc(tiles, 1),
    };
    if (!level.kind || !level.mode) {
        level_finish(&level);
        return -ENOMEM;
    }
    level.picture = *picture;
    *picture = NULL;
    frame->level[frame->depth++] = level;
    return 0;
}

void group_tile_copy(struct picture *dst, const struct picture *src, struct rect area)
{
    for (int i = 0; i < picture_planes(dst); i++) {
        int half = i == 1 || i == 2;
        size_t width = (size_t)(area.width >> half);
        for (int row = area.y >> half; row < (area.y + area.height) >> half; row++)
            memcpy(dst->plane[i] + row * dst->stride[i] + (area.x >> half),
                   src->plane[i] + row * src->stride[i] + (area.x >> half), width);
    }
}

static bool area_equal(const struct picture *a, const struct picture *b, struct rect area)
{
    for (int i = 0; i < picture_planes(a); i++) {
        int half = i == 1 || i == 2;
        size_t width = (size_t)(area.width >> half);
        for (int row = area.y >> half; row < (area.y + area.height) >> half; row++)
            if (memcmp(a->plane[i] + row * a->stride[i] + (area.x >> half),
                       b->plane[i] + row * b->stride[i] + (area.x >> half), width))
                return false;
    }
    return true;
}

static bool level_equal(const struct group_frame *frame, const struct group_level *a,
                        const struct group_level *b)
{
    if (a->picture->format != b->picture->format)
        return false;
    for (int tile = 0; tile < frame->tiles_x * frame->tiles_y; tile++) {
        if (a->kind[tile] != b->kind[tile])
            return false;
        if (a->kind[tile] == TILE_EMPTY)
            continue;
        if (a->mode[tile] != b->mode[tile])
            return false;
        if (a->picture != b->picture &&
            !area_equal(a->picture, b->picture, group_tile_rect(frame, tile)))
            return false;
    }
    return true;
}

bool group_frame_equal(const struct group_frame *a, const struct group_frame *b)
{
    if (a == b)
        return true;
    if (a->width != b->width || a->height != b->height || a->opaque != b->opaque ||
        a->depth != b->depth)
        return false;
    for (int i = 0; i < a->depth; i++)
        if (!level_equal(a, &a->level[i], &b->level[i]))
            return false;
    return true;
}

// Folds the tiles of one row of tiles, from one level. Neighbours of one mode go in one call.
static void fold_row(struct picture *dst, const struct group_frame *group,
                     const struct group_level *level, int row)
{
    int first = row * group->tiles_x;
    for (int i = 0; i < group->tiles_x;) {
        int tile = first + i;
        struct rect area = group_tile_rect(group, tile);
        int count = 1;
        while (i + count < group->tiles_x && level->kind[tile + count] != TILE_EMPTY &&
               level->mode[tile + count] == level->mode[tile])
            area.width += group_tile_rect(group, tile + count++).width;
        if (level->kind[tile] == TILE_EMPTY) {
            i++;
            continue;
        }
        blend_picture(dst, level->picture, 0, 0, 255, (enum blend_mode)level->mode[tile], &area);
        i += count;
    }
}

void group_fold(struct picture *dst, const struct group_frame *group)
{
    assert(dst->format == PICTURE_OPAQUE);
    assert(dst->width == group->width && dst->height == group->height);
    // All levels of a row of tiles before the next row: dst stays in the cache.
    for (int row = 0; row < group->tiles_y; row++)
        for (int i = 0; i < group->depth; i++)
            fold_row(dst, group, &group->level[i], row);
}

int group_fold_over(const struct picture *beneath, const struct group_frame *group,
                    struct picture **ret)
{
    if (group->opaque && group->depth == 1) {
        *ret = picture_ref(group->level[0].picture);
        return 0;
    }
    if (group->depth == 0 && beneath) {
        *ret = picture_ref(beneath);
        return 0;
    }
    struct picture *dst = picture_create(PICTURE_OPAQUE, group->width, group->height);
    if (!dst)
        return -ENOMEM;
    if (!group->opaque) {
        if (beneath)
            picture_copy(dst, beneath);
        else
            picture_clear(dst);
    }
    group_fold(dst, group);
    *ret = dst;
    return 0;
}

// Puts `group` over `*picture` (NULL: black), which it replaces. In place where nobody else has it.
static int fold_onto(struct picture **picture, const struct group_frame *group)
{
    if (group->depth == 0)
        return 0;
    if (*picture && !group->opaque && picture_writable(*picture)) {
        group_fold(*picture, group);
        return 0;
    }
    struct picture *result = NULL;
    int error = group_fold_over(*picture, group, &result);
    if (error)
        return error;
    picture_unref(picture);
    *picture = result;
    return 0;
}

int group_fold_all(const struct picture *beneath, const struct group_frame *const *groups,
                   int count, struct picture **ret)
{
    struct picture *picture = beneath ? picture_ref(beneath) : NULL;
    // What the topmost opaque group hides need not be drawn.
    int first = count - 1;
    while (first > 0 && !(groups[first] && groups[first]->opaque))
        first--;
    for (int i = first < 0 ? 0 : first; i < count; i++) {
        int error = groups[i] ? fold_onto(&picture, groups[i]) : 0;
        if (error) {
            picture_unref(&picture);
            return error;
        }
    }
    *ret = picture;
    return 0;
}
