#include "coordinator/cli/bundle.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/field.h"
#include "coordinator/cli/table.h"
#include "coordinator/cli/upload.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int refuse(const struct arguments *a, const struct diagnostic *why)
{
    if (a->json)
        print_problem(why);
    return complain(why);
}

// ---- put --------------------------------------------------------------------------------------

static int send_timeline(struct arguments *a, const char *name, const struct bundle_item *item,
                         struct client_reply *reply, struct diagnostic *why)
{
    const char *const segments[] = {"timelines", name, NULL};
    char path[512];
    int error = client_path(segments, path, sizeof path, why);
    return error ? error
                 : client_send(a->client, "PUT", path, item->bytes, item->size, reply, why);
}

// Nested timelines become timelines of their own, which are named by content.
static int send_item(struct arguments *a, const char *name, int *nested,
                     const struct bundle_item *item, struct diagnostic *why)
{
    if (item->kind == DOCUMENT_TIMELINE) {
        char own[128];
        struct client_reply reply = {0};
        snprintf(own, sizeof own, "%.50s-nested-%d", name, ++*nested);
        int error = send_timeline(a, own, item, &reply, why);
        client_reply_finish(&reply);
        return error;
    }
    const char *slash = strrchr(item->path, '/');
    struct upload upload = {
        .path = item->bytes ? NULL : item->path,
        .bytes = item->bytes,
        .size = item->size,
        .name = slash ? slash + 1 : item->path,
        .sha256 = item->sha256,
        .quiet = a->json,
    };
    bool sent;
    int error = upload_media(a->client, &upload, &sent, NULL, why);
    // The person looks for the place in the timeline that names the file.
    if (error == -EREMOTEIO && !why->path[0])
        snprintf(why->path, sizeof why->path, "%s", item->place);
    return error;
}

static int timeline_put(const struct command *command, int argc, char **argv)
{
    struct arguments a;
    struct diagnostic why;
    struct bundle *bundle = NULL;
    struct client_reply reply = {0};
    int status, nested = 0;
    if (!arguments_parse(&a, command, argc, argv, NULL, 2, 2, &status))
        return status;
    int error = bundle_load(a.items[1], NULL, &bundle, &why);
    for (size_t i = 0; !error && i < bundle->count; i++)
        error = send_item(&a, a.items[0], &nested, &bundle->items[i], &why);
    upload_note(a.json, "", "");
    if (!error)
        error = send_timeline(&a, a.items[0], &bundle->timeline, &reply, &why);
    if (error)
        status = refuse(&a, &why);
    else if (a.json)
        print_json(reply.json);
    else
        printf("timeline %s, revision %" PRId64 "\n", a.items[0],
               field_integer(reply.json, "revision"));
    client_reply_finish(&reply);
    bundle_destroy(&bundle);
    arguments_finish(&a);
    return error ? status : CLI_OK;
}

// ---- check, get, list -------------------------------------------------------------------------

// Files only: a timeline can be checked where there is no server.
static int fetch_nothing(void *opaque, const char *uri, char **ret, size_t *ret_size,
                         struct diagnostic *reterr)
{
    (void)opaque;
    (void)ret;
    (void)ret_size;
    return diagnostic_set(reterr, -ENOENT, "asset_uri", uri,
                          "a nested timeline must be a file here; the server checks others");
}

static int timeline_check(const struct command *command, int argc, char **argv)
{
    struct arguments a;
    struct diagnostic why;
    int64_t duration;
    size_t tracks;
    int status;
    if (!arguments_parse(&a, command, argc, argv, NULL, 1, 1, &status))
        return status;
    status = CLI_OK;
    if (bundle_check(a.items[0], fetch_nothing, NULL, &duration, &tracks, &why)) {
        status = refuse(&a, &why);
    } else if (a.json) {
        json_t *ok = json_pack("{s:b, s:I, s:I}", "ok", 1, "duration", (json_int_t)duration,
                               "tracks", (json_int_t)tracks);
        print_json(ok);
        json_decref(ok);
    } else {
        printf("ok: %zu tracks, %" PRId64 " frames\n", tracks, duration);
    }
    arguments_finish(&a);
    return status;
}

static int timeline_get(const struct command *command, int argc, char **argv)
{
    struct arguments a;
    struct client_reply reply;
    struct diagnostic why;
    int64_t revision = 0;
    int status;
    const struct option table[] = {
        {"revision", OPTION_INTEGER, "N", "an older revision than the newest", &revision, 1,
         1000000000},
        {0},
    };
    if (!arguments_parse(&a, command, argc, argv, table, 1, 1, &status))
        return status;
    const char *const segments[] = {"timelines", a.items[0], NULL};
    char path[512], query[600];
    status = CLI_OK;
    if (client_path(segments, path, sizeof path, &why)) {
        status = refuse(&a, &why);
    } else {
        snprintf(query, sizeof query, revision ? "%s?revision=%" PRId64 : "%s", path, revision);
        if (client_request(a.client, "GET", query, NULL, &reply, &why))
            status = refuse(&a, &why);
        else
            fwrite(reply.body, 1, reply.size, stdout);
        client_reply_finish(&reply);
    }
    arguments_finish(&a);
    return status;
}

static int timeline_list(const struct command *command, int argc, char **argv)
{
    static const char *const segments[] = {"timelines", NULL};
    static const char *const titles[] = {"NAME", "REVISION", "UPDATED", "SHA256"};
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
        const json_t *one;
        json_array_foreach(reply.json, i, one)
        {
            table_add(table, "%s", field_text(one, "name"));
            table_add(table, "%" PRId64, field_integer(one, "revision"));
            table_add(table, "%.19s", field_text(one, "updated_at"));
            table_add(table, "%s", field_text(one, "sha256"));
        }
        table_print(table, 0, stdout);
        table_destroy(&table);
    }
    client_reply_finish(&reply);
    arguments_finish(&a);
    return status;
}

const struct command timeline_commands[] = {
    {"timeline", "put", "NAME FILE", "Stores a revision of a timeline, with the local files it names",
     "\"file:\" assets, fonts, nested timelines and picture lists are imported first, and named by\n"
     "their content in what is stored.",
     timeline_put},
    {"timeline", "get", "NAME", "Prints a timeline as it was stored", NULL, timeline_get},
    {"timeline", "list", "", "Lists timelines and their newest revisions", NULL, timeline_list},
    {"timeline", "check", "FILE", "Checks a timeline file, without a server", NULL, timeline_check},
    {0},
};
