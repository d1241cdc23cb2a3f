// What is accepted comes out as written; what is refused is refused for the right reason at the
// right place. The documents are in tests/data/timelines.
#include "tests/check.h"
#include "tests/engine/timeline/files.h"

#include <dirent.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <unistd.h>

#define HEAD                                                                                       \
    "{\"schema\":\"vistter.timeline/1\",\"format\":{\"width\":1280,\"height\":720,"                \
    "\"rate\":\"30\"},\"assets\":{\"a\":\"file:a\"},\"tracks\":["

// A growing text.
struct text {
    char *bytes;
    size_t size, room;
};

static void text_add(struct text *text, const char *format, ...)
{
    char piece[4096];
    va_list args;
    va_start(args, format);
    size_t length = (size_t)vsnprintf(piece, sizeof piece, format, args);
    va_end(args);
    if (text->size + length + 1 > text->room) {
        text->room = 2 * (text->size + length + 1);
        text->bytes = realloc(text->bytes, text->room);
    }
    memcpy(text->bytes + text->size, piece, length + 1);
    text->size += length;
}

static int parse_text(struct text *text, struct timeline **ret, struct diagnostic *reterr)
{
    *reterr = (struct diagnostic){0};
    int result = timeline_parse(text->bytes, text->size, NULL, NULL, ret, reterr);
    free(text->bytes);
    *text = (struct text){0};
    return result;
}

// -- the example documents

static bool ends_with(const char *name, const char *end)
{
    size_t length = strlen(name), tail = strlen(end);
    return length > tail && !strcmp(name + length - tail, end);
}

static void check_valid(const char *path)
{
    struct timeline *timeline = NULL;
    struct diagnostic d = {0};
    int result = file_parse(path, &timeline, &d);
    if (result < 0)
        fprintf(stderr, "%s: %s: %s\n", path, d.path, d.text);
    CHECK_OK(result);
    timeline_unref(&timeline);
}

static void check_invalid(const char *path)
{
    char expect_path[4096], expected[300] = "";
    snprintf(expect_path, sizeof expect_path, "%.*s.expect", (int)(strlen(path) - 5), path);
    size_t size = 0;
    char *bytes = file_read(expect_path, &size);
    CHECK_TRUE(bytes && size < sizeof expected);
    if (bytes && size && size < sizeof expected)
        memcpy(expected, bytes, size - 1); // without the line's end
    free(bytes);
    struct timeline *timeline = NULL;
    struct diagnostic d = {0};
    int result = file_parse(path, &timeline, &d);
    CHECK_TRUE(!timeline && (result == -EINVAL || result == -E2BIG || result == -ENOENT));
    CHECK(d.error, ==, result);
    CHECK_TEXT(d.path, expected);
    CHECK_TRUE(d.code[0] && d.text[0] && d.text[strlen(d.text) - 1] != '.');
    if (strcmp(d.path, expected))
        fprintf(stderr, "  in %s: %s\n", path, d.text);
    // Without a diagnostic it ends the same way.
    CHECK_ERROR(file_parse(path, &timeline, NULL), result);
}

static int check_folder(const char *folder, void (*check)(const char *path))
{
    int count = 0;
    DIR *directory = opendir(folder);
    CHECK_TRUE(directory);
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (ends_with(path, ".json"))
            check(path), count++;
    }
    if (directory)
        closedir(directory);
    return count;
}

// -- what comes out

static bool colour_is(struct colour c, int red, int green, int blue, int alpha)
{
    return c.red == red && c.green == green && c.blue == blue && c.alpha == alpha;
}

