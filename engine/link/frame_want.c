#include "engine/link/frame_want.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine/link/bytes.h"

#define VERSION     3
#define LOG_VERSION 1
#define SPARE       UINT32_C(0x80000000) // in `start`

size_t frame_want_write(const struct frame_want *want, uint8_t out[WANT_BYTES_MAX])
{
    int count = want->missing_count < 0                        ? 0
                : want->missing_count > FRAME_WANT_MISSING_MAX ? FRAME_WANT_MISSING_MAX
                                                               : want->missing_count;
    out[0] = VERSION;
    out[1] = want->ended;
    put_u16(out + 2, (uint16_t)count);
    put_u32(out + 4, (want->start & ~SPARE) | (want->spare ? SPARE : 0));
    put_u64(out + 8, want->channel);
    put_u32(out + 16, want->group);
    put_u32(out + 20, want->plan_epoch);
    put_u64(out + 24, (uint64_t)want->from);
    put_u64(out + 32, (uint64_t)want->credit);
    put_u64(out + 40, want->host);
    put_u64(out + 48, (uint64_t)want->keep);
    for (int i = 0; i < count; i++)
        put_u64(out + 56 + 8 * i, (uint64_t)want->missing[i]);
    return 56 + 8 * (size_t)count;
}

int frame_want_read(const uint8_t *bytes, size_t size, struct frame_want *ret)
{
    if (size < 56 || bytes[0] != VERSION || bytes[1] > 1)
        return -EPROTO;
    int count = get_u16(bytes + 2);
    if (count > FRAME_WANT_MISSING_MAX || size != 56 + 8 * (size_t)count)
        return -EPROTO;
    *ret = (struct frame_want){
        .start = get_u32(bytes + 4) & ~SPARE,
        .spare = get_u32(bytes + 4) & SPARE,
        .channel = get_u64(bytes + 8),
        .group = get_u32(bytes + 16),
        .plan_epoch = get_u32(bytes + 20),
        .from = (int64_t)get_u64(bytes + 24),
        .credit = (int64_t)get_u64(bytes + 32),
        .host = get_u64(bytes + 40),
        .keep = (int64_t)get_u64(bytes + 48),
        .ended = bytes[1],
        .missing_count = count,
    };
    for (int i = 0; i < count; i++)
        ret->missing[i] = (int64_t)get_u64(bytes + 56 + 8 * i);
    return 0;
}

static const char permitted[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";

// Such a name is a folder's: none that leads elsewhere may pass.
bool frame_log_name_valid(const char *source)
{
    size_t length = strnlen(source, FRAME_LOG_NAME_MAX + 1);
    return length && length <= FRAME_LOG_NAME_MAX && source[0] != '.' &&
           strspn(source, permitted) == length;
}

size_t log_want_write(const struct frame_log_want *want, uint8_t out[LOG_WANT_BYTES_MAX])
{
    size_t length = strnlen(want->source, FRAME_LOG_NAME_MAX);
    out[0] = LOG_VERSION;
    out[1] = (uint8_t)length;
    put_u16(out + 2, 0);
    put_u32(out + 4, want->start);
    put_u64(out + 8, want->seq);
    put_u32(out + 16, want->crc);
    put_u32(out + 20, 0);
    put_u64(out + 24, want->taken);
    memcpy(out + 32, want->source, length);
    return 32 + length;
}

int log_want_read(const uint8_t *bytes, size_t size, struct frame_log_want *ret)
{
    if (size < 32 || bytes[0] != LOG_VERSION || bytes[1] > FRAME_LOG_NAME_MAX ||
        size != 32 + (size_t)bytes[1])
        return -EPROTO;
    *ret = (struct frame_log_want){
        .start = get_u32(bytes + 4),
        .seq = get_u64(bytes + 8),
        .crc = get_u32(bytes + 16),
        .taken = get_u64(bytes + 24),
    };
    memcpy(ret->source, bytes + 32, bytes[1]);
    return frame_log_name_valid(ret->source) ? 0 : -EPROTO;
}

void block_name_write(const struct block_name *name, uint32_t start, uint8_t out[BLOCK_NAME_BYTES])
{
    put_u32(out, name->process);
    put_u32(out + 4, name->descriptor);
    put_u64(out + 8, name->inode);
    put_u64(out + 16, name->serial);
    put_u64(out + 24, name->size);
    put_u32(out + 32, start);
}

int block_name_read(const uint8_t *bytes, size_t size, struct block_name *ret, uint32_t *ret_start)
{
    if (size != BLOCK_NAME_BYTES)
        return -EPROTO;
    *ret = (struct block_name){
        .process = get_u32(bytes),
        .descriptor = get_u32(bytes + 4),
        .inode = get_u64(bytes + 8),
        .serial = get_u64(bytes + 16),
        .size = get_u64(bytes + 24),
    };
    *ret_start = get_u32(bytes + 32);
    return 0;
}

// Length of the name at the start of `text`, 0 if there is none of a permitted length.
static size_t name_length(const char *text)
{
    size_t length = strspn(text, permitted);
    return length <= LINK_NAME_MAX ? length : 0;
}

int stream_id_parse(const char *text, struct link_name *ret)
{
    struct link_name name = {0};
    if (strncmp(text, "#!::r=", 6))
        return -EINVAL;
    text += 6;
    size_t length = name_length(text);
    if (!length)
        return -EINVAL;
    memcpy(name.consumer, text, length);
    text += length;
    if (strncmp(text, ",s=", 3))
        return -EINVAL;
    text += 3;
    length = name_length(text);
    if (!length || text[length])
        return -EINVAL;
    memcpy(name.link_id, text, length);
    *ret = name;
    return 0;
}

int stream_id_format(const char *consumer, const char *link_id, char ret[STREAM_ID_MAX + 1])
{
    size_t a = name_length(consumer), b = name_length(link_id);
    if (!a || consumer[a] || !b || link_id[b])
        return -EINVAL;
    snprintf(ret, STREAM_ID_MAX + 1, "#!::r=%s,s=%s", consumer, link_id);
    return 0;
}
