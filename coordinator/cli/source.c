#include "coordinator/cli/command.h"
#include "coordinator/cli/secret.h"
#include "coordinator/cli/views.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct source_options {
    const char *srt_listen, *srt_call, *srt_rendezvous, *pull; // one of them
    const char *listen, *resource, *user, *stream_id;
    const char *passphrase_file, *worker, *key_file;
    bool passphrase_stdin, rtmp;
    int64_t latency_ms, key_bytes;
};

// The arguments of a program can be read by others on its host, and shells keep them.
static bool holds_secret(const char *url)
{
    const char *from = strstr(url, "://");
    return from && strpbrk(from + 3, "@?#");
}

static int check_options(const struct arguments *a, const struct source_options *o)
{
    int inputs = !!o->srt_listen + !!o->srt_call + !!o->srt_rendezvous + !!o->pull + o->rtmp;
    if (inputs != 1)
        return arguments_refuse(a, "one of --srt-listen, --srt-call, --srt-rendezvous, --pull and "
                                   "--rtmp is needed");
    if (o->srt_rendezvous && !o->listen)
        return arguments_refuse(a, "--srt-rendezvous needs --listen");
    if (o->listen && !o->srt_rendezvous)
        return arguments_refuse(a, "--listen is for --srt-rendezvous");
    if ((o->resource || o->user) && !o->srt_listen)
        return arguments_refuse(a, "--resource and --user are for --srt-listen");
    if (o->stream_id && !o->srt_call)
        return arguments_refuse(a, "--stream-id is for --srt-call");
    if ((o->pull || o->rtmp) &&
        (o->passphrase_file || o->passphrase_stdin || o->latency_ms || o->key_bytes))
        return arguments_refuse(a, "--pull and --rtmp have no passphrase and no latency of their "
                                   "own");
    if (o->key_file && !o->rtmp)
        return arguments_refuse(a, "--key-file is for --rtmp");
    if (o->passphrase_file && o->passphrase_stdin)
        return arguments_refuse(a, "give either --passphrase-file or --passphrase-stdin");
    if (o->pull && *o->pull != '@' && holds_secret(o->pull))
        return arguments_refuse(a, "--pull: an address with a user or a query may hold a secret; "
                                   "write it into a file and give @FILE, or @- for standard input");
    return CLI_OK;
}

// `from`: a file, or NULL for standard input.
static int add_secret(json_t *input, const char *member, const char *from, struct secret_kind kind)
{
    char secret[SECRET_BYTES_MAX + 1];
    struct diagnostic problem;
    if (secret_read(from, kind, secret, &problem))
        return complain(&problem);
    json_object_set_new(input, member, json_string(secret));
    explicit_bzero(secret, sizeof secret);
    return CLI_OK;
}

// A text as it is, or the first line of @FILE, or with @- of standard input.
static int add_text(json_t *input, const char *member, const char *text, struct secret_kind kind)
{
    if (text && *text == '@')
        return add_secret(input, member, strcmp(text, "@-") ? text + 1 : NULL, kind);
    if (text)
        json_object_set_new(input, member, json_string(text));
    return CLI_OK;
}

static int make_input(const struct source_options *o, json_t *input)
{
    const char *kind = o->srt_listen ? "srt-listen" : o->srt_call ? "srt-call" : "srt-rendezvous";
    const char *listen = o->srt_listen ? o->srt_listen : o->listen;
    const char *address = o->srt_call ? o->srt_call : o->srt_rendezvous;
    json_t *members =
        json_pack("{s:s, s:s*, s:s*, s:s*, s:s*}", "kind",
                  o->pull   ? "pull"
                  : o->rtmp ? "rtmp"
                            : kind,
                  "listen", listen, "address", address, "resource", o->resource, "user", o->user);
    json_object_update(input, members);
    json_decref(members);
    if (o->latency_ms)
        json_object_set_new(input, "latency_ms", json_integer(o->latency_ms));
    if (o->key_bytes)
        json_object_set_new(input, "key_bytes", json_integer(o->key_bytes));
    int status = add_text(input, "url", o->pull, (struct secret_kind){"address", false});
    if (!status)
        status =
            add_text(input, "stream_id", o->stream_id, (struct secret_kind){"stream id", true});
    if (!status && (o->passphrase_file || o->passphrase_stdin))
        status = add_secret(input, "passphrase", o->passphrase_file,
                            (struct secret_kind){"passphrase", true});
    return status;
}

