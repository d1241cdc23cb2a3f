// vistter: the command line. Everything the API does, and offline renders.
#include "coordinator/cli/command.h"
#include "coordinator/cli/render.h"

#include <curl/curl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static const struct command *const families[] = {media_commands,   timeline_commands,
                                                 channel_commands, destination_commands,
                                                 node_commands,    status_commands};
#define FAMILY_COUNT (sizeof families / sizeof families[0])

static void print_usage(FILE *file)
{
    fprintf(file, "Usage: vistter COMMAND [ARGUMENTS] [--json] [--server URL]\n\n");
    for (size_t i = 0; i < FAMILY_COUNT; i++)
        command_print_list(file, families[i], NULL);
    fprintf(file, "  %-34s %s\n", "render TIMELINE.json -o FILE.mp4",
            "Renders a timeline offline, without any server");
    fprintf(file, "\n`vistter COMMAND --help` explains one. The server is --server, VISTTER_SERVER or "
                  "%s.\nExit status: 0 done, 1 refused, 2 wrong arguments, 3 no server.\n",
            CLIENT_SERVER);
}

static bool is_help(const char *word)
{
    return !strcmp(word, "--help") || !strcmp(word, "-h") || !strcmp(word, "help");
}

// The command that the words name; `*ret_words` is how many they are. A family without its second
// word gives NULL and the family's table.
static const struct command *find(int count, char **words, int *ret_words,
                                  const struct command **ret_family)
{
    for (size_t i = 0; i < FAMILY_COUNT; i++) {
        for (const struct command *c = families[i]; c->family; c++) {
            if (strcmp(c->family, words[0]))
                continue;
            *ret_family = families[i];
            *ret_words = c->name ? 2 : 1;
            if (!c->name || (count > 1 && !strcmp(c->name, words[1])))
                return c;
        }
    }
    return NULL;
}

// Flags may stand before the command: they are moved behind its words.
static int leading_flags(int argc, char **argv)
{
    int at = 1;
    while (at < argc && argv[at][0] == '-' && !is_help(argv[at]) && strcmp(argv[at], "--version"))
        at += !strcmp(argv[at], "--server") ? 2 : 1;
    return at;
}

static int run(int argc, char **argv)
{
    int flags = leading_flags(argc, argv);
    if (flags >= argc) {
        print_usage(stderr);
        return CLI_USAGE;
    }
    char **words = argv + flags;
    int count = argc - flags, used = 0;
    if (is_help(words[0])) {
        print_usage(stdout);
        return CLI_OK;
    }
    if (!strcmp(words[0], "--version")) {
        printf("%s\n", VISTTER_VERSION);
        return CLI_OK;
    }
    if (!strcmp(words[0], "render"))
        return cli_render(count, words);
    const struct command *family = NULL;
    const struct command *command = find(count, words, &used, &family);
    if (!command && family && (count == 1 || is_help(words[1]))) {
        command_print_list(count == 1 ? stderr : stdout, family, words[0]);
        return count == 1 ? CLI_USAGE : CLI_OK;
    }
    if (!command) {
        fprintf(stderr, "vistter: there is no command '%s%s%s'; `vistter --help` lists them\n",
                words[0], family ? " " : "", family ? words[1] : "");
        return CLI_USAGE;
    }
    // The command reads its own arguments: those behind its words, and the flags before them.
    char *arguments[count + flags];
    int n = 0;
    for (int i = used; i < count; i++)
        arguments[n++] = words[i];
    for (int i = 1; i < flags; i++)
        arguments[n++] = argv[i];
    return command->run(command, n, arguments);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int status = run(argc, argv);
    curl_global_cleanup();
    return status;
}
