// Messages between an edge and its delivery processes, over a stream socket pair.
//
// Both ends are the same build on the same host, so the header is a plain struct in host order;
// still the reader checks kind and size, since the other side may have been replaced on disk.
//
//   SETUP   edge -> child: what one programme looks like, and (with secrets) where it goes
//   CLEAR   edge -> child: the programme ends
//   SECOND  edge -> child: where the channel's other edge gives the same packets (splice.h)
//   PUBLISH edge -> child: whether it may connect (edge/publish.h); before the first: it may
//   PACKET  edge -> child: one coded packet of a programme
//   STOP    edge -> child: finish (seal the file, say good-bye) and exit
//   STATE   child -> edge: five times a second; where it is shorter than here the child is of the
//                          version before (a publisher outlives its edge's); a child whose `turns`
//                          stand still hangs, also when
//           its messages go on
//
// The destination's URL travels only here: never in arguments, environment or log.
// Thread: any; pure functions.
#pragma once

#include "edge/encode/packet.h"
#include "edge/publish.h"
#include "engine/base/rate.h"

#define DELIVER_SOCKET_FD       3 // where a child finds its end
#define DELIVER_SETUP_BYTES_MAX 65536
#define DELIVER_STATE_PERIOD_MS 200

enum deliver_message_kind {
    DELIVER_SETUP = 1,
    DELIVER_CLEAR = 2,
    DELIVER_PACKET = 3,
    DELIVER_STOP = 4,
    DELIVER_STATE = 5,
    DELIVER_SECOND = 6,
    DELIVER_PUBLISH = 7,
};

enum deliver_kind { DELIVER_KIND_RTMP = 1, DELIVER_KIND_RECORDING = 2, DELIVER_KIND_PREVIEW = 3 };

// Values as in control.proto's DestinationState.
enum deliver_state {
    DELIVER_CONNECTING = 1,
    DELIVER_LIVE = 2,
    DELIVER_WAITING = 3,
    DELIVER_STOPPED = 4,
};

struct deliver_header {
    uint32_t size; // of what follows the header
    uint8_t kind, stream, key, reserved;
    uint64_t programme; // channel number
    int64_t pts, dts, duration;
};

// What a child has to know about one programme.
struct deliver_setup {
    enum deliver_kind kind;
    uint64_t programme;
    char name[128]; // channel's name: file names, preview path
    char url[2048]; // RTMP: with the key. Recording: folder. Preview: "host:port"
    int width, height;
    struct rate rate;
    int video_bitrate, audio_bitrate;
    int segment_seconds; // recordings
    int viewers_max;     // previews
    uint32_t video_extradata_size, audio_extradata_size;
    uint8_t video_extradata[1024], audio_extradata[128];
};

// Body of a SECOND message: a frame link to a relay (edge/relay.h).
struct deliver_second {
    bool there; // false: there is none
    char address[128], consumer[65], link_id[64];
    uint8_t key[32]; // secret
    uint64_t channel;
    uint32_t group;
    int latency_ms;
};

// Body of a PUBLISH message.
struct deliver_publish {
    enum publish_mode mode;
    struct publish_id id; // of what was said
};

#define DELIVER_REPORT_BYTES_MIN offsetof(struct deliver_report, other)

enum deliver_other { DELIVER_OTHER_NONE, DELIVER_OTHER_HEARD, DELIVER_OTHER_LOST };

// Body of a STATE message.
struct deliver_report {
    uint32_t state; // enum deliver_state
    uint32_t reconnects;
    uint64_t bytes, dropped;
    uint64_t turns;           // of the sink's loop
    double median_ms, p99_ms; // of one picture in the sink: the time its write waited
    char alarm[32];           // stable code of what a person has to mend; "": nothing
    char error[192];          // last error in words, never with the key
    // Not from the version before, which knows no PUBLISH either: it publishes.
    uint32_t other; // enum deliver_other: the edge of the SECOND message
    bool taken;     // that edge has shown that it is to publish, by a newer id
};

struct sockaddr_un;
// Where a publisher that has outlived its edge listens for the next one: an abstract name, which
// only the same user is let in by. Returns the address' length.
unsigned deliver_address(const char *family, const char *label, struct sockaddr_un *ret);

struct deliver_header deliver_packet_header(uint64_t programme, const struct packet *packet);
// Checks a header from the other side: -EPROTO for unknown kinds or sizes.
int deliver_header_check(const struct deliver_header *header);
// Checks a SETUP that arrived: terminated strings, sizes within bounds. -EPROTO.
int deliver_setup_check(struct deliver_setup *setup);
// Whether a sink would do the same for both.
bool deliver_setup_equal(const struct deliver_setup *a, const struct deliver_setup *b);
// Checks a SECOND that arrived. -EPROTO.
int deliver_second_check(const struct deliver_second *second);
// Checks a PUBLISH that arrived. -EPROTO.
int deliver_publish_check(const struct deliver_publish *publish);
bool deliver_second_equal(const struct deliver_second *a, const struct deliver_second *b);
