// Inside a delivery process: the feed of messages from the edge, the status that goes back, and the
// sinks that write packets somewhere.
//
// Threads of the process: `main` reads the socket, fills the feed and sends the status; `sink`
// takes from the feed and calls the sink, and is the only one that may block on a network or a
// disk.
#pragma once

#include "edge/deliver/message.h"

#include <stdbool.h>
#include <stdint.h>

// ---- Feed --------------------------------------------------------------------------------------
// Bounded in packets and bytes; full: everything up to the next key frame is dropped and counted.
struct feed_item {
    enum deliver_message_kind kind; // SETUP, CLEAR or PACKET
    uint64_t programme;
    struct deliver_setup *setup; // SETUP; the taker frees
    struct packet *packet;       // PACKET; the taker unrefs
};

struct feed;
struct feed *feed_create(void);
void feed_destroy(struct feed **feed);
void feed_add(struct feed *feed, const struct feed_item *item); // takes what is in it
void feed_close(struct feed *feed);                             // wakes everybody
bool feed_closed(struct feed *feed);
// 0, -EAGAIN after `timeout_ms`, -EPIPE when closed and empty.
int feed_take(struct feed *feed, int timeout_ms, struct feed_item *ret);
// Waits until the feed is closed, at most `timeout_ms`; returns whether it is.
bool feed_wait_closed(struct feed *feed, int timeout_ms);
// Throws away packets before the newest key frame: a new connection starts at the present.
void feed_skip_to_newest_key(struct feed *feed);
// dts of the newest picture that was added; INT64_MIN: none was.
int64_t feed_newest_picture(struct feed *feed);
uint64_t feed_dropped(struct feed *feed);
// Whether the sink may connect; PUBLISH_YES at first. Thread: any.
void feed_set_publish(struct feed *feed, enum publish_mode mode);
enum publish_mode feed_publish(const struct feed *feed);

// ---- Status ------------------------------------------------------------------------------------
struct status;
struct status *status_create(void);
void status_destroy(struct status **status);
void status_set(struct status *status, enum deliver_state state);
// `format` must not let a URL in.
void status_error(struct status *status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
// A code from control.proto's AlarmReport, for what the error says; "" ends the alarm.
void status_alarm(struct status *status, const char *code);
void status_add(struct status *status, uint64_t bytes, uint32_t reconnects);
// The sink goes on: called with each turn of its loop, and within a turn by long work that moves.
void status_turn(struct status *status);
void status_get(struct status *status, struct deliver_report *ret);

// ---- Sinks -------------------------------------------------------------------------------------
// All calls on the sink thread.
struct sink_ops {
    void *(*create)(struct feed *feed, struct status *status);
    void (*setup)(void *sink, const struct deliver_setup *setup);
    void (*clear)(void *sink, uint64_t programme);
    void (*packet)(void *sink, uint64_t programme, const struct packet *packet);
    void (*idle)(void *sink); // at least five times a second
    void (*destroy)(void *sink);
};
extern const struct sink_ops sink_rtmp_ops, sink_record_ops, sink_preview_ops;

struct AVFormatContext;
struct AVPacket;
// Adds the two streams (video first) that `setup` describes. -ENOMEM.
int sink_add_streams(struct AVFormatContext *context, const struct deliver_setup *setup);
// The frame that is time 0 of what begins with this picture: so far before it that the sound which
// comes behind it has a place.
int64_t sink_base(const struct deliver_setup *setup, const struct packet *key);
// Fills `av` (allocated by the caller) with a borrowed view of `packet`, times counted from video
// frame `base` in the stream's time base. Valid while `packet` is.
void sink_fill_packet(struct AVFormatContext *context, const struct deliver_setup *setup,
                      const struct packet *packet, int64_t base, struct AVPacket *av);
