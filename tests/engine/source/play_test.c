// Playing: uneven rates, loops, turned and stretched pictures, material that breaks or vanishes
// under way, stills and lists of pictures.
#include "tests/engine/source/media_maker.h"

#include "engine/base/clock.h"

#include <libavutil/log.h>

static char path[160];

static void make(const char *name, const char *arguments)
{
    snprintf(path, sizeof path, "%s/%s", maker_folder, name);
    if (maker_run("ffmpeg -v error -y -f rawvideo -pix_fmt yuv420p -s %dx%d -r 25 -i %s/raw.yuv %s "
                  "-colorspace bt709 %s",
                  MAKER_WIDTH, MAKER_HEIGHT, maker_folder, arguments, path))
        exit(EXIT_FAILURE);
}

static int number_at(struct maker_clip *m, struct rational at)
{
    struct picture *picture;
    uint64_t content;
    int error = maker_picture(m, at, &picture, &content, NULL);
    if (error)
        return error;
    int number = maker_number(picture);
    picture_unref(&picture);
    return number;
}

static void open_clip(struct maker_clip *m, enum clip_kind kind, bool loop)
{
    struct diagnostic problem = {0};
    int error = maker_open(m, kind, path, loop, &problem);
    CHECK_OK(error);
    if (error) {
        fprintf(stderr, "%s: %s\n", path, problem.text);
        exit(EXIT_FAILURE);
    }
}

// Pictures 0 1 2 and then every third: each shows until the next one's time.
static void test_uneven(void)
{
    struct maker_clip m;
    make("uneven.mkv", "-vf \"select='lt(n,3)+not(mod(n,3))'\" -fps_mode vfr -c:v libx264 -bf 2");
    open_clip(&m, CLIP_VIDEO, false);
    for (int k = 0; k < 88; k++) // the last one, 87, shows for a 25th of a second
        CHECK(number_at(&m, rational_make(2 * k + 1, 50)), ==, k < 3 ? k : k - k % 3);
    CHECK(number_at(&m, rational_make(89, 25)), ==, 87);
    for (int k = 87; k >= 0; k -= 7)
        CHECK(number_at(&m, rational_make(2 * k + 1, 50)), ==, k < 3 ? k : k - k % 3);
    source_destroy(&m.source);
}

static void test_loop(void)
{
    struct maker_clip m;
    make("loop.mp4", "-frames:v 30 -c:v libx264 -bf 2 -g 10");
    open_clip(&m, CLIP_VIDEO, true);
    for (int k = 0; k < 75; k++)
        CHECK(number_at(&m, rational_make(k, 25)), ==, k % 30);
    CHECK(number_at(&m, rational_make(25 * 3600 * 24 + 7, 25)), ==, (25 * 3600 * 24 + 7) % 30);
    source_destroy(&m.source);
    // Twice the speed: every second picture.
    open_clip(&m, CLIP_VIDEO, false);
    for (int k = 0; k < 15; k++)
        CHECK(number_at(&m, rational_make(2 * k, 25)), ==, 2 * k);
    CHECK(number_at(&m, rational_make(30, 25)), ==, 29);
    CHECK(number_at(&m, rational_make(29, 25)), ==, 29); // the last one can be had again
    source_destroy(&m.source);
}

// A phone's film lies on its side; the ffmpeg program turns it by itself.
static void test_turned(void)
{
    struct maker_clip m;
    make("upright.mp4", "-frames:v 10 -c:v libx264");
    maker_run("ffmpeg -v error -y -i %s -c copy -metadata:s:v rotate=90 %s/turned.mp4", path,
              maker_folder);
    snprintf(path, sizeof path, "%s/turned.mp4", maker_folder);
    maker_run("ffmpeg -v error -y -i %s -f rawvideo -pix_fmt yuv420p %s/turned.yuv", path,
              maker_folder);
    open_clip(&m, CLIP_VIDEO, false);
    int width, height;
    source_size(m.source, &width, &height);
    CHECK(width, ==, MAKER_HEIGHT);
    CHECK(height, ==, MAKER_WIDTH);
    static uint8_t raw[MAKER_WIDTH * MAKER_HEIGHT * 3 / 2];
    char reference[192];
    snprintf(reference, sizeof reference, "%s/turned.yuv", maker_folder);
    FILE *f = fopen(reference, "rb");
    for (int k = 0; k < 10; k++) {
        struct picture *p, *q;
        uint64_t content;
        CHECK(fread(raw, 1, sizeof raw, f), ==, sizeof raw);
        CHECK_OK(maker_picture(&m, rational_make(k, 25), &p, &content, NULL));
        uint8_t *plane[4] = {raw, raw + MAKER_WIDTH * MAKER_HEIGHT,
                             raw + MAKER_WIDTH * MAKER_HEIGHT * 5 / 4};
        const ptrdiff_t stride[4] = {MAKER_HEIGHT, MAKER_HEIGHT / 2, MAKER_HEIGHT / 2};
        q = picture_wrap(PICTURE_OPAQUE, MAKER_HEIGHT, MAKER_WIDTH, plane, stride, NULL, NULL);
        CHECK_TRUE(picture_equal(p, q));
        picture_unref(&p);
        picture_unref(&q);
    }
    fclose(f);
    source_destroy(&m.source);
}