static void test_demo(void)
{
    struct timeline *t = NULL;
    struct diagnostic d;
    CHECK_OK(file_parse(DATA "/valid/demo.json", &t, &d));
    if (!t)
        return;
    CHECK_TEXT(t->name, "Demo");
    CHECK_TRUE(t->width == 1280 && t->height == 720 && t->rate.num == 30 && t->rate.den == 1);
    CHECK_TRUE(colour_is(t->background, 0x10, 0x18, 0x20, 255));
    CHECK_TRUE(t->duration == 900 && t->loop && t->asset_count == 3 && t->font_count == 1);
    CHECK_TRUE(t->loudness_lufs == -23);
    CHECK_TEXT(t->fonts[0], "file:/usr/share/fonts/x.ttf");
    CHECK(t->track_count, ==, 3);
    CHECK_TEXT(t->tracks[0].name, "base");
    CHECK_TEXT(t->tracks[1].name, "1");
    const struct clip *c = &t->tracks[0].clips[0];
    CHECK_TRUE(c->kind == CLIP_VIDEO && c->start == 0 && c->duration == 300);
    CHECK_TEXT(c->id, "c1");
    CHECK_TEXT(t->assets[c->asset].name, "intro");
    CHECK_TEXT(t->assets[c->asset].uri, "file:a.mp4");
    CHECK_TRUE(c->in.num == 3 && c->in.den == 2 && c->speed.num == 3 && c->speed.den == 2);
    CHECK_TRUE(c->fit == FIT_COVER && c->fade_in == 15 && c->fade_out == 15);
    CHECK_TRUE(c->sound_fade_in == 3 && c->sound_fade_out == 4 && !c->muted);
    CHECK_TRUE(c->crop_rb.keys[0].value[0] == 0.1 && c->crop_lt.keys[0].value[0] == 0);
    CHECK_TRUE(c->fallback.kind == FALLBACK_COLOUR &&
               colour_is(c->fallback.colour, 0x11, 0x22, 0x33, 255));
    CHECK_TRUE(c[1].transition == 30 && c[1].fit == FIT_CONTAIN && c[1].blend == BLEND_NORMAL);
    CHECK_TEXT(c[1].id, "0/1");
    const struct text_style *text = t->tracks[1].clips[0].text;
    CHECK_TEXT(text->text, "H\xc3\xa9llo {{name}}");
    CHECK_TEXT(text->font, "Noto Sans Bold");
    CHECK_TRUE(text->size == 48 && text->box_width == 500 && text->box_height == 100);
    CHECK_TRUE(text->outline == 2 && colour_is(text->outline_colour, 0, 0, 0, 255));
    CHECK_TRUE(text->shadow.x == 2 && text->shadow.blur == 4 && text->shadow.colour.alpha == 128);
    CHECK_TRUE(text->background.alpha == 0xa0 && text->padding == 12);
    CHECK_TRUE(text->background_radius == 8 && text->motion == TEXT_CRAWL && text->speed == 120);
    timeline_unref(&t);
}

static void test_defaults(void)
{
    struct timeline *t = NULL;
    struct diagnostic d;
    CHECK_OK(file_parse(DATA "/valid/all_kinds.json", &t, &d));
    if (!t)
        return;
    static const enum fit fits[] = {
        [CLIP_VIDEO] = FIT_CONTAIN,    [CLIP_IMAGE] = FIT_CONTAIN, [CLIP_SEQUENCE] = FIT_CONTAIN,
        [CLIP_TEXT] = FIT_NONE,        [CLIP_SHAPE] = FIT_NONE,    [CLIP_PATTERN] = FIT_FILL,
        [CLIP_TIMELINE] = FIT_CONTAIN, [CLIP_CAMERA] = FIT_CONTAIN};
    for (size_t i = 0; i < t->track_count; i++) {
        const struct clip *c = &t->tracks[i].clips[0];
        CHECK(c->kind, ==, i); // the document has one track for each, in the order of the enum
        if (c->kind != CLIP_AUDIO && c->kind != CLIP_ADJUST)
            CHECK(c->fit, ==, fits[c->kind]);
        CHECK_TRUE(c->position.keys[0].value[0] == 640 && c->position.keys[0].value[1] == 360);
        CHECK_TRUE(c->size.keys[0].value[0] == 0 && c->size.keys[0].value[1] == 0);
        CHECK_TRUE(c->gain_db.keys[0].value[0] == 0 && c->pan.keys[0].value[0] == 0);
        CHECK_TRUE(c->fallback.kind == FALLBACK_TRANSPARENT && c->transition == 0);
    }
    CHECK(t->duration, ==, 100);
    const struct clip *sequence = &t->tracks[CLIP_SEQUENCE].clips[0];
    CHECK_TRUE(sequence->speed.num == 2 && sequence->speed.den == 1 && sequence->loop);
    const struct clip *audio = &t->tracks[CLIP_AUDIO].clips[0]; // in: 48 frames of 30 a second
    CHECK_TRUE(audio->in.num == 8 && audio->in.den == 5);
    CHECK(t->tracks[CLIP_TIMELINE].clips[0].nested->duration, ==, 50);
    CHECK(t->tracks[CLIP_TEXT].clips[0].text->size, ==, 48);
    timeline_unref(&t);
}

