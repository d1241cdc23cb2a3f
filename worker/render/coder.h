// From the frames of one group to what goes into its ring: coded as a key or as a difference to the
// newest key, whichever pays, or stored as it is in a block that consumers on this host read. A key
// comes at least every 60 frames, so that a consumer that joins late needs little, or every 600
// while the picture stands, where keys would be all that it costs. Thread: the stage's.
#pragma once

#include "engine/base/rate.h"
#include "engine/compose/group.h"
#include "worker/render/ring.h"

struct coder;
// `blocks` NULL: nothing is stored.
struct coder *coder_create(int width, int height, struct rate rate, struct block_pool *blocks);
void coder_destroy(struct coder **coder);

void coder_restart(struct coder *coder); // the next coded frame is a key: the ring begins anew

struct coder_input {
    int64_t frame;
    const struct group_frame *group;
    bool unchanged;       // the group is that of the frame before
    const int32_t *sound; // stereo, rate_sample_count(frame)
    bool store;           // all consumers read blocks; without memory for one the frame is coded
};
// 0 or -ENOMEM.
int coder_frame(struct coder *coder, const struct coder_input *input, struct coded_frame *ret);
// The payload of a PICTURE message for a stored frame, a key: for a consumer elsewhere that has
// come while others are here. Belongs to the coder until the next call. 0 or -ENOMEM.
int coder_recode(struct coder *coder, int64_t frame, struct block *block, const uint8_t **ret,
                 size_t *ret_size);
