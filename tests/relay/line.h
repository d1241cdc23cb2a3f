// Lines: what a bad network does to packets on their way. Loses, repeats and delays them, by chance
// from a seed; those that are delayed differently overtake each other. One thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINE_PACKET_MAX 2048

struct line {
    double loss, repeat;         // shares, 0 to 1
    int64_t delay_ns, jitter_ns; // each packet takes delay and up to jitter more
};

struct line_packet {
    int64_t due_ns;
    uint64_t order; // of those due at once the first goes first
    int to;         // as line_enter was told
    size_t size;
    uint8_t bytes[LINE_PACKET_MAX];
};

struct line_queue;
struct line_queue *line_queue_create(uint64_t seed); // NULL without memory
void line_queue_destroy(struct line_queue **queue);
// A packet enters a line at this time. What finds no room is lost.
void line_enter(struct line_queue *queue, const struct line *line, int to, const uint8_t *bytes,
                size_t size, int64_t now_ns);
// The next one that is due, NULL: none. Valid until the next call.
const struct line_packet *line_leave(struct line_queue *queue, int64_t now_ns);
// How long until one is due; false: there is none.
bool line_wait_ns(const struct line_queue *queue, int64_t now_ns, int64_t *ret);