static void test_cameras(void)
{
    struct timeline *t = NULL;
    struct diagnostic d;
    CHECK_OK(file_parse(DATA "/valid/all_kinds.json", &t, &d));
    const struct clip *c = t ? &t->tracks[CLIP_CAMERA].clips[0] : NULL;
    CHECK_TRUE(c && c->delay_ns == 400000000 && c->hold_ns == 1000000000 && c->asset == -1);
    timeline_unref(&t);
    CHECK_OK(file_parse(DATA "/valid/demo.json", &t, &d));
    CHECK_TRUE(t && !timeline_has_camera(t) && !timeline_sources(t, NULL, 0));
    timeline_unref(&t);
    CHECK_OK(file_parse(DATA "/valid/cameras.json", &t, &d));
    if (!t)
        return;
    c = t->tracks[0].clips;
    CHECK_TEXT(c[0].source, "cam1");
    CHECK_TRUE(c[0].delay_ns == 200000000 && c[0].hold_ns == INT64_C(60000000000));
    CHECK_TRUE(c[0].fallback.kind == FALLBACK_ASSET && c[0].sound_fade_in == 10);
    CHECK_TEXT(c[1].source, "a.B-c_9");
    CHECK_TRUE(c[1].delay_ns == INT64_C(10000000000) && !c[1].hold_ns && c[1].transition == 10);
    CHECK_TRUE(t->tracks[2].clips[0].delay_ns == 400000000);
    CHECK_TRUE(t->tracks[2].clips[0].hold_ns == 500000000);
    // Each once, those of the scene too.
    const char *names[TIMELINE_SOURCES_MAX] = {NULL};
    CHECK_TRUE(timeline_has_camera(t));
    CHECK(timeline_sources(t, names, TIMELINE_SOURCES_MAX), ==, 3);
    CHECK_TEXT(names[0], "cam1");
    CHECK_TEXT(names[1], "a.B-c_9");
    CHECK_TEXT(names[2], "in-scene");
    CHECK(timeline_sources(t, names, 1), ==, 3);
    timeline_unref(&t);
}

static void test_borders(void)
{
    struct timeline *t = NULL;
    struct diagnostic d;
    CHECK_OK(file_parse(DATA "/valid/borders.json", &t, &d));
    if (!t)
        return;
    const struct clip *c = t->tracks[0].clips;
    CHECK_TRUE(c[0].border.count == 1 && c[0].border.keys[0].value[0] == 4);
    CHECK_TRUE(colour_is(c[0].border_colour, 255, 255, 255, 255));
    CHECK_TRUE(c[0].shadow.x == 4 && c[0].shadow.y == 4 && c[0].shadow.blur == 12);
    CHECK_TRUE(colour_is(c[0].shadow.colour, 0, 0, 0, 0xa0));
    CHECK_TRUE(c[1].border.count == 2 && c[1].border.keys[1].value[0] == 12.5);
    CHECK_TRUE(colour_is(c[1].border_colour, 0x10, 0x20, 0x30, 0x40));
    CHECK_TRUE(c[1].shadow.x == -6 && c[1].shadow.y == 0.5 && c[1].shadow.blur == 0);
    CHECK_TRUE(colour_is(c[1].shadow.colour, 255, 0, 0, 255));
    // A text's letters and its box have a shadow each.
    CHECK_TRUE(c[2].text->shadow.x == 2 && c[2].shadow.x == 7 && c[2].border.count == 1);
    CHECK_TRUE(c[2].border.keys[0].value[0] == 0 && c[2].border_colour.alpha == 0);
    timeline_unref(&t);
}

