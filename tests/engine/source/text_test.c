// Text: all scripts from the given fonts alone, layout, decoration, fields and motion; and the same
// bits whatever the host's fonts, language and processor.
#include "tests/engine/source/drawn.h"

#include <sys/wait.h>
#include <unistd.h>

static struct font_set *fonts;
static const struct rational start = {0, 1};

static struct text_style style_of(const char *text)
{
    return (struct text_style){.text = (char *)text,
                               .font = (char *)"Noto Sans",
                               .size = 40,
                               .colour = {255, 255, 255, 255},
                               .line_spacing = 1,
                               .outline_colour = {0, 0, 0, 255}};
}

static struct picture *draw(struct text_style *style, double scale)
{
    struct clip clip = {.kind = CLIP_TEXT, .id = (char *)"title", .text = style};
    struct source *source = open_drawn(&clip, fonts, scale, NULL, NULL);
    uint64_t content;
    struct picture *p = picture_at(source, &clip, start, &content);
    source_destroy(&source);
    return p;
}

static struct area area_drawn(struct text_style *style, int level)
{
    struct picture *p = draw(style, 1);
    struct area a = area_of(p, level);
    picture_unref(&p);
    return a;
}

// Opaque blocks of 2 x 2 with a colour of their own.
static int coloured_blocks(const struct picture *p)
{
    int count = 0;
    for (int y = 0; y < p->height; y += 2)
        for (int x = 0; x < p->width; x += 2) {
            const uint8_t *a = p->plane[3] + y * p->stride[3] + x;
            int cb = p->plane[1][y / 2 * p->stride[1] + x / 2];
            int cr = p->plane[2][y / 2 * p->stride[2] + x / 2];
            int opaque =
                a[0] == 255 && a[1] == 255 && a[p->stride[3]] == 255 && a[p->stride[3] + 1] == 255;
            count += opaque && abs(cb - 128) + abs(cr - 128) > 30;
        }
    return count;
}

static const char *const scripts[] = {
    "Ångström, naïve", "مرحبا بالعالم", "שלום עולם",
    "नमस्ते दुनिया",      "日本語テスト",  "\U0001F600\U0001F680\U0001F1E9\U0001F1EA",
    "Привет, Жук",
};
#define SCRIPT_COUNT (sizeof scripts / sizeof scripts[0])

static void test_scripts(void)
{
    for (size_t i = 0; i < SCRIPT_COUNT; i++) {
        struct text_style style = style_of(scripts[i]);
        struct picture *p = draw(&style, 1);
        struct area a = area_of(p, 128);
        // Letters of 40 pixels: from the x-height to ascender and descender together.
        CHECK(a.bottom - a.top, >, 15);
        CHECK(a.bottom - a.top, <, 70);
        CHECK(a.right - a.left, >, 60);
        CHECK(p->height, <, 100); // an emoji's bitmap has 136 pixels: it is scaled
        CHECK(coloured_blocks(p) > 50, ==, i == 5);
        picture_unref(&p);
    }
}

// Arabic letters join: "beh beh beh" is one stroke, narrower than three separated letters.
static void test_shaping(void)
{
    struct text_style joined = style_of("ببب"), apart = style_of("ب\u200cب\u200cب");
    struct area a = area_drawn(&joined, 128), b = area_drawn(&apart, 128);
    CHECK(a.right - a.left, <, (b.right - b.left) * 3 / 4);
    // Devanagari: the vowel sign i stands left of its consonant, which it follows in the text.
    struct text_style letter = style_of("क"), sign = style_of("कि");
    CHECK(area_drawn(&sign, 128).right, >, area_drawn(&letter, 128).right + 3);
    // A letter that no font has is a box, not nothing and not the host's.
    struct text_style missing = style_of("\u1019");
    struct area box = area_drawn(&missing, 128);
    CHECK(box.right - box.left, >, 10);
    CHECK(box.bottom - box.top, >, 15);
}

static void test_alignment(void)
{
    struct text_style s = style_of("one");
    s.box_width = 600;
    s.box_height = 100;
    struct area left = area_drawn(&s, 128);
    s.align = TEXT_RIGHT;
    struct area right = area_drawn(&s, 128);
    s.align = TEXT_CENTRE;
    struct area centre = area_drawn(&s, 128);
    CHECK(left.left, <, 8);
    CHECK(right.right, >, 591);
    CHECK(abs(centre.left - (600 - 1 - centre.right)), <, 8);
    struct text_style hebrew = style_of("שלום");
    hebrew.box_width = 600;
    CHECK(area_drawn(&hebrew, 128).right, >, 591);
    hebrew.align = TEXT_CENTRE;
    CHECK(area_drawn(&hebrew, 128).right, <, 400);
}

