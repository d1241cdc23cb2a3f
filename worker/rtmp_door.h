// Who may publish to a worker's RTMP server (worker/rtmp.h), and what becomes of the senders that
// are there. The server asks at each turn, by hooks; a sender goes on air under its source's name.
//
// Who comes with the key of a source takes the place of the sender before him, as with SRT
// (worker/gateway/srt_input.h): an encoder whose link has died finds its old connection still there
// for seconds, and some do not ask twice. He waits until the server has dropped the other one. A
// sender that is there is asked about twice a second: another key, or none any more, ends him.
//
// Pure. Thread: one.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DOOR_SOURCES_MAX 256
#define DOOR_KEY_MAX     64
#define DOOR_ADDRESS_MAX 63

struct door_key {
    const char *source, *key; // secret
};

enum door_hook {
    DOOR_PUBLISH,      // a sender has come
    DOOR_PUBLISH_DONE, // and is gone
    DOOR_PLAY,         // somebody wants what is sent: the source's gateway
    DOOR_PLAY_DONE,
    DOOR_UPDATE, // one of either is still there
};

struct door_call {
    enum door_hook hook;
    uint64_t client;                    // the server's number for the connection, never used again
    char address[DOOR_ADDRESS_MAX + 1]; // whence
    char name[DOOR_KEY_MAX + 1];        // of a sender the key that he has, secret
};

enum door_answer { DOOR_NO, DOOR_YES, DOOR_LATER };

struct door_refusal {
    uint64_t count;
    const char *why; // the last one; NULL: nobody was refused
    char address[DOOR_ADDRESS_MAX + 1];
    int64_t at_ns;
};

struct door_source {
    char name[65];
    char key[DOOR_KEY_MAX + 1], old_key[DOOR_KEY_MAX + 1]; // secret
    bool kept;
    uint64_t client, heir; // who sends, and who waits to; 0: nobody
    char address[DOOR_ADDRESS_MAX + 1];
    int64_t seen_ns; // the sender
    uint64_t connections;
    struct door_refusal refusal;
};

struct door {
    struct door_source sources[DOOR_SOURCES_MAX]; // by nothing
    int source_count;
    uint64_t players[2 * DOOR_SOURCES_MAX];
    int player_count;
    struct door_refusal refusal; // of those with a key that no source has
};

// The sources that there are from now on.
void door_follow(struct door *door, const struct door_key *keys, size_t count);
// The server has begun anew: nobody is there.
void door_reset(struct door *door);
// Whom the server has not named for three seconds is gone. To be called when all that it has asked
// is answered.
void door_expire(struct door *door, int64_t now_ns);
// DOOR_LATER: to be asked again. `ret_source` is where a sender that may goes on air, else NULL.
enum door_answer door_ask(struct door *door, const struct door_call *call, bool again,
                          int64_t now_ns, const struct door_source **ret_source);
const struct door_source *door_find(const struct door *door, const char *source);
