// `vistter`, the command line: everything that the coordinator's API does, and offline rendering.
//
//   arguments -> family and command of the table below -> its handler -> HTTP -> text or JSON
//
// One thread. Exit status: enum cli_status in command.h.
#include "coordinator/cli/command.h"
#include "coordinator/cli/recording.h"
#include "coordinator/cli/render.h"

#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Commands that need no server take their flags apart by themselves.
static int run_local(int (*run)(int argc, char **argv), int argc, char **argv)
{
    char **all = calloc((size_t)argc + 2, sizeof *all);
    if (!all)
        abort();
    all[0] = (char[]){"vistter"};
    memcpy(all + 1, argv, (size_t)argc * sizeof *all);
    int status = run(argc + 1, all);
    free(all);
    return status;
}

static int run_render(const struct command *command, int argc, char **argv)
{
    (void)command;
    return run_local(cli_render, argc, argv);
}

static int run_recording_merge(const struct command *command, int argc, char **argv)
{
    (void)command;
    return run_local(cli_recording_merge, argc, argv);
}

static const struct command recording_commands[] = {
    {"recording", "merge", "-o OUT.mkv FILE|FOLDER...",
     "Joins what both edges recorded of a channel, without a gap or a repeat", NULL,
     run_recording_merge},
    {0},
};

static const struct command render_commands[] = {
    {"render", NULL, "TIMELINE.json -o FILE.mp4 [--frames A..B]",
     "Renders a timeline to a file, without a server", NULL, run_render},
    {0},
};

static const struct command *const families[] = {
    media_commands,  timeline_commands, channel_commands, output_commands,    destination_commands,
    source_commands, node_commands,     status_commands,  recording_commands, render_commands,
};

#define FAMILY_COUNT (sizeof families / sizeof *families)

static void print_overview(FILE *file)
{
    fputs("Usage: vistter COMMAND [ARGUMENT...] [--server URL] [--json]\n\n", file);
    for (size_t i = 0; i < FAMILY_COUNT; i++)
        command_print_list(file, families[i], NULL);
    fputs("\nEvery command has --help. The server is --server, else VISTTER_SERVER, "
          "else " CLIENT_SERVER
          ".\nExit status: 0 done, 1 refused, 2 wrong arguments, 3 no server.\n",
          file);
}

static int refuse_word(const char *what, const char *word)
{
    fprintf(stderr, "vistter: unknown %s '", what);
    print_text(stderr, word);
    fputs("'\n", stderr);
    return CLI_USAGE;
}

// Which argument, from `first` on, is the next word of the command: flags that every command has
// may stand before it. `argc` when there is none.
static int find_word(int argc, char **argv, int first)
{
    for (int i = first; i < argc; i++) {
        if (!strcmp(argv[i], "--server"))
            i++;
        else if (argv[i][0] != '-')
            return i;
    }
    return argc;
}

static void remove_argument(int *argc, char **argv, int which)
{
    memmove(argv + which, argv + which + 1, (size_t)(*argc - which) * sizeof *argv);
    --*argc;
}

static bool has_flag(int argc, char **argv, const char *flag)
{
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], flag))
            return true;
    return false;
}

static const struct command *find_family(const char *word, bool *ret_single)
{
    for (size_t i = 0; i < FAMILY_COUNT; i++)
        for (const struct command *c = families[i]; c->family; c++)
            if (!strcmp(c->family, word)) {
                *ret_single = !c->name;
                return c;
            }
    return NULL;
}

static const struct command *find_command(const struct command *family, const char *word)
{
    for (const struct command *c = family; c->family; c++)
        if (c->name && !strcmp(c->family, family->family) && !strcmp(c->name, word))
            return c;
    return NULL;
}

static int run_family(const struct command *family, bool single, int argc, char **argv, int next)
{
    if (single)
        return family->run(family, argc - 1, argv + 1);
    int at = find_word(argc, argv, next);
    const struct command *command = at < argc ? find_command(family, argv[at]) : NULL;
    if (command) {
        remove_argument(&argc, argv, at);
        return command->run(command, argc - 1, argv + 1);
    }
    bool help = at == argc && (has_flag(argc, argv, "--help") || has_flag(argc, argv, "-h"));
    if (at < argc)
        refuse_word("command", argv[at]);
    fprintf(help ? stdout : stderr, "Usage:\n");
    command_print_list(help ? stdout : stderr, family, family->family);
    return help ? CLI_OK : CLI_USAGE;
}

static int run(int argc, char **argv)
{
    int at = find_word(argc, argv, 1);
    if (at == argc) {
        if (has_flag(argc, argv, "--version")) {
            puts("vistter " VISTTER_VERSION);
            return CLI_OK;
        }
        bool help = has_flag(argc, argv, "--help") || has_flag(argc, argv, "-h");
        print_overview(help ? stdout : stderr);
        return help ? CLI_OK : CLI_USAGE;
    }
    if (!strcmp(argv[at], "help")) {
        print_overview(stdout);
        return CLI_OK;
    }
    bool single;
    const struct command *family = find_family(argv[at], &single);
    if (!family) {
        refuse_word("command", argv[at]);
        print_overview(stderr);
        return CLI_USAGE;
    }
    remove_argument(&argc, argv, at);
    return run_family(family, single, argc, argv, at);
}

int main(int argc, char **argv)
{
    // Column widths are those of UTF-8 text, whatever the terminal's language.
    setlocale(LC_CTYPE, "C.UTF-8");
    int status = run(argc, argv);
    if (fflush(stdout) || ferror(stdout)) {
        fprintf(stderr, "vistter: standard output: %s\n", strerror(errno));
        return status ? status : CLI_REFUSED;
    }
    return status;
}
