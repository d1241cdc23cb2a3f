#include "engine/base/thread.h"
#include "engine/source/fonts_private.h"

#include <errno.h>
#include <fontconfig/fontconfig.h>
#include <pango/pangofc-fontmap.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

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

// Pango, fontconfig, HarfBuzz and FreeType take preferences from the environment: LANGUAGE=bg, for
// one, gives other Cyrillic letters. They read it at their first use, so it is set before main,
// where no other thread can be reading it.
__attribute__((constructor)) static void forget_preferences(void)
{
    setenv("PANGO_LANGUAGE", "en", 1);
    setenv("FC_LANG", "en", 1);
    static const char *const others[] = {"FREETYPE_PROPERTIES", "HB_OPTIONS", "HB_SHAPER_LIST",
                                         "HB_FONT_FUNCS"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        unsetenv(others[i]);
}

// Colour emoji are bitmaps of one size (136 pixels in Noto). This is the only rule of a font set:
// show bitmaps at the size asked for. Hosts have a rule for it too, which is not read here.
static const char bitmap_rule[] =
    "<fontconfig><match target=\"font\">"
    "<test name=\"outline\"><bool>false</bool></test>"
    "<edit name=\"pixelsizefixupfactor\" mode=\"assign\">"
    "<divide><name target=\"pattern\">pixelsize</name><name "
    "target=\"font\">pixelsize</name></divide>"
    "</edit>"
    "<edit name=\"matrix\" mode=\"assign\"><times><name>matrix</name><matrix>"
    "<name>pixelsizefixupfactor</name><double>0</double>"
    "<double>0</double><name>pixelsizefixupfactor</name></matrix></times></edit>"
    "<edit name=\"size\" mode=\"assign\">"
    "<divide><name>size</name><name>pixelsizefixupfactor</name></divide></edit>"
    "</match></fontconfig>";

// Pango loads fontconfig's current configuration in a thread of its own, though it then uses ours.
// An empty one is made current first, so that the host's is never read. Kept until the program
// ends.
static void forget_host(void)
{
    static bool done; // under create_lock
    FcConfig *empty = done ? NULL : FcConfigCreate();
    if (!empty)
        return;
    done = FcConfigSetCurrent(empty);
    FcConfigDestroy(empty); // the current one keeps its own reference
}

static int font_count(FcConfig *config)
{
    const FcFontSet *set = FcConfigGetFonts(config, FcSetApplication);
    return set ? set->nfont : 0;
}

static int add_files(FcConfig *config, const char *const *paths, size_t count,
                     struct diagnostic *reterr)
{
    if (!config)
        return diagnostic_set(reterr, -ENOMEM, "fonts_memory", "", "out of memory");
    if (!FcConfigParseAndLoadFromMemory(config, (const FcChar8 *)bitmap_rule, FcFalse))
        return diagnostic_set(reterr, -ENOMEM, "fonts_memory", "", "the font rule was refused");
    for (size_t i = 0; i < count; i++) {
        // A file that is not a font is accepted and adds nothing; Pango ends the program when it
        // then finds no font at all.
        int before = font_count(config);
        if (!FcConfigAppFontAddFile(config, (const FcChar8 *)paths[i]) ||
            font_count(config) == before)
            return diagnostic_set(reterr, -EINVAL, "font_file", paths[i],
                                  "is not a font that can be read; give a TrueType or OpenType "
                                  "file");
    }
    if (!count)
        return diagnostic_set(reterr, -EINVAL, "font_file", "", "a font set needs a font");
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
    forget_host();
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
    if (f->map) {
        // Pango 1.50.12 keeps its reference to the configuration when a map goes.
        pango_fc_font_map_set_config(PANGO_FC_FONT_MAP(f->map), NULL);
        g_object_unref(f->map);
    }
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

// True when one of the families `names`, separated by commas, is the font file's.
static bool has_family(const FcPattern *file, const char *names)
{
    FcChar8 *family;
    for (int k = 0; FcPatternGetString(file, FC_FAMILY, k, &family) == FcResultMatch; k++)
        for (const char *at = names; *at;) {
            at += strspn(at, ", ");
            size_t length = strcspn(at, ",");
            if (length == strlen((const char *)family) &&
                !strncasecmp(at, (const char *)family, length))
                return true;
            at += length;
        }
    return false;
}

static int refuse_family(const FcFontSet *set, const char *names, struct diagnostic *reterr)
{
    char list[300] = "";
    for (int i = 0; i < set->nfont; i++) {
        FcChar8 *family;
        if (FcPatternGetString(set->fonts[i], FC_FAMILY, 0, &family) == FcResultMatch &&
            !strstr(list, (const char *)family))
            snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", *list ? ", " : "",
                     (const char *)family);
    }
    return diagnostic_set(
        reterr, -ENOENT, "font_family", "",
        "the timeline's fonts have no family \"%.60s\", so another is shown; they "
        "offer: %s",
        names, list);
}

int font_set_check(struct font_set *f, const char *font, struct diagnostic *reterr)
{
    PangoFontDescription *description = pango_font_description_from_string(font);
    const char *names = pango_font_description_get_family(description);
    const FcFontSet *set = FcConfigGetFonts(f->config, FcSetApplication);
    bool found = !names || !set;
    for (int i = 0; !found && i < set->nfont; i++)
        found = has_family(set->fonts[i], names);
    int error = found ? 0 : refuse_family(set, names, reterr);
    pango_font_description_free(description);
    return error;
}
