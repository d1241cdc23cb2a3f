#include "engine/media/import.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DOCUMENT_BYTES_MAX (16 << 20)

static bool describe_font(const uint8_t *head, struct media_info *info)
{
    static const char *const kinds[] = {"OTTO", "ttcf", "true", "wOFF", "wOF2"};
    bool font = !memcmp(head, "\0\1\0\0", 4);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        font |= !memcmp(head, kinds[i], 4);
    if (font)
        snprintf(info->container, sizeof info->container, "font");
    return font;
}

static bool describe_sequence(FILE *f, size_t size, struct media_info *info)
{
    char *text = malloc(size);
    bool is = false;
    json_t *json = NULL;
    if (text && fread(text, 1, size, f) == size)
        json = json_loadb(text, size, 0, NULL);
    const char *schema = json_string_value(json_object_get(json, "schema"));
    const char *rate = json_string_value(json_object_get(json, "rate"));
    size_t count = json_array_size(json_object_get(json, "pictures"));
    if (schema && !strcmp(schema, "vistter.sequence/1") && rate && !rate_parse(rate, &info->rate) &&
        count) {
        snprintf(info->container, sizeof info->container, "sequence");
        info->picture_count = (int64_t)count;
        info->duration = rational_make((int64_t)count * info->rate.den, info->rate.num);
        info->picture_duration = info->duration;
        is = true;
    }
    json_decref(json);
    free(text);
    return is;
}

bool import_document(const char *path, struct media_info *ret)
{
    struct stat status;
    uint8_t head[4];
    // A pipe or device would block fopen; those are refused by the caller.
    if (stat(path, &status) || !S_ISREG(status.st_mode) || status.st_size < 4)
        return false;
    FILE *f = fopen(path, "rbe");
    if (!f)
        return false;
    struct media_info info = {
        .rate = {0, 1}, .duration = {0, 1}, .picture_duration = {0, 1}, .bytes = status.st_size};
    bool is = false;
    if (fread(head, 1, 4, f) == 4) {
        rewind(f);
        if (head[0] == '{' || head[0] == ' ' || head[0] == '\n')
            is = status.st_size <= DOCUMENT_BYTES_MAX &&
                 describe_sequence(f, (size_t)status.st_size, &info);
        else
            is = describe_font(head, &info);
    }
    fclose(f);
    if (is)
        *ret = info;
    return is;
}
