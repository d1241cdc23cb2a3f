// What a camera keeps of its source's log in memory: the units that pictures and sound around the
// wanted frame are made of. Private to engine/live. Thread: the camera's.
#pragma once

#include "engine/live/log.h"
#include "engine/live/show.h"
#include "engine/live/sound_map.h"

struct camera_unit {
    uint64_t seq;
    uint32_t gen, crc;
    unsigned flags;
    int64_t chan_ns, index;
    // Pictures: all of one run can be decoded one after the other, from the keys in it on. 0:
    // cannot be decoded, since what it refers to is missing.
    int64_t run;
    const struct unit_format *format; // lives as long as the camera_log
    uint8_t *body;
    size_t size;
};

// A list that loses its oldest and keeps its numbering: unit `i` is units[i - first].
struct camera_units {
    struct camera_unit *units;
    int64_t first;
    size_t count, capacity;
};
static inline int64_t units_end(const struct camera_units *u)
{
    return u->first + (int64_t)u->count;
}
static inline struct camera_unit *units_at(const struct camera_units *u, int64_t i)
{
    return &u->units[i - u->first];
}
int64_t units_find(const struct camera_units *units, uint64_t seq); // -1: not there

struct camera_point {
    uint32_t gen;
    struct sound_point point;
};

struct camera_format {
    struct camera_format *next;
    struct unit_format format;
};

struct camera_log {
    struct live_reader *reader;
    struct camera_units streams[UNIT_STREAMS];
    int64_t done_ns[UNIT_STREAMS];
    struct show_entry *entries; // of pictures that can be decoded, and their gaps
    size_t entry_count, entry_capacity;
    struct camera_point *points; // of the sound's map, gens and times rising
    size_t point_count, point_capacity;
    struct camera_format *formats;                  // all that were, newest first
    const struct unit_format *format[UNIT_STREAMS]; // in force; NULL: none yet
    uint64_t seq, first_seq; // read last, and first since the last rewind; 0: nothing yet
    uint32_t gen;            // of the pictures under way
    int64_t run, runs;       // of the pictures; run 0: a whole key is waited for
    int64_t forgotten_ns[UNIT_STREAMS]; // up to here the log has to be read again
};
void camera_log_init(struct camera_log *log, struct live_reader *reader); // takes the reader
void camera_log_finish(struct camera_log *log);
// All that has come. 0; -ESTALE: the log has another history, nothing of the one before is left; or
// another negative errno.
int camera_log_read(struct camera_log *log);
void camera_log_rewind(struct camera_log *log);
// No unit of the stream before `i` is needed any more.
void camera_log_forget(struct camera_log *log, enum unit_stream stream, int64_t i);
// It cannot be decoded after all: the picture before it stands.
void camera_log_refuse(struct camera_log *log, uint64_t seq);
