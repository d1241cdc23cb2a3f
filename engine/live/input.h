// How a live source comes: what its gateway is told, and what may be shown of that.
//
//   {"kind": "srt-listen", "listen": "0.0.0.0:9000"}   "resource" (the source's name), "user"
//   {"kind": "srt-call", "address": "camera:9000"}     "stream_id"
//   {"kind": "srt-rendezvous", "address": "camera:9000", "listen": "0.0.0.0:9000"}
//      each of them: "passphrase" (10 to 79 characters), "key_bytes" (16, 24, 32),
//      "latency_ms" (200 where it is not said)
//   {"kind": "pull", "url": "rtsp://camera/1"}
//      rtmp, rtmps, rtsp, rtsps, http, https (HLS too), srt, udp, rtp
//   {"kind": "rtmp", "key": "..."}
//      senders publish to the home's RTMP server by that key (16 to 64 letters, digits, "-", "_")
//
// Pure. Thread: any.
#pragma once

#include "engine/base/diagnostic.h"

enum live_input_kind {
    LIVE_INPUT_SRT_LISTEN,
    LIVE_INPUT_SRT_CALL,
    LIVE_INPUT_SRT_RENDEZVOUS,
    LIVE_INPUT_PULL,
    LIVE_INPUT_RTMP,
};

struct live_input {
    enum live_input_kind kind;
    char listen[128], address[128], resource[65], user[65];
    char stream_id[513];
    char passphrase[80]; // secret
    char url[2048];      // secret: may hold a key, or a user's password
    char key[65];        // secret: whoever has it is the sender
    int key_bytes;       // 0: the sender's choice
    int latency_ms;
};

// `object` (NULL: absent) is the member "input" of whoever asks, for the source of that name.
// -EINVAL names the member that is wrong ("input.listen"), never its value.
struct json_t;
int live_input_parse(const struct json_t *object, const char *source, struct live_input *ret,
                     struct diagnostic *reterr);

// Leaves in `input` what anybody may see: of a URL scheme, host and port, since user, path and
// query may each be a key; instead of a key, a passphrase or a stream id (for some platforms it is
// the key) that there is one. Twice is as once.
void live_input_hide(struct live_input *input);
// The same as JSON, with the members that this kind has, and "has_passphrase" and "has_stream_id".
// A new reference; NULL when out of memory.
struct json_t *live_input_show(const struct live_input *input);