// Seconds are exact where they stay rational, and rounded to the nearest frame where they do not.
static void test_times(void)
{
    struct timeline *t = NULL;
    struct diagnostic d;
    CHECK_OK(file_parse(DATA "/valid/times.json", &t, &d));
    if (!t)
        return;
    const struct clip *c = &t->tracks[0].clips[0];
    CHECK(c->start, ==, 30);       // 29.97
    CHECK(c->duration, ==, 360);   // 359.64
    CHECK(t->duration, ==, 29970); // 29970.03
    CHECK(c->fade_in, ==, 15);     // 14.985
    CHECK(c->fade_out, ==, 10);    // 9.99
    CHECK_TRUE(c->in.num == 1001 && c->in.den == 30000);
    CHECK_TRUE(c->speed.num == 30000 && c->speed.den == 1001);
    timeline_unref(&t);
}

static void test_sharing(void)
{
    struct timeline *t = NULL;
    struct diagnostic d;
    CHECK_OK(file_parse(DATA "/valid/nested.json", &t, &d));
    if (!t)
        return;
    const struct timeline *branch = t->tracks[0].clips[0].nested;
    const struct timeline *leaf = t->tracks[0].clips[1].nested;
    CHECK_TRUE(branch && branch == t->tracks[1].clips[0].nested); // parsed once
    CHECK_TRUE(leaf && leaf == branch->tracks[0].clips[0].nested);
    size_t size = 0;
    char *bytes = file_read(DATA "/valid/parts/leaf.json", &size);
    uint8_t hash[32];
    EVP_Digest(bytes, size, hash, NULL, EVP_sha256(), NULL);
    CHECK_BYTES(leaf->sha256, hash, 32);
    free(bytes);
    struct timeline *kept = timeline_ref(leaf);
    timeline_unref(&t);
    CHECK(kept->duration, ==, 50);
    timeline_unref(&kept);
    CHECK_TRUE(!kept);
    timeline_unref(&kept);
}

// -- limits

static void add_clips(struct text *text, int count, const char *more)
{
    for (int i = 0; i < count; i++)
        text_add(text, "%s{\"kind\":\"image\",\"asset\":\"a\",\"start\":%d,\"duration\":10%s}",
                 i ? "," : "", i * 10, more);
}

static void test_many_clips(void)
{
    struct text text = {0};
    struct timeline *t = NULL;
    struct diagnostic d;
    text_add(&text, HEAD "{\"clips\":[");
    add_clips(&text, 10000, ",\"fade_in\":5,\"position\":[1,2]");
    text_add(&text, "]}]}");
    CHECK_OK(parse_text(&text, &t, &d));
    if (t) {
        CHECK(t->tracks[0].clip_count, ==, 10000);
        CHECK(t->duration, ==, 100000);
        for (int64_t n = 0; n < 100000; n += 7) { // each clip is found at its frames
            struct layer layer;
            timeline_evaluate(t, (struct rate){30, 1}, 1280, 720, n, &layer);
            CHECK_TRUE(layer.now.clip == &t->tracks[0].clips[n / 10]);
        }
    }
    timeline_unref(&t);
    text_add(&text, HEAD "{\"clips\":[");
    add_clips(&text, 5001, "");
    text_add(&text, "]},{\"clips\":[");
    add_clips(&text, 5000, "");
    text_add(&text, "]}]}");
    CHECK_ERROR(parse_text(&text, &t, &d), -E2BIG);
    CHECK_TEXT(d.path, "tracks[1].clips");
}

static void test_many_keyframes(int count, int error, const char *path)
{
    struct text text = {0};
    struct timeline *t = NULL;
    struct diagnostic d;
    text_add(&text, HEAD "{\"clips\":[{\"kind\":\"image\",\"asset\":\"a\",\"start\":0,"
                         "\"duration\":10,\"opacity\":{\"keyframes\":[");
    for (int i = 0; i < count; i++)
        text_add(&text, "%s{\"at\": %d, \"value\": 0.5}", i ? ", " : "", i);
    text_add(&text, "]}}]}]}");
    CHECK_ERROR(parse_text(&text, &t, &d), error);
    CHECK_TEXT(d.path, path);
    timeline_unref(&t);
}

