// Golden frames: a built-in timeline is rendered at start, and its checksum is told to the
// coordinator. Nodes with the same checksum give the same bits, and may stand in for each other in
// the middle of anything (reliability: equivalence classes).
//
// It uses what could differ between hosts: our kernels (blending in every mode, scaling, rotation,
// dissolves, adjusting, sound mixing at 29.97), FFmpeg's H.264 decoder (4:2:0 with B-frames; 4:2:2
// of 10 bits) and PNG decoder, the conversions of swscale and ours (BT.2020 with PQ, R'G'B' with
// alpha), and Pango, HarfBuzz and FreeType with a font of our own.
//
// What it does not use, and therefore does not show: other codecs, interlaced material, complex
// scripts and emoji. Sound is converted once, at import, on another host; a worker only mixes it.
#pragma once

#include "engine/base/diagnostic.h"

#include <stddef.h>
#include <stdint.h>

// `folder`: where the built-in media are put for the time of the call. Thread: any, once at a time
// per process. A built-in clip that cannot be shown is an error, with the clip's own diagnostic.
// Cost: 0.2 s.
int golden_hash(const char *folder, uint8_t ret[32], struct diagnostic *reterr);

// Private: the files of worker/golden/, put into the program when it is built.
struct golden_file {
    const char *name;
    const uint8_t *bytes;
    size_t size;
};
extern const struct golden_file golden_files[];
extern const size_t golden_file_count;