// Opened before there is a key, which would be lost if it could not be written; empty it becomes
// only when there is one.
static int open_key_file(const char *path, int *ret_fd)
{
    struct diagnostic problem;
    *ret_fd = path ? open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (!path || (*ret_fd >= 0 && !fchmod(*ret_fd, 0600)))
        return CLI_OK;
    (void)diagnostic_set(&problem, -errno, "key_file", path, "cannot be written: %s",
                         strerror(errno));
    if (*ret_fd >= 0)
        close(*ret_fd);
    return complain(&problem);
}

static int write_key(int fd, const char *path, const char *key)
{
    struct diagnostic problem;
    int written = ftruncate(fd, 0) ? -1 : dprintf(fd, "%s\n", key);
    if (close(fd) || written < 0) {
        (void)diagnostic_set(&problem, -EIO, "key_file", path,
                             "the key could not be written: save the source again");
        return complain(&problem);
    }
    return CLI_OK;
}

// The answer is the only one that ever has the key.
static int save_rtmp(struct arguments *a, const struct source_options *o,
                     const char *const *segments, json_t *body)
{
    struct client_reply reply;
    int fd, status = open_key_file(o->key_file, &fd);
    if (status) {
        json_decref(body);
        return status;
    }
    status = arguments_call(a, "PUT", segments, body, &reply);
    json_decref(body);
    const char *key = json_string_value(json_object_get(reply.json, "key"));
    if (fd >= 0 && (status || !key))
        close(fd);
    else if (fd >= 0)
        status = write_key(fd, o->key_file, key);
    if (!status && a->json) {
        if (o->key_file)
            json_object_del(reply.json, "key");
        print_json(reply.json);
    } else if (!status) {
        fputs("source ", stdout);
        print_text(stdout, segments[1]);
        puts(" saved");
        view_rtmp(reply.json, stdout);
        if (!o->key_file)
            printf("  key %s\n  it is not shown again; saved anew, the source gets another\n",
                   key ? key : "unknown");
    }
    client_reply_finish(&reply);
    return status;
}

