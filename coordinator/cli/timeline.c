#include "coordinator/cli/bundle.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/field.h"
#include "coordinator/cli/table.h"
#include "coordinator/cli/upload.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_BYTES 4096

static int finish(const struct arguments *a, const struct diagnostic *problem)
{
    upload_note(a->json, "", "");
    if (a->json && problem->error != -EHOSTUNREACH)
        print_problem(problem);
    return complain(problem);
}

// Nested timelines that are in the store already (timeline_load_fn).
static int fetch_nested(void *opaque, const char *uri, char **ret, size_t *ret_size,
                        struct diagnostic *reterr)
{
    struct client_reply reply;
    char path[96];
    const char *colon = strchr(uri, ':');
    snprintf(path, sizeof path, "/media/%s", colon ? colon + 1 : uri);
    int error = client_request(opaque, "GET", path, NULL, &reply, reterr);
    if (!error && !reply.body)
        error = diagnostic_set(reterr, -EPROTO, "empty", uri, "the server has no bytes of it");
    if (!error) {
        *ret = reply.body;
        *ret_size = reply.size;
        reply.body = NULL;
    }
    client_reply_finish(&reply);
    return error;
}

static bool note_quiet;

static void on_file(const char *path)
{
    upload_note(note_quiet, "reading", path);
}

// Checks the timeline before anything is hashed or sent, then reads all its files.
static int read_bundle(const struct arguments *a, const char *path, int64_t *ret_duration,
                       size_t *ret_tracks, struct bundle **ret, struct diagnostic *reterr)
{
    int error = bundle_check(path, fetch_nested, a->client, ret_duration, ret_tracks, reterr);
    if (error)
        return error;
    note_quiet = a->json;
    error = bundle_load(path, on_file, ret, reterr);
    upload_note(a->json, "", "");
    return error;
}

static int put_document(const struct arguments *a, const char *name, const struct bundle_item *item,
                        struct client_reply *ret, struct diagnostic *reterr)
{
    char path[PATH_BYTES];
    const char *const segments[] = {"timelines", name, NULL};
    *ret = (struct client_reply){0};
    int error = client_path(segments, path, sizeof path, reterr);
    if (!error)
        error = client_send(a->client, "PUT", path, item->bytes, item->size, ret, reterr);
    if (!error && strcmp(field_text(ret->json, "sha256"), item->sha256))
        error = diagnostic_set(reterr, -EPROTO, "other_bytes", name,
                               "the server does not answer with the hash of what was sent");
    return error;
}

static int put_nested(const struct arguments *a, const char *name, const struct bundle_item *item,
                      bool *ret_sent, struct diagnostic *reterr)
{
    struct client_reply reply;
    int known = client_has_media(a->client, item->sha256, reterr);
    if (known)
        return known < 0 ? known : 0;
    int error = put_document(a, name, item, &reply, reterr);
    client_reply_finish(&reply);
    *ret_sent = !error;
    return error;
}

static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

// An error of the server in something that the timeline names, told at the place that names it.
static int tell_place(const struct bundle_item *item, struct diagnostic *problem)
{
    struct diagnostic inner = *problem;
    if (inner.error == -EHOSTUNREACH)
        return inner.error;
    return diagnostic_set(problem, inner.error, inner.code, item->place, "%s%s%s: %.400s",
                          name_of(item->path), inner.path[0] ? ", " : "", inner.path, inner.text);
}

static int send_item(const struct arguments *a, const struct bundle_item *item, int *nested_count,
                     struct diagnostic *reterr)
{
    bool sent = false;
    int error;
    char name[512];
    if (item->kind == DOCUMENT_TIMELINE) {
        snprintf(name, sizeof name, "%.400s-nested-%d", a->items[0], ++*nested_count);
        error = put_nested(a, name, item, &sent, reterr);
    } else {
        struct upload upload = {
            .path = item->bytes ? NULL : item->path,
            .bytes = item->bytes,
            .size = item->size,
            .name = name_of(item->path),
            .sha256 = item->sha256,
            .quiet = a->json,
        };
        snprintf(name, sizeof name, "%s", upload.name);
        error = upload_media(a->client, &upload, &sent, NULL, reterr);
    }
    if (error)
        return tell_place(item, reterr);
    if (sent && !a->json) {
        fputs("sent ", stdout);
        print_text(stdout, name);
        printf("  %s\n", item->sha256);
        fflush(stdout);
    }
    return 0;
}

