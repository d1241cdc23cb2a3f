// Private to engine/live.
#pragma once

#include "engine/live/camera.h"
#include "engine/live/camera_log.h"
#include "engine/live/decoders.h"
#include "engine/live/resample.h"

// ---- Pictures --------------------------------------------------------------------------------

#define READY_MAX 32

struct camera_ready {
    uint64_t seq, content;
    int64_t chan_ns;
    struct picture *picture;
};

struct camera_pictures {
    bool open;                // a session is under way
    int64_t run, start, next; // the run it is in, the unit it began with, the one it gets next
    int64_t home;             // the key whose pictures are wanted
    int64_t tail_ns;          // chan_ns of the key after that, once only what leans on it is left
    int64_t out_ns;           // chan_ns of the newest that came out
    bool ended;               // it was told that no more comes
    int64_t cost_ns;          // of decoding a unit, about
    struct camera_ready ready[READY_MAX]; // came out, not wanted yet; by rising chan_ns
    int ready_count;
    struct camera_ready shown; // picture NULL: none yet
};

// ---- Sound -----------------------------------------------------------------------------------

// Decoded units of a block: `pairs` from `index` on, at the decoder's rate.
struct camera_piece {
    int64_t index;
    int count;
    int32_t *pairs;
};

// The units of a gen whose first sample is in [number, number + 1) * BLOCK_SAMPLES.
struct camera_block {
    uint32_t gen; // 0: unused
    int64_t number, next;
    bool open; // it is being decoded; else complete, or it cannot be
    int times; // decoded samples for each of the format's; 0: none yet
    struct camera_piece *pieces;
    size_t count, capacity;
};
#define BLOCKS_KEPT 3

struct camera_sounds {
    struct camera_block blocks[BLOCKS_KEPT];
    struct resampler *resampler; // NULL: none made yet
    int rate;                    // that it is for
    int32_t *window;             // scratch
    uint8_t *present;
    size_t window_max;
};

// Numbers of decoders: that of pictures, then those of blocks.
enum { PICTURE_DECODER, BLOCK_DECODERS };
// So often a picture or a block is begun anew, at a time, when the child that decodes ends.
#define RESTARTS_MAX 8

struct camera {
    struct camera_config config; // folder: not kept
    struct live_decoders *decoders;
    struct camera_log log;
    struct camera_pictures pictures;
    struct camera_sounds sounds;
};
// Reads what has come. `t_ns`: what will be asked for.
int camera_read(struct camera *camera, enum unit_stream stream, int64_t t_ns,
                struct diagnostic *reterr);
void camera_pictures_clear(struct camera *camera);
void camera_sounds_clear(struct camera *camera);
// Lets go of what nobody needs who asks for t_ns and later.
void camera_pictures_forget(struct camera *camera, int64_t t_ns);
void camera_sounds_forget(struct camera *camera, int64_t t_ns);