static int source_put(const struct command *command, int argc, char **argv)
{
    struct arguments a;
    struct source_options o = {0};
    int status;
    const struct option table[] = {
        {"srt-listen", OPTION_TEXT, "ADDRESS", "senders call the worker here, e.g. 0.0.0.0:9000",
         &o.srt_listen, 0, 0},
        {"srt-call", OPTION_TEXT, "ADDRESS", "the worker calls the sender there, by SRT",
         &o.srt_call, 0, 0},
        {"srt-rendezvous", OPTION_TEXT, "ADDRESS", "both call each other, from --listen",
         &o.srt_rendezvous, 0, 0},
        {"pull", OPTION_TEXT, "URL|@FILE",
         "the worker fetches that: rtmp, rtsp, http (HLS), udp, rtp", &o.pull, 0, 0},
        {"rtmp", OPTION_SWITCH, NULL,
         "an encoder sends it to the worker's RTMP server, by a key that this makes anew", &o.rtmp,
         0, 0},
        {"key-file", OPTION_TEXT, "FILE", "where to write that key, instead of showing it",
         &o.key_file, 0, 0},
        {"listen", OPTION_TEXT, "ADDRESS", "own address of a rendezvous", &o.listen, 0, 0},
        {"passphrase-file", OPTION_TEXT, "FILE", "file whose first line is SRT's passphrase",
         &o.passphrase_file, 0, 0},
        {"passphrase-stdin", OPTION_SWITCH, NULL, "read the passphrase from standard input",
         &o.passphrase_stdin, 0, 0},
        {"user", OPTION_TEXT, "NAME", "who may call, by the stream id (anybody)", &o.user, 0, 0},
        {"resource", OPTION_TEXT, "NAME", "what a stream id must name (the source's name)",
         &o.resource, 0, 0},
        {"stream-id", OPTION_TEXT, "ID|@FILE", "what to call with", &o.stream_id, 0, 0},
        {"latency", OPTION_INTEGER, "MS", "how long SRT may mend losses (200)", &o.latency_ms, 20,
         8000},
        {"key-bytes", OPTION_INTEGER, "N", "16, 24 or 32, of SRT's key (the sender's choice)",
         &o.key_bytes, 16, 32},
        {"worker", OPTION_TEXT, "NAME", "which one takes it in (any)", &o.worker, 0, 0},
        {0},
    };
    if (!arguments_parse(&a, command, argc, argv, table, 1, 1, &status))
        return status;
    const char *const segments[] = {"sources", a.items[0], NULL};
    status = check_options(&a, &o);
    if (!status) {
        json_t *input = json_object();
        status = make_input(&o, input);
        json_t *body = json_pack("{s:o, s:s?}", "input", input, "worker", o.worker);
        if (status)
            json_decref(body);
        else if (o.rtmp)
            status = save_rtmp(&a, &o, segments, body);
        else
            status = arguments_change(&a, "PUT", segments, body, "source %s saved", a.items[0]);
    }
    arguments_finish(&a);
    return status;
}

static void show_sources(json_t *answer)
{
    view_sources(answer, 0, stdout);
}

static int source_list(const struct command *command, int argc, char **argv)
{
    static const char *const segments[] = {"sources", NULL};
    struct arguments a;
    int status;
    if (!arguments_parse(&a, command, argc, argv, NULL, 0, 0, &status))
        return status;
    status = arguments_show(&a, segments, show_sources);
    arguments_finish(&a);
    return status;
}

static void show_source(json_t *answer)
{
    view_source(answer, stdout);
}

static int source_show(const struct command *command, int argc, char **argv)
{
    struct arguments a;
    int status;
    if (!arguments_parse(&a, command, argc, argv, NULL, 1, 1, &status))
        return status;
    const char *const segments[] = {"sources", a.items[0], NULL};
    status = arguments_show(&a, segments, show_source);
    arguments_finish(&a);
    return status;
}

static int source_remove(const struct command *command, int argc, char **argv)
{
    struct arguments a;
    int status;
    if (!arguments_parse(&a, command, argc, argv, NULL, 1, 1, &status))
        return status;
    const char *const segments[] = {"sources", a.items[0], NULL};
    status = arguments_change(&a, "DELETE", segments, NULL, "source %s removed", a.items[0]);
    arguments_finish(&a);
    return status;
}

const struct command source_commands[] = {
    {"source", "put",
     "NAME --srt-listen ADDRESS | --srt-call ADDRESS | --srt-rendezvous ADDRESS --listen ADDRESS | "
     "--pull URL|@FILE | --rtmp [--key-file FILE] [--passphrase-file FILE | --passphrase-stdin] "
     "[--worker NAME]",
     "Adds a camera or another live source, or says anew how it comes",
     "What is not given is not kept from before. Secrets are never arguments: others can read "
     "those,\n"
     "and shells keep them. @FILE is the first line of a file, @- that of standard input.\n"
     "--rtmp makes a key and shows it this once; given again it makes another, and cuts off who "
     "sends\nwith the one before.",
     source_put},
    {"source", "list", "", "Lists the live sources", NULL, source_list},
    {"source", "show", "NAME", "Shows a live source, and how senders call it", NULL, source_show},
    {"source", "remove", "NAME", "Removes a live source", NULL, source_remove},
    {0},
};
