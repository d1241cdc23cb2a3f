// The work of an import, done inside the program `vistter-import`: one process per file, so that
// hostile media can take down nothing else, and so that FFmpeg's process-wide processor flags can
// be off while sound is converted. Thread: one per process.
#pragma once

#include "engine/media/index.h"
#include "engine/media/media.h"

// What the file's headers say; counts are estimates where headers give none.
int import_probe(const char *path, struct media_info *ret, struct diagnostic *reterr);
struct import_callbacks { // all are needed
    void (*progress)(void *opaque, int permille);
    void *opaque;
    // The index is there, for `path`: adds facts that only playing it shows. In a process of its
    // own.
    void (*indexed)(const char *path, struct media_info *info);
};
// `reterr` must not be NULL here.
int import_file(const char *path, const char *store, struct media_info *ret,
                const struct import_callbacks *callbacks, struct diagnostic *reterr);

// Fills the facts of assets that are not media and are kept as they are: fonts, and lists of
// pictures ("vistter.sequence/1"). False for anything else.
bool import_document(const char *path, struct media_info *ret);

// Writes the sound of `stream` to `file` as 48 kHz stereo float32. Sample 0 is at `start` seconds
// on the file's own clock (later sound is preceded by silence, earlier sound is cut); gaps longer
// than 0.1 s are kept as silence, an hour of them in all, overlaps are cut. `start` is NULL: at the
// first sample. Fills the info's sample_count and loudness, and adds to its damage.
//
// More than two channels are mixed down as in ITU-R BS.775, not normalised (float does not clip):
//   left, right                          their own side, 1
//   centre                               both sides, 0.7071 (-3 dB)
//   left and right surround (side, back) their own side, 0.7071
//   one surround in the middle           both sides, 0.5: as two surrounds of 0.7071 each
//   LFE                                  not
// Of loudspeakers that BS.775 does not know, those between left and centre count as left, wide and
// upper ones as surrounds of their side, and upper ones in the middle like a surround in the
// middle. Mono plays on both sides at its own level. Where a file does not say which its channels
// are, up to eight are in the customary order of that number (5.1: L R C LFE Ls Rs); of more, the
// first two are left and right, and the others are left out.
int import_sound(struct demuxer *demuxer, int stream, const struct rational *start, int fd,
                 struct media_info *info, void (*progress)(void *opaque, int permille),
                 void *opaque, struct diagnostic *reterr);
// Adds `count` places, the first of them at `first`.
void import_note_damage(struct media_info *info, int64_t count, struct rational first);
