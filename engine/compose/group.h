// Group frames: the layers of a z-range, merged as far as that changes no bit.
//
// Source-over with rounded integers is not associative, and neither are blend modes; yet the
// picture must not depend on where the z-order was cut. So a group frame is, per tile, a *stack* of
// premultiplied tiles; folding all stacks of all groups, bottom to top, over the programme is by
// definition the same as blending every layer in order. Two stack entries are merged only where
// that is exact: block by block (2x2), when the upper is empty or fully opaque (normal mode), or
// the lower is empty or fully opaque. Graphics rarely overlap translucently, so the depth is
// mostly 1.
//
// Tiles are GROUP_TILE_WIDTH x GROUP_TILE_HEIGHT luma samples, row by row from the top left; those
// at the right and bottom edges are smaller. Immutable once finished; reference counted.
#pragma once

#include "engine/compose/blend.h"

#define GROUP_TILE_WIDTH  64
#define GROUP_TILE_HEIGHT 32
#define GROUP_DEPTH_MAX   TIMELINE_TRACKS_MAX

enum tile_kind { TILE_EMPTY, TILE_OPAQUE, TILE_MIXED };

// One level of the stacks. `kind` and `mode` have one entry per tile; where kind is TILE_EMPTY the
// picture's content is undefined and mode is 0. TILE_OPAQUE means that all alphas are 255; a
// TILE_MIXED tile may happen to be so too. The opacity of layers is already in the picture.
struct group_level {
    struct picture *picture; // ALPHA, canvas size; for an opaque group level 0 is OPAQUE
    uint8_t *kind;           // enum tile_kind
    uint8_t *mode;           // enum blend_mode
};

struct group_frame {
    int width, height, tiles_x, tiles_y;
    bool opaque; // everything beneath is hidden: level 0 is an OPAQUE picture, all tiles opaque
    int depth;   // levels in use; 0 = the group is empty
    struct group_level level[GROUP_DEPTH_MAX];
    // Which of its builder's frames changed each tile last; maker 0: not known.
    uint64_t maker, *made;
    _Atomic int references; // private
};

// Whether the tile is known, without a look at it, to be the same in both.
static inline bool group_tile_unchanged(const struct group_frame *a, const struct group_frame *b,
                                        int tile)
{
    return a->maker && a->maker == b->maker && a->made[tile] == b->made[tile];
}

// Whether such a layer hides all that lies beneath it on a canvas of this size.
static inline bool group_layer_hides(int width, int height, const struct picture *p, int x, int y,
                                     int opacity, enum blend_mode mode)
{
    return p->format == PICTURE_OPAQUE && opacity == 255 && mode == BLEND_NORMAL && x <= 0 &&
           y <= 0 && x + p->width >= width && y + p->height >= height;
}

// Builds group frames layer by layer, bottom to top. What has not changed since the frame before is
// taken from there. Thread: one builder belongs to one renderer thread.
struct group_builder;
struct group_builder *group_builder_create(int width, int height);
void group_builder_destroy(struct group_builder **builder);
// Starts a frame. `base` not NULL: an opaque group that starts from this picture (OPAQUE, canvas
// size). Drops a frame not yet finished.
void group_builder_begin(struct group_builder *builder, const struct picture *base);
// Puts a layer on top: as blend_picture, at an even place, opacity 0..255; at most GROUP_DEPTH_MAX
// of them. A reference is kept. An OPAQUE layer that covers the canvas (normal, 255) makes the
// group opaque whatever it was before; alone and of the canvas's size it is the frame, uncopied.
void group_builder_add(struct group_builder *builder, const struct picture *picture, int x, int y,
                       int opacity, enum blend_mode mode);
// Gives the frame, which is that of the call before when nothing has changed. -ENOMEM.
int group_builder_finish(struct group_builder *builder, struct group_frame **ret);
// The next frame takes nothing from the one before. The bits are the same.
void group_builder_forget(struct group_builder *builder);

struct group_frame *group_frame_create(int width, int height); // empty; for the decoder of links
// Adds a level above the others, all tiles TILE_EMPTY and of mode 0, which the caller then fills
// in. Takes `*picture` (canvas size). -E2BIG, -ENOMEM.
int group_frame_push(struct group_frame *frame, struct picture **picture);
void group_frame_truncate(struct group_frame *frame, int depth); // drops the levels above
struct group_frame *group_frame_ref(const struct group_frame *frame);
void group_frame_unref(struct group_frame **frame);
// Same tiles with the same content (not only the same picture once folded).
bool group_frame_equal(const struct group_frame *a, const struct group_frame *b);
static inline struct rect group_tile_rect(const struct group_frame *g, int tile)
{
    int x = tile % g->tiles_x * GROUP_TILE_WIDTH, y = tile / g->tiles_x * GROUP_TILE_HEIGHT;
    struct rect all = {0, 0, g->width, g->height};
    return rect_intersect(all, (struct rect){x, y, GROUP_TILE_WIDTH, GROUP_TILE_HEIGHT});
}

// Copies the samples of `area` between pictures of one size and format.
void group_tile_copy(struct picture *dst, const struct picture *src, struct rect area);

// Folds a group over the programme. `dst` is OPAQUE and of the same size.
void group_fold(struct picture *dst, const struct group_frame *group);
// As group_fold, but gives a picture: a reference to level 0 when the group is opaque with depth 1,
// or to `beneath` when the group is empty (no copy), else a new one made from `beneath` (NULL:
// black) by folding. -ENOMEM.
int group_fold_over(const struct picture *beneath, const struct group_frame *group,
                    struct picture **ret);
// Folds groups bottom to top over `beneath` (NULL: black); NULL entries are left out. Gives a
// picture, or `beneath` itself (a reference, or NULL) when none of them shows anything. -ENOMEM.
int group_fold_all(const struct picture *beneath, const struct group_frame *const *groups,
                   int count, struct picture **ret);
