#include "engine/media/whole.h"

#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

// A file under inspection. What is not there reads as zeros.
struct view {
    int fd;
    int64_t size, start; // `bytes` holds the file from `start` on
    uint8_t bytes[65536];
    ssize_t count;
};

static uint8_t byte_at(struct view *v, int64_t at)
{
    if (at < 0 || at >= v->size)
        return 0;
    if (at < v->start || at >= v->start + v->count) {
        v->start = at;
        v->count = pread(v->fd, v->bytes, sizeof v->bytes, at);
    }
    return at < v->start + v->count ? v->bytes[at - v->start] : 0;
}

static uint64_t big(struct view *v, int64_t at, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value = value << 8 | byte_at(v, at + i);
    return value;
}

static uint64_t little(struct view *v, int64_t at, int bytes)
{
    uint64_t value = 0;
    for (int i = bytes - 1; i >= 0; i--)
        value = value << 8 | byte_at(v, at + i);
    return value;
}

static bool has(struct view *v, int64_t at, const char *text)
{
    for (int i = 0; text[i]; i++)
        if (byte_at(v, at + i) != (uint8_t)text[i])
            return false;
    return true;
}

static enum wholeness whole_if(bool whole)
{
    return whole ? FILE_WHOLE : FILE_CUT;
}

// Position of the next JPEG segment of interest from `at` on: a frame header or the start of a
// scan. -1: there is none. `*ret_marker` is the second byte of its marker.
static int64_t jpeg_next(struct view *v, int64_t at, int *ret_marker)
{
    while (at + 4 <= v->size && byte_at(v, at) == 0xff) {
        int marker = byte_at(v, at + 1);
        bool frame = (marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 &&
                      marker != 0xcc) ||
                     marker == 0xf7; // JPEG-LS
        *ret_marker = marker;
        if (frame || marker == 0xda)
            return at;
        at += marker == 0xff ? 1 : 2 + (int64_t)big(v, at + 2, 2);
    }
    return -1;
}

// After the first scan begins, 0xff 0xd9 is the end of the picture: in coded data 0xff is followed
// by 0, and a thumbnail's end lies before.
static enum wholeness jpeg_wholeness(struct view *v)
{
    int marker = 0;
    int64_t at = 2;
    while (marker != 0xda && (at = jpeg_next(v, at, &marker)) >= 0)
        at += 2 + (int64_t)big(v, at + 2, 2);
    if (at < 0)
        return FILE_CUT;
    while (at + 1 < v->size && !(byte_at(v, at) == 0xff && byte_at(v, at + 1) == 0xd9))
        at++;
    return whole_if(at + 1 < v->size);
}

static int64_t gif_skip_blocks(struct view *v, int64_t at)
{
    while (at < v->size && byte_at(v, at))
        at += 1 + byte_at(v, at);
    return at + 1;
}

static int64_t gif_table_bytes(int flags)
{
    return flags & 0x80 ? 3 << ((flags & 7) + 1) : 0;
}

static enum wholeness gif_wholeness(struct view *v)
{
    int64_t at = 13 + gif_table_bytes(byte_at(v, 10));
    while (at < v->size) {
        switch (byte_at(v, at)) {
        case 0x3b:
            return FILE_WHOLE;
        case 0x2c:
            at = gif_skip_blocks(v, at + 11 + gif_table_bytes(byte_at(v, at + 9)));
            break;
        case 0x21:
            at = gif_skip_blocks(v, at + 2);
            break;
        default:
            return FILE_UNKNOWN;
        }
    }
    return FILE_CUT;
}

static int64_t exr_text_end(struct view *v, int64_t at)
{
    while (at < v->size && byte_at(v, at))
        at++;
    return at + 1;
}

// Pictures of scan lines: each block has its place in a table behind the header.
static enum wholeness exr_wholeness(struct view *v)
{
    static const int lines[] = {1, 1, 1, 16, 32, 16, 32, 32, 32, 256}; // a block, by compression
    int64_t at = 8, rows = 0, last = 0;
    unsigned compression = 0;
    if (little(v, 4, 4) & 0x1a00) // tiles, deep data, several parts
        return FILE_UNKNOWN;
    while (at < v->size && byte_at(v, at)) {
        int64_t type = exr_text_end(v, at), value = exr_text_end(v, type);
        if (has(v, at, "compression"))
            compression = byte_at(v, value + 4);
        if (has(v, at, "dataWindow"))
            rows =
                (int32_t)little(v, value + 16, 4) - (int64_t)(int32_t)little(v, value + 8, 4) + 1;
        at = value + 4 + (int64_t)little(v, value, 4);
    }
    if (rows < 1 || rows > 1 << 20 || compression >= sizeof lines / sizeof *lines)
        return FILE_UNKNOWN;
    int64_t blocks = (rows + lines[compression] - 1) / lines[compression];
    for (int64_t i = 0; i < blocks; i++) {
        int64_t place = (int64_t)little(v, at + 1 + 8 * i, 8);
        last = place > last ? place : last;
    }
    return whole_if(last > 0 && last < v->size - 8 &&
                    (int64_t)little(v, last + 4, 4) <= v->size - 8 - last);
}

