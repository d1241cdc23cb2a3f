#include "engine/base/diagnostic.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

// A bound may have cut the last character in two; what is left of it goes.
static void trim(char *text)
{
    size_t size = strlen(text), tail = 0;
    while (tail < size && tail < 3 && (text[size - 1 - tail] & 0xc0) == 0x80)
        tail++;
    unsigned char lead = tail < size ? (unsigned char)text[size - 1 - tail] : 0;
    size_t needed = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : lead >= 0xc0 ? 1 : 0;
    if (lead >= 0xc0 && tail < needed)
        text[size - 1 - tail] = 0;
}

int diagnostic_set(struct diagnostic *reterr, int error, const char *code, const char *path,
                   const char *format, ...)
{
    if (!reterr)
        return error;
    // The path may lie inside *reterr (a caller adds a prefix), so it is copied before the rest.
    char where[sizeof reterr->path];
    snprintf(where, sizeof where, "%s", path ? path : "");
    va_list args;
    va_start(args, format);
    char text[sizeof reterr->text];
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    reterr->error = error;
    snprintf(reterr->code, sizeof reterr->code, "%s", code);
    snprintf(reterr->path, sizeof reterr->path, "%s", where);
    snprintf(reterr->text, sizeof reterr->text, "%s", text);
    trim(reterr->path);
    trim(reterr->text);
    return error;
}

const char *diagnostic_format(const struct diagnostic *d, char *buffer, unsigned size)
{
    if (d->path[0])
        snprintf(buffer, size, "%s: %s", d->path, d->text);
    else
        snprintf(buffer, size, "%s", d->text);
    return buffer;
}
