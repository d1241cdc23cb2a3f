#include "engine/live/unit.h"

#include "engine/frame/checksum.h"
#include "engine/link/bytes.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#define MAGIC 0x31554C56 // "VLU1"

enum at {
    AT_SIZE = 4,
    AT_CRC = 8,
    AT_KIND = 12,
    AT_STREAM = 13,
    AT_FLAGS = 14,
    AT_SOURCE = 16,
    AT_GEN = 24,
    AT_ZERO = 28,
    AT_SEQ = 32,
    AT_PTS = 40,
    AT_DTS = 48,
    AT_CHAN = 56,
    AT_DONE = 64,
    AT_INDEX = 72,
};

uint64_t unit_source_id(const char *name)
{
    return checksum_add(checksum_begin(), name, strlen(name));
}

// ---- CRC-32C: eight tables, eight bytes a step -----------------------------------------------

static uint32_t crc_table[8][256];

static void make_crc_table(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78 : 0);
        crc_table[0][i] = crc;
    }
    for (int k = 1; k < 8; k++)
        for (int i = 0; i < 256; i++)
            crc_table[k][i] = crc_table[k - 1][i] >> 8 ^ crc_table[0][crc_table[k - 1][i] & 255];
}

uint32_t crc32c_add(uint32_t crc, const uint8_t *bytes, size_t size)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_crc_table);
    crc = ~crc;
    for (; size >= 8; size -= 8, bytes += 8) {
        uint32_t low = crc ^ get_u32(bytes), high = get_u32(bytes + 4);
        crc = crc_table[7][low & 255] ^ crc_table[6][low >> 8 & 255] ^
              crc_table[5][low >> 16 & 255] ^ crc_table[4][low >> 24] ^ crc_table[3][high & 255] ^
              crc_table[2][high >> 8 & 255] ^ crc_table[1][high >> 16 & 255] ^
              crc_table[0][high >> 24];
    }
    for (; size; size--)
        crc = crc >> 8 ^ crc_table[0][(crc ^ *bytes++) & 255];
    return ~crc;
}

// ---- Units -----------------------------------------------------------------------------------

void unit_write_header(const struct unit *u, uint8_t out[UNIT_HEADER_BYTES])
{
    put_u32(out, MAGIC);
    put_u32(out + AT_SIZE, (uint32_t)u->size);
    out[AT_KIND] = (uint8_t)u->kind;
    out[AT_STREAM] = (uint8_t)u->stream;
    put_u16(out + AT_FLAGS, (uint16_t)u->flags);
    put_u64(out + AT_SOURCE, u->source);
    put_u32(out + AT_GEN, u->gen);
    put_u32(out + AT_ZERO, 0);
    put_u64(out + AT_SEQ, u->seq);
    put_u64(out + AT_PTS, (uint64_t)u->pts);
    put_u64(out + AT_DTS, (uint64_t)u->dts);
    put_u64(out + AT_CHAN, (uint64_t)u->chan_ns);
    put_u64(out + AT_DONE, (uint64_t)u->done_ns);
    put_u64(out + AT_INDEX, (uint64_t)u->index);
    uint32_t crc = crc32c_add(0, out + AT_KIND, UNIT_HEADER_BYTES - AT_KIND);
    put_u32(out + AT_CRC, crc32c_add(crc, u->body, u->size));
}

int unit_parse(const uint8_t *bytes, size_t size, struct unit *ret)
{
    if (size < UNIT_HEADER_BYTES)
        return -EAGAIN;
    size_t body = get_u32(bytes + AT_SIZE);
    if (get_u32(bytes) != MAGIC || body > UNIT_BODY_MAX)
        return -EPROTO;
    if (size - UNIT_HEADER_BYTES < body)
        return -EAGAIN;
    if (get_u32(bytes + AT_CRC) !=
        crc32c_add(0, bytes + AT_KIND, UNIT_HEADER_BYTES - AT_KIND + body))
        return -EPROTO;
    if (bytes[AT_KIND] < UNIT_DATA || bytes[AT_KIND] > UNIT_IDLE ||
        bytes[AT_STREAM] >= UNIT_STREAMS)
        return -EPROTO;
    *ret = (struct unit){
        .kind = bytes[AT_KIND],
        .stream = bytes[AT_STREAM],
        .flags = get_u16(bytes + AT_FLAGS),
        .source = get_u64(bytes + AT_SOURCE),
        .gen = get_u32(bytes + AT_GEN),
        .crc = get_u32(bytes + AT_CRC),
        .seq = get_u64(bytes + AT_SEQ),
        .pts = (int64_t)get_u64(bytes + AT_PTS),
        .dts = (int64_t)get_u64(bytes + AT_DTS),
        .chan_ns = (int64_t)get_u64(bytes + AT_CHAN),
        .done_ns = (int64_t)get_u64(bytes + AT_DONE),
        .index = (int64_t)get_u64(bytes + AT_INDEX),
        .body = bytes + UNIT_HEADER_BYTES,
        .size = body,
    };
    return 0;
}

// ---- Formats ---------------------------------------------------------------------------------

size_t unit_format_write(const struct unit_format *f, uint8_t out[UNIT_FORMAT_BYTES])
{
    const int numbers[8] = {f->width,    f->height,   f->aspect_num,  f->aspect_den,
                            f->rate_num, f->rate_den, f->sample_rate, f->channels};
    memset(out, 0, UNIT_CODEC_BYTES);
    memcpy(out, f->codec, strnlen(f->codec, UNIT_CODEC_BYTES - 1));
    for (int i = 0; i < 8; i++)
        put_u32(out + UNIT_CODEC_BYTES + 4 * i, (uint32_t)numbers[i]);
    put_u32(out + UNIT_CODEC_BYTES + 32, (uint32_t)f->extradata_size);
    memcpy(out + UNIT_CODEC_BYTES + 36, f->extradata, f->extradata_size);
    return UNIT_CODEC_BYTES + 36 + f->extradata_size;
}

int unit_format_parse(const uint8_t *bytes, size_t size, struct unit_format *ret)
{
    static const int64_t most[8] = {16384, 16384, 1 << 20, 1 << 20, 1 << 30, 1 << 30, 384000, 64};
    int numbers[8];
    if (size < UNIT_CODEC_BYTES + 36 || size > UNIT_FORMAT_BYTES || bytes[UNIT_CODEC_BYTES - 1] ||
        get_u32(bytes + UNIT_CODEC_BYTES + 32) != size - UNIT_CODEC_BYTES - 36)
        return -EPROTO;
    for (int i = 0; i < 8; i++) {
        uint32_t number = get_u32(bytes + UNIT_CODEC_BYTES + 4 * i);
        if (number > most[i])
            return -EPROTO;
        numbers[i] = (int)number;
    }
    *ret = (struct unit_format){
        .width = numbers[0],
        .height = numbers[1],
        .aspect_num = numbers[2],
        .aspect_den = numbers[3],
        .rate_num = numbers[4],
        .rate_den = numbers[5],
        .sample_rate = numbers[6],
        .channels = numbers[7],
        .extradata_size = size - UNIT_CODEC_BYTES - 36,
    };
    memcpy(ret->codec, bytes, UNIT_CODEC_BYTES);
    memcpy(ret->extradata, bytes + UNIT_CODEC_BYTES + 36, ret->extradata_size);
    return 0;
}

bool unit_format_equal(const struct unit_format *a, const struct unit_format *b)
{
    uint8_t left[UNIT_FORMAT_BYTES], right[UNIT_FORMAT_BYTES];
    size_t size = unit_format_write(a, left);
    return size == unit_format_write(b, right) && !memcmp(left, right, size);
}