// The scan that counts before unpacking can be evaded by writing a field's name with an escape; the
// parser counts for itself.
static void test_escaped_keyframes(void)
{
    struct text text = {0};
    struct timeline *t = NULL;
    struct diagnostic d;
    text_add(&text, HEAD "{\"clips\":[");
    for (int c = 0; c < 2; c++) {
        text_add(&text,
                 "%s{\"kind\":\"image\",\"asset\":\"a\",\"start\":%d,\"duration\":10,"
                 "\"opacity\":{\"k\\u0065yframes\":[",
                 c ? "," : "", c * 10);
        for (int i = 0; i < 60000; i++)
            text_add(&text, "%s{\"at\":%d,\"value\":0}", i ? "," : "", i);
        text_add(&text, "]}}");
    }
    text_add(&text, "]}]}");
    CHECK_ERROR(parse_text(&text, &t, &d), -E2BIG);
    CHECK_TEXT(d.path, "tracks[0].clips[1].opacity.keyframes");
}

static void test_size(void)
{
    // 100 MB that no parser touches: the pages are not even there to be read.
    size_t size = 100 << 20;
    struct timeline *t = NULL;
    struct diagnostic d;
    CHECK_ERROR(timeline_parse("", size, NULL, NULL, &t, &d), -E2BIG);
    CHECK_TEXT(d.code, "timeline_too_large");
    struct text text = {0};
    text_add(&text, "{\"assets\":[");
    for (int i = 0; i < 4000001; i++)
        text_add(&text, "0,");
    CHECK_ERROR(parse_text(&text, &t, &d), -E2BIG);
    CHECK_TRUE(!strncmp(d.path, "assets[", 7));
}

// A document that nests the one below it on each of 32 tracks: a few kilobytes that would show 32^6
// layers.
static int load_bomb(void *opaque, const char *uri, char **ret_bytes, size_t *ret_size,
                     struct diagnostic *reterr)
{
    (void)opaque, (void)reterr;
    int level = atoi(uri + 5);
    struct text text = {0};
    text_add(&text,
             "{\"schema\":\"vistter.timeline/1\",\"format\":{\"width\":64,\"height\":64,"
             "\"rate\":\"30\"},\"duration\":10,\"assets\":{\"a\":\"file:%d\"},\"tracks\":[",
             level - 1);
    for (int i = 0; i < 32 && level; i++)
        text_add(&text,
                 "%s{\"clips\":[{\"kind\":\"timeline\",\"asset\":\"a\",\"start\":0,"
                 "\"duration\":10}]}",
                 i ? "," : "");
    text_add(&text, "%s]}",
             level ? ""
                   : "{\"clips\":[{\"kind\":\"pattern\",\"start\":0,"
                     "\"duration\":10,\"pattern\":{\"kind\":\"bars\"}}]}");
    *ret_bytes = text.bytes;
    *ret_size = text.size;
    return 0;
}

static void test_bomb(void)
{
    for (int level = 0; level < 7; level++) {
        char uri[32], *bytes = NULL;
        size_t size = 0;
        struct timeline *t = NULL;
        struct diagnostic d = {0};
        snprintf(uri, sizeof uri, "file:%d", level);
        load_bomb(NULL, uri, &bytes, &size, NULL);
        int result = timeline_parse(bytes, size, load_bomb, NULL, &t, &d);
        CHECK(result, ==, level < 3 ? 0 : -E2BIG); // 32^2 layers are allowed, 32^3 are not
        if (level >= 3)
            CHECK_TEXT(d.path, level == 3 ? "tracks" : "tracks[0].clips[0].asset");
        timeline_unref(&t);
        free(bytes);
    }
}

static void test_many_sources(void)
{
    for (int count = TIMELINE_SOURCES_MAX; count <= TIMELINE_SOURCES_MAX + 1; count++) {
        struct text text = {0};
        struct timeline *t = NULL;
        struct diagnostic d;
        text_add(&text, HEAD "{\"clips\":[");
        for (int i = 0; i < 2 * count; i++)
            text_add(&text,
                     "%s{\"kind\":\"camera\",\"source\":\"cam%d\",\"start\":%d,\"duration\":1}",
                     i ? "," : "", i / 2, i);
        text_add(&text, "]}]}");
        CHECK_ERROR(parse_text(&text, &t, &d), count > TIMELINE_SOURCES_MAX ? -E2BIG : 0);
        CHECK_TEXT(d.path, count > TIMELINE_SOURCES_MAX ? "tracks[0].clips[128].source" : "");
        timeline_unref(&t);
    }
}

