// One asset's sound, or a pattern's tone, read at exact positions. Private to engine/sound.
// Thread: the mixer's.
#pragma once

#include "engine/frame/sound.h"
#include "engine/source/source.h"

struct sound_source;
// Opens the sound part of an asset. NULL inside on failure (the diagnostic says why); an asset
// without sound opens as silence. A file with pictures loops with these: sound that is longer is
// cut, sound that is shorter is followed by silence.
int sound_source_open(const struct asset_resolver *resolver, const char *uri,
                      struct sound_source **ret, struct diagnostic *reterr);
bool sound_source_is_silent(const struct sound_source *source); // the asset has no sound
// The factor that brings the asset as a whole to `target_lufs`, at most 30 dB up or down. 1 where
// nothing is heard, and where its loudness is not known (facts of an older import).
double sound_source_level(const struct sound_source *source, double target_lufs);
void sound_source_close(struct sound_source **source);

// Writes `count` stereo pairs. The first lies at `position` (samples of 48 kHz from the asset's
// start, exact), the others follow at `speed`; between samples by linear interpolation. With `loop`
// the asset starts again at its end, each time with the first sample at or after the exact instant;
// otherwise silence follows. Before its start there is silence.
void sound_source_read(const struct sound_source *source, struct rational position,
                       struct rational speed, bool loop, int count, float *dst);

// A sine of `hz` at amplitude `gain`, by sample number from `first` in steps of `speed`, so that it
// is continuous wherever it is cut.
void sound_tone(double first, double speed, double hz, double gain, int count, float *dst);