static int send_bundle(const struct arguments *a, const struct bundle *bundle,
                       struct client_reply *ret, struct diagnostic *reterr)
{
    int error = 0, nested_count = 0;
    *ret = (struct client_reply){0};
    for (size_t i = 0; !error && i < bundle->count; i++)
        error = send_item(a, &bundle->items[i], &nested_count, reterr);
    return error ? error : put_document(a, a->items[0], &bundle->timeline, ret, reterr);
}

static int timeline_put(const struct command *command, int argc, char **argv)
{
    struct arguments a;
    struct diagnostic problem;
    struct bundle *bundle = NULL;
    struct client_reply reply = {0};
    int64_t duration;
    size_t tracks;
    int status;
    if (!arguments_parse(&a, command, argc, argv, NULL, 2, 2, &status))
        return status;
    int error = read_bundle(&a, a.items[1], &duration, &tracks, &bundle, &problem);
    if (!error)
        error = send_bundle(&a, bundle, &reply, &problem);
    if (error) {
        status = finish(&a, &problem);
    } else if (a.json) {
        print_json(reply.json);
    } else {
        print_text(stdout, a.items[0]);
        printf("  revision %" PRId64 "  %s\n", field_integer(reply.json, "revision"),
               bundle->timeline.sha256);
    }
    client_reply_finish(&reply);
    bundle_destroy(&bundle);
    arguments_finish(&a);
    return status;
}

// How many of the files the server has not; a negative errno.
static int count_unknown(const struct arguments *a, const struct bundle *bundle,
                         struct diagnostic *reterr)
{
    int unknown = 0;
    for (size_t i = 0; i < bundle->count; i++) {
        int known = client_has_media(a->client, bundle->items[i].sha256, reterr);
        if (known < 0)
            return known;
        unknown += !known;
    }
    return unknown;
}

// The server's word on a timeline all of whose files it has; it cannot look into others.
static int ask_server(const struct arguments *a, const struct bundle *bundle, json_t *result,
                      struct diagnostic *reterr)
{
    struct client_reply reply;
    int error = client_send(a->client, "POST", "/timelines/check", bundle->timeline.bytes,
                            bundle->timeline.size, &reply, reterr);
    if (!error && json_object_update(result, reply.json))
        error = diagnostic_set(reterr, -EPROTO, "no_json", a->server,
                               "does not answer with JSON; is it a coordinator?");
    client_reply_finish(&reply);
    return error;
}

static void show_check(const struct arguments *a, const json_t *result)
{
    if (a->json) {
        print_json(result);
        return;
    }
    print_text(stdout, a->items[0]);
    printf(": valid, %" PRId64 " frames, %" PRId64 " tracks", field_integer(result, "duration"),
           field_integer(result, "tracks"));
    if (field_integer(result, "uploads"))
        printf(", %" PRId64 " files that `timeline put` will send",
               field_integer(result, "uploads"));
    putchar('\n');
}

