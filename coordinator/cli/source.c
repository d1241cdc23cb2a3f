#include "coordinator/cli/command.h"
#include "coordinator/cli/secret.h"
#include "coordinator/cli/views.h"

#include <string.h>

struct source_options {
    const char *srt_listen, *srt_call, *srt_rendezvous, *pull; // one of them
    const char *listen, *resource, *user, *stream_id;
    const char *passphrase_file, *worker;
    bool passphrase_stdin;
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
    int inputs = !!o->srt_listen + !!o->srt_call + !!o->srt_rendezvous + !!o->pull;
    if (inputs != 1)
        return arguments_refuse(a, "one of --srt-listen, --srt-call, --srt-rendezvous and --pull "
                                   "is needed");
    if (o->srt_rendezvous && !o->listen)
        return arguments_refuse(a, "--srt-rendezvous needs --listen");
    if (o->listen && !o->srt_rendezvous)
        return arguments_refuse(a, "--listen is for --srt-rendezvous");
    if ((o->resource || o->user) && !o->srt_listen)
        return arguments_refuse(a, "--resource and --user are for --srt-listen");
    if (o->stream_id && !o->srt_call)
        return arguments_refuse(a, "--stream-id is for --srt-call");
    if (o->pull && (o->passphrase_file || o->passphrase_stdin || o->latency_ms || o->key_bytes))
        return arguments_refuse(a, "--pull has no passphrase and no latency of its own");
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
        json_pack("{s:s, s:s*, s:s*, s:s*, s:s*}", "kind", o->pull ? "pull" : kind, "listen",
                  listen, "address", address, "resource", o->resource, "user", o->user);
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
     "--pull URL|@FILE [--passphrase-file FILE | --passphrase-stdin] [--worker NAME]",
     "Adds a camera or another live source, or says anew how it comes",
     "What is not given is not kept from before. Secrets are never arguments: others can read "
     "those,\n"
     "and shells keep them. @FILE is the first line of a file, @- that of standard input.",
     source_put},
    {"source", "list", "", "Lists the live sources", NULL, source_list},
    {"source", "show", "NAME", "Shows a live source, and how senders call it", NULL, source_show},
    {"source", "remove", "NAME", "Removes a live source", NULL, source_remove},
    {0},
};
