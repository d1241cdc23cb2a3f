// Media: what a file is, importing it, and its derived parts.
//
// An asset is a file named by the SHA-256 of its bytes. Import probes it within limits, and makes
// what playing needs and must be the same everywhere:
//   <sha>          the file itself
//   <sha>.index    decode order, key frames and exact presentation times of the picture stream
//   <sha>.sound    the sound as 48 kHz stereo float32 little-endian, no header; made once with
//                  all CPU-specific code of FFmpeg off, so that its bits do not depend on the host
//   <sha>.json     the facts below
// Thread: functions are independent of each other; a sound_file belongs to one thread.
#pragma once

#include "engine/base/diagnostic.h"
#include "engine/base/rate.h"

#include <stdbool.h>
#include <stdint.h>

struct media_info {
    char sha256[65]; // hex
    int64_t bytes;
    char container[32], picture_codec[32], sound_codec[32]; // FFmpeg's names; "" where absent
    int width, height; // as shown: after rotation metadata and pixel aspect; 0 without pictures
    bool still;        // one picture
    struct rate rate;  // nominal picture rate; {0, 1} without
    struct rational duration; // seconds, of the longer of both; 0/1 for stills
    // Seconds that the pictures take, after which a loop starts again; 0/1 without pictures and for
    // stills; den 0: not known, in facts of an older import.
    struct rational picture_duration;
    int64_t picture_count;
    int64_t sample_count; // per channel at 48 kHz; 0 without sound
    bool interlaced, hdr;
    // Places that cannot be decoded, and a missing end: pictures there and up to the next key frame
    // are shown by the clip's fallback, sound there is silent. A still that is damaged is refused.
    int64_t damage_count;
    struct rational damage_first; // seconds from the start; of no meaning without damage
    // Processor time from nothing to the first picture, and to the one that takes longest, as the
    // importing machine measured it; not known for sound alone and in facts of an older import.
    bool start_known;
    int64_t start_first_us, start_slowest_us;
    // Of the sound part, rounded to 0.01 (engine/media/loudness.h says how, and what -HUGE_VAL
    // means); not known without sound and in facts of an older import, which are not made anew for
    // it: a node that has them already would level otherwise.
    bool loudness_known;
    double loudness_lufs, true_peak_dbtp;
};

// Limits: side 16384, 134,217,728 pixels (a photograph of 128 megapixels), 16 streams. While it is
// decoded, a still of that size takes up to 2 GiB (16 bits with alpha); a process decodes one at a
// time.

// Reads the facts of a file without importing it. -ENOENT, -EISDIR, -EINVAL (not media, empty,
// truncated), -E2BIG (limits), with a diagnostic.
int media_probe(const char *path, struct media_info *ret, struct diagnostic *reterr);

// Imports `path` into folder `store`: writes the parts listed above under temporary names, syncs
// and renames, the facts last. A file already there is recognised by its hash and costs one read.
// `progress` (may be NULL) is called with 0..1000.
int media_import(const char *path, const char *store, struct media_info *ret,
                 void (*progress)(void *opaque, int permille), void *opaque,
                 struct diagnostic *reterr);

// Says in words what is damaged: "is damaged in 2 places, the first at 4.8 s; ..."; `ret` holds 160
// bytes, empty without damage.
void media_damage_text(const struct media_info *info, char *ret);

// Says in words that starting in the middle takes long; `ret` holds 160 bytes, empty where it does
// not: a second is what a renderer opens clips ahead.
#define MEDIA_START_SLOW_US 1000000
void media_start_text(const struct media_info *info, char *ret);

// JSON of the facts, as in <sha>.json and in the API. `media_info_format` returns malloc'ed text.
char *media_info_format(const struct media_info *info);
int media_info_parse(const char *json, struct media_info *ret, struct diagnostic *reterr);

// The facts of an asset that stands at `asset`, from the file beside it. -ENOENT: it has not been
// imported.
int media_info_read(const char *asset, struct media_info *ret, struct diagnostic *reterr);

// Hex SHA-256 of a file's bytes; `ret` holds 65 bytes.
int media_hash_file(const char *path, char *ret, struct diagnostic *reterr);

// The sound part of an asset, mapped.
struct sound_file;
int sound_file_open(const char *path, struct sound_file **ret, struct diagnostic *reterr);
void sound_file_close(struct sound_file **file);
int64_t sound_file_sample_count(const struct sound_file *file);
// Copies `count` samples (stereo pairs) from `first`; silence outside the file.
void sound_file_read(const struct sound_file *file, int64_t first, int count, float *dst);
