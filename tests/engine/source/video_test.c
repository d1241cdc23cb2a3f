// Exactness of video sources: every picture is the right one, in any order of asking, and its bytes
// are those that the ffmpeg program decodes where no conversion is needed.
#include "tests/engine/source/media_maker.h"

#include "engine/base/clock.h"

#define COUNT 120

struct kind {
    const char *name, *arguments;
    const char *file;
    bool plain; // already in the farm's layout: compare bytes with the ffmpeg program
    int rate_num, rate_den;
    bool numbered; // picture numbers can be read
    const char *filter;
};

static const struct kind kinds[] = {
    {"h264 mp4", "-c:v libx264 -preset veryfast -bf 3 -g 25 -pix_fmt yuv420p", "a.mp4", true, 25, 1,
     true, ""},
    {"h264 mkv open gop", "-c:v libx264 -preset veryfast -bf 3 -g 25 -x264-params open-gop=1",
     "b.mkv", true, 25, 1, true, ""},
    {"h264 ts", "-c:v libx264 -preset veryfast -bf 2 -g 30", "c.ts", true, 25, 1, true, ""},
    {"h264 long gop", "-c:v libx264 -preset veryfast -bf 3 -g 1000", "d.mp4", true, 25, 1, true,
     ""},
    {"h264 gradual refresh", "-c:v libx264 -preset veryfast -bf 0 -g 25 -intra-refresh 1", "e.mkv",
     true, 25, 1, true, ""},
    {"h264 29.97", "-c:v libx264 -preset veryfast -g 15", "f.mp4", true, 30000, 1001, true, ""},
    {"h264 avi", "-c:v libx264 -preset veryfast -bf 2 -g 25", "g.avi", true, 25, 1, true, ""},
    {"h264 raw", "-c:v libx264 -preset veryfast -bf 2 -g 25", "h.h264", true, 25, 1, true, ""},
    {"hevc mp4", "-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=25", "i.mp4",
     true, 25, 1, true, ""},
    {"mpeg2 ts", "-c:v mpeg2video -b:v 6M -bf 2 -g 15", "j.ts", true, 25, 1, true, ""},
    {"mpeg4 avi", "-c:v mpeg4 -b:v 4M -bf 2 -g 25", "k.avi", true, 25, 1, true, ""},
    {"mpeg2 interlaced", "-c:v mpeg2video -b:v 6M -flags +ildct+ilme -g 12 -bf 2", "l.ts", false,
     25, 1, true, "-vf setfield=tff"},
    {"prores 4:2:2 10 bit", "-c:v prores_ks -pix_fmt yuv422p10le", "m.mov", false, 25, 1, true, ""},
    {"ffv1 4:2:2 10 bit", "-c:v ffv1 -pix_fmt yuv422p10le -g 10", "n.mkv", false, 25, 1, true, ""},
    {"vp9 webm", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 2M -g 30", "o.webm", true, 25,
     1, true, ""},
    {"vp8 webm, hidden pictures",
     "-c:v libvpx -deadline good -cpu-used 5 -auto-alt-ref 1 -lag-in-frames 16 -b:v 2M -g 30",
     "p.webm", true, 25, 1, true, ""},
    {"vp9 alpha", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 2M -g 30", "q.webm", false,
     25, 1, true, "-vf format=yuva420p,colorchannelmixer=aa=1"},
    {"motion jpeg", "-c:v mjpeg -q:v 2 -pix_fmt yuvj420p", "r.avi", false, 25, 1, true, ""},
};

static uint64_t ask(struct maker_clip *m, const struct kind *k, int i, int *ret_number)
{
    struct picture *picture;
    uint64_t content = 0, sum;
    struct diagnostic problem = {0};
    // Anywhere inside the picture's time.
    struct rational at = rational_make((int64_t)(i * 2 + (i & 1)) * k->rate_den, 2 * k->rate_num);
    int error = maker_picture(m, at, &picture, &content, &problem);
    if (error) {
        fprintf(stderr, "%s, picture %d: %s\n", k->name, i, problem.text);
        CHECK_OK(error);
        return 0;
    }
    CHECK(content, ==, i + 1);
    *ret_number = maker_number(picture);
    sum = picture_checksum(picture);
    picture_unref(&picture);
    return sum;
}

