// What a gateway says about its source once a second: a line of JSON on a descriptor.
//
//   {"source": "cam1", "state": "live", "text": "", "gen": 2, "seq": 4711,
//    "done_ns": 1796000000000000000, "bitrate": 4012000,
//    "clock_ppm": -12.0, "refused": 0, "log_errors": 0,
//    "video": {"codec": "h264", "width": 1280, "height": 720, "rate": 25.0,
//              "units": 812, "damaged": 0, "gaps": 1},
//    "sound": {"codec": "aac", "rate": 48000, "channels": 2,
//              "units": 1522, "damaged": 0, "gaps": 1},
//    "srt": {"connections": 2, "rtt_ms": 0.1, "latency_ms": 200, "buffer_ms": 180,
//            "received": 9000, "lost": 3, "retransmitted": 3, "dropped": 0, "undecrypted": 0,
//            "refusals": 1, "refusal": "the passphrase is wrong"}}
//
// state: "connecting" (has never been there), "live", "unstable" (live, but something was missing
// within the last five seconds), "lost" (was there), "quarantined" (nothing is taken in: it has
// ended decoders too often). "text" is for a person and never holds a
// secret. "video", "sound" and "srt" are missing where there is none.
// Thread: the main thread.
#pragma once

#include "worker/gateway/ingest.h"
#include "worker/gateway/srt_input.h"

struct status {
    const char *source;
    int fd;
    // -- what was told last, to say what has changed since
    uint64_t bytes, faults;
    int64_t told_ns, fault_ns;
};

struct status_facts {
    bool quarantined;
    struct ingest_stats ingest;
    bool has_srt;
    struct srt_input_stats srt;
    const char *text;
};
// The last line of one that cannot begin: {"state": "refused", "text": ...}.
void status_refuse(int fd, const char *text);
bool status_is_gone(const struct status *status); // nobody reads any more
// -EPIPE: nobody reads any more.
int status_tell(struct status *status, const struct status_facts *facts, int64_t now_ns);
