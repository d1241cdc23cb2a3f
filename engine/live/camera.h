// A live source in a channel: picture and sound at frame n, from the source's log and n alone.
//
// Whoever reads the log gets the same bits, wherever they began and whatever is wrong with the
// bytes: each group of pictures is decoded by a fresh decoder, and so is sound in blocks of
// about 1.4 s, by one that has heard the units before. Which picture stands at n, and where in the
// sound n lies, follows by the rules of show.h and sound_map.h. What the gateway marked as damaged
// is not decoded: the picture before it stands until a whole key.
// Thread: a camera belongs to its renderer's thread. It reads and decodes in the calls; nothing
// waits.
#pragma once

#include "engine/base/diagnostic.h"
#include "engine/base/rate.h"
#include "engine/frame/picture.h"
#include "engine/live/show.h"

struct camera_config {
    const char *folder; // of the log
    struct rate rate;   // of the channel
    int64_t epoch_ns;   // farm time of frame 0 of the channel
    int64_t delay_ns;   // how much later than it arrived the source is shown; 400 ms are customary
    int64_t hold_ns;    // how long a picture is held when the source is gone
};

struct camera;
int camera_open(const struct camera_config *config, struct camera **ret, struct diagnostic *reterr);
void camera_destroy(struct camera **camera);

// The picture at frame n of the channel, at natural size in the farm's layout. `*ret_content` names
// its bits: equal contents from cameras of one source mean equal bits; bit 63 is clear. Gives a
// reference. 0; -EAGAIN: nobody can know yet; -ENODATA: there is none, `*ret_state` says why (it is
// always told); -ESTALE: what there was is no longer in the log.
int camera_picture(struct camera *camera, int64_t n, struct picture **ret, uint64_t *ret_content,
                   enum show_state *ret_state, struct diagnostic *reterr);
// Frame n and later ones may be asked for, nobody knows when: reads what has come, lets go of what
// is not needed any more, and decodes where otherwise more than SOURCE_FOLLOW_NS of that would have
// to be caught up with; for at most 20 ms, so it is to be called again and again.
void camera_follow(struct camera *camera, int64_t n);
// Whether anything of the source's log has been read yet.
bool camera_begun(const struct camera *camera);
// The sound of frame n: rate_sample_count(rate, n) stereo samples (engine/frame/sound.h). What is
// missing is silence, and begins and ends with 10 ms of fading. 0, or -EAGAIN.
int camera_sound(struct camera *camera, int64_t n, int32_t *dst, struct diagnostic *reterr);