// A dissolve between nested timelines shows both: 64 tracks of 64 are allowed, twice as many not.
static int load_wide(void *opaque, const char *uri, char **ret_bytes, size_t *ret_size,
                     struct diagnostic *reterr)
{
    (void)opaque, (void)uri, (void)reterr;
    struct text text = {0};
    text_add(&text, HEAD);
    for (int i = 0; i < 64; i++)
        text_add(&text,
                 "%s{\"clips\":[{\"kind\":\"pattern\",\"start\":0,\"duration\":9,"
                 "\"pattern\":{\"kind\":\"bars\"}}]}",
                 i ? "," : "");
    text_add(&text, "]}");
    *ret_bytes = text.bytes;
    *ret_size = text.size;
    return 0;
}

static void test_wide_dissolve(void)
{
    for (int dissolve = 0; dissolve < 2; dissolve++) {
        struct text text = {0};
        struct timeline *t = NULL;
        struct diagnostic d = {0};
        text_add(&text, HEAD);
        for (int i = 0; i < 64; i++)
            text_add(&text,
                     "%s{\"clips\":[{\"kind\":\"timeline\",\"asset\":\"a\",\"start\":0,"
                     "\"duration\":9},{\"kind\":\"timeline\",\"asset\":\"a\",\"start\":%d,"
                     "\"duration\":9,\"transition\":%d}]}",
                     i ? "," : "", 9 - dissolve, dissolve);
        text_add(&text, "]}");
        CHECK_ERROR(timeline_parse(text.bytes, text.size, load_wide, NULL, &t, &d),
                    dissolve ? -E2BIG : 0);
        CHECK_TEXT(d.path, dissolve ? "tracks" : "");
        free(text.bytes);
        timeline_unref(&t);
    }
}

// Clips are counted with those of nested timelines: 5,000 + 5,001 are too many.
static int load_long(void *opaque, const char *uri, char **ret_bytes, size_t *ret_size,
                     struct diagnostic *reterr)
{
    (void)uri, (void)reterr;
    struct text text = {0};
    text_add(&text, HEAD "{\"clips\":[");
    add_clips(&text, *(const int *)opaque, "");
    text_add(&text, "]}]}");
    *ret_bytes = text.bytes;
    *ret_size = text.size;
    return 0;
}

static void test_many_nested_clips(void)
{
    for (int count = 5000; count <= 5001; count++) {
        struct text text = {0};
        struct timeline *t = NULL;
        struct diagnostic d = {0};
        text_add(&text, HEAD "{\"clips\":[");
        add_clips(&text, 4999, "");
        text_add(&text, "]},{\"clips\":[{\"kind\":\"timeline\",\"asset\":\"a\",\"start\":0,"
                        "\"duration\":9}]}]}");
        CHECK_ERROR(timeline_parse(text.bytes, text.size, load_long, &count, &t, &d),
                    count > 5000 ? -E2BIG : 0);
        CHECK_TEXT(d.path, count > 5000 ? "tracks[1].clips[0].asset" : "");
        free(text.bytes);
        timeline_unref(&t);
    }
}

// What is in a string is text, whatever it looks like.
static void test_brackets_in_text(void)
{
    struct text text = {0};
    struct timeline *t = NULL;
    struct diagnostic d;
    text_add(&text,
             HEAD "],\"duration\":1,\"name\":\"\\\\\\\"[[[[[[[[[[{{{{{{{{{{[[[[[[[[[[[[[[[\"}");
    CHECK_OK(parse_text(&text, &t, &d));
    if (t)
        CHECK_TEXT(t->name, "\\\"[[[[[[[[[[{{{{{{{{{{[[[[[[[[[[[[[[[");
    timeline_unref(&t);
}

