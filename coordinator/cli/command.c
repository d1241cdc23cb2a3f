#include "coordinator/cli/command.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_BYTES 4096

void print_text(FILE *file, const char *text)
{
    for (; *text; text++)
        fputc(iscntrl((unsigned char)*text) ? '?' : *text, file);
}

int complain(const struct diagnostic *d)
{
    char text[1024];
    fputs("vistter: ", stderr);
    print_text(stderr, diagnostic_format(d, text, sizeof text));
    fputc('\n', stderr);
    return d->error == -EHOSTUNREACH ? CLI_UNREACHABLE : CLI_REFUSED;
}

void print_problem(const struct diagnostic *d)
{
    json_t *problem = json_pack("{s:s, s:s, s:s, s:s, s:s}", "type", "about:blank", "title",
                                "Refused", "code", d->code, "path", d->path, "detail", d->text);
    if (problem)
        print_json(problem);
    json_decref(problem);
}

void print_json(const json_t *json)
{
    json_dumpf(json, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    fputc('\n', stdout);
}

static void print_option(FILE *file, const struct option *option)
{
    char flag[80];
    snprintf(flag, sizeof flag, "--%s%s%s", option->name, option->unit ? " " : "",
             option->unit ? option->unit : "");
    fprintf(file, "  %-20s %s\n", flag, option->help);
}

static void print_common_options(FILE *file)
{
    static const struct option common[] = {
        {.name = "server",
         .unit = "URL,...",
         .help = "the coordinators (VISTTER_SERVER, or " CLIENT_SERVER ")"},
        {.name = "json", .help = "print the server's JSON"},
        {.name = "help", .help = "print this"},
    };
    for (size_t i = 0; i < sizeof common / sizeof *common; i++)
        print_option(file, &common[i]);
}

static void print_title(FILE *file, const struct command *command)
{
    fprintf(file, "vistter %s%s%s%s%s", command->family, command->name ? " " : "",
            command->name ? command->name : "", *command->arguments ? " " : "", command->arguments);
}

void command_print_usage(FILE *file, const struct command *command, const struct option *table)
{
    fputs("Usage: ", file);
    print_title(file, command);
    fprintf(file, "\n\n%s.\n", command->help);
    if (command->about)
        fprintf(file, "%s\n", command->about);
    fputc('\n', file);
    for (; table && table->name; table++)
        print_option(file, table);
    print_common_options(file);
}

void command_print_list(FILE *file, const struct command *commands, const char *family)
{
    for (; commands->family; commands++) {
        if (family && strcmp(commands->family, family))
            continue;
        fputs("  ", file);
        print_title(file, commands);
        fprintf(file, "\n      %s\n", commands->help);
    }
}

static void refuse(const struct command *command, const char *format, va_list arguments)
{
    char text[600];
    vsnprintf(text, sizeof text, format, arguments);
    fprintf(stderr, "vistter %s%s%s: ", command->family, command->name ? " " : "",
            command->name ? command->name : "");
    print_text(stderr, text);
    fputs("\nUsage: ", stderr);
    print_title(stderr, command);
    fputs("\n--help explains more.\n", stderr);
}

int arguments_refuse(const struct arguments *arguments, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    refuse(arguments->command, format, list);
    va_end(list);
    return CLI_USAGE;
}

static const struct option *find(const struct option *table, const char *name, size_t length)
{
    for (; table && table->name; table++)
        if (strlen(table->name) == length && !strncmp(table->name, name, length))
            return table;
    return NULL;
}

static int assign(const struct arguments *a, const struct option *option, const char *value)
{
    if (option->type == OPTION_SWITCH) {
        *(bool *)option->target = true;
        return CLI_OK;
    }
    if (option->type == OPTION_TEXT) {
        *(const char **)option->target = value;
        return CLI_OK;
    }
    char *end;
    errno = 0;
    long long number = strtoll(value, &end, 10);
    if (end == value || *end || errno)
        return arguments_refuse(a, "--%s: '%s' is not a whole number", option->name, value);
    if (number < option->min || number > option->max)
        return arguments_refuse(a, "--%s: %lld is outside %" PRId64 " to %" PRId64, option->name,
                                number, option->min, option->max);
    *(int64_t *)option->target = number;
    return CLI_OK;
}

// Reads the flag at argv[*i], and its value, which may be the next argument.
static int take_flag(const struct arguments *a, const struct option *table,
                     const struct option *common, int argc, char **argv, int *i)
{
    const char *name = argv[*i] + 2, *equals = strchr(name, '=');
    size_t length = equals ? (size_t)(equals - name) : strlen(name);
    const struct option *option = find(table, name, length);
    if (!option)
        option = find(common, name, length);
    // Never what follows the name: somebody may have tried to give a secret here.
    if (!option)
        return arguments_refuse(a, "unknown flag --%.*s", (int)length, name);
    if (option->type == OPTION_SWITCH && equals)
        return arguments_refuse(a, "--%s takes no value", option->name);
    const char *value = equals ? equals + 1 : NULL;
    if (!value && option->type != OPTION_SWITCH) {
        if (++*i >= argc)
            return arguments_refuse(a, "--%s needs a value", option->name);
        value = argv[*i];
    }
    return assign(a, option, value);
}

static int take_arguments(struct arguments *a, const struct option *table, int argc, char **argv,
                          bool *ret_help)
{
    const struct option common[] = {
        {.name = "server", .type = OPTION_TEXT, .target = &a->server},
        {.name = "json", .type = OPTION_SWITCH, .target = &a->json},
        {.name = "help", .type = OPTION_SWITCH, .target = ret_help},
        {0},
    };
    bool flags = true;
    for (int i = 0; i < argc; i++) {
        int status = CLI_OK;
        if (flags && !strcmp(argv[i], "--"))
            flags = false;
        else if (flags && !strcmp(argv[i], "-h"))
            *ret_help = true;
        else if (flags && !strncmp(argv[i], "--", 2))
            status = take_flag(a, table, common, argc, argv, &i);
        else if (flags && argv[i][0] == '-' && argv[i][1])
            status = arguments_refuse(a, "unknown flag %.2s", argv[i]);
        else
            a->items[a->count++] = argv[i];
        if (status || *ret_help)
            return status;
    }
    return CLI_OK;
}

bool arguments_parse(struct arguments *ret, const struct command *command, int argc, char **argv,
                     const struct option *table, int min, int max, int *ret_status)
{
    struct diagnostic problem;
    bool help = false;
    const char *server = getenv("VISTTER_SERVER");
    *ret = (struct arguments){
        .command = command,
        .server = server && *server ? server : CLIENT_SERVER,
        .items = argv, // filled from the front; never overtakes the reader
    };
    *ret_status = take_arguments(ret, table, argc, argv, &help);
    if (*ret_status)
        return false;
    if (help) {
        command_print_usage(stdout, command, table);
        return false;
    }
    if (ret->count < min || ret->count > max) {
        *ret_status = ret->count < min
                          ? arguments_refuse(ret, "an argument is missing")
                          : arguments_refuse(ret, "unexpected argument '%s'", ret->items[max]);
        return false;
    }
    if (client_create(ret->server, &ret->client, &problem)) {
        *ret_status = problem.error == -EINVAL
                          ? arguments_refuse(ret, "%s: %s", problem.path, problem.text)
                          : complain(&problem);
        return false;
    }
    return true;
}

void arguments_finish(struct arguments *arguments)
{
    client_destroy(&arguments->client);
}

int arguments_call(struct arguments *arguments, const char *method, const char *const *segments,
                   const json_t *body, struct client_reply *ret)
{
    char path[PATH_BYTES];
    struct diagnostic problem;
    *ret = (struct client_reply){0};
    int error = client_path(segments, path, sizeof path, &problem);
    if (!error)
        error = client_request(arguments->client, method, path, body, ret, &problem);
    if (!error && !ret->json && ret->status != 204)
        error = diagnostic_set(&problem, -EPROTO, "no_json", arguments->server,
                               "does not answer with JSON");
    if (!error)
        return CLI_OK;
    if (arguments->json && ret->json && problem.error != -EPROTO)
        print_json(ret->json);
    return complain(&problem);
}

int arguments_show(struct arguments *arguments, const char *const *segments,
                   void (*show)(json_t *answer))
{
    struct client_reply reply;
    int status = arguments_call(arguments, "GET", segments, NULL, &reply);
    if (!status && arguments->json)
        print_json(reply.json);
    else if (!status)
        show(reply.json);
    client_reply_finish(&reply);
    return status;
}

int arguments_change(struct arguments *arguments, const char *method, const char *const *segments,
                     json_t *body, const char *format, ...)
{
    struct client_reply reply;
    // A body that could not be made: jansson takes UTF-8 only.
    if (!body && strcmp(method, "DELETE"))
        return arguments_refuse(arguments, "an argument is not valid UTF-8");
    int status = arguments_call(arguments, method, segments, body, &reply);
    json_decref(body);
    if (!status && arguments->json) {
        // What was removed has no JSON any more.
        if (reply.json)
            print_json(reply.json);
        else
            puts("{}");
    } else if (!status) {
        char text[1024];
        va_list list;
        va_start(list, format);
        vsnprintf(text, sizeof text, format, list);
        va_end(list);
        print_text(stdout, text);
        fputc('\n', stdout);
    }
    client_reply_finish(&reply);
    return status;
}