static void compare_raw(const struct kind *k, struct maker_clip *m, const char *path)
{
    static uint8_t raw[MAKER_WIDTH * MAKER_HEIGHT * 3 / 2];
    char out[128];
    snprintf(out, sizeof out, "%s/reference.yuv", maker_folder);
    if (maker_run("ffmpeg -v error -y -i %s -fps_mode passthrough -f rawvideo -pix_fmt yuv420p %s",
                  path, out))
        exit(EXIT_FAILURE);
    FILE *f = fopen(out, "rb");
    for (int i = 0; i < COUNT; i++) {
        struct picture *p, *q;
        uint64_t content;
        CHECK(fread(raw, 1, sizeof raw, f), ==, sizeof raw);
        if (maker_picture(m, rational_make((int64_t)i * k->rate_den, k->rate_num), &p, &content,
                          NULL)) {
            CHECK_TRUE(!"picture");
            continue;
        }
        uint8_t *plane[4] = {raw, raw + MAKER_WIDTH * MAKER_HEIGHT,
                             raw + MAKER_WIDTH * MAKER_HEIGHT * 5 / 4};
        const ptrdiff_t stride[4] = {MAKER_WIDTH, MAKER_WIDTH / 2, MAKER_WIDTH / 2};
        q = picture_wrap(PICTURE_OPAQUE, MAKER_WIDTH, MAKER_HEIGHT, plane, stride, NULL, NULL);
        if (!picture_equal(p, q)) {
            fprintf(stderr, "%s: picture %d differs from ffmpeg's\n", k->name, i);
            CHECK_TRUE(!"equal");
        }
        picture_unref(&p);
        picture_unref(&q);
    }
    CHECK(fgetc(f), ==, EOF);
    fclose(f);
}

static void test_kind(const struct kind *k, uint64_t *seed)
{
    char path[128], store[128], asset[256];
    struct media_info info;
    struct diagnostic problem = {0};
    struct maker_clip m;
    uint64_t sums[COUNT];
    int number = -1;
    snprintf(path, sizeof path, "%s/%s", maker_folder, k->file);
    snprintf(store, sizeof store, "%s/store", maker_folder);
    if (maker_run("ffmpeg -v error -y -f rawvideo -pix_fmt yuv420p -s %dx%d -r %d/%d -i %s/raw.yuv "
                  "%s %s -colorspace bt709 -color_primaries bt709 -color_trc bt709 %s %s",
                  MAKER_WIDTH, MAKER_HEIGHT, k->rate_num, k->rate_den, maker_folder, k->filter,
                  k->arguments, "-flags +bitexact", path))
        exit(EXIT_FAILURE);
    int error = media_import(path, store, &info, NULL, NULL, &problem);
    if (error)
        fprintf(stderr, "%s: %s\n", k->name, problem.text);
    CHECK_OK(error);
    CHECK(info.picture_count, ==, COUNT);
    CHECK(info.damage_count, ==, 0);
    snprintf(asset, sizeof asset, "%s/%s", store, info.sha256);
    error = maker_open(&m, CLIP_VIDEO, asset, false, &problem);
    CHECK_OK(error);
    if (error)
        return;
    for (int i = 0; i < COUNT; i++) {
        sums[i] = ask(&m, k, i, &number);
        if (k->numbered && number != i)
            fprintf(stderr, "%s: asked for %d, shown %d\n", k->name, i, number);
        CHECK_TRUE(!k->numbered || number == i);
    }
    struct picture *last = NULL; // past the end the last picture stands
    uint64_t content;
    CHECK_OK(maker_picture(&m, rational_make((int64_t)(COUNT + 1) * k->rate_den, k->rate_num),
                           &last, &content, NULL));
    CHECK_TRUE(last && picture_checksum(last) == sums[COUNT - 1]);
    picture_unref(&last);
    for (int n = 0; n < 40; n++) {
        int i = (int)(check_random(seed) % COUNT);
        uint64_t sum = ask(&m, k, i, &number);
        if (sum != sums[i])
            fprintf(stderr, "%s: picture %d is another one after a jump (%d)\n", k->name, i,
                    number);
        CHECK_TRUE(sum == sums[i]);
    }
    // The colour tags of raw and AVI files are lost: small pictures are then taken for BT.601.
    if (k->plain && !strstr(k->file, ".avi") && !strstr(k->file, "webm"))
        compare_raw(k, &m, path);
    source_destroy(&m.source);
    CHECK(picture_outstanding(), ==, 0);
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : (uint64_t)clock_realtime_ns() | 1;
    fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
    maker_begin();
    maker_raw("raw.yuv", COUNT);
    maker_run("mkdir %s/store", maker_folder);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        int before = check_failures;
        test_kind(&kinds[i], &seed);
        fprintf(stderr, "%s: %s\n", kinds[i].name, check_failures == before ? "ok" : "FAILED");
    }
    maker_end();
    return check_end();
}
