// From access units with their arrival times to the log: stamps, gens, gaps and the sound's map.
//
// Every time is told, none is read: what comes out is a function of what goes in. Farm times are
// those of unit.h.
// Thread: all calls on one lock of the caller's.
#pragma once

#include "engine/live/log.h"

struct ingest_unit {
    enum unit_stream stream;
    const struct unit_format *format; // of the stream, from this unit on
    int64_t pts, dts;                 // 1/90000 s, from any origin, modulo 2^33; or UNIT_NO_TIME
    bool key, damaged;
    int samples; // of sound
    const uint8_t *bytes;
    size_t size;
};

struct ingest_stream_stats {
    struct unit_format format; // codec empty: nothing has come
    uint64_t units, bytes, damaged, gaps;
    int64_t period_ns; // of pictures, about
    int64_t last_ns;   // arrival of the newest
};
struct ingest_stats {
    uint32_t gen;
    struct ingest_stream_stats streams[UNIT_STREAMS];
    uint64_t refused;  // units that came too late, or on another time scale
    uint64_t unlogged; // units that the log could not take
    int log_error;     // of the newest of them
    int64_t slope;     // of the source's clock against the farm's, 1e-9
    uint64_t seq;      // of the newest unit in the log
    int64_t done_ns;   // up to there the log knows the pictures
};

struct ingest;
struct ingest *ingest_create(struct live_log *log); // borrows the log
void ingest_destroy(struct ingest **ingest);
// A connection begins, a new gen with it. `has_pictures`: they lead the clock.
void ingest_begin(struct ingest *ingest, bool has_pictures);
void ingest_add(struct ingest *ingest, const struct ingest_unit *unit, int64_t arrival_ns);
// Some fifty times a second, also while there is no connection: says what is not there.
void ingest_tick(struct ingest *ingest, int64_t now_ns);
void ingest_stats(const struct ingest *ingest, struct ingest_stats *ret);