// An error in a nested timeline is told at the clip, with its own place in the text.
static void test_nested_words(void)
{
    struct timeline *t = NULL;
    struct diagnostic d = {0};
    CHECK_ERROR(file_parse(DATA "/invalid/nested_broken.json", &t, &d), -EINVAL);
    CHECK_TRUE(strstr(d.text, "in \"file:parts/broken.json\", tracks[0].clips[0].opacity: "));
    CHECK_ERROR(file_parse(DATA "/invalid/cycle.json", &t, &d), -EINVAL);
    CHECK_TEXT(d.code, "timeline_cycle");
    CHECK_TRUE(strstr(d.text, "includes itself"));
    struct text text = {0};
    text_add(&text, HEAD "{\"clips\":[{\"kind\":\"timeline\",\"asset\":\"a\",\"start\":0,"
                         "\"duration\":10}]}]}");
    CHECK_ERROR(parse_text(&text, &t, &d), -EINVAL);
    CHECK_TEXT(d.path, "tracks[0].clips[0].asset");
}

// The path of a field whose name is not fit to be shown stays plain and short.
static void test_odd_names(void)
{
    struct text text = {0};
    struct timeline *t = NULL;
    struct diagnostic d;
    char name[300];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = 0;
    text_add(&text, HEAD "],\"a\\nb\xc3\xa9%s\":1}", name);
    CHECK_ERROR(parse_text(&text, &t, &d), -EINVAL);
    CHECK_TRUE(!strncmp(d.path, "a?b??xxx", 8) && strlen(d.path) <= 64);
}

// What people read: the range that is meant, and where a clip stands.
static void test_words(void)
{
    static const struct {
        const char *duration, *words;
    } cases[] = {{"0", "is 0; must be 1 to 1000000000"},
                 {"-5", "is -5; must be 1 to 1000000000"},
                 {"\"0s\"", "comes to 0 frames; must be at least 1"}};
    struct timeline *timeline = NULL;
    struct diagnostic d;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct text text = {0};
        text_add(&text,
                 HEAD "{\"clips\":[{\"kind\":\"video\",\"asset\":\"a\",\"start\":0,"
                      "\"duration\":%s}]}]}",
                 cases[i].duration);
        CHECK_ERROR(parse_text(&text, &timeline, &d), -EINVAL);
        CHECK_TEXT(d.text, cases[i].words);
    }
    struct text text = {0};
    struct diagnostic e = {.error = -ENOENT, .path = "/films/a.mp4", .text = "is not there"};
    text_add(&text,
             HEAD "{\"clips\":[]},{\"clips\":[{\"kind\":\"video\",\"asset\":\"a\",\"start\":0,"
                  "\"duration\":2},{\"kind\":\"video\",\"asset\":\"a\",\"start\":2,\"duration\":2},"
                  "{\"kind\":\"video\",\"asset\":\"a\",\"start\":4,\"duration\":2,"
                  "\"id\":\"end\"}]}]}");
    CHECK_OK(parse_text(&text, &timeline, &d));
    clip_problem(timeline, &timeline->tracks[1].clips[1], &e, &d);
    CHECK_TEXT(d.path, "tracks[1].clips[1]");
    CHECK_TEXT(d.text, "asset \"a\": /films/a.mp4: is not there");
    snprintf(e.path, sizeof e.path, "/store/%064d", 7);
    clip_problem(timeline, &timeline->tracks[1].clips[2], &e, &d);
    CHECK_TEXT(d.path, "end");
    CHECK_TEXT(d.text, "asset \"a\": is not there");
    timeline_unref(&timeline);
}

int main(void)
{
    test_words();
    CHECK(check_folder(DATA "/valid", check_valid), >=, 15);
    CHECK(check_folder(DATA "/invalid", check_invalid), >=, 100);
    test_demo();
    test_defaults();
    test_borders();
    test_cameras();
    test_times();
    test_sharing();
    test_many_clips();
    test_many_keyframes(100000, 0, "");
    test_many_keyframes(100001, -E2BIG, "tracks[0].clips[0].opacity.keyframes");
    test_many_keyframes(1000000, -E2BIG, "tracks[0].clips[0].opacity.keyframes");
    test_escaped_keyframes();
    test_size();
    test_bomb();
    test_wide_dissolve();
    test_many_sources();
    test_many_nested_clips();
    test_brackets_in_text();
    test_nested_words();
    test_odd_names();
    return check_end();
}
