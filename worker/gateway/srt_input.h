// A source that comes by SRT: as a listener that knows who may call, as a caller, or by rendezvous.
//
// As a listener it refuses in the handshake, with SRT's own reasons. A caller who has shown that he
// knows the passphrase takes the place of the one before: an encoder that was switched off and on
// finds its old connection still there for seconds. Without a passphrase the first one stays.
// Thread: the source's, apart from srt_input_stats.
#pragma once

#include "engine/live/input.h"

#include <stdbool.h>
#include <stdint.h>

struct srt_input;
// A listener begins to listen with srt_input_connect.
int srt_input_open(const struct live_input *settings, struct srt_input **ret,
                   struct diagnostic *reterr);
void srt_input_close(struct srt_input **input);

// Waits up to a tenth of a second for a connection, or for the time to try again. 1: there is one;
// 0: not yet; -EADDRNOTAVAIL: a listener's address is in use, or none of this host, which is tried
// again.
int srt_input_connect(struct srt_input *input);
void srt_input_disconnect(struct srt_input *input);
// The next packet: its size; 0: nothing within a tenth of a second; -EPIPE: the connection is over.
int srt_input_read(struct srt_input *input, uint8_t *bytes, int size);

struct srt_input_stats {
    bool connected;
    double rtt_ms, buffer_ms, latency_ms;
    int64_t received, lost, retransmitted, dropped, undecrypted; // packets of this connection
    int64_t refused;                                             // callers, or tries of ours
    char refusal[96]; // why the last one was; empty: none was
    int64_t connections;
};
void srt_input_stats(struct srt_input *input, struct srt_input_stats *ret); // any thread
