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
    double scale; // output pixels per timeline pixel
    char *shown;  // text with fields filled in, of the last layout
    cairo_surface_t *strip; // crawl and roll: the whole text
    struct picture *picture;
    uint64_t content, text_key;
    int offset;
    int width, height; // of the picture; fixed at open for boxes and moving text
};

// ---- The words --------------------------------------------------------------------------------

// Control characters and bidirectional overrides would let a text leave its line or reorder others.
static bool keeps(gunichar c)
{
    if (c == '\n')
        return true;
    return !(c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x202a && c <= 0x202e) ||
             (c >= 0x2066 && c <= 0x2069) || c == 0xfeff);
}

static void append(GString *out, const char *text, size_t size)
{
    const char *end = text + size;
    while (text < end && out->len < TEXT_BYTES_MAX) {
        gunichar c = g_utf8_get_char_validated(text, end - text);
        if (c == (gunichar)-1 || c == (gunichar)-2) {
            text++; // a field's value may be anything
            continue;
        }
        if (keeps(c))
            g_string_append_unichar(out, c);
        text = g_utf8_next_char(text);
    }
}

// Replaces {{name}}; what is unknown becomes nothing.
static char *fill_fields(const struct text *t)
{
    GString *out = g_string_new(NULL);
    const char *rest = t->style->text;
    for (const char *open; (open = strstr(rest, "{{")) != NULL;) {
        const char *close = strstr(open, "}}");
        if (!close)
            break;
        append(out, rest, (size_t)(open - rest));
        char name[128];
        size_t length = (size_t)(close - open - 2);
        if (t->config.field && length < sizeof name) {
            memcpy(name, open + 2, length);
            name[length] = 0;
            const char *value = t->config.field(t->config.field_opaque, name);
            if (value)
                append(out, value, strlen(value));
        }
        rest = close + 2;
    }
    append(out, rest, strlen(rest));
    return g_string_free(out, FALSE);
}

// ---- Layout and drawing -----------------------------------------------------------------------

static PangoLayout *create_layout(const struct text *t, PangoContext *context, const char *words)
{
    const struct text_style *s = t->style;
    PangoLayout *layout = pango_layout_new(context);
    PangoFontDescription *font = pango_font_description_from_string(s->font);
    pango_font_description_set_absolute_size(font, s->size * t->scale * PANGO_SCALE);
    pango_layout_set_font_description(layout, font);
    pango_font_description_free(font);
    static const PangoAlignment alignments[] = {PANGO_ALIGN_LEFT, PANGO_ALIGN_CENTER,
                                                PANGO_ALIGN_RIGHT};
    pango_layout_set_alignment(layout, alignments[s->align]);
    pango_layout_set_auto_dir(layout, TRUE);
    pango_layout_set_line_spacing(layout, (float)s->line_spacing);
    double inside = (s->box_width - 2 * s->padding) * t->scale;
    if (s->motion == TEXT_CRAWL) {
        pango_layout_set_single_paragraph_mode(layout, TRUE);
    } else if (s->box_width > 0) {
        pango_layout_set_width(layout, (int)((inside > 1 ? inside : 1) * PANGO_SCALE));
        pango_layout_set_wrap(layout, PANGO_WRAP_WORD_CHAR);
    }
    pango_layout_set_text(layout, words, -1);
    return layout;
}

