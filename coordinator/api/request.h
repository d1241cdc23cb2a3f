// One HTTP request being answered: bodies within limits, JSON in and out, problems. Private to
// coordinator/api. Thread: civetweb's, one request at a time.
#pragma once

#include "coordinator/coordinator.h"

#include <civetweb.h>
#include <jansson.h>

#define BODY_BYTES_MAX    (64 << 10)
#define TIMELINE_BODY_MAX (17 << 20)
#define PATH_PARTS_MAX    6
// In every answer: by it a program knows that it talks to a coordinator.
#define ANSWER_MARK "X-Vistter: " VISTTER_VERSION "\r\n"

struct request {
    struct mg_connection *connection;
    const struct mg_request_info *info;
    struct coordinator *coordinator;
    struct store *store;
    // The path behind /api/v1/, split at '/'.
    int part_count;
    const char *part[PATH_PARTS_MAX];
    const char *allow; // methods, for a 405
    bool body_read;    // whole
    bool close;        // after the answer
};

// All answers return the status code, as civetweb wants it.
int answer_json(struct request *r, int status, json_t *body); // takes the reference
int answer_text(struct request *r, int status, const char *type, const char *text);
int answer_empty(struct request *r, int status);
// Problem from a diagnostic: its errno decides the status.
int answer_problem(struct request *r, const struct diagnostic *problem);
int answer_refusal(struct request *r, int status, const char *code, const char *path,
                   const char *format, ...) __attribute__((format(printf, 5, 6)));

// Text from a node, a client or a platform as JSON: what is no UTF-8 becomes U+FFFD, and a
// character that a bound has cut in two goes. Never NULL but for want of memory.
json_t *json_text(const char *text);

// Reads a body of at most `max` bytes; malloc'ed and NUL-terminated. On error the answer has been
// sent and its status is returned; 0 when all is well.
int request_body(struct request *r, size_t max, char **ret, size_t *ret_size);
// The same for a body that must be marked as JSON.
int request_json_body(struct request *r, size_t max, char **ret, size_t *ret_size);
// Whether body bytes of the client are still on their way; then the connection ends after the
// answer.
bool request_is_unread(const struct request *r);
// Whether a page of this server's own origin asks, or a program, which sends no Origin.
bool request_origin_ok(const struct mg_connection *connection);
// Whether the client means us: a page of a foreign name that has been pointed at our address (DNS
// rebinding) would be of our origin otherwise. An address is fine, a name must be one of ours.
bool request_host_ok(const struct request *r);
bool request_is_head(const struct request *r);
// A JSON object with no other members than those in `allowed` (NULL-terminated).
int request_json(struct request *r, const char *const *allowed, json_t **ret);
// A query parameter; NULL inside when absent. `buffer` must be large enough for any value we
// accept.
const char *request_query(struct request *r, const char *name, char *buffer, size_t size);
