#include "worker/render/coder.h"

#include "engine/base/thread.h"
#include "engine/link/stored_frame.h"
#include "engine/link/tile_codec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define KEY_INTERVAL_FRAMES       60
#define STILL_KEY_INTERVAL_FRAMES 600
// A difference smaller than this share of its key: the picture stands still, or nearly.
#define STILL_SHARE(key_bytes) ((key_bytes) / 64)
// A difference larger than this share of its key is not worth the dependence.
#define DIFFERENCE_SHARE(key_bytes) ((key_bytes) / 4 * 3)

struct coder {
    // -- constant after create
    int width, height;
    struct rate rate;
    struct block_pool *blocks;
    // -- the stage's thread
    struct group_frame *key; // decoded form of the newest key
    int64_t key_frame;       // -1: the next is one
    size_t key_bytes, last_bytes;
    bool last_was_key;
    // A full queue makes the stage come back for a frame; it is not coded again for that.
    uint8_t *recoded;
    size_t recoded_size;
    int64_t recoded_frame; // -1: none
};

struct coder *coder_create(int width, int height, struct rate rate, struct block_pool *blocks)
{
    struct coder *c = base_alloc(sizeof *c);
    *c = (struct coder){.width = width,
                        .height = height,
                        .rate = rate,
                        .blocks = blocks,
                        .key_frame = -1,
                        .recoded_frame = -1};
    return c;
}

void coder_destroy(struct coder **coder)
{
    struct coder *c = *coder;
    if (!c)
        return;
    *coder = NULL;
    group_frame_unref(&c->key);
    free(c->recoded);
    free(c);
}

void coder_restart(struct coder *coder)
{
    coder->key_frame = -1;
}

static void put32(uint8_t *p, size_t value)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(value >> (8 * i));
}

// Payload of a PICTURE message: u32 picture bytes, u32 stem bytes, picture, stem.
static int join(const uint8_t *picture, size_t picture_size, const uint8_t *stem, size_t stem_size,
                uint8_t **ret, size_t *ret_size)
{
    uint8_t *payload = malloc(8 + picture_size + stem_size);
    if (!payload)
        return -ENOMEM;
    put32(payload, picture_size);
    put32(payload + 4, stem_size);
    memcpy(payload + 8, picture, picture_size);
    memcpy(payload + 8 + picture_size, stem, stem_size);
    *ret = payload;
    *ret_size = 8 + picture_size + stem_size;
    return 0;
}

// Keys come at the same frames whoever codes and wherever it began: a consumer that takes from two
// finds the key of each frame whichever copy it has.
static bool same_interval(int64_t a, int64_t b, int64_t interval)
{
    return a / interval == b / interval;
}

static int code_picture(struct coder *c, const struct coder_input *in, int64_t *ret_base,
                        uint8_t **ret, size_t *ret_size)
{
    bool still = !c->last_was_key && c->last_bytes < STILL_SHARE(c->key_bytes);
    bool may_differ =
        c->key_frame >= 0 && same_interval(in->frame, c->key_frame,
                                           still ? STILL_KEY_INTERVAL_FRAMES : KEY_INTERVAL_FRAMES);
    // Where everything moves, differences do not pay; look again when something settles.
    bool worth =
        c->last_bytes < DIFFERENCE_SHARE(c->key_bytes) || in->unchanged || in->frame % 16 == 0;
    int error = -1;
    if (may_differ && (worth || !c->last_was_key)) {
        error = group_encode(in->group, c->key, ret, ret_size);
        if (error)
            return error;
        c->last_bytes = *ret_size;
        c->last_was_key = false;
        // Once a change has settled, a new key makes the following differences empty again.
        bool settled = in->unchanged && *ret_size > 4096 && *ret_size > c->key_bytes / 16;
        if (*ret_size < DIFFERENCE_SHARE(c->key_bytes) && !settled) {
            *ret_base = c->key_frame;
            return 0;
        }
        free(*ret);
    }
    error = group_encode(in->group, NULL, ret, ret_size);
    if (error)
        return error;
    group_frame_unref(&c->key);
    c->key = group_frame_ref(in->group);
    c->key_frame = *ret_base = in->frame;
    c->last_bytes = c->key_bytes = *ret_size;
    c->last_was_key = true;
    return 0;
}

// Puts a frame into a block, as it is.
static int store(struct coder *c, const struct coder_input *in, const uint8_t *stem,
                 size_t stem_size, struct coded_frame *ret)
{
    size_t at = stored_frame_picture_bytes(c->width, c->height);
    int error = block_take(c->blocks, at + stem_size, &ret->block);
    if (error)
        return error;
    stored_frame_write(in->group, ret->block->content);
    memcpy(ret->block->content + at, stem, stem_size);
    ret->base = in->frame;
    ret->size = at + stem_size;
    coder_restart(c); // the next coded one cannot refer to an older key past this one
    return 0;
}

int coder_frame(struct coder *c, const struct coder_input *in, struct coded_frame *ret)
{
    uint8_t *picture = NULL, *stem = NULL;
    size_t picture_size = 0, stem_size = 0;
    int error = stem_encode(in->sound, rate_sample_count(c->rate, in->frame), &stem, &stem_size);
    bool stored =
        !error && in->store && stored_frame_fits(in->group) && !store(c, in, stem, stem_size, ret);
    if (!error && !stored)
        error = code_picture(c, in, &ret->base, &picture, &picture_size);
    if (!error && !stored)
        error = join(picture, picture_size, stem, stem_size, &ret->payload, &ret->size);
    free(picture);
    free(stem);
    return error;
}

// ---- Stored frames for elsewhere --------------------------------------------------------------

static void release_block(void *opaque)
{
    struct block *block = opaque;
    block_unref(&block);
}

static int code_stored(const struct coder *c, struct block *block, uint8_t **ret, size_t *ret_size)
{
    struct frame_body *body =
        frame_body_stored(block->content, block->name.size, release_block, block_ref(block));
    struct group_frame *group = NULL;
    uint8_t *picture = NULL;
    size_t picture_size, at = stored_frame_picture_bytes(c->width, c->height);
    int error = stored_frame_read(body, c->width, c->height, &group);
    if (!error)
        error = group_encode(group, NULL, &picture, &picture_size);
    if (!error)
        error = join(picture, picture_size, body->bytes + at, body->size - at, ret, ret_size);
    free(picture);
    group_frame_unref(&group);
    frame_body_unref(&body);
    return error;
}

int coder_recode(struct coder *c, int64_t frame, struct block *block, const uint8_t **ret,
                 size_t *ret_size)
{
    if (c->recoded_frame != frame) {
        free(c->recoded);
        c->recoded = NULL;
        c->recoded_frame = -1;
        int error = code_stored(c, block, &c->recoded, &c->recoded_size);
        if (error)
            return error;
        c->recoded_frame = frame;
    }
    *ret = c->recoded;
    *ret_size = c->recoded_size;
    return 0;
}