// The words with their outline at (x, y) of the text's logical rectangle.
static void draw_words(const struct text *t, cairo_t *cr, PangoLayout *layout, double x, double y)
{
    if (t->style->outline > 0) {
        cairo_move_to(cr, x, y);
        pango_cairo_layout_path(cr, layout);
        cairo_set_line_width(cr, 2 * t->style->outline * t->scale);
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
    cairo_surface_t *mask = cairo_image_surface_create(CAIRO_FORMAT_A8,
                                                       cairo_image_surface_get_width(target),
                                                       cairo_image_surface_get_height(target));
    cairo_t *mask_cr = cairo_create(mask);
    draw_words(t, mask_cr, layout, x + s->shadow_x * t->scale, y + s->shadow_y * t->scale);
    cairo_destroy(mask_cr);
    drawing_blur(mask, s->shadow_blur * t->scale);
    drawing_colour(cr, s->shadow_colour);
    cairo_mask_surface(cr, mask, 0, 0);
    cairo_surface_destroy(mask);
}

static void draw_text(const struct text *t, cairo_surface_t *surface, PangoLayout *layout, double x,
                      double y)
{
    cairo_t *cr = cairo_create(surface);
    if (t->style->shadow_colour.alpha)
        draw_shadow(t, cr, layout, x, y);
    draw_words(t, cr, layout, x, y);
    cairo_destroy(cr);
}

static void draw_background(const struct text *t, cairo_surface_t *surface, double margin)
{
    if (!t->style->background.alpha)
        return;
    cairo_t *cr = cairo_create(surface);
    double width = cairo_image_surface_get_width(surface) - 2 * margin;
    double height = cairo_image_surface_get_height(surface) - 2 * margin;
    drawing_rounded(cr, margin, margin, width, height, t->style->background_radius * t->scale);
    drawing_colour(cr, t->style->background);
    cairo_fill(cr);
    cairo_destroy(cr);
}

// Room around the words for outline and shadow, the same on all sides so that the anchor stays.
static double bleed(const struct text *t)
{
    const struct text_style *s = t->style;
    double shadow = 0;
    if (s->shadow_colour.alpha) {
        double x = s->shadow_x < 0 ? -s->shadow_x : s->shadow_x;
        double y = s->shadow_y < 0 ? -s->shadow_y : s->shadow_y;
        shadow = (x > y ? x : y) + 2 * s->shadow_blur;
    }
    return ceil((s->outline + shadow) * t->scale);
}

// Still text: background, shadow, words. With a box the picture is the box and the words stand in
// the middle of its height; else it is as large as words, padding and bleed.
static int draw_still(const struct text *t, PangoLayout *layout, cairo_surface_t **ret,
                      struct diagnostic *reterr)
{
    const struct text_style *s = t->style;
    PangoRectangle logical;
    pango_layout_get_pixel_extents(layout, NULL, &logical);
    double padding = s->padding * t->scale, margin = s->box_width > 0 ? 0 : bleed(t);
    double width = s->box_width > 0 ? s->box_width * t->scale : logical.width + 2 * (padding + margin);
    double height =
        s->box_height > 0 ? s->box_height * t->scale : logical.height + 2 * (padding + margin);
    int error = drawing_create(width, height, t->config.clip->id, ret, reterr);
    if (error)
        return error;
    draw_background(t, *ret, margin);
    double y = s->box_height > 0 ? (height - logical.height) / 2 : padding + margin;
    draw_text(t, *ret, layout, padding + margin - logical.x, y - logical.y);
    return 0;
}

static int draw_strip(const struct text *t, PangoLayout *layout, cairo_surface_t **ret,
                      struct diagnostic *reterr)
{
    PangoRectangle logical;
    pango_layout_get_pixel_extents(layout, NULL, &logical);
    bool crawl = t->style->motion == TEXT_CRAWL;
    double padding = t->style->padding * t->scale;
    double width = crawl ? logical.width + 2 * bleed(t) : t->width;
    double height = crawl ? t->height : logical.height + 2 * bleed(t);
    int error = drawing_create(width, height, t->config.clip->id, ret, reterr);
    if (error)
        return error;
    double x = crawl ? bleed(t) : padding, y = crawl ? (height - logical.height) / 2 : bleed(t);
    draw_text(t, *ret, layout, x - logical.x, y - logical.y);
    return 0;
}

// Lays the words out anew when they have changed.
static int update_layout(struct text *t, cairo_surface_t **ret_still, struct diagnostic *reterr)
{
    char *words = fill_fields(t);
    *ret_still = NULL;
    if (t->shown && !strcmp(t->shown, words)) {
        g_free(words);
        return 0;
    }
    PangoContext *context = font_set_lock(t->config.fonts);
    PangoLayout *layout = create_layout(t, context, words);
    int error;
    if (t->style->motion == TEXT_STILL) {
        error = draw_still(t, layout, ret_still, reterr);
    } else {
        cairo_surface_t *strip = NULL;
        error = draw_strip(t, layout, &strip, reterr);
        if (!error) {
            if (t->strip)
                cairo_surface_destroy(t->strip);
            t->strip = strip;
        }
    }
    g_object_unref(layout);
    font_set_unlock(t->config.fonts);
    if (error) {
        g_free(words);
        return error;
    }
    g_free(t->shown);
    t->shown = words;
    t->text_key = checksum_add(checksum_begin(), words, strlen(words));
    picture_unref(&t->picture);
    return 0;
}

// How far a strip has moved, in whole output pixels; it comes in from the right (or below) and
// starts again when it has left.
static int strip_offset(const struct text *t, const struct clip_instant *at)
{
    bool crawl = t->style->motion == TEXT_CRAWL;
    int window = crawl ? t->width : t->height;
    int length = crawl ? cairo_image_surface_get_width(t->strip)
                       : cairo_image_surface_get_height(t->strip);
    double seconds = (double)at->source_time.num / (double)at->source_time.den;
    int64_t moved = (int64_t)(seconds * t->style->speed * t->scale);
    return window - (int)(moved % (window + length));
}

static int draw_window(struct text *t, int offset, struct diagnostic *reterr)
{
    cairo_surface_t *surface;
    int error = drawing_create(t->width, t->height, t->config.clip->id, &surface, reterr);
    if (error)
        return error;
    draw_background(t, surface, 0);
    bool crawl = t->style->motion == TEXT_CRAWL;
    cairo_t *cr = cairo_create(surface);
    cairo_set_source_surface(cr, t->strip, crawl ? offset : 0, crawl ? 0 : offset);
    cairo_pattern_set_filter(cairo_get_source(cr), CAIRO_FILTER_NEAREST);
    cairo_paint(cr);
    cairo_destroy(cr);
    picture_unref(&t->picture);
    error = drawing_picture(surface, &t->picture);
    cairo_surface_destroy(surface);
    return error;
}

// ---- Source -----------------------------------------------------------------------------------

static void text_destroy(void *state)
{
    struct text *t = state;
    picture_unref(&t->picture);
    if (t->strip)
        cairo_surface_destroy(t->strip);
    g_free(t->shown);
    free(t);
}

static int text_picture(void *state, const struct clip_instant *at, struct picture **ret,
                        uint64_t *ret_content, struct diagnostic *reterr)
{
    struct text *t = state;
    cairo_surface_t *still;
    int error = update_layout(t, &still, reterr);
    if (!error && still) {
        error = drawing_picture(still, &t->picture);
        cairo_surface_destroy(still);
    }
    uint64_t content = t->text_key;
    if (!error && t->style->motion != TEXT_STILL) {
        int offset = strip_offset(t, at);
        if (!t->picture || offset != t->offset)
            error = draw_window(t, offset, reterr);
        t->offset = offset;
        content = checksum_add(content, &offset, sizeof offset);
    }
    if (error)
        return error;
    *ret = picture_ref(t->picture);
    // The top bits belong to the caller's bookkeeping (clip_view.c).
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
    if (s->motion != TEXT_STILL && (s->box_width <= 0 || s->box_height <= 0))
        return diagnostic_set(reterr, -EINVAL, "text_box", config->clip->id,
                              "moving text needs a \"box\" with width and height");
    struct text *t = base_alloc(sizeof *t);
    t->config = *config;
    t->style = s;
    t->scale = config->scale_y;
    t->width = ((int)ceil(s->box_width * t->scale) + 1) & ~1;
    t->height = ((int)ceil(s->box_height * t->scale) + 1) & ~1;
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

const struct source_ops source_text_ops = {text_open, text_picture, text_destroy};
