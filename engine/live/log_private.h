// A log that is written: what the gateway's writer (log_writer.c) and the copier (log_copy.c)
// share. Private to engine/live.
#pragma once

#include "engine/live/log.h"
#include "engine/live/segments.h"

// Breakpoints lie a second apart and are told up to three seconds ahead: more than all that sound
// in the log's newest second can need.
#define MAP_POINTS 8

struct segment {
    uint64_t first_seq;
    int64_t from_ns, bytes; // bytes: of whole units
    int keys;
};

struct live_log {
    char *folder;
    uint64_t source;
    struct live_log_limits limits;
    int lock_fd, fd; // fd -1: a segment is begun with the next unit
    uint32_t history;
    uint64_t seq; // of the last unit
    uint32_t crc; // and what it is, in a copy
    uint32_t gen;
    int64_t done_ns[UNIT_STREAMS], now_ns; // now: the newest of all
    int64_t last_ns[UNIT_STREAMS];         // chan_ns of the data that is seen or heard last
    struct segment segments[SEGMENTS_MAX]; // the last one is being written
    size_t count;
    // What a new segment begins with.
    struct unit format[UNIT_STREAMS]; // size 0: none yet
    uint8_t format_body[UNIT_STREAMS][UNIT_FORMAT_BYTES];
    struct unit map[MAP_POINTS];
    int map_count;
};

// Locks the folder and takes in what is whole in it. Errors as live_log_create.
int live_log_open(const char *folder, const char *source, struct live_log_limits limits,
                  struct live_log **ret, struct diagnostic *reterr);
// As if there had never been a unit. The files stay.
void live_log_forget(struct live_log *log);
uint32_t live_log_next_history(uint32_t before);
void live_log_account(struct live_log *log, const struct unit *unit);
struct segment *live_log_add_segment(struct live_log *log, uint64_t first_seq);
// Removes the oldest segments that need not be kept.
void live_log_trim(struct live_log *log);
