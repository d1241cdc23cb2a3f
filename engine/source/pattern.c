// Test patterns, drawn straight in code values. They fill the output.
#include "engine/base/thread.h"
#include "engine/compose/convert.h"
#include "engine/source/source.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// EBU bars 100/0/75/0 (ITU-R BT.471-1 notation), BT.709 code values: white, yellow, cyan, green,
// magenta, red, blue, black.
#define BAR_COUNT 8
static const uint8_t bars[BAR_COUNT][3] = {{235, 128, 128}, {168, 44, 136}, {145, 147, 44},
                                           {133, 63, 52},   {63, 193, 204}, {51, 109, 212},
                                           {28, 212, 120},  {16, 128, 128}};
#define BLACK 16
#define WHITE 235

struct pattern {
    const struct pattern_style *style;
    struct rate rate;
    int width, height;
    struct picture *picture; // the last one drawn
    uint64_t content;
};

// Fills a rectangle of luma samples; chroma follows where the rectangle covers it.
static void fill(struct picture *p, int x, int y, int width, int height, const uint8_t colour[3])
{
    struct {
        int x0, y0, x1, y1;
    } r = {x < 0 ? 0 : x, y < 0 ? 0 : y, x + width > p->width ? p->width : x + width,
           y + height > p->height ? p->height : y + height};
    if (r.x1 <= r.x0)
        return;
    for (int i = 0; i < 3; i++) {
        int shift = i > 0, from = (r.x0 + shift) >> shift, to = (r.x1 + shift) >> shift;
        for (int row = (r.y0 + shift) >> shift; row < (r.y1 + shift) >> shift; row++)
            memset(p->plane[i] + row * p->stride[i] + from, colour[i], (size_t)(to - from));
    }
}

static void draw_bars(struct picture *p)
{
    for (int i = 0; i < BAR_COUNT; i++) {
        int from = p->width * i / BAR_COUNT & ~1, to = p->width * (i + 1) / BAR_COUNT & ~1;
        fill(p, from, 0, i + 1 == BAR_COUNT ? p->width - from : to - from, p->height, bars[i]);
    }
}

static void draw_ramp(struct picture *p)
{
    for (int x = 0; x < p->width; x++)
        p->plane[0][x] = (uint8_t)(BLACK + (WHITE - BLACK) * x / (p->width > 1 ? p->width - 1 : 1));
    for (int y = 1; y < p->height; y++)
        memcpy(p->plane[0] + y * p->stride[0], p->plane[0], (size_t)p->width);
}

static void draw_grid(struct picture *p)
{
    static const uint8_t line[3] = {WHITE, 128, 128}, centre[3] = {168, 44, 136};
    int cell = p->height / 9 > 4 ? p->height / 9 : 4;
    for (int x = p->width / 2 % cell; x < p->width; x += cell)
        fill(p, x, 0, 1, p->height, line);
    for (int y = p->height / 2 % cell; y < p->height; y += cell)
        fill(p, 0, y, p->width, 1, line);
    fill(p, (p->width / 2 - 1) & ~1, 0, 2, p->height, centre);
    fill(p, 0, (p->height / 2 - 1) & ~1, p->width, 2, centre);
}

// Digits 0 to 9, 3 x 5 dots, rows from the top, bit 2 = left.
static const uint8_t digits[10][5] = {
    {7, 5, 5, 5, 7}, {2, 6, 2, 2, 7}, {7, 1, 7, 4, 7}, {7, 1, 7, 1, 7}, {5, 5, 7, 1, 1},
    {7, 4, 7, 1, 7}, {7, 4, 7, 5, 7}, {7, 1, 1, 1, 1}, {7, 5, 7, 5, 7}, {7, 5, 7, 1, 7}};
static const uint8_t white[3] = {WHITE, 128, 128}, black[3] = {BLACK, 128, 128};

static uint8_t crc8(uint32_t number)
{
    uint8_t crc = 0; // CRC-8, polynomial 0x07, most significant bit first
    for (int byte = 3; byte >= 0; byte--) {
        crc ^= (uint8_t)(number >> (8 * byte));
        for (int bit = 0; bit < 8; bit++)
            crc = (uint8_t)(crc << 1 ^ (crc & 0x80 ? 0x07 : 0));
    }
    return crc;
}

