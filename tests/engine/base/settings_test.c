// Settings: precedence of file, environment and flags; errors name their place.
#include "engine/base/settings.h"

#include "tests/check.h"

#include <errno.h>
#include <unistd.h>

static const char *name_value;
static int64_t number_value;
static bool switch_value;
static const struct setting table[] = {
    {"name", SETTING_TEXT, "TEXT", "first", 0, 0, "a text", &name_value},
    {"number", SETTING_INTEGER, "MiB", "5", 1, 10, "a number", &number_value},
    {"loud", SETTING_SWITCH, NULL, "false", 0, 0, "a switch", &switch_value},
    {0},
};

static int load(struct diagnostic *d, int argc, char **argv)
{
    return settings_load(table, "test", "about", argc, argv, NULL, NULL, d);
}

int main(void)
{
    struct diagnostic d;
    CHECK_OK(load(&d, 1, (char *[]){"test", NULL}));
    CHECK_TEXT(name_value, "first");
    CHECK(number_value, ==, 5);

    char path[] = "/tmp/vistter-settings-XXXXXX";
    int fd = mkstemp(path);
    dprintf(fd, "# comment\nname = from file \nnumber=7\n");
    close(fd);
    setenv("VISTTER_NUMBER", "8", 1);
    CHECK_OK(load(&d, 5, (char *[]){"test", "--config", path, "--name=from flag", "--loud", NULL}));
    CHECK_TEXT(name_value, "from flag");
    CHECK(number_value, ==, 8);
    CHECK_TRUE(switch_value);
    unsetenv("VISTTER_NUMBER");

    CHECK_ERROR(load(&d, 2, (char *[]){"test", "--wrong", NULL}), -EINVAL);
    CHECK_TEXT(d.path, "--wrong");
    CHECK_ERROR(load(&d, 3, (char *[]){"test", "--number", "11", NULL}), -EINVAL);
    CHECK_TEXT(d.code, "setting_range");
    CHECK_ERROR(load(&d, 2, (char *[]){"test", "--number", NULL}), -EINVAL);
    FILE *file = fopen(path, "w");
    fprintf(file, "\nnumber = many\n");
    fclose(file);
    char where[64];
    snprintf(where, sizeof where, "%s:2", path);
    CHECK_ERROR(load(&d, 3, (char *[]){"test", "--config", path, NULL}), -EINVAL);
    CHECK_TEXT(d.path, where);
    unlink(path);
    return check_end();
}
