// Layout of a coded group frame:
//   u8 version 2, u8 flags (1 opaque, 2 a difference to a base), u8 depth, u8 0
//   per level: u8 format (0 opaque, 1 alpha); tile heads, run-length coded as pairs (u8 head,
//   u8 tiles - 1) until all tiles are named, row by row; then the data of the tiles in that order:
//     TILE_CODED: per plane u8 0 and the one value, or u8 1 and a coded plane (tile_kernels.h)
//     TILE_FLAT: one value per plane
// A head: bits 0..1 what follows, bit 2 mixed (else opaque), bits 3..5 blend mode, 6..7 zero.
// Tiles of kind TILE_OPAQUE have no alpha plane in the data: it is 255.
#include "engine/link/tile_codec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/link/tile_kernels.h"

#define VERSION     2
#define FLAG_OPAQUE 1
#define FLAG_BASE   2

enum tile_coding { TILE_SAME, TILE_NOTHING, TILE_FLAT, TILE_CODED };

// Upper bounds of one tile: four planes, of which luma and alpha have 32 runs and chroma 8.
#define TILE_BYTES_MAX (2 * PLANE_BYTES(PLANE_RUNS_MAX) + 2 * PLANE_BYTES(PLANE_RUNS_MAX / 4))

struct output {
    uint8_t *bytes;
    size_t size, capacity;
};

static int output_reserve(struct output *out, size_t room)
{
    if (out->capacity - out->size >= room)
        return 0;
    size_t capacity = 2 * out->capacity + room + 4096;
    uint8_t *bytes = realloc(out->bytes, capacity);
    if (!bytes)
        return -ENOMEM;
    out->bytes = bytes;
    out->capacity = capacity;
    return 0;
}

static struct tile_plane tile_plane(const struct picture *p, int plane, struct rect area)
{
    int half = plane == 1 || plane == 2;
    uint8_t *at = p->plane[plane] + (area.y >> half) * p->stride[plane] + (area.x >> half);
    return (struct tile_plane){
        .samples = at,
        .dst = at,
        .stride = p->stride[plane],
        .width = area.width >> half,
        .height = area.height >> half,
    };
}

// ---- Encoding -------------------------------------------------------------------------------

static bool plane_flat(const struct tile_plane *p)
{
    uint8_t first = p->samples[0];
    // A row is flat if it equals itself one sample further on.
    if (p->width > 1 &&
        (p->samples[1] != first || memcmp(p->samples, p->samples + 1, (size_t)p->width - 1)))
        return false;
    for (int y = 1; y < p->height; y++)
        if (memcmp(p->samples, p->samples + y * p->stride, (size_t)p->width))
            return false;
    return true;
}

static bool planes_equal(const struct picture *a, const struct picture *b, int planes,
                         struct rect area)
{
    for (int i = 0; i < planes; i++) {
        struct tile_plane pa = tile_plane(a, i, area), pb = tile_plane(b, i, area);
        for (int y = 0; y < pa.height; y++)
            if (memcmp(pa.samples + y * pa.stride, pb.samples + y * pb.stride, (size_t)pa.width))
                return false;
    }
    return true;
}

// Planes in the data of a tile: alpha is known where all is opaque.
static int planes_sent(const struct picture *p, int kind)
{
    return p->format == PICTURE_ALPHA && kind == TILE_MIXED ? 4 : 3;
}

static bool tile_same(const struct group_frame *frame, const struct group_level *level,
                      const struct group_frame *base_frame, const struct group_level *base,
                      int tile)
{
    if (base && group_tile_unchanged(frame, base_frame, tile))
        return true;
    if (!base || base->kind[tile] != level->kind[tile])
        return false;
    if (level->kind[tile] == TILE_EMPTY)
        return true;
    return base->mode[tile] == level->mode[tile] &&
           (base->picture == level->picture ||
            planes_equal(level->picture, base->picture,
                         planes_sent(level->picture, level->kind[tile]),
                         group_tile_rect(frame, tile)));
}

// Codes the samples of one tile behind what is in `out`; returns whether the tile is flat.
static bool tile_encode(struct output *out, const struct tile_kernels *kernels,
                        const struct picture *picture, int planes, struct rect area)
{
    struct tile_plane plane[4];
    bool flat[4], all_flat = true;
    for (int i = 0; i < planes; i++) {
        plane[i] = tile_plane(picture, i, area);
        flat[i] = plane_flat(&plane[i]);
        all_flat = all_flat && flat[i];
    }
    for (int i = 0; i < planes; i++) {
        if (!all_flat)
            out->bytes[out->size++] = !flat[i];
        if (flat[i])
            out->bytes[out->size++] = plane[i].samples[0];
        else
            out->size += kernels->encode(out->bytes + out->size, &plane[i]);
    }
    return all_flat;
}

static int heads_write(struct output *out, const uint8_t *heads, int tiles)
{
    int error = output_reserve(out, 2 * (size_t)tiles);
    if (error)
        return error;
    for (int i = 0; i < tiles;) {
        int count = 1;
        while (i + count < tiles && count < 256 && heads[i + count] == heads[i])
            count++;
        out->bytes[out->size++] = heads[i];
        out->bytes[out->size++] = (uint8_t)(count - 1);
        i += count;
    }
    return 0;
}

