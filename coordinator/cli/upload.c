#include "coordinator/cli/upload.h"

#include "coordinator/cli/command.h"
#include "engine/base/clock.h"
#include "engine/media/media.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BAR_COLUMNS 30

struct bar {
    const char *name;
    int64_t started_ns, shown_ns;
};

static void on_progress(void *opaque, int64_t done, int64_t total)
{
    static const char filled[] = "##############################";
    struct bar *bar = opaque;
    int64_t now = clock_monotonic_ns();
    if (now - bar->shown_ns < 100000000 && done < total)
        return;
    bar->shown_ns = now;
    double seconds = (double)(now - bar->started_ns) / 1e9;
    int columns = total ? (int)(done * BAR_COLUMNS / total) : BAR_COLUMNS;
    fprintf(stderr, "\r\033[K[%.*s%*s] %.1f of %.1f MiB  %.1f MiB/s  ", columns, filled,
            BAR_COLUMNS - columns, "", (double)done / 1048576, (double)total / 1048576,
            seconds > 0 ? (double)done / 1048576 / seconds : 0);
    print_text(stderr, bar->name);
    if (done == total)
        fputs(", the server imports it", stderr);
}

void upload_note(bool quiet, const char *what, const char *name)
{
    if (quiet || !isatty(STDERR_FILENO))
        return;
    fprintf(stderr, "\r\033[K%s%s", what, *what ? " " : "");
    print_text(stderr, name);
}

// What the server knows about an asset that it had.
static int get_facts(struct client *client, const char *sha256, json_t **ret,
                     struct diagnostic *reterr)
{
    char path[96];
    struct client_reply reply;
    snprintf(path, sizeof path, "/media/%s.json", sha256);
    int error = client_request(client, "GET", path, NULL, &reply, reterr);
    // The part is a file in the store, which may be served without a type.
    if (!error && !(*ret = json_incref(reply.json)))
        *ret = json_loadb(reply.body ? reply.body : "", reply.size, 0, NULL);
    if (!error && !*ret)
        error = diagnostic_set(reterr, -EPROTO, "no_json", path, "is not JSON");
    client_reply_finish(&reply);
    return error;
}

static void warn(const struct upload *upload, const char *text)
{
    if (!*text)
        return;
    fputs("vistter: warning: ", stderr);
    print_text(stderr, upload->name);
    fprintf(stderr, " %s\n", text);
}

// A file that is damaged, or slow to start, is taken; whoever brings it should know.
static void warn_of_facts(const struct upload *upload, const json_t *facts)
{
    struct media_info info;
    char text[160], *json = json_dumps(facts, 0);
    if (json && !media_info_parse(json, &info, NULL)) {
        media_damage_text(&info, text);
        warn(upload, text);
        media_start_text(&info, text);
        warn(upload, text);
    }
    free(json);
}

int upload_media(struct client *client, const struct upload *upload, bool *ret_sent, json_t **ret,
                 struct diagnostic *reterr)
{
    int known = client_has_media(client, upload->sha256, reterr);
    *ret_sent = false;
    if (known < 0)
        return known;
    if (known) {
        int error = ret ? get_facts(client, upload->sha256, ret, reterr) : 0;
        if (!error && ret)
            warn_of_facts(upload, *ret);
        return error;
    }
    bool shown = !upload->quiet && isatty(STDERR_FILENO);
    struct bar bar = {.name = upload->name, .started_ns = clock_monotonic_ns()};
    struct client_upload request = {
        .path = upload->path,
        .bytes = upload->bytes,
        .size = upload->size,
        .sha256 = upload->sha256,
        .name = upload->name,
        .progress = shown ? on_progress : NULL,
        .opaque = &bar,
    };
    struct client_reply reply;
    int error = client_upload_media(client, &request, &reply, reterr);
    upload_note(upload->quiet, "", "");
    if (!error && ret && !(*ret = json_incref(reply.json)))
        error = diagnostic_set(reterr, -EPROTO, "no_json", upload->name,
                               "the server does not answer with JSON");
    if (!error) {
        *ret_sent = true;
        warn_of_facts(upload, reply.json);
    }
    client_reply_finish(&reply);
    return error;
}
