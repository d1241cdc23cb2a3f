// The coordinator's REST API, seen from the command line: HTTP through libcurl, JSON by jansson.
//
// Every call blocks, within time limits: 5 s to connect, a minute for an answer; an upload may take
// as long as bytes move, and its import on the server a quarter of an hour.
// Errors: -EREMOTEIO the server refused (the diagnostic holds the path and the sentence of its
// problem document), -EHOSTUNREACH nobody answers, -EPROTO what answers is no coordinator,
// others for local causes.
// Thread: one.
#pragma once

#include "engine/base/diagnostic.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define CLIENT_SERVER "http://127.0.0.1:8080"

struct client;

struct client_reply {
    long status; // 0: none came
    size_t size;
    char *body;   // ends with a zero that is not counted
    json_t *json; // the body, where it is JSON; NULL otherwise
};

// `server` is an http or https URL, or several with commas: what one has not taken, because it is
// not there, or knows no leader, the next is asked. -EINVAL otherwise.
int client_create(const char *server, struct client **ret, struct diagnostic *reterr);
void client_destroy(struct client **client);

// Makes "/channels/my%20channel/start" of {"channels", "my channel", "start", NULL}. Refuses
// segments that are no names ("", ".", "..").
int client_path(const char *const *segments, char *buffer, size_t size, struct diagnostic *reterr);

// Sends `body` (NULL: none) to `path`, which is counted from the API's root. 0 for statuses
// 200..299 of a coordinator, which says by X-Vistter that it is one. `ret` is filled in any case;
// end it with client_reply_finish.
int client_request(struct client *client, const char *method, const char *path, const json_t *body,
                   struct client_reply *ret, struct diagnostic *reterr);
// The same with a body that is JSON already.
int client_send(struct client *client, const char *method, const char *path, const char *bytes,
                size_t size, struct client_reply *ret, struct diagnostic *reterr);
void client_reply_finish(struct client_reply *reply);

// Whether the media store has an asset: 1, 0 or a negative errno.
int client_has_media(struct client *client, const char *sha256, struct diagnostic *reterr);

// What to upload: a file, or bytes.
struct client_upload {
    const char *path; // of the file; NULL: `bytes`
    const char *bytes;
    size_t size;
    const char *sha256, *name;
    void (*progress)(void *opaque, int64_t done, int64_t total); // may be NULL
    void *opaque;
};
int client_upload_media(struct client *client, const struct client_upload *upload,
                        struct client_reply *ret, struct diagnostic *reterr);