// For programs: 42 blocks over the full width: white, black, 32 bits of the number (most
// significant first), 8 bits of CRC. For people: the number in large digits.
#define BLOCKS 42
static void draw_counter(struct picture *p, int64_t frame)
{
    uint32_t number = (uint32_t)frame;
    uint64_t bits = (uint64_t)1 << 41 | (uint64_t)number << 8 | crc8(number);
    int height = p->height / 12 & ~1;
    for (int i = 0; i < BLOCKS; i++) {
        int from = p->width * i / BLOCKS, to = p->width * (i + 1) / BLOCKS;
        fill(p, from, 0, to - from, height, bits >> (BLOCKS - 1 - i) & 1 ? white : black);
    }
    char text[24];
    int count = snprintf(text, sizeof text, "%06" PRIu32, number);
    int dot = p->width / (4 * count + 2) & ~1;
    if (dot < 2)
        return;
    int x = (p->width - dot * (4 * count - 1)) / 2 & ~1, y = (p->height - 5 * dot) / 2 & ~1;
    for (int i = 0; i < count; i++, x += 4 * dot)
        for (int row = 0; row < 5; row++)
            for (int column = 0; column < 3; column++)
                if (digits[text[i] - '0'][row] >> (2 - column) & 1)
                    fill(p, x + column * dot, y + row * dot, dot, dot, white);
}

// True in the first output frame of each second of the clip: the whole second lies within the
// frame's own length before its start. The beep starts with the same frame (sound/mix.c).
static bool flashes(const struct pattern *s, const struct clip_instant *at)
{
    int64_t second = rational_floor(at->source_time, 1);
    __int128 since = at->source_time.num - (__int128)second * at->source_time.den;
    return since * s->rate.num < (__int128)at->source_time.den * s->rate.den;
}

// What distinguishes this instant's picture from others of the pattern.
static uint64_t content_at(const struct pattern *s, const struct clip_instant *at)
{
    if (s->style->kind == PATTERN_COUNTER)
        return 1 + (uint64_t)(uint32_t)at->local_frame;
    if (s->style->kind == PATTERN_FLASH)
        return flashes(s, at) ? 2 : 1;
    return 1;
}

static void draw(const struct pattern *s, const struct clip_instant *at, uint64_t content,
                 struct picture *p)
{
    picture_clear(p);
    switch (s->style->kind) {
    case PATTERN_BARS:
        draw_bars(p);
        break;
    case PATTERN_RAMP:
        draw_ramp(p);
        break;
    case PATTERN_GRID:
        draw_grid(p);
        break;
    case PATTERN_COLOUR: {
        uint8_t colour[4];
        convert_colour(s->style->colour, colour);
        picture_fill(p, colour);
        break;
    }
    case PATTERN_COUNTER:
        draw_counter(p, at->local_frame);
        break;
    case PATTERN_FLASH:
        if (content == 2)
            fill(p, 0, 0, p->width, p->height, white);
        break;
    }
}

static int pattern_open(const struct source_config *config, void **ret_state, int *ret_width,
                        int *ret_height, struct diagnostic *reterr)
{
    (void)reterr;
    struct pattern *s = base_alloc(sizeof *s);
    s->style = config->clip->pattern;
    s->rate = config->output_rate;
    s->width = *ret_width = config->output_width;
    s->height = *ret_height = config->output_height;
    *ret_state = s;
    return 0;
}

static int pattern_picture(void *state, const struct clip_instant *at, struct picture **ret,
                           uint64_t *ret_content, struct diagnostic *reterr)
{
    struct pattern *s = state;
    uint64_t content = content_at(s, at);
    if (!s->picture || content != s->content) {
        bool alpha = s->style->kind == PATTERN_COLOUR && s->style->colour.alpha < 255;
        struct picture *p =
            picture_create(alpha ? PICTURE_ALPHA : PICTURE_OPAQUE, s->width, s->height);
        if (!p)
            return diagnostic_set(reterr, -ENOMEM, "drawing_memory", at->clip->id, "out of memory");
        draw(s, at, content, p);
        picture_unref(&s->picture);
        s->picture = p;
        s->content = content;
    }
    *ret = picture_ref(s->picture);
    *ret_content = content;
    return 0;
}

static void pattern_destroy(void *state)
{
    struct pattern *s = state;
    picture_unref(&s->picture);
    free(s);
}

const struct source_ops source_pattern_ops = {pattern_open, pattern_picture, NULL, NULL,
                                              pattern_destroy};