// The heads are known only when the tiles are coded, so those wait in `data`.
static int level_encode(struct output *out, struct output *data, uint8_t *heads,
                        const struct group_frame *frame, const struct group_level *level,
                        const struct group_frame *base_frame, const struct group_level *base)
{
    const struct tile_kernels *kernels = tile_kernels_get();
    int tiles = frame->tiles_x * frame->tiles_y;
    data->size = 0;
    for (int tile = 0; tile < tiles; tile++) {
        int kind = level->kind[tile];
        int tail = (kind == TILE_MIXED) << 2 | level->mode[tile] << 3;
        if (tile_same(frame, level, base_frame, base, tile)) {
            heads[tile] = TILE_SAME;
        } else if (kind == TILE_EMPTY) {
            heads[tile] = TILE_NOTHING;
        } else {
            int error = output_reserve(data, TILE_BYTES_MAX);
            if (error)
                return error;
            bool flat =
                tile_encode(data, kernels, level->picture, planes_sent(level->picture, kind),
                            group_tile_rect(frame, tile));
            heads[tile] = (uint8_t)((flat ? TILE_FLAT : TILE_CODED) | tail);
        }
    }
    int error = output_reserve(out, 1);
    if (error)
        return error;
    out->bytes[out->size++] = level->picture->format == PICTURE_ALPHA;
    error = heads_write(out, heads, tiles);
    if (!error)
        error = output_reserve(out, data->size);
    if (!error && data->size) {
        memcpy(out->bytes + out->size, data->bytes, data->size);
        out->size += data->size;
    }
    return error;
}

int group_encode(const struct group_frame *frame, const struct group_frame *base, uint8_t **ret,
                 size_t *ret_size)
{
    if (base && (base->width != frame->width || base->height != frame->height))
        base = NULL; // nothing of it can be used
    struct output out = {0}, data = {0};
    uint8_t *heads = malloc((size_t)(frame->tiles_x * frame->tiles_y));
    int error = heads ? output_reserve(&out, 4) : -ENOMEM;
    if (error)
        goto fail;
    out.bytes[0] = VERSION;
    out.bytes[1] = (uint8_t)((frame->opaque ? FLAG_OPAQUE : 0) | (base ? FLAG_BASE : 0));
    out.bytes[2] = (uint8_t)frame->depth;
    out.bytes[3] = 0;
    out.size = 4;
    for (int i = 0; i < frame->depth; i++) {
        const struct group_level *b = base && i < base->depth ? &base->level[i] : NULL;
        if (b && b->picture->format != frame->level[i].picture->format)
            b = NULL;
        error = level_encode(&out, &data, heads, frame, &frame->level[i], base, b);
        if (error)
            goto fail;
    }
    free(heads);
    free(data.bytes);
    *ret = out.bytes;
    *ret_size = out.size;
    return 0;
fail:
    free(heads);
    free(data.bytes);
    free(out.bytes);
    return error;
}

// ---- Decoding -------------------------------------------------------------------------------

struct input {
    const uint8_t *bytes;
    size_t size, at;
};

static int input_byte(struct input *in)
{
    return in->at < in->size ? in->bytes[in->at++] : -EPROTO;
}

static void plane_fill(const struct tile_plane *p, int value)
{
    for (int y = 0; y < p->height; y++)
        memset(p->dst + y * p->stride, value, (size_t)p->width);
}

static int tile_decode(struct input *in, const struct tile_kernels *kernels,
                       const struct picture *picture, int planes, struct rect area, bool all_flat)
{
    for (int i = 0; i < picture_planes(picture); i++) {
        struct tile_plane plane = tile_plane(picture, i, area);
        if (i >= planes) {
            plane_fill(&plane, 255);
            continue;
        }
        int coded = all_flat ? 0 : input_byte(in);
        if (coded == 0) {
            int value = input_byte(in);
            if (value < 0)
                return value;
            plane_fill(&plane, value);
        } else if (coded == 1) {
            size_t used = kernels->decode(in->bytes + in->at, in->size - in->at, &plane);
            if (!used)
                return -EPROTO;
            in->at += used;
        } else {
            return -EPROTO;
        }
    }
    return 0;
}

static int heads_read(struct input *in, uint8_t *heads, int tiles)
{
    for (int i = 0; i < tiles;) {
        int head = input_byte(in), count = input_byte(in);
        if (head < 0 || count < 0 || count + 1 > tiles - i)
            return -EPROTO;
        memset(heads + i, head, (size_t)count + 1);
        i += count + 1;
    }
    return 0;
}

