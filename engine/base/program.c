#include "engine/base/program.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool is_in(const char *folder, const char *name, char *ret)
{
    int length = snprintf(ret, PATH_MAX, "%s/%s", folder, name);
    return length < PATH_MAX && !access(ret, X_OK);
}

int program_find(const char *name, const char *built, char *ret, struct diagnostic *reterr)
{
    char own[PATH_MAX];
    const char *folder = getenv("VISTTER_LIBEXEC");
    if (folder && *folder && is_in(folder, name, ret))
        return 0;
    ssize_t n = readlink("/proc/self/exe", own, sizeof own - 1);
    if (n > 0) {
        own[n] = 0;
        *strrchr(own, '/') = 0;
        if (is_in(own, name, ret))
            return 0;
    }
    if (is_in(built, name, ret))
        return 0;
    return diagnostic_set(reterr, -ENOENT, "media_helper", name,
                          "the program %s is missing; set VISTTER_LIBEXEC to its folder", name);
}
