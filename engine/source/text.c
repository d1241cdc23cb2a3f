// Text: laid out by Pango with the timeline's own fonts, drawn once by Cairo at the output's
// resolution. A crawl or roll is drawn once as a strip and shown through a window.
#include "engine/base/thread.h"
#include "engine/frame/checksum.h"
#include "engine/source/drawing.h"
#include "engine/source/fonts_private.h"
#include "engine/source/source.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_BYTES_MAX 65536

struct text {
    struct source_config config;
    const struct text_style *style;
    bool has_fields;
    char *shown;             // text with fields filled in, of the last layout
    cairo_surface_t *strip;  // crawl and roll: the whole text
    cairo_surface_t *window; // crawl and roll: what is drawn on, kept for the next picture
    struct picture *picture;
    uint64_t text_key;
    int64_t offset;    // of the strip in `picture`
    bool to_the_right; // a crawl of Arabic or Hebrew, whose lines start at the right
    int width, height; // of the picture; fixed at open for moving text
};

// ---- The words --------------------------------------------------------------------------------

// Control characters would let a text leave its line, and Unicode's Bidi_Control characters let a
// field's value reorder its neighbours.
static bool keeps(gunichar c)
{
    return !(c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x61c || c == 0x200e || c == 0x200f ||
             (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff);
}

static void append(GString *out, const char *text, size_t size, bool one_line)
{
    const char *end = text + size;
    while (text < end && out->len < TEXT_BYTES_MAX) {
        gunichar c = g_utf8_get_char_validated(text, end - text);
        if (c == (gunichar)-1 || c == (gunichar)-2) {
            text++; // a field's value may be anything
            continue;
        }
        if (c == '\n' || c == 0x85 || c == 0x2028 || c == 0x2029)
            g_string_append_c(out, one_line ? ' ' : '\n');
        else if (c == '\t')
            g_string_append_c(out, ' ');
        else if (keeps(c))
            g_string_append_unichar(out, c);
        text = g_utf8_next_char(text);
    }
}

// Replaces {{name}}; what is unknown becomes nothing.
static char *fill_fields(const struct text *t)
{
    bool one_line = t->style->motion == TEXT_CRAWL;
    GString *out = g_string_new(NULL);
    const char *rest = t->style->text;
    for (const char *open; (open = strstr(rest, "{{")) != NULL;) {
        const char *close = strstr(open, "}}");
        if (!close)
            break;
        append(out, rest, (size_t)(open - rest), one_line);
        char name[128];
        size_t length = (size_t)(close - open - 2);
        if (t->config.field && length < sizeof name) {
            memcpy(name, open + 2, length);
            name[length] = 0;
            const char *value = t->config.field(t->config.field_opaque, name);
            if (value)
                append(out, value, strlen(value), one_line);
        }
        rest = close + 2;
    }
    append(out, rest, strlen(rest), one_line);
    return g_string_free(out, FALSE);
}

// ---- Layout and drawing -----------------------------------------------------------------------
// All is laid out in pixels of the timeline and drawn through Cairo's scale, so that lines break
// alike at every output size.

static PangoLayout *create_layout(const struct text *t, PangoContext *context, const char *words)
{
    const struct text_style *s = t->style;
    PangoLayout *layout = pango_layout_new(context);
    PangoFontDescription *font = pango_font_description_from_string(s->font);
    pango_font_description_set_absolute_size(font, s->size * PANGO_SCALE);
    pango_layout_set_font_description(layout, font);
    pango_font_description_free(font);
    static const PangoAlignment alignments[] = {PANGO_ALIGN_LEFT, PANGO_ALIGN_CENTER,
                                                PANGO_ALIGN_RIGHT};
    pango_layout_set_alignment(layout, alignments[s->align]);
    pango_layout_set_auto_dir(layout, TRUE);
    pango_layout_set_line_spacing(layout, (float)s->line_spacing);
    double inside = s->box_width - 2 * s->padding;
    if (s->motion == TEXT_CRAWL) {
        pango_layout_set_single_paragraph_mode(layout, TRUE);
    } else if (s->box_width > 0) {
        pango_layout_set_width(layout, (int)((inside > 1 ? inside : 1) * PANGO_SCALE));
        pango_layout_set_wrap(layout, PANGO_WRAP_WORD_CHAR);
    }
    pango_layout_set_text(layout, words, -1);
    return layout;
}

static cairo_t *create_context(const struct text *t, cairo_surface_t *surface)
{
    cairo_t *cr = cairo_create(surface);
    cairo_scale(cr, t->config.scale_x, t->config.scale_y);
    return cr;
}

// The words with their outline, the layout's origin at (x, y).
static void draw_words(const struct text *t, cairo_t *cr, PangoLayout *layout, double x, double y)
{
    if (t->style->outline > 0) {
        cairo_move_to(cr, x, y);
        pango_cairo_layout_path(cr, layout);
        cairo_set_line_width(cr, 2 * t->style->outline);
        cairo_set_line_join(cr, CAIRO_LINE_JOIN_ROUND);
        drawing_colour(cr, t->style->outline_colour);
        cairo_stroke(cr);
    }
    cairo_move_to(cr, x, y);
    drawing_colour(cr, t->style->colour);
    pango_cairo_show_layout(cr, layout);
}

// The shadow: the words' coverage, blurred, in one colour.
static void draw_shadow(const struct text *t, cairo_t *cr, PangoLayout *layout, double x, double y)
{
    const struct text_style *s = t->style;
    cairo_surface_t *target = cairo_get_target(cr);
    cairo_surface_t *mask =
        cairo_image_surface_create(CAIRO_FORMAT_A8, cairo_image_surface_get_width(target),
                                   cairo_image_surface_get_height(target));
    cairo_t *mask_cr = create_context(t, mask);
    draw_words(t, mask_cr, layout, x + s->shadow.x, y + s->shadow.y);
    cairo_destroy(mask_cr);
    drawing_blur(mask, s->shadow.blur * t->config.scale_x, s->shadow.blur * t->config.scale_y);
    drawing_colour(cr, s->shadow.colour);
    cairo_save(cr);
    cairo_identity_matrix(cr);
    cairo_mask_surface(cr, mask, 0, 0);
    cairo_restore(cr);
    cairo_surface_destroy(mask);
}

// Draws the words, the layout's origin at (x, y).
static void draw_text(const struct text *t, cairo_surface_t *surface, PangoLayout *layout, double x,
                      double y)
{
    cairo_t *cr = create_context(t, surface);
    if (t->style->shadow.colour.alpha)
        draw_shadow(t, cr, layout, x, y);
    draw_words(t, cr, layout, x, y);
    cairo_destroy(cr);
}

static void draw_background(const struct text *t, cairo_surface_t *surface, double margin,
                            double width, double height)
{
    if (!t->style->background.alpha)
        return;
    cairo_t *cr = create_context(t, surface);
    drawing_rounded(cr, margin, margin, width - 2 * margin, height - 2 * margin,
                    t->style->background_radius);
    drawing_colour(cr, t->style->background);
    cairo_fill(cr);
    cairo_destroy(cr);
}

// Room around the words for outline and shadow, the same on all sides so that the anchor stays.
static double bleed(const struct text *t)
{
    const struct text_style *s = t->style;
    double shadow = 0;
    if (s->shadow.colour.alpha) {
        double x = s->shadow.x < 0 ? -s->shadow.x : s->shadow.x;
        double y = s->shadow.y < 0 ? -s->shadow.y : s->shadow.y;
        shadow = (x > y ? x : y) + 2 * s->shadow.blur;
    }
    return ceil(s->outline + shadow);
}

struct extent {
    double x, y, width, height;
};

static struct extent layout_extent(PangoLayout *layout)
{
    PangoRectangle logical;
    pango_layout_get_extents(layout, NULL, &logical);
    return (struct extent){(double)logical.x / PANGO_SCALE, (double)logical.y / PANGO_SCALE,
                           (double)logical.width / PANGO_SCALE,
                           (double)logical.height / PANGO_SCALE};
}

// Still text: background, shadow, words. With a box the picture is the box, and the words stand in
// the middle of its height, or at its top when they are taller; else it is as large as words,
// padding and bleed.
static int draw_still(const struct text *t, PangoLayout *layout, cairo_surface_t **ret,
                      struct diagnostic *reterr)
{
    const struct text_style *s = t->style;
    struct extent words = layout_extent(layout);
    bool box = s->box_width > 0;
    double margin = box ? 0 : bleed(t), around = s->padding + margin;
    double width = box ? s->box_width : words.width + 2 * around;
    double height = s->box_height > 0 ? s->box_height : words.height + 2 * around;
    int error = drawing_create(width * t->config.scale_x, height * t->config.scale_y,
                               PICTURE_SIDE_MAX, t->config.clip->id, ret, reterr);
    if (error)
        return error;
    draw_background(t, *ret, margin, width, height);
    double y = (height - words.height) / 2;
    // Within a box, the layout's own x is its alignment.
    draw_text(t, *ret, layout, box ? around : around - words.x,
              (y < around ? around : y) - words.y);
    return 0;
}

static int draw_strip(const struct text *t, PangoLayout *layout, cairo_surface_t **ret,
                      struct diagnostic *reterr)
{
    const struct text_style *s = t->style;
    struct extent words = layout_extent(layout);
    bool crawl = s->motion == TEXT_CRAWL;
    double width = crawl ? words.width + 2 * bleed(t) : s->box_width;
    double height = crawl ? s->box_height : words.height + 2 * bleed(t);
    int error = drawing_create(width * t->config.scale_x, height * t->config.scale_y,
                               DRAWING_SIDE_MAX, t->config.clip->id, ret, reterr);
    if (error)
        return error;
    double x = crawl ? bleed(t) - words.x : s->padding;
    double y = crawl ? (height - words.height) / 2 : bleed(t);
    draw_text(t, *ret, layout, x, y - words.y);
    return 0;
}

static int draw_words_surface(const struct text *t, const char *words, cairo_surface_t **ret,
                              bool *ret_to_the_right, struct diagnostic *reterr)
{
    PangoContext *context = font_set_lock(t->config.fonts);
    PangoLayout *layout = create_layout(t, context, words);
    int error = t->style->motion == TEXT_STILL ? draw_still(t, layout, ret, reterr)
                                               : draw_strip(t, layout, ret, reterr);
    *ret_to_the_right = pango_layout_get_direction(layout, 0) == PANGO_DIRECTION_RTL;
    g_object_unref(layout);
    font_set_unlock(t->config.fonts);
    return error;
}

// Lays the words out anew when they have changed.
static int update_words(struct text *t, struct diagnostic *reterr)
{
    if (t->shown && !t->has_fields)
        return 0;
    char *words = fill_fields(t);
    if (t->shown && !strcmp(t->shown, words)) {
        g_free(words);
        return 0;
    }
    cairo_surface_t *surface = NULL;
    struct picture *picture = NULL;
    bool to_the_right = false;
    int error = draw_words_surface(t, words, &surface, &to_the_right, reterr);
    if (!error && t->style->motion == TEXT_STILL)
        error = drawing_picture(surface, t->config.clip->id, &picture, reterr);
    if (error) {
        cairo_surface_destroy(surface);
        g_free(words);
        return error;
    }
    cairo_surface_destroy(t->strip);
    t->strip = NULL;
    if (picture)
        cairo_surface_destroy(surface);
    else
        t->strip = surface;
    picture_unref(&t->picture);
    t->picture = picture;
    g_free(t->shown);
    t->shown = words;
    t->text_key = checksum_add(checksum_begin(), words, strlen(words));
    t->to_the_right = to_the_right && t->style->motion == TEXT_CRAWL;
    return 0;
}

// ---- Motion -----------------------------------------------------------------------------------

// Where the strip stands in the window, in whole output pixels: it comes in from the edge that its
// words end at and starts again when it has left. Exact: the speed is rounded to 1/65536 of a pixel
// a second, time is rational, so a whole number of pixels per frame is one at every frame.
static int64_t strip_offset(const struct text *t, const struct clip_instant *at)
{
    bool crawl = t->style->motion == TEXT_CRAWL;
    int64_t window = crawl ? t->width : t->height;
    int64_t length =
        crawl ? cairo_image_surface_get_width(t->strip) : cairo_image_surface_get_height(t->strip);
    double scale = crawl ? t->config.scale_x : t->config.scale_y;
    int64_t speed = (int64_t)(t->style->speed * scale * 65536 + 0.5);
    // 128 bits: the time's terms may have 63 bits each.
    int64_t way = window + length;
    __int128 unit = (__int128)at->source_time.den * 65536;
    __int128 moved = (__int128)at->source_time.num * speed / unit;
    int64_t rest = (int64_t)(moved % way);
    return t->to_the_right ? rest - length : window - rest;
}

static void clear(cairo_surface_t *surface)
{
    cairo_t *cr = cairo_create(surface);
    cairo_set_operator(cr, CAIRO_OPERATOR_CLEAR);
    cairo_paint(cr);
    cairo_destroy(cr);
}

static int draw_window(struct text *t, int64_t offset, struct diagnostic *reterr)
{
    const struct text_style *s = t->style;
    if (t->window) {
        clear(t->window);
    } else {
        int error = drawing_create(t->width, t->height, PICTURE_SIDE_MAX, t->config.clip->id,
                                   &t->window, reterr);
        if (error)
            return error;
    }
    draw_background(t, t->window, 0, s->box_width, s->box_height);
    bool crawl = s->motion == TEXT_CRAWL;
    cairo_t *cr = cairo_create(t->window);
    cairo_set_source_surface(cr, t->strip, crawl ? (double)offset : 0, crawl ? 0 : (double)offset);
    cairo_pattern_set_filter(cairo_get_source(cr), CAIRO_FILTER_NEAREST);
    cairo_paint(cr);
    cairo_destroy(cr);
    struct picture *picture;
    int error = drawing_picture(t->window, t->config.clip->id, &picture, reterr);
    if (error)
        return error;
    picture_unref(&t->picture);
    t->picture = picture;
    t->offset = offset;
    return 0;
}

// ---- Source -----------------------------------------------------------------------------------

static void text_destroy(void *state)
{
    struct text *t = state;
    picture_unref(&t->picture);
    cairo_surface_destroy(t->strip);
    cairo_surface_destroy(t->window);
    g_free(t->shown);
    free(t);
}

static int text_picture(void *state, const struct clip_instant *at, struct picture **ret,
                        uint64_t *ret_content, struct diagnostic *reterr)
{
    struct text *t = state;
    int error = update_words(t, reterr);
    if (error)
        return error;
    uint64_t content = t->text_key;
    if (t->style->motion != TEXT_STILL) {
        int64_t offset = strip_offset(t, at);
        if (!t->picture || offset != t->offset)
            error = draw_window(t, offset, reterr);
        if (error)
            return error;
        content = checksum_add(content, &offset, sizeof offset);
    }
    *ret = picture_ref(t->picture);
    // The top bit belongs to the caller's bookkeeping (clip_view.c), and no content is 0.
    *ret_content = content >> 1 | 1;
    return 0;
}

static int text_open(const struct source_config *config, void **ret_state, int *ret_width,
                     int *ret_height, struct diagnostic *reterr)
{
    if (!config->fonts)
        return diagnostic_set(reterr, -EINVAL, "text_fonts", config->clip->id,
                              "a timeline with text must list font files under \"fonts\"");
    const struct text_style *s = config->clip->text;
    struct text *t = base_alloc(sizeof *t);
    t->config = *config;
    t->style = s;
    t->has_fields = strstr(s->text, "{{") != NULL;
    t->width = ((int)ceil(s->box_width * config->scale_x) + 1) & ~1;
    t->height = ((int)ceil(s->box_height * config->scale_y) + 1) & ~1;
    if (s->motion == TEXT_STILL) {
        // The natural size is that of the words at the start; words that change later are placed
        // by their own size.
        struct clip_instant start = {.clip = config->clip, .source_time = {0, 1}};
        struct picture *picture = NULL;
        uint64_t content;
        int error = text_picture(t, &start, &picture, &content, reterr);
        if (error) {
            text_destroy(t);
            return error;
        }
        t->width = picture->width;
        t->height = picture->height;
        picture_unref(&picture);
    }
    *ret_width = t->width;
    *ret_height = t->height;
    *ret_state = t;
    return 0;
}

const struct source_ops source_text_ops = {text_open, text_picture, NULL, NULL, text_destroy};