// Kinds and modes of a level from its heads; refuses what no encoder writes.
static int heads_apply(const struct group_frame *frame, struct group_level *level,
                       const struct group_level *base, const uint8_t *heads)
{
    bool solid = level->picture->format == PICTURE_OPAQUE;
    for (int tile = 0; tile < frame->tiles_x * frame->tiles_y; tile++) {
        int coding = heads[tile] & 3, mixed = heads[tile] >> 2 & 1, mode = heads[tile] >> 3;
        if (coding == TILE_SAME || coding == TILE_NOTHING) {
            if (heads[tile] >> 2 || (coding == TILE_SAME && !base))
                return -EPROTO;
            level->kind[tile] = coding == TILE_SAME ? base->kind[tile] : TILE_EMPTY;
            level->mode[tile] = coding == TILE_SAME ? base->mode[tile] : 0;
        } else {
            if (mode > BLEND_ADD)
                return -EPROTO;
            level->kind[tile] = mixed ? TILE_MIXED : TILE_OPAQUE;
            level->mode[tile] = (uint8_t)mode;
        }
        if (solid && (level->kind[tile] != TILE_OPAQUE || level->mode[tile] != BLEND_NORMAL))
            return -EPROTO;
    }
    return 0;
}

static int tiles_decode(struct input *in, const struct group_frame *frame,
                        struct group_level *level, const struct group_level *base,
                        const uint8_t *heads)
{
    const struct tile_kernels *kernels = tile_kernels_get();
    for (int tile = 0; tile < frame->tiles_x * frame->tiles_y; tile++) {
        int coding = heads[tile] & 3, kind = level->kind[tile];
        struct rect area = group_tile_rect(frame, tile);
        if (kind == TILE_EMPTY)
            continue;
        if (coding == TILE_SAME) {
            group_tile_copy(level->picture, base->picture, area);
            continue;
        }
        int error = tile_decode(in, kernels, level->picture, planes_sent(level->picture, kind),
                                area, coding == TILE_FLAT);
        if (error)
            return error;
    }
    return 0;
}

static bool all_same(const uint8_t *heads, int tiles)
{
    for (int i = 0; i < tiles; i++)
        if (heads[i] != TILE_SAME)
            return false;
    return true;
}

static int level_decode(struct input *in, struct group_frame *frame, int i,
                        const struct group_frame *base_frame, uint8_t *heads)
{
    int format = input_byte(in), tiles = frame->tiles_x * frame->tiles_y;
    if (format < 0 || format != !(frame->opaque && i == 0))
        return -EPROTO;
    enum picture_format wanted = format ? PICTURE_ALPHA : PICTURE_OPAQUE;
    const struct group_level *base = NULL;
    if (base_frame && i < base_frame->depth && base_frame->level[i].picture->format == wanted)
        base = &base_frame->level[i];
    int error = heads_read(in, heads, tiles);
    if (error)
        return error;
    // A level without any change shares the picture of its base.
    bool shared = base && all_same(heads, tiles);
    struct picture *picture =
        shared ? picture_ref(base->picture) : picture_create(wanted, frame->width, frame->height);
    if (!picture)
        return -ENOMEM;
    error = group_frame_push(frame, &picture);
    if (error) {
        picture_unref(&picture);
        return error;
    }
    error = heads_apply(frame, &frame->level[i], base, heads);
    if (error || shared)
        return error;
    return tiles_decode(in, frame, &frame->level[i], base, heads);
}

// Checks the first four bytes and gives flags and depth.
static int start_decode(struct input *in, const struct group_frame *base, int width, int height,
                        int *ret_flags)
{
    if (in->size < 4 || in->bytes[0] != VERSION || in->bytes[3] != 0 ||
        in->bytes[1] > (FLAG_OPAQUE | FLAG_BASE) || in->bytes[2] > GROUP_DEPTH_MAX)
        return -EPROTO;
    if (width <= 0 || height <= 0 || width % 2 || height % 2 || width > PICTURE_SIDE_MAX ||
        height > PICTURE_SIDE_MAX)
        return -EPROTO;
    *ret_flags = in->bytes[1];
    int depth = in->bytes[2];
    if ((*ret_flags & FLAG_OPAQUE) && depth == 0)
        return -EPROTO;
    if ((*ret_flags & FLAG_BASE) && (!base || base->width != width || base->height != height))
        return -EPROTO;
    in->at = 4;
    return depth;
}

int group_decode(const uint8_t *bytes, size_t size, int width, int height,
                 const struct group_frame *base, struct group_frame **ret)
{
    struct input in = {.bytes = bytes, .size = size};
    int flags;
    int depth = start_decode(&in, base, width, height, &flags);
    if (depth < 0)
        return depth;
    struct group_frame *frame = group_frame_create(width, height);
    frame->opaque = flags & FLAG_OPAQUE;
    uint8_t *heads = malloc((size_t)(frame->tiles_x * frame->tiles_y));
    int error = heads ? 0 : -ENOMEM;
    for (int i = 0; i < depth && !error; i++)
        error = level_decode(&in, frame, i, flags & FLAG_BASE ? base : NULL, heads);
    if (!error && in.at != in.size)
        error = -EPROTO;
    free(heads);
    if (error)
        group_frame_unref(&frame);
    else
        *ret = frame;
    return error;
}
