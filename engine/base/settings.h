// One table row per setting of a program makes the parser, the configuration file, the environment
// and the manual. Order of precedence: built-in value, configuration file (--config FILE, lines
// `name = value`, `#` comments), environment (VISTTER_NAME), flags (--name VALUE or --name=VALUE).
#pragma once

#include "engine/base/diagnostic.h"

#include <stdbool.h>
#include <stdint.h>

enum setting_type {
    SETTING_TEXT,    // const char **target; kept until exit
    SETTING_INTEGER, // int64_t *target, min..max
    SETTING_SWITCH,  // bool *target; a flag without value, or true/false in file and environment
};

struct setting {
    const char *name; // lower case with '-': "frame-listen"; environment VISTTER_FRAME_LISTEN
    enum setting_type type;
    const char *unit;    // shown in the manual, e.g. "MiB", "FILE", "HOST:PORT"
    const char *initial; // NULL: none
    int64_t min, max;    // integers only
    const char *help;    // one sentence
    void *target;
};

// `table` ends with a row whose name is NULL. Handles --help and --version itself (prints, exits
// 0). On error returns -EINVAL with a diagnostic that names the flag, variable or file line.
// `ret_rest`/`ret_rest_count` (may be NULL: then positional arguments are an error) receive what is
// not a flag; the array is argv's own memory.
int settings_load(const struct setting *table, const char *usage, const char *about, int argc,
                  char **argv, char ***ret_rest, int *ret_rest_count, struct diagnostic *reterr);
