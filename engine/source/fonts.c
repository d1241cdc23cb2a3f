#include "engine/base/thread.h"
#include "engine/source/fonts_private.h"

#include <errno.h>
#include <fontconfig/fontconfig.h>
#include <pango/pangofc-fontmap.h>
#include <stdlib.h>

struct font_set {
    // -- constant after create
    FcConfig *config;
    // -- guarded by lock
    pthread_mutex_t lock;
    PangoFontMap *map;
    PangoContext *context;
};

// Fontconfig and FreeType keep process-wide state while a configuration is built.
static pthread_mutex_t create_lock = PTHREAD_MUTEX_INITIALIZER;

static int add_files(FcConfig *config, const char *const *paths, size_t count,
                     struct diagnostic *reterr)
{
    if (!config)
        return diagnostic_set(reterr, -ENOMEM, "fonts_memory", "", "out of memory");
    for (size_t i = 0; i < count; i++)
        if (!FcConfigAppFontAddFile(config, (const FcChar8 *)paths[i]))
            return diagnostic_set(reterr, -EINVAL, "font_file", paths[i],
                                  "is not a font that can be read");
    return 0;
}

// Hinting would round glyphs to this screen's pixels and metrics to whole ones; both differ with
// FreeType's build, and neither suits moving pictures.
static PangoContext *create_context(PangoFontMap *map)
{
    PangoContext *context = pango_font_map_create_context(map);
    cairo_font_options_t *options = cairo_font_options_create();
    cairo_font_options_set_antialias(options, CAIRO_ANTIALIAS_GRAY);
    cairo_font_options_set_hint_style(options, CAIRO_HINT_STYLE_NONE);
    cairo_font_options_set_hint_metrics(options, CAIRO_HINT_METRICS_OFF);
    pango_cairo_context_set_font_options(context, options);
    pango_cairo_context_set_resolution(context, 72);
    pango_context_set_round_glyph_positions(context, FALSE);
    pango_context_set_language(context, pango_language_from_string("en"));
    cairo_font_options_destroy(options);
    return context;
}

int font_set_create(const char *const *paths, size_t count, struct font_set **ret,
                    struct diagnostic *reterr)
{
    struct font_set *f = base_alloc(sizeof *f);
    pthread_mutex_init(&f->lock, NULL);
    pthread_mutex_lock(&create_lock);
    f->config = FcConfigCreate();
    int error = add_files(f->config, paths, count, reterr);
    if (!error) {
        f->map = pango_cairo_font_map_new_for_font_type(CAIRO_FONT_TYPE_FT);
        if (f->map) {
            pango_fc_font_map_set_config(PANGO_FC_FONT_MAP(f->map), f->config);
            f->context = create_context(f->map);
        } else {
            error = diagnostic_set(reterr, -ENOMEM, "fonts_memory", "", "no FreeType font map");
        }
    }
    pthread_mutex_unlock(&create_lock);
    if (error) {
        font_set_destroy(&f);
        return error;
    }
    *ret = f;
    return 0;
}

void font_set_destroy(struct font_set **fonts)
{
    struct font_set *f = *fonts;
    if (!f)
        return;
    *fonts = NULL;
    pthread_mutex_lock(&create_lock);
    if (f->context)
        g_object_unref(f->context);
    if (f->map)
        g_object_unref(f->map);
    if (f->config)
        FcConfigDestroy(f->config);
    pthread_mutex_unlock(&create_lock);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

PangoContext *font_set_lock(struct font_set *f)
{
    pthread_mutex_lock(&f->lock);
    return f->context;
}

void font_set_unlock(struct font_set *f)
{
    pthread_mutex_unlock(&f->lock);
}