static int timeline_check(const struct command *command, int argc, char **argv)
{
    struct arguments a;
    struct diagnostic problem;
    struct bundle *bundle = NULL;
    int64_t duration = 0;
    size_t tracks = 0;
    int status, unknown = 0;
    if (!arguments_parse(&a, command, argc, argv, NULL, 1, 1, &status))
        return status;
    int error = read_bundle(&a, a.items[0], &duration, &tracks, &bundle, &problem);
    if (!error && (unknown = count_unknown(&a, bundle, &problem)) < 0)
        error = unknown;
    json_t *result = json_pack("{s:b, s:I, s:I, s:i}", "ok", 1, "duration", (json_int_t)duration,
                               "tracks", (json_int_t)tracks, "uploads", unknown);
    if (!error && unknown == 0)
        error = ask_server(&a, bundle, result, &problem);
    if (error)
        status = finish(&a, &problem);
    else
        show_check(&a, result);
    json_decref(result);
    bundle_destroy(&bundle);
    arguments_finish(&a);
    return status;
}

static int timeline_get(const struct command *command, int argc, char **argv)
{
    struct arguments a;
    struct diagnostic problem;
    struct client_reply reply = {0};
    int64_t revision = 0;
    int status;
    char path[PATH_BYTES];
    const struct option table[] = {
        {"revision", OPTION_INTEGER, "N", "an older revision than the newest", &revision, 1,
         INT64_C(1000000000)},
        {0},
    };
    if (!arguments_parse(&a, command, argc, argv, table, 1, 1, &status))
        return status;
    const char *const segments[] = {"timelines", a.items[0], NULL};
    int error = client_path(segments, path, sizeof path - 32, &problem);
    size_t length = error ? 0 : strlen(path);
    if (revision)
        snprintf(path + length, sizeof path - length, "?revision=%" PRId64, revision);
    if (!error)
        error = client_send(a.client, "GET", path, NULL, 0, &reply, &problem);
    if (error) {
        status = finish(&a, &problem);
    } else {
        // The bytes as they are, so that their hash is the revision's.
        fwrite(reply.body ? reply.body : "", 1, reply.size, stdout);
        if (isatty(STDOUT_FILENO))
            putchar('\n');
    }
    client_reply_finish(&reply);
    arguments_finish(&a);
    return status;
}

static int timeline_list(const struct command *command, int argc, char **argv)
{
    static const char *const segments[] = {"timelines", NULL};
    static const char *const titles[] = {"TIMELINE", ">REVISION", "CHANGED", "SHA256"};
    struct arguments a;
    struct client_reply reply;
    int status;
    if (!arguments_parse(&a, command, argc, argv, NULL, 0, 0, &status))
        return status;
    status = arguments_call(&a, "GET", segments, NULL, &reply);
    if (!status && a.json) {
        print_json(reply.json);
    } else if (!status) {
        struct table *table = table_create((int)(sizeof titles / sizeof *titles), titles);
        size_t i;
        const json_t *timeline;
        json_array_foreach(reply.json, i, timeline)
        {
            table_add(table, "%s", field_text(timeline, "name"));
            table_add(table, "%" PRId64, field_integer(timeline, "revision"));
            table_add(table, "%s", field_text(timeline, "updated_at"));
            table_add(table, "%s", field_text(timeline, "sha256"));
        }
        table_print(table, 0, stdout);
        table_destroy(&table);
    }
    client_reply_finish(&reply);
    arguments_finish(&a);
    return status;
}

const struct command timeline_commands[] = {
    {"timeline", "put", "NAME FILE", "Stores a timeline as the newest revision of NAME",
     "Files that it names (\"file:clip.mp4\", relative to the timeline's folder) are sent to the\n"
     "store first, unless they are there; what is stored names them by their SHA-256. That holds\n"
     "for nested timelines, which are stored as NAME-nested-1 and so on, and for lists of "
     "pictures.",
     timeline_put},
    {"timeline", "get", "NAME [--revision N]", "Prints a timeline as it is stored", NULL,
     timeline_get},
    {"timeline", "list", "", "Lists the timelines with their newest revisions", NULL,
     timeline_list},
    {"timeline", "check", "FILE", "Checks a timeline and the files it names, and changes nothing",
     "Prints the place and the reason of the first error. With --json: \"ok\", \"duration\" in\n"
     "frames, \"tracks\", and \"uploads\", the number of files that the store has not yet.",
     timeline_check},
    {0},
};