// Lines of words as wide as the box: as many lines as words, each as high as the next.
static void test_wrapping(void)
{
    struct text_style s = style_of("mmmmmmmm");
    struct picture *one = draw(&s, 1);
    s.box_width = one->width + 4;
    s.text = (char *)"mmmmmmmm mmmmmmmm mmmmmmmm";
    struct picture *three = draw(&s, 1);
    CHECK(abs(three->height - 3 * one->height), <=, 4);
    CHECK(three->width - s.box_width, <=, 1);
    picture_unref(&three);
    s.line_spacing = 2; // two of the three distances between lines double
    three = draw(&s, 1);
    CHECK(abs(three->height - 5 * one->height), <=, one->height);
    CHECK(three->height, >, 4 * one->height);
    picture_unref(&three);
    s.text = (char *)"mmmmmmmmmmmmmmmmmmmmmmmm"; // one word of three widths breaks too
    s.line_spacing = 1;
    three = draw(&s, 1);
    CHECK(three->height, >, 2 * one->height);
    picture_unref(&three);
    picture_unref(&one);
}

// Lines break alike at every output size, and the picture grows with it.
static void test_scale(void)
{
    struct text_style s = style_of("The quick brown fox jumps over the lazy dog, again and again.");
    s.box_width = 301;
    struct picture *small = draw(&s, 0.5), *whole = draw(&s, 1), *large = draw(&s, 3);
    CHECK(abs(whole->height - 2 * small->height), <=, 4);
    CHECK(abs(large->height - 3 * whole->height), <=, 6);
    CHECK(large->width, ==, 904);
    picture_unref(&small);
    picture_unref(&whole);
    picture_unref(&large);
}

static void test_decoration(void)
{
    struct text_style s = style_of("I");
    s.box_width = s.box_height = 200;
    s.align = TEXT_CENTRE;
    struct area plain = area_drawn(&s, 128);
    s.outline = 10;
    struct area outlined = area_drawn(&s, 128);
    CHECK(abs(plain.left - outlined.left - 10), <=, 1);
    CHECK(abs(outlined.bottom - plain.bottom - 10), <=, 1);
    s.outline = 0;
    s.shadow.x = 30;
    s.shadow.y = 20;
    s.shadow.colour = (struct colour){0, 0, 0, 255};
    struct area shadowed = area_drawn(&s, 128);
    CHECK(shadowed.left, ==, plain.left);
    CHECK(shadowed.right - plain.right, ==, 30);
    CHECK(shadowed.bottom - plain.bottom, ==, 20);
    s.shadow.x = s.shadow.y = 0;
    s.shadow.blur = 12;
    struct area blurred = area_drawn(&s, 1);
    struct area sharp = (s.shadow.colour.alpha = 0, area_drawn(&s, 1));
    CHECK(sharp.left - blurred.left, >, 10);
    CHECK(sharp.left - blurred.left, <=, 3 * 6);
    CHECK(abs(sharp.left - blurred.left - (blurred.right - sharp.right)), <=, 1);
    s.background = (struct colour){255, 0, 0, 255};
    struct area backed = area_drawn(&s, 255);
    CHECK(backed.left, ==, 0);
    CHECK(backed.right, ==, 199);
    s.background_radius = 40;
    struct picture *p = draw(&s, 1);
    CHECK(p->plane[3][0], ==, 0); // the corner is round
    CHECK(p->plane[3][100], ==, 255);
    picture_unref(&p);
}

static const char *value_of(void *opaque, const char *name)
{
    return strcmp(name, "viewers") ? NULL : *(const char **)opaque;
}

static void test_fields(void)
{
    const char *value = "12";
    struct text_style s = style_of("A{{viewers}}{{unknown}}B{{");
    struct text_style same = style_of("A12B{{"), other = style_of("A34\u202eB{{\u200f\x07");
    struct clip clip = {.kind = CLIP_TEXT, .id = (char *)"title", .text = &s};
    struct source *source = open_drawn(&clip, fonts, 1, value_of, &value);
    uint64_t first, second, third;
    struct picture *a = picture_at(source, &clip, start, &first), *expected = draw(&same, 1);
    CHECK_TRUE(picture_equal(a, expected));
    picture_unref(&expected);
    struct picture *b = picture_at(source, &clip, start, &second);
    CHECK_TRUE(a == b && first == second);
    picture_unref(&b);
    // Bidirectional controls and control characters of a value do nothing.
    value = "\u202e3\x1b"
            "4\u2067";
    b = picture_at(source, &clip, start, &third);
    expected = draw(&other, 1);
    CHECK_TRUE(picture_equal(b, expected) && third != first);
    picture_unref(&expected);
    picture_unref(&b);
    value = "12";
    b = picture_at(source, &clip, start, &second);
    CHECK_TRUE(picture_equal(a, b) && second == first);
    picture_unref(&a);
    picture_unref(&b);
    source_destroy(&source);
}

