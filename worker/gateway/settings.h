// What one gateway is told, as JSON on a descriptor: it holds secrets, which thereby reach no
// command line, no environment and no file.
//
//   {"source": "cam1", "folder": "/var/lib/vistter/live/cam1", "input": {...}}
//
// input, one of
//   {"kind": "srt-listen", "listen": "0.0.0.0:9000"}   "resource" (the source's name), "user"
//   {"kind": "srt-call", "address": "camera:9000"}     "stream_id"
//   {"kind": "srt-rendezvous", "address": "camera:9000", "listen": "0.0.0.0:9000"}
//      each of them: "passphrase" (10 to 79 characters), "key_bytes" (16, 24, 32),
//      "latency_ms" (200 where it is not said)
//   {"kind": "pull", "url": "rtsp://camera/1"}
//      rtmp, rtmps, rtsp, rtsps, http, https (HLS too), srt, udp, rtp
#pragma once

#include "engine/base/diagnostic.h"

#include <stddef.h>

enum input_kind { INPUT_SRT_LISTEN, INPUT_SRT_CALL, INPUT_SRT_RENDEZVOUS, INPUT_PULL };

struct gateway_settings {
    char source[65], folder[512];
    enum input_kind kind;
    char listen[128], address[128], resource[65], user[65], stream_id[513];
    char passphrase[80]; // secret
    char url[2048];      // secret: may hold a key, or a user's password
    int key_bytes, latency_ms;
};

// Reads up to the end of the descriptor. -EINVAL names the member that is wrong, never its value.
int gateway_settings_read(int fd, struct gateway_settings *ret, struct diagnostic *reterr);
int gateway_settings_parse(const char *text, size_t size, struct gateway_settings *ret,
                           struct diagnostic *reterr);
