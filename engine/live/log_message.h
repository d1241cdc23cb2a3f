// The payload of LOG messages as bytes: units of a log on their way to a follower. Layout:
// proto/frame-message.md. Private to engine/live. Thread: any; pure functions.
#pragma once

#include "engine/link/bytes.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#define LOG_HEAD_BYTES 24
#define LOG_VERSION    1

struct log_head {
    uint32_t start;   // of the want that this answers
    uint64_t after;   // seq of the unit that was sent before; 0: the log, or what is left, begins
    uint64_t segment; // that these units stand in
};

static inline void log_head_write(const struct log_head *head, uint8_t out[LOG_HEAD_BYTES])
{
    put_u32(out, LOG_VERSION);
    put_u32(out + 4, head->start);
    put_u64(out + 8, head->after);
    put_u64(out + 16, head->segment);
}

// 0, -EPROTO.
static inline int log_head_read(const uint8_t *bytes, size_t size, struct log_head *ret)
{
    if (size < LOG_HEAD_BYTES || get_u32(bytes) != LOG_VERSION)
        return -EPROTO;
    *ret = (struct log_head){get_u32(bytes + 4), get_u64(bytes + 8), get_u64(bytes + 16)};
    return 0;
}