static struct area area_at(struct source *source, const struct clip *clip, int64_t num, int64_t den)
{
    uint64_t content;
    struct picture *p = picture_at(source, clip, rational_make(num, den), &content);
    struct area a = area_of(p, 128);
    picture_unref(&p);
    return a;
}

// 100 pixels a second at 25 frames a second: exactly 4 pixels a frame, at every frame.
static void test_motion(void)
{
    struct text_style s = style_of("Hi");
    s.motion = TEXT_CRAWL;
    s.speed = 100;
    s.box_width = 600;
    s.box_height = 80;
    struct clip clip = {.kind = CLIP_TEXT, .id = (char *)"ticker", .text = &s};
    struct source *source = open_drawn(&clip, fonts, 1, NULL, NULL);
    struct area at = area_at(source, &clip, 0, 1);
    CHECK(at.right, ==, -1); // nothing at first: the words come in from the right
    struct area before = area_at(source, &clip, 50, 25);
    for (int frame = 51; frame < 120; frame++, before = at) {
        at = area_at(source, &clip, frame, 25);
        CHECK(before.left - at.left, ==, 4);
        CHECK(before.right - at.right, ==, 4);
    }
    CHECK(at.top, ==, before.top);
    // After 6 seconds, 600 pixels, the words stand at the window's left, as still ones do.
    struct text_style still = style_of("Hi");
    CHECK(area_at(source, &clip, 6, 1).left, ==, area_drawn(&still, 128).left);
    source_destroy(&source);

    s.text = (char *)"שלום"; // whose first word is at the right: it comes in from the left
    source = open_drawn(&clip, fonts, 1, NULL, NULL);
    CHECK(area_at(source, &clip, 3, 1).left - area_at(source, &clip, 2, 1).left, ==, 100);
    source_destroy(&source);

    s.text = (char *)"one\ntwo\nthree";
    s.motion = TEXT_ROLL;
    s.box_height = 300;
    source = open_drawn(&clip, fonts, 1, NULL, NULL);
    CHECK(area_at(source, &clip, 0, 1).bottom, ==, -1);
    CHECK(area_at(source, &clip, 5, 2).top - area_at(source, &clip, 3, 1).top, ==, 50);
    source_destroy(&source);

    char *words = malloc(20001);
    memset(words, 'm', 20000);
    words[20000] = 0;
    s.text = words;
    s.motion = TEXT_CRAWL;
    struct source_config config = {.clip = &clip, .scale_x = 1, .scale_y = 1, .fonts = fonts};
    struct diagnostic d = {0};
    CHECK_OK(source_open(&config, &source, &d));
    struct picture *p;
    uint64_t content;
    struct clip_instant instant = {.clip = &clip, .source_time = start};
    CHECK_ERROR(source_picture(source, &instant, &p, &content, &d), -EINVAL);
    CHECK_TEXT(d.code, "drawing_size");
    CHECK_TEXT(d.path, "ticker");
    source_destroy(&source);
    free(words);
}

static void test_bad_fonts(void)
{
    struct diagnostic d = {0};
    struct font_set *none = NULL;
    char path[] = "/tmp/not-a-font-XXXXXX";
    int fd = mkstemp(path);
    CHECK(write(fd, "not a font", 10), ==, 10);
    close(fd);
    const char *const bad[] = {font_paths[0], path};
    CHECK_ERROR(font_set_create(bad, 2, &none, &d), -EINVAL);
    CHECK_TEXT(d.path, path);
    CHECK_OK(font_set_check(fonts, "Noto Sans Bold", &d));
    CHECK_OK(font_set_check(fonts, "Helvetica, noto sans", &d));
    CHECK_ERROR(font_set_check(fonts, "Helvetica Bold", &d), -ENOENT);
    CHECK_TRUE(strstr(d.text, "\"Helvetica\"") && strstr(d.text, "Noto Sans Arabic"));
    CHECK_ERROR(font_set_create(bad, 0, &none, &d), -EINVAL);
    unlink(path);
    CHECK_ERROR(font_set_create(bad, 2, &none, &d), -EINVAL);
    CHECK_TRUE(!none);
    struct text_style s = style_of("x");
    struct clip clip = {.kind = CLIP_TEXT, .id = (char *)"title", .text = &s};
    struct source_config config = {.clip = &clip, .scale_x = 1, .scale_y = 1};
    struct source *source = NULL;
    CHECK_ERROR(source_open(&config, &source, &d), -EINVAL);
    CHECK_TEXT(d.code, "text_fonts");
}

