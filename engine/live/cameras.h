// The cameras that one renderer looks through: opened when a clip first asks, shared by picture and
// sound and by all clips of a source that have the same delay and hold, closed when none has asked
// for a while.
//
// The log of source x is in <folder>/x. Where that has become another folder (a log was dropped and
// copied anew), it is read anew.
// Thread: the renderer's.
#pragma once

#include "engine/live/camera.h"
#include "engine/timeline/timeline.h"

struct cameras;
// `folder`: of logs; copied.
struct cameras *cameras_create(const char *folder, struct rate rate, int64_t epoch_ns);
void cameras_destroy(struct cameras **cameras);

// From here on frame `n` of the channel is meant. -EAGAIN, with a diagnostic (may be NULL) that
// names the source: what this frame lacked when it was begun before has not come, so it need not be
// tried.
int cameras_begin(struct cameras *cameras, int64_t n, struct diagnostic *reterr);
// As camera_picture and camera_sound; asked again within a frame they cost nothing. -ENODATA: the
// source has no picture, which all nodes know alike. `*ret`: a reference; samples are good until
// the next frame is begun.
int cameras_picture(struct cameras *cameras, const struct clip *clip, struct picture **ret,
                    uint64_t *ret_content, struct diagnostic *reterr);
int cameras_sound(struct cameras *cameras, const struct clip *clip, const int32_t **ret,
                  struct diagnostic *reterr);
// Whether one of them was -EAGAIN since the frame was begun; `ret` (may be NULL) says which source.
bool cameras_wait(const struct cameras *cameras, struct diagnostic *ret);

// The clip will be asked for before long, or may be: camera_follow.
void cameras_follow(struct cameras *cameras, const struct clip *clip);
// Whether a log of those in use has not begun yet; `ret` says whose.
bool cameras_lack(const struct cameras *cameras, struct diagnostic *ret);
