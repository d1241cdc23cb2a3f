// A consumer's side of shared blocks (block_pool.h): opens and maps them, keeps the mappings for
// the frames to come, and knows which frames still stand in one. Thread: any.
#pragma once

#include "engine/link/block_pool.h"
#include "engine/link/frame_body.h"
#include "engine/link/frame_message.h"

struct block_reader;
struct block_reader *block_reader_create(void);
void block_reader_destroy(struct block_reader **reader); // bodies that it gave may live on

// Gives the body of the frame that `header` names, which stands in block `name`. -ESTALE: the block
// is gone or has other content by now, as after a message that came late; -EPERM: this provider's
// memory cannot be shared; -EPROTO: the name is none; -ENOMEM.
int block_reader_open(struct block_reader *reader, const struct block_name *name,
                      const struct frame_header *header, struct frame_body **ret);
// The lowest frame of this group and plan that still stands in a block, at most `from`.
int64_t block_reader_keep(struct block_reader *reader, uint64_t channel, uint32_t group,
                          uint32_t plan_epoch, int64_t from);
// Lets go of mappings that have not been used for a while. To be called about once a second.
void block_reader_tidy(struct block_reader *reader, int64_t now_ns);