// One number for everything that can be drawn; from the last to the first when `backwards`.
static uint64_t sum_of_all(int backwards)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < SCRIPT_COUNT; i++) {
        size_t k = backwards ? SCRIPT_COUNT - 1 - i : i;
        struct text_style s = style_of(scripts[k]);
        s.outline = 3;
        s.shadow.colour = (struct colour){0, 0, 0, 200};
        s.shadow.blur = 5;
        s.background = (struct colour){9, 99, 200, 100};
        s.background_radius = 9;
        struct picture *p = draw(&s, 0.7);
        sum += picture_checksum(p) * (2 * k + 1);
        picture_unref(&p);
    }
    struct shape_style shape = {.kind = SHAPE_RECTANGLE,
                                .width = 301,
                                .height = 120,
                                .radius = 30,
                                .fill = {255, 0, 0, 255},
                                .fill_to = {0, 90, 255, 80},
                                .gradient = true,
                                .stroke = 3,
                                .stroke_colour = {255, 255, 255, 200}};
    struct clip clip = {.kind = CLIP_SHAPE, .id = (char *)"shape", .shape = &shape};
    struct source *source = open_drawn(&clip, NULL, 0.7, NULL, NULL);
    uint64_t content;
    struct picture *p = picture_at(source, &clip, start, &content);
    sum += picture_checksum(p);
    picture_unref(&p);
    source_destroy(&source);
    return sum;
}

// The same program as a child with another environment.
static uint64_t sum_in_child(const char *self, const char *name, const char *value)
{
    int ends[2];
    CHECK_OK(pipe(ends));
    pid_t pid = fork();
    if (pid == 0) {
        setenv(name, value, 1);
        dup2(ends[1], STDOUT_FILENO);
        execl(self, self, "--sum", NULL);
        _exit(127);
    }
    close(ends[1]);
    FILE *file = fdopen(ends[0], "r");
    uint64_t sum = 0;
    char line[256]; // Pixman tells on its standard output what it leaves out
    while (fgets(line, sizeof line, file))
        sscanf(line, "sum %" SCNx64, &sum);
    fclose(file);
    int status = -1;
    waitpid(pid, &status, 0);
    CHECK(status, ==, 0);
    return sum;
}

static void test_purity(const char *self)
{
    static const char *const environments[][2] = {
        {"FONTCONFIG_FILE", "/nonexistent"},
        {"LANGUAGE", "bg:ja:ur"},
        {"PANGO_LANGUAGE", "zh-tw"},
        {"LC_ALL", "ja_JP.UTF-8"},
        {"PIXMAN_DISABLE", "sse2 ssse3 fast"},
        {"PIXMAN_DISABLE", "sse2 ssse3 mmx"},
        {"HB_SHAPER_LIST", "fallback"},
        {"FREETYPE_PROPERTIES", "cff:no-stem-darkening=0 cff:hinting-engine=adobe"},
    };
    uint64_t sum = sum_of_all(0);
    CHECK_TRUE(sum == sum_of_all(1));
    for (size_t i = 0; i < sizeof environments / sizeof environments[0]; i++) {
        uint64_t other = sum_in_child(self, environments[i][0], environments[i][1]);
        if (other != sum)
            fprintf(stderr, "%s=%s: ", environments[i][0], environments[i][1]);
        CHECK(other, ==, sum);
    }
    // A set used before, and a new one.
    font_set_destroy(&fonts);
    CHECK_OK(font_set_create(font_paths, FONT_COUNT, &fonts, NULL));
    CHECK_TRUE(sum == sum_of_all(1));
}

int main(int argc, char **argv)
{
    for (size_t i = 0; i < FONT_COUNT; i++)
        if (access(font_paths[i], R_OK)) {
            fprintf(stderr, "%s is not installed\n", font_paths[i]);
            return 77;
        }
    CHECK_OK(font_set_create(font_paths, FONT_COUNT, &fonts, NULL));
    if (argc > 1) {
        printf("sum %" PRIx64 "\n", sum_of_all(0));
        font_set_destroy(&fonts);
        return 0;
    }
    test_scripts();
    test_shaping();
    test_alignment();
    test_wrapping();
    test_scale();
    test_decoration();
    test_fields();
    test_motion();
    test_bad_fonts();
    test_purity(argv[0]);
    font_set_destroy(&fonts);
    CHECK(picture_outstanding(), ==, 0);
    return check_end();
}
