// Interlaced film that moves: its pictures show one instant each, without combs; film that is
// progressive passes as it is.
#include "tests/engine/source/media_maker.h"

#define COUNT 24
#define BAR   40 // width of the bar
#define STEP  6  // columns that it moves from field to field

// A bright bar that moves to the right over a dark ground. Field n of `fields` shows it at STEP *
// n; without fields, both lines of a picture show the first.
static void write_bars(const char *name, bool fields)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", maker_folder, name);
    FILE *f = fopen(path, "wb");
    static uint8_t luma[MAKER_WIDTH];
    static uint8_t chroma[MAKER_WIDTH * MAKER_HEIGHT / 2];
    memset(chroma, 128, sizeof chroma);
    for (int n = 0; f && n < COUNT; n++) {
        for (int y = 0; y < MAKER_HEIGHT; y++) {
            int left = STEP * (2 * n + (fields ? y % 2 : 0));
            memset(luma, 40, sizeof luma);
            memset(luma + left, 200, BAR < MAKER_WIDTH - left ? BAR : (size_t)(MAKER_WIDTH - left));
            fwrite(luma, 1, sizeof luma, f);
        }
        fwrite(chroma, 1, sizeof chroma, f);
    }
    if (!f || fclose(f))
        exit(EXIT_FAILURE);
}

// Places where a line differs by half of the contrast from the two around it, which agree.
static int combs(const struct picture *p)
{
    int count = 0;
    for (int y = 1; y < p->height - 1; y++)
        for (int x = 0; x < p->width; x++) {
            const uint8_t *at = p->plane[0] + y * p->stride[0] + x;
            int above = at[-p->stride[0]], below = at[p->stride[0]];
            count += abs(above - below) < 20 && abs(*at - above) > 80 && abs(*at - below) > 80;
        }
    return count;
}

// Where the bar begins, in the middle of the picture.
static int bar_left(const struct picture *p)
{
    int x = 0;
    while (x < p->width && p->plane[0][p->height / 2 * p->stride[0] + x] < 120)
        x++;
    return x;
}

static void open_film(struct maker_clip *m, const char *name, const char *arguments)
{
    static char path[2][PATH_MAX];
    static int turn;
    char *to = path[turn++ % 2];
    snprintf(to, PATH_MAX, "%s/%s", maker_folder, name);
    if (maker_run(
            "ffmpeg -v error -y -f rawvideo -pix_fmt yuv420p -s %dx%d -r 25 -i %s/bars.yuv %s "
            "-colorspace bt709 %s",
            MAKER_WIDTH, MAKER_HEIGHT, maker_folder, arguments, to))
        exit(EXIT_FAILURE);
    struct diagnostic problem = {0};
    CHECK_OK(maker_open(m, CLIP_VIDEO, to, false, &problem));
    if (!m->source) {
        fprintf(stderr, "%s: %s\n", name, problem.text);
        exit(EXIT_FAILURE);
    }
}

static struct picture *picture_of(struct maker_clip *m, int n)
{
    struct picture *picture = NULL;
    uint64_t content;
    CHECK_OK(maker_picture(m, rational_make(n, 25), &picture, &content, NULL));
    return picture;
}

static void test_interlaced(void)
{
    struct maker_clip as_it_is, film;
    write_bars("bars.yuv", true);
    // The same pictures, once said to be interlaced and once not.
    open_film(&as_it_is, "frames.mkv", "-c:v ffv1");
    open_film(&film, "fields.mkv", "-vf setfield=tff -c:v ffv1 -field_order tt");
    for (int n = 2; n < COUNT - 2; n++) {
        struct picture *combed = picture_of(&as_it_is, n), *whole = picture_of(&film, n);
        // Both edges comb over STEP columns on every line but the outermost.
        CHECK(combs(combed), ==, 2 * STEP * (MAKER_HEIGHT - 2));
        CHECK(combs(whole), ==, 0);
        // It shows the first field, the one on even lines, whose lines are kept.
        CHECK(abs(bar_left(whole) - STEP * 2 * n), <=, 1);
        for (int y = 0; y < MAKER_HEIGHT; y += 2)
            CHECK_BYTES(whole->plane[0] + y * whole->stride[0],
                        combed->plane[0] + y * combed->stride[0], MAKER_WIDTH);
        picture_unref(&combed);
        picture_unref(&whole);
    }
    source_destroy(&as_it_is.source);
    source_destroy(&film.source);
}

static void test_progressive(void)
{
    struct maker_clip film;
    static uint8_t raw[MAKER_WIDTH * MAKER_HEIGHT * 3 / 2];
    char path[PATH_MAX];
    write_bars("bars.yuv", false);
    open_film(&film, "progressive.mkv", "-c:v ffv1");
    snprintf(path, sizeof path, "%s/bars.yuv", maker_folder);
    FILE *f = fopen(path, "rb");
    for (int n = 0; n < COUNT; n++) {
        struct picture *p = picture_of(&film, n);
        CHECK(fread(raw, 1, sizeof raw, f), ==, sizeof raw);
        for (int y = 0; y < MAKER_HEIGHT; y++)
            CHECK_BYTES(p->plane[0] + y * p->stride[0], raw + y * MAKER_WIDTH, MAKER_WIDTH);
        picture_unref(&p);
    }
    fclose(f);
    source_destroy(&film.source);
}

int main(void)
{
    maker_begin();
    test_interlaced();
    test_progressive();
    CHECK(picture_outstanding(), ==, 0);
    maker_end();
    return check_end();
}
