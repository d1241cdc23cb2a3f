// The index of a picture stream: every picture that decoding gives, in order of presentation, and
// the places where decoding can begin. It is what makes "the picture at this instant" exact.
//
// File, all integers little-endian:
//   "VXINDEX2"                               8 bytes
//   u32 stream, mode                         stream number; enum index_mode
//   u32 time base numerator, denominator     seconds per tick
//   u32 interlaced, hdr                      0 or 1
//   i64 end                                  ticks; where the last picture's time ends
//   i64 picture count, key count, damage count
//   picture count x { i64 pts, i64 identity }   strictly rising pts
//   key count x     { i64 pts, i64 dts }        in decode order; INT64_MIN = none
//   damage count x  { i64 first, i64 end }      pictures, rising
//   u64 checksum                             checksum.h, of everything before it
// The first picture's pts is the asset's instant 0.
//
// Damage: pictures that a decoder found broken, and those after them that lean on them, up to the
// next key frame. A picture that is missing altogether (a packet that was refused, the rest of a
// file that is cut short) has an entry too, so that its time is known to show nothing.
// Thread: an index is immutable.
#pragma once

#include "engine/base/diagnostic.h"
#include "engine/base/rate.h"
#include "engine/media/demux.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INDEX_NONE INT64_MIN

// How a decoded picture is recognised.
enum index_mode {
    INDEX_PTS,   // by its pts
    INDEX_DTS,   // by its packet's dts: files that state no presentation times
    INDEX_COUNT, // by counting from the start of the file: no usable times
};

struct index_picture {
    int64_t pts, identity;
};
struct index_key {
    int64_t pts, dts;
};

// Pictures [first, end) cannot be shown.
struct index_damage {
    int64_t first, end;
};

struct media_index {
    int stream;
    enum index_mode mode;
    struct rational time_base;
    bool interlaced, hdr;
    int64_t end, picture_count, key_count, damage_count;
    struct index_picture *pictures;
    struct index_key *keys;
    struct index_damage *damages;
    // -- known after index_build only
    bool first_turned; // the first picture itself (not the stream) says that it lies on its side
};

// Decodes the whole picture stream, without the costly parts that do not change what pictures there
// are. `progress` as in media_import. -EINVAL when no picture can be decoded.
int index_build(struct demuxer *demuxer, void (*progress)(void *opaque, int permille), void *opaque,
                struct media_index **ret, struct diagnostic *reterr);
int index_save(const struct media_index *index, const char *path, struct diagnostic *reterr);
// -ENOENT, -EBADMSG (damaged or of another version).
int index_load(const char *path, struct media_index **ret, struct diagnostic *reterr);
int index_read(int fd, struct media_index **ret); // from an open file; likewise
// The same as bytes in memory. `*ret` is the caller's, to be freed. -ENOMEM.
int index_pack(const struct media_index *index, uint8_t **ret, size_t *ret_size);
int index_unpack(const uint8_t *bytes, size_t size, struct media_index **ret); // -EBADMSG, -ENOMEM
void index_destroy(struct media_index **index);

struct rational index_duration(const struct media_index *index); // seconds
// True for a picture that the file cannot give.
bool index_is_damaged(const struct media_index *index, int64_t picture);
// The last picture whose time is not after `seconds` (>= 0); -1 past the end.
int64_t index_picture_at(const struct media_index *index, struct rational seconds);
// The picture that a decoded frame is, or -1; `expected` is looked at first.
int64_t index_find(const struct media_index *index, int64_t identity, int64_t expected);
// The last key at or before picture `picture`; -1: the start of the file.
int64_t index_key_before(const struct media_index *index, int64_t picture);
// About the picture at which decoding for `picture` begins: that of the key before it.
int64_t index_start_of(const struct media_index *index, int64_t picture);
