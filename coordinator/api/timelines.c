#include "coordinator/api/handlers.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int handle_timelines(struct request *r)
{
    struct diagnostic why;
    char *json;
    if (store_timeline_list(r->store, &json, &why))
        return answer_problem(r, &why);
    int status = answer_text(r, 200, "application/json", json);
    free(json);
    return status;
}

static void hash_hex(const char *bytes, size_t size, char ret[65])
{
    unsigned char hash[32];
    EVP_Digest(bytes, size, hash, NULL, EVP_sha256(), NULL);
    for (int i = 0; i < 32; i++)
        snprintf(ret + 2 * i, 3, "%02x", hash[i]);
}

static int put_timeline(struct request *r, const char *name)
{
    char *bytes, sha256[65];
    size_t size;
    int status = request_json_body(r, TIMELINE_BODY_MAX, &bytes, &size);
    if (status)
        return status;
    struct diagnostic why;
    struct store_revision revision;
    int error = coordinator_check_timeline(r->coordinator, bytes, size, NULL, NULL, &why);
    if (!error) {
        hash_hex(bytes, size, sha256);
        error = store_timeline_put(r->store, name, bytes, size, sha256, &revision, &why);
    }
    free(bytes);
    if (error)
        return answer_problem(r, &why);
    coordinator_announce_timeline(r->coordinator, name, &revision);
    return answer_json(r, 200,
                       json_pack("{s:s, s:I, s:s}", "name", name, "revision",
                                 (json_int_t)revision.number, "sha256", revision.sha256));
}

static int get_timeline(struct request *r, const char *name)
{
    char text[32], *bytes;
    size_t size;
    int64_t number = 0;
    const char *wanted = request_query(r, "revision", text, sizeof text);
    if (wanted) {
        char *end;
        number = strtoll(wanted, &end, 10);
        if (*end || number < 1)
            return answer_refusal(r, 422, "bad_value", "revision", "must be a number from 1 on");
    }
    struct diagnostic why;
    struct store_revision revision;
    if (store_timeline_get(r->store, name, number, &revision, &bytes, &size, &why))
        return answer_problem(r, &why);
    mg_printf(
        r->connection,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n" ANSWER_MARK
        "Cache-Control: no-store\r\nX-Revision: %lld\r\nX-Content-SHA256: %s\r\n\r\n",
        size, (long long)revision.number, revision.sha256);
    if (!request_is_head(r))
        mg_write(r->connection, bytes, size);
    free(bytes);
    return 200;
}

int handle_timeline(struct request *r)
{
    return strcmp(r->info->request_method, "PUT") ? get_timeline(r, r->part[1])
                                                  : put_timeline(r, r->part[1]);
}

int handle_timeline_check(struct request *r)
{
    char *bytes;
    size_t size;
    int status = request_json_body(r, TIMELINE_BODY_MAX, &bytes, &size);
    if (status)
        return status;
    struct diagnostic why;
    int64_t duration;
    int tracks;
    int error = coordinator_check_timeline(r->coordinator, bytes, size, &duration, &tracks, &why);
    free(bytes);
    if (error)
        return answer_problem(r, &why);
    return answer_json(
        r, 200,
        json_pack("{s:b, s:I, s:i}", "ok", 1, "duration", (json_int_t)duration, "tracks", tracks));
}
