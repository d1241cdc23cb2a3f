// Makes test media with the ffmpeg program: pictures whose number can be read back from sixteen
// blocks in their upper left corner, over a moving ground.
#pragma once

#include "engine/frame/picture.h"
#include "engine/media/media.h"
#include "engine/source/source.h"
#include "tests/check.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAKER_WIDTH  320
#define MAKER_HEIGHT 240
#define MAKER_BLOCK  16

static char maker_folder[64];

static inline int maker_run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline int maker_run(const char *format, ...)
{
    char command[4096];
    va_list list;
    va_start(list, format);
    vsnprintf(command, sizeof command, format, list);
    va_end(list);
    int status = system(command);
    if (status)
        fprintf(stderr, "failed: %s\n", command);
    return status;
}

static inline void maker_begin(void)
{
    strcpy(maker_folder, "/tmp/vistter-media-XXXXXX");
    if (!mkdtemp(maker_folder) || system("ffmpeg -version > /dev/null 2>&1"))
        exit(77);
}

static inline void maker_end(void)
{
    maker_run("rm -rf %s", maker_folder);
}

// Raw 4:2:0 pictures 0..count-1.
static inline void maker_raw(const char *name, int count)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", maker_folder, name);
    FILE *f = fopen(path, "wb");
    static uint8_t y[MAKER_HEIGHT][MAKER_WIDTH], c[MAKER_HEIGHT / 2][MAKER_WIDTH / 2];
    for (int n = 0; f && n < count; n++) {
        for (int j = 0; j < MAKER_HEIGHT; j++)
            for (int i = 0; i < MAKER_WIDTH; i++)
                y[j][i] = (uint8_t)(16 + (i + 3 * n + ((j + n) & 63)) % 200);
        for (int b = 0; b < 16; b++)
            for (int j = 0; j < MAKER_BLOCK; j++)
                memset(&y[j][b * MAKER_BLOCK], n >> b & 1 ? 220 : 30, MAKER_BLOCK);
        fwrite(y, 1, sizeof y, f);
        for (int k = 0; k < 2; k++) {
            for (int j = 0; j < MAKER_HEIGHT / 2; j++)
                for (int i = 0; i < MAKER_WIDTH / 2; i++)
                    c[j][i] = (uint8_t)(96 + (i + j * (k + 1) + n) % 64);
            fwrite(c, 1, sizeof c, f);
        }
    }
    if (!f || fclose(f))
        exit(EXIT_FAILURE);
}

static inline int maker_number(const struct picture *p)
{
    int number = 0;
    for (int b = 0; b < 16; b++)
        if (p->plane[0][p->stride[0] * (MAKER_BLOCK / 2) + b * MAKER_BLOCK + MAKER_BLOCK / 2] > 125)
            number |= 1 << b;
    return number;
}

static inline int maker_resolve(void *opaque, const char *uri, char *path,
                                struct diagnostic *reterr)
{
    (void)opaque, (void)reterr;
    snprintf(path, PATH_MAX, "%s", uri);
    return 0;
}

// A source for a file, as a clip of a timeline would open it.
struct maker_clip {
    struct asset_name asset;
    struct timeline timeline;
    struct clip clip;
    struct source *source;
};

static inline int maker_open(struct maker_clip *m, enum clip_kind kind, char *path, bool loop,
                             struct diagnostic *reterr)
{
    memset(m, 0, sizeof *m);
    m->asset = (struct asset_name){.name = "a", .uri = path};
    m->timeline = (struct timeline){
        .width = 1280, .height = 720, .rate = {25, 1}, .asset_count = 1, .assets = &m->asset};
    m->clip =
        (struct clip){.kind = kind, .id = "clip", .in = {0, 1}, .speed = {1, 1}, .loop = loop};
    struct source_config config = {.timeline = &m->timeline,
                                   .clip = &m->clip,
                                   .output_rate = {25, 1},
                                   .resolver = {.resolve = maker_resolve}};
    return source_open(&config, &m->source, reterr);
}

static inline int maker_picture(struct maker_clip *m, struct rational at, struct picture **ret,
                                uint64_t *ret_content, struct diagnostic *reterr)
{
    struct clip_instant instant = {.clip = &m->clip, .source_time = at};
    return source_picture(m->source, &instant, ret, ret_content, reterr);
}
