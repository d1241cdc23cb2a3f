// Commands of the `vistter` program: their table, their flags, and what they have in common.
//
// A command prints its result on standard output (text, or the server's JSON with --json) and its
// complaints on standard error, and returns an exit status. Flags may stand before or after other
// arguments.
// Thread: one.
#pragma once

#include "coordinator/cli/client.h"
#include "engine/base/diagnostic.h"

#include <stdbool.h>
#include <stdint.h>

enum cli_status {
    CLI_OK = 0,
    CLI_REFUSED = 1,     // by the server, or input that cannot be used
    CLI_USAGE = 2,       // wrong arguments
    CLI_UNREACHABLE = 3, // no server, or it does not answer
};

struct command {
    const char *family; // "channel"
    const char *name;   // "create"; NULL: the family is one command
    const char *arguments;
    const char *help;  // one line
    const char *about; // further explanation with line breaks, or NULL
    int (*run)(const struct command *command, int argc, char **argv);
};

enum option_type {
    OPTION_TEXT,    // const char **target; argv's own memory
    OPTION_INTEGER, // int64_t *target, min..max
    OPTION_SWITCH,  // bool *target
};

// A flag of one command; a table of them ends with a row whose name is NULL.
struct option {
    const char *name; // without the dashes
    enum option_type type;
    const char *unit; // "FILE"; NULL for switches
    const char *help;
    void *target; // left as it is when the flag is absent
    int64_t min, max;
};

// What the person typed, taken apart. Owned by the command; end it with `arguments_finish`.
struct arguments {
    const struct command *command;
    const char *server; // --server, VISTTER_SERVER or the default
    bool json;
    int count; // of what is not a flag
    char **items;
    struct client *client; // to `server`; NULL when there is nothing to do
};

// Reads the arguments after the command's words. `table` may be NULL. Between `min` and `max` items
// are wanted. False: the command is over (help was printed, or a complaint), with `*ret_status`.
bool arguments_parse(struct arguments *ret, const struct command *command, int argc, char **argv,
                     const struct option *table, int min, int max, int *ret_status);
void arguments_finish(struct arguments *arguments);

// Prints a complaint about the arguments and returns CLI_USAGE.
int arguments_refuse(const struct arguments *arguments, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

// Sends a request (client.h) to the path made of `segments`, e.g. "channels", name, NULL. On
// failure the complaint is printed, with --json also the server's problem. Returns an exit status;
// `ret` is filled in any case and is the caller's to finish.
int arguments_call(struct arguments *arguments, const char *method, const char *const *segments,
                   const json_t *body, struct client_reply *ret);

// The same for commands that show what there is: as JSON, or by `show`.
int arguments_show(struct arguments *arguments, const char *const *segments,
                   void (*show)(json_t *answer));

// The same for commands that have nothing more to say than one line, or the server's JSON; takes
// the reference to `body`.
int arguments_change(struct arguments *arguments, const char *method, const char *const *segments,
                     json_t *body, const char *format, ...) __attribute__((format(printf, 5, 6)));

// Prints "vistter: path: detail" and returns the exit status that `d->error` means.
int complain(const struct diagnostic *d);
// Prints JSON on standard output, with a line break at its end.
void print_json(const json_t *json);
// Prints a problem that was found here in the form of the server's, on standard output.
void print_problem(const struct diagnostic *d);
// Prints text that may come from elsewhere: control characters become '?'.
void print_text(FILE *file, const char *text);

// Usage of a command, or of all commands of a family (or of all families with NULL).
void command_print_usage(FILE *file, const struct command *command, const struct option *table);
void command_print_list(FILE *file, const struct command *commands, const char *family);

// The commands of each family, each ended by a row whose family is NULL.
extern const struct command channel_commands[], destination_commands[], media_commands[],
    node_commands[], output_commands[], source_commands[], status_commands[], timeline_commands[];