static void test_stretched(void)
{
    struct maker_clip m;
    int width, height;
    make("wide.mpg", "-frames:v 10 -aspect 16:9 -c:v mpeg2video -b:v 4M");
    open_clip(&m, CLIP_VIDEO, false);
    source_size(m.source, &width, &height);
    CHECK(width, ==, 426); // 240 * 16 / 9 = 426.7, even
    CHECK(height, ==, 240);
    struct picture *p;
    uint64_t content;
    CHECK_OK(maker_picture(&m, (struct rational){0, 1}, &p, &content, NULL));
    CHECK(p->width, ==, 426);
    picture_unref(&p);
    source_destroy(&m.source);
}

// The file loses its end while it plays: an error at each picture that is gone, no hang, and what
// is left still plays.
static void test_cut_under_way(void)
{
    struct maker_clip m;
    char store[160], asset[256];
    struct media_info info;
    make("cut.mkv", "-c:v libx264 -g 10 -bf 0 -preset ultrafast");
    snprintf(store, sizeof store, "%s/store", maker_folder);
    CHECK_OK(media_import(path, store, &info, NULL, NULL, NULL));
    snprintf(asset, sizeof asset, "%s/%s", store, info.sha256);
    CHECK_OK(maker_open(&m, CLIP_VIDEO, asset, false, NULL));
    CHECK(number_at(&m, rational_make(0, 25)), ==, 0);
    CHECK_OK(truncate(asset, info.bytes / 2));
    int broken = 0;
    for (int k = 0; k < 90; k++) {
        int number = number_at(&m, rational_make(k, 25));
        CHECK_TRUE(number == k || number == -EIO);
        broken += number == -EIO;
    }
    CHECK(broken, >=, 20);
    CHECK(broken, <=, 60);
    CHECK(number_at(&m, rational_make(85, 25)), ==, -EIO);
    CHECK(number_at(&m, rational_make(12, 25)), ==, 12);
    source_destroy(&m.source);
}

// Noise written over the middle: never a hang, never another picture's number; exact again after
// it.
static void test_noise(uint64_t *seed)
{
    struct maker_clip m;
    struct diagnostic problem = {0};
    make("noise.mkv", "-c:v libx264 -g 10 -bf 2 -preset ultrafast");
    FILE *f = fopen(path, "r+b");
    CHECK_OK(fseek(f, 0, SEEK_END));
    long size = ftell(f), from = size * 2 / 5;
    CHECK_OK(fseek(f, from, SEEK_SET));
    for (long k = 0; k < size / 50; k++)
        fputc((int)(check_random(seed) & 255), f);
    fclose(f);
    CHECK_OK(maker_open(&m, CLIP_VIDEO, path, false, &problem));
    if (!m.source)
        return;
    CHECK(number_at(&m, rational_make(3, 25)), ==, 3);
    CHECK(number_at(&m, rational_make(85, 25)), ==, 85);
    for (int k = 0; k < 89; k++)
        (void)number_at(&m, rational_make(k, 25)); // may be damaged; must return
    CHECK(number_at(&m, rational_make(86, 25)), ==, 86);
    source_destroy(&m.source);
}

static void test_still(void)
{
    struct maker_clip m;
    make("still.png", "-frames:v 1");
    open_clip(&m, CLIP_IMAGE, false);
    CHECK(number_at(&m, rational_make(1000, 1)), ==, 0);
    source_destroy(&m.source);
    struct diagnostic problem = {0};
    char missing[] = "/nonexistent.png";
    CHECK_ERROR(maker_open(&m, CLIP_IMAGE, missing, false, &problem), -ENOENT);
    CHECK_TRUE(problem.text[0]);
}

static void test_sequence(void)
{
    struct maker_clip m;
    make("s%d.png", "-frames:v 12 -start_number 0");
    snprintf(path, sizeof path, "%s/list.json", maker_folder);
    FILE *f = fopen(path, "w");
    fprintf(f, "{\"schema\": \"vistter.sequence/1\", \"rate\": \"10\", \"pictures\": [");
    for (int k = 0; k < 12; k++)
        fprintf(f, "%s\"%s/s%d.png\"", k ? ", " : "", maker_folder, k);
    fprintf(f, "]}");
    fclose(f);
    open_clip(&m, CLIP_SEQUENCE, false);
    for (int k = 0; k < 36; k++)
        CHECK(number_at(&m, rational_make(k, 30)), ==, k / 3);
    CHECK(number_at(&m, rational_make(12, 10)), ==, 11);
    CHECK(number_at(&m, rational_make(5, 10)), ==, 5);
    source_destroy(&m.source);
    open_clip(&m, CLIP_SEQUENCE, true);
    for (int k = 0; k < 30; k++)
        CHECK(number_at(&m, rational_make(k, 10)), ==, k % 12);
    maker_run("rm %s/s7.png", maker_folder);
    source_destroy(&m.source);
    open_clip(&m, CLIP_SEQUENCE, true);
    for (int k = 0; k < 12; k++)
        CHECK(number_at(&m, rational_make(k, 10)), ==, k == 7 ? -ENOENT : k);
    source_destroy(&m.source);
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : (uint64_t)clock_realtime_ns() | 1;
    fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
    av_log_set_level(AV_LOG_QUIET);
    maker_begin();
    maker_raw("raw.yuv", 90);
    maker_run("mkdir %s/store", maker_folder);
    test_uneven();
    test_loop();
    test_turned();
    test_stretched();
    test_cut_under_way();
    test_noise(&seed);
    test_still();
    test_sequence();
    CHECK(picture_outstanding(), ==, 0);
    maker_end();
    return check_end();
}
