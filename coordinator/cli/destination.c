#include "coordinator/cli/command.h"
#include "coordinator/cli/secret.h"
#include "coordinator/cli/views.h"

#include <string.h>

struct destination_options {
    const char *name, *kind, *url, *backup_url, *output, *key_file;
    bool key_stdin;
};

static int check_options(const struct arguments *a, const struct destination_options *o)
{
    if (!o->name || !o->kind)
        return arguments_refuse(a, "--name and --kind are needed");
    bool rtmp = !strcmp(o->kind, "rtmp");
    if (!rtmp && strcmp(o->kind, "recording"))
        return arguments_refuse(a, "--kind is rtmp or recording, not '%s'", o->kind);
    if (rtmp && !o->url)
        return arguments_refuse(a, "--kind rtmp needs --url");
    if (!rtmp && (o->url || o->backup_url || o->key_file || o->key_stdin))
        return arguments_refuse(a, "a recording has neither address nor key");
    if (o->key_file && o->key_stdin)
        return arguments_refuse(a, "give either --key-file or --key-stdin");
    return CLI_OK;
}

static int add_key(json_t *body, const struct destination_options *o)
{
    char key[SECRET_BYTES_MAX + 2];
    struct diagnostic problem;
    if (!o->key_file && !o->key_stdin)
        return CLI_OK;
    if (secret_read(o->key_file, (struct secret_kind){"stream key", false}, key, &problem))
        return complain(&problem);
    json_object_set_new(body, "key", json_string(key));
    explicit_bzero(key, sizeof key);
    return CLI_OK;
}

static int destination_add(const struct command *command, int argc, char **argv)
{
    struct arguments a;
    struct destination_options o = {0};
    int status;
    const struct option table[] = {
        {"name", OPTION_TEXT, "NAME", "what it is called in this channel", &o.name, 0, 0},
        {"kind", OPTION_TEXT, "KIND", "rtmp or recording", &o.kind, 0, 0},
        {"url", OPTION_TEXT, "URL", "rtmp:// or rtmps:// address, without the stream key", &o.url,
         0, 0},
        {"backup-url", OPTION_TEXT, "URL",
         "the platform's second address, which the channel's second edge feeds", &o.backup_url, 0,
         0},
        {"output", OPTION_TEXT, "NAME", "which of the channel's outputs (the programme)", &o.output,
         0, 0},
        {"key-file", OPTION_TEXT, "FILE", "file whose first line is the stream key", &o.key_file, 0,
         0},
        {"key-stdin", OPTION_SWITCH, NULL, "read the stream key from standard input", &o.key_stdin,
         0, 0},
        {0},
    };
    if (!arguments_parse(&a, command, argc, argv, table, 1, 1, &status))
        return status;
    const char *const segments[] = {"channels", a.items[0], "destinations", NULL};
    status = check_options(&a, &o);
    if (!status) {
        json_t *body = json_pack("{s:s, s:s, s:s*, s:s*, s:s*}", "name", o.name, "kind", o.kind,
                                 "url", o.url, "backup_url", o.backup_url, "output", o.output);
        status = add_key(body, &o);
        if (status)
            json_decref(body);
        else
            status = arguments_change(&a, "POST", segments, body, "destination %s added to %s",
                                      o.name, a.items[0]);
    }
    arguments_finish(&a);
    return status;
}

static int destination_list(const struct command *command, int argc, char **argv)
{
    struct arguments a;
    struct client_reply reply;
    int status;
    if (!arguments_parse(&a, command, argc, argv, NULL, 1, 1, &status))
        return status;
    const char *const segments[] = {"channels", a.items[0], "destinations", NULL};
    status = arguments_call(&a, "GET", segments, NULL, &reply);
    if (!status && a.json) {
        print_json(reply.json);
    } else if (!status) {
        json_t *channels =
            json_pack("[{s:s, s:O}]", "name", a.items[0], "destinations", reply.json);
        view_destinations(channels, 0, stdout);
        json_decref(channels);
    }
    client_reply_finish(&reply);
    arguments_finish(&a);
    return status;
}

static int destination_remove(const struct command *command, int argc, char **argv)
{
    struct arguments a;
    int status;
    if (!arguments_parse(&a, command, argc, argv, NULL, 2, 2, &status))
        return status;
    const char *const segments[] = {"channels", a.items[0], "destinations", a.items[1], NULL};
    status = arguments_change(&a, "DELETE", segments, NULL, "destination %s removed from %s",
                              a.items[1], a.items[0]);
    arguments_finish(&a);
    return status;
}

const struct command destination_commands[] = {
    {"destination", "add",
     "CHANNEL --name NAME --kind rtmp|recording [--output NAME] [--url URL] [--backup-url URL] "
     "[--key-file FILE | --key-stdin]",
     "Sends a channel to a platform, or records it",
     "A stream key is never an argument: others can read those, and shells keep them.",
     destination_add},
    {"destination", "list", "CHANNEL", "Lists where a channel goes to", NULL, destination_list},
    {"destination", "remove", "CHANNEL NAME", "Ends one destination of a channel", NULL,
     destination_remove},
    {0},
};