static enum wholeness box_wholeness(struct view *v)
{
    for (int64_t at = 0; at + 8 <= v->size;) {
        uint64_t length = big(v, at, 4);
        if (length == 0) // to the end of the file, wherever that is
            return FILE_UNKNOWN;
        if (length == 1)
            length = big(v, at + 8, 8);
        if (length < 8)
            return FILE_UNKNOWN;
        if (length > (uint64_t)(v->size - at))
            return FILE_CUT;
        at += (int64_t)length;
    }
    return FILE_WHOLE;
}

// Value of an EBML number of 1 to 8 bytes; all ones mean "not known", here -1.
static int64_t ebml_size(struct view *v, int64_t at, int *ret_bytes)
{
    int bytes = 1;
    while (bytes < 8 && !(byte_at(v, at) >> (8 - bytes) & 1))
        bytes++;
    uint64_t mask = (UINT64_C(1) << 7 * bytes) - 1, value = big(v, at, bytes) & mask;
    *ret_bytes = bytes;
    return value == mask ? -1 : (int64_t)value;
}

static enum wholeness matroska_wholeness(struct view *v)
{
    int bytes;
    int64_t header = ebml_size(v, 4, &bytes), at = 4 + bytes + header;
    if (header < 0 || !has(v, at, "\x18\x53\x80\x67"))
        return FILE_UNKNOWN;
    int64_t segment = ebml_size(v, at + 4, &bytes);
    return segment < 0 ? FILE_UNKNOWN : whole_if(segment <= v->size - at - 4 - bytes);
}

// RIFF, of which a long AVI has several in a row, and its big-endian cousin.
static enum wholeness riff_wholeness(struct view *v)
{
    bool swapped = has(v, 0, "FORM");
    for (int64_t at = 0; at + 12 <= v->size && (swapped || has(v, at, "RIFF"));) {
        int64_t length = (int64_t)(swapped ? big(v, at + 4, 4) : little(v, at + 4, 4));
        if (length < 4 || length == 0xffffffff) // written to a pipe
            return FILE_UNKNOWN;
        if (length > v->size - at - 8)
            return FILE_CUT;
        at += 8 + length + (length & 1);
        if (swapped)
            break;
    }
    return FILE_WHOLE;
}

static enum wholeness transport_wholeness(struct view *v)
{
    static const struct {
        int packet, sync;
    } kinds[] = {{188, 0}, {192, 4}, {204, 0}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        bool is = v->size >= 4 * kinds[i].packet;
        for (int k = 0; is && k < 4; k++)
            is = byte_at(v, kinds[i].sync + (int64_t)k * kinds[i].packet) == 0x47;
        if (is)
            return v->size % kinds[i].packet ? FILE_CUT : FILE_UNKNOWN;
    }
    return FILE_UNKNOWN;
}

static enum wholeness judge(struct view *v)
{
    if (has(v, 0, "\xff\xd8\xff"))
        return jpeg_wholeness(v);
    if (has(v, 0, "GIF8"))
        return gif_wholeness(v);
    if (has(v, 0, "qoif"))
        return whole_if(big(v, v->size - 8, 8) == 1);
    if (has(v, 0, "\x76\x2f\x31\x01"))
        return exr_wholeness(v);
    if (has(v, 0, "\x1a\x45\xdf\xa3"))
        return matroska_wholeness(v);
    if (has(v, 0, "RIFF") || has(v, 0, "FORM"))
        return riff_wholeness(v);
    static const char *const boxes[] = {"ftyp", "moov", "mdat", "free", "skip", "wide", "pnot"};
    for (size_t i = 0; i < sizeof boxes / sizeof *boxes; i++)
        if (has(v, 4, boxes[i]))
            return box_wholeness(v);
    return transport_wholeness(v);
}

enum wholeness file_wholeness(int fd, int64_t size)
{
    struct view *v = calloc(1, sizeof *v);
    if (!v)
        return FILE_UNKNOWN;
    v->fd = fd;
    v->size = size;
    enum wholeness result = judge(v);
    free(v);
    return result;
}

bool file_picture_size(int fd, int64_t size, int64_t *ret_width, int64_t *ret_height)
{
    struct view *v = calloc(1, sizeof *v);
    if (!v)
        return false;
    v->fd = fd;
    v->size = size;
    int marker;
    int64_t frame;
    bool is = true;
    if (has(v, 0, "\x89PNG") && has(v, 12, "IHDR")) {
        *ret_width = (int64_t)big(v, 16, 4);
        *ret_height = (int64_t)big(v, 20, 4);
    } else if (has(v, 0, "BM") && little(v, 14, 4) >= 40) {
        *ret_width = (int32_t)little(v, 18, 4);
        *ret_height = llabs((int32_t)little(v, 22, 4));
    } else if (has(v, 0, "\xff\xd8\xff") && (frame = jpeg_next(v, 2, &marker)) >= 0 &&
               marker != 0xda) {
        *ret_height = (int64_t)big(v, frame + 5, 2);
        *ret_width = (int64_t)big(v, frame + 7, 2);
    } else {
        is = false;
    }
    free(v);
    return is;
}
