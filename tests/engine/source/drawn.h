// Opens drawn sources for tests, and measures what they show.
#pragma once

#include "engine/source/source.h"

#include "tests/check.h"

#include <errno.h>

// Debian's fonts-noto-core, fonts-noto-cjk and fonts-noto-color-emoji.
#define NOTO "/usr/share/fonts/truetype/noto/Noto"
static const char *const font_paths[] = {
    NOTO "Sans-Regular.ttf",
    NOTO "SansArabic-Regular.ttf",
    NOTO "SansHebrew-Regular.ttf",
    NOTO "SansDevanagari-Regular.ttf",
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
    NOTO "ColorEmoji.ttf",
};
#define FONT_COUNT (sizeof font_paths / sizeof font_paths[0])

static inline struct source *open_drawn(const struct clip *clip, struct font_set *fonts,
                                        double scale, const char *(*field)(void *, const char *),
                                        void *opaque)
{
    struct source_config config = {
        .clip = clip,
        .scale_x = scale,
        .scale_y = scale,
        .output_width = 1280,
        .output_height = 720,
        .output_rate = {25, 1},
        .fonts = fonts,
        .field = field,
        .field_opaque = opaque,
    };
    struct source *source = NULL;
    struct diagnostic d = {0};
    CHECK_OK(source_open(&config, &source, &d));
    if (!source) {
        fprintf(stderr, "%s: %s\n", d.path, d.text);
        exit(check_end());
    }
    return source;
}

static inline struct picture *picture_at(struct source *source, const struct clip *clip,
                                         struct rational seconds, uint64_t *ret_content)
{
    struct clip_instant at = {.clip = clip, .source_time = seconds};
    struct picture *picture = NULL;
    struct diagnostic d = {0};
    CHECK_OK(source_picture(source, &at, &picture, ret_content, &d));
    if (!picture) {
        fprintf(stderr, "%s: %s\n", d.path, d.text);
        exit(check_end());
    }
    return picture;
}

// The area whose alpha is at least `level`; empty: left > right.
struct area {
    int left, top, right, bottom; // the last two inclusive
};
static inline struct area area_of(const struct picture *p, int level)
{
    struct area a = {p->width, p->height, -1, -1};
    for (int y = 0; y < p->height; y++)
        for (int x = 0; x < p->width; x++)
            if (p->plane[3][y * p->stride[3] + x] >= level) {
                a.left = x < a.left ? x : a.left;
                a.right = x > a.right ? x : a.right;
                a.top = y < a.top ? y : a.top;
                a.bottom = y;
            }
    return a;
}
