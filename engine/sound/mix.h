// Sound of a timeline's tracks over one frame, as an integer stem (sound.h).
// Order of work per clip: source samples (float) -> the factor that levels its asset, where the
// timeline has a loudness, gain and pan, ramped linearly over the frame -> quantised -> added. Pan
// is a balance: the far side falls linearly to 0. A nested timeline is summed in float in the order
// of its tracks, and is then one clip.
//
// Which samples belong to a frame: a clip whose source time is s at channel frame a reads from
//     floor(48000 * s - (48000 * a / rate - first sample of a) * speed)
// of its source. The bracket, below one sample, is what the frame's first sample lies before the
// frame's own time. Both terms grow with a, and at speed 1 their difference grows by exactly the
// frame's sample count, so consecutive frames read consecutive samples in any cadence and from any
// channel frame on. A clip may start up to one sample late, never early. At other speeds samples
// are interpolated linearly at exact positions.
//
// A tone is a sine by sample number, and starts at its zero where the clip's source time is 0. The
// flash pattern beeps for 20 ms from the first sample of the frame that is white.
// A camera's samples are those of the channel's frame (engine/live/camera.h), whatever the clip's
// source time; they are not levelled.
// Thread: a sound_mixer belongs to its renderer's thread.
#pragma once

#include "engine/live/cameras.h"
#include "engine/source/source.h"

struct sound_mixer;
// `cameras`: borrowed; NULL when the timeline has none.
struct sound_mixer *sound_mixer_create(const struct timeline *timeline, struct rate output_rate,
                                       const struct asset_resolver *resolver,
                                       struct cameras *cameras);
void sound_mixer_destroy(struct sound_mixer **mixer);
// What the timeline's live tracks sound with from now on; a reference is taken. NULL: nothing.
void sound_mixer_live(struct sound_mixer *mixer, const struct takes *live);
// Writes the stem of tracks [track_from, track_to) for output frame n (from the timeline's start):
// `dst` takes rate_sample_count(rate, absolute_frame) stereo samples. `absolute_frame` is the
// channel's frame number, which decides the cadence. Broken sound is silence; the return value is
// the number of audio clips that could not be read, or have no sound, and `*ret_first` (may be
// NULL) says what is wrong with the first of them. A video's broken sound is reported with its
// picture. Where a camera's sound cannot be known yet (cameras_wait) the stem is good for nothing.
int sound_mixer_frame(struct sound_mixer *mixer, int64_t n, int64_t absolute_frame, int track_from,
                      int track_to, int32_t *dst, struct diagnostic *ret_first);
