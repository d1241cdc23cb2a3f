#include "engine/base/settings.h"

#include "engine/base/thread.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Texts from files live until exit; the list keeps hold of them, also of overridden ones.
struct kept {
    struct kept *next;
    char text[];
};
static struct kept *kept_texts;

static const char *keep(const char *text)
{
    size_t size = strlen(text) + 1;
    struct kept *k = base_alloc(sizeof *k + size);
    memcpy(k->text, text, size);
    k->next = kept_texts;
    kept_texts = k;
    return k->text;
}

// `value` lives until exit (arguments, environment, tables, kept texts).
static int assign(const struct setting *s, const char *value, const char *where,
                  struct diagnostic *reterr)
{
    if (s->type == SETTING_TEXT) {
        *(const char **)s->target = value;
        return 0;
    }
    if (s->type == SETTING_SWITCH) {
        bool on = !strcmp(value, "true") || !strcmp(value, "1") || !strcmp(value, "yes");
        bool off = !strcmp(value, "false") || !strcmp(value, "0") || !strcmp(value, "no");
        if (!on && !off)
            return diagnostic_set(reterr, -EINVAL, "setting_value", where,
                                  "'%s' is neither true nor false", value);
        *(bool *)s->target = on;
        return 0;
    }
    char *end;
    errno = 0;
    long long number = strtoll(value, &end, 10);
    if (end == value || *end || errno)
        return diagnostic_set(reterr, -EINVAL, "setting_value", where, "'%s' is not a whole number",
                              value);
    if (number < s->min || number > s->max)
        return diagnostic_set(reterr, -EINVAL, "setting_range", where,
                              "%lld is outside %" PRId64 " to %" PRId64, number, s->min, s->max);
    *(int64_t *)s->target = number;
    return 0;
}

static const struct setting *find(const struct setting *table, const char *name, size_t length)
{
    for (const struct setting *s = table; s->name; s++)
        if (strlen(s->name) == length && !strncmp(s->name, name, length))
            return s;
    return NULL;
}

static char *trim(char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    size_t length = strlen(text);
    while (length && isspace((unsigned char)text[length - 1]))
        text[--length] = 0;
    return text;
}

static int load_file(const struct setting *table, const char *path, struct diagnostic *reterr)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return diagnostic_set(reterr, -EINVAL, "setting_file", path, "cannot be read: %s",
                              strerror(errno));
    char line[4096], where[256];
    int result = 0;
    for (int number = 1; !result && fgets(line, sizeof line, file); number++) {
        snprintf(where, sizeof where, "%s:%d", path, number);
        char *name = trim(line);
        if (!*name || *name == '#')
            continue;
        char *equals = strchr(name, '=');
        if (!equals) {
            result =
                diagnostic_set(reterr, -EINVAL, "setting_syntax", where, "expected 'name = value'");
            break;
        }
        *equals = 0;
        name = trim(name);
        const struct setting *s = find(table, name, strlen(name));
        result = s ? assign(s, keep(trim(equals + 1)), where, reterr)
                   : diagnostic_set(reterr, -EINVAL, "setting_unknown", where,
                                    "unknown setting '%s'; --help lists them", name);
    }
    fclose(file);
    return result;
}

static void environment_name(const char *name, char *buffer, size_t size)
{
    snprintf(buffer, size, "VISTTER_%s", name);
    for (char *c = buffer; *c; c++)
        *c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
}

static void print_help(const struct setting *table, const char *usage, const char *about)
{
    printf(
        "Usage: %s\n\n%s\n\nSettings (flag, or the same name in the file given with --config, or "
        "VISTTER_NAME in the environment):\n",
        usage, about);
    for (const struct setting *s = table; s->name; s++) {
        char flag[96];
        snprintf(flag, sizeof flag, "--%s%s%s", s->name, s->type == SETTING_SWITCH ? "" : " ",
                 s->type == SETTING_SWITCH ? "" : (s->unit ? s->unit : "TEXT"));
        printf("  %-34s %s", flag, s->help);
        if (s->initial && *s->initial)
            printf(" (%s)", s->initial);
        printf("\n");
    }
    printf("  %-34s %s\n  %-34s %s\n  %-34s %s\n", "--config FILE", "read settings from a file",
           "--version", "print the version", "--help", "print this");
}

int settings_load(const struct setting *table, const char *usage, const char *about, int argc,
                  char **argv, char ***ret_rest, int *ret_rest_count, struct diagnostic *reterr)
{
    const char *config = NULL;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--"))
            break;
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
            print_help(table, usage, about);
            exit(0);
        }
        if (!strcmp(argv[i], "--version")) {
            printf("%s\n", VISTTER_VERSION);
            exit(0);
        }
        if (!strcmp(argv[i], "--config") && i + 1 < argc)
            config = argv[i + 1];
        else if (!strncmp(argv[i], "--config=", 9))
            config = argv[i] + 9;
    }
    int result;
    for (const struct setting *s = table; s->name; s++)
        if (s->initial && (result = assign(s, s->initial, s->name, reterr)))
            return result;
    if (config && (result = load_file(table, config, reterr)))
        return result;
    for (const struct setting *s = table; s->name; s++) {
        char name[96];
        environment_name(s->name, name, sizeof name);
        const char *value = getenv(name);
        if (value && (result = assign(s, value, name, reterr)))
            return result;
    }
    int rest = 0;
    char **rest_items = argv + 1; // filled from the front; never overtakes the reader
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] != '-' || !argv[i][1]) {
            if (!ret_rest)
                return diagnostic_set(reterr, -EINVAL, "setting_unexpected", argv[i],
                                      "unexpected argument; --help lists the settings");
            rest_items[rest++] = argv[i];
            continue;
        }
        const char *name = argv[i] + strspn(argv[i], "-");
        const char *equals = strchr(name, '=');
        size_t length = equals ? (size_t)(equals - name) : strlen(name);
        bool is_config = length == 6 && !strncmp(name, "config", 6);
        const struct setting *s = is_config ? NULL : find(table, name, length);
        if (!s && !is_config)
            return diagnostic_set(reterr, -EINVAL, "setting_unknown", argv[i],
                                  "unknown flag; --help lists them");
        const char *value = equals ? equals + 1 : NULL;
        if (!value && s && s->type == SETTING_SWITCH)
            value = "true";
        if (!value && ++i >= argc)
            return diagnostic_set(reterr, -EINVAL, "setting_value", argv[i - 1], "needs a value");
        if (!value)
            value = argv[i];
        if (s && (result = assign(s, value, argv[i], reterr)))
            return result;
    }
    if (ret_rest) {
        *ret_rest = rest_items;
        *ret_rest_count = rest;
    }
    return 0;
}
