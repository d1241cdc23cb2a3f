// Probing and importing: facts of good files, words for bad ones, and what stays in the store.
#include "tests/engine/media/maker.h"

#include "engine/media/index.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

static void put32(uint8_t *p, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(value >> (24 - 8 * i));
}

static void expect_refused(const char *name, int error, const char *code)
{
    struct media_info info;
    struct diagnostic problem = {0};
    int failures = check_failures;
    CHECK_ERROR(media_probe(maker_path(name), &info, &problem), error);
    CHECK_TEXT(problem.code, code);
    CHECK_TRUE(problem.text[0]);
    CHECK_ERROR(maker_import(name, &info, &problem), error);
    if (error == -E2BIG)
        CHECK_TRUE(strstr(problem.text, "20000x20000"));
    if (check_failures != failures)
        fprintf(stderr, "%s: %s\n", name, problem.text);
}

static int store_count(void)
{
    DIR *folder = opendir(maker_path("store"));
    int count = 0;
    for (struct dirent *e; folder && (e = readdir(folder));)
        count += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
    if (folder)
        closedir(folder);
    return count;
}

static void test_refused(void)
{
    uint8_t png[64] = "\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    put32(png + 16, 20000);
    put32(png + 20, 20000);
    png[24] = 8;
    png[25] = 2;
    maker_write("large.png", png, sizeof png);
    // 20000 is 0x4e20.
    static const uint8_t bmp[64] = {'B', 'M', 0, 0,    0,    0, 0, 0,    0,    0, 54, 0, 0, 0, 40,
                                    0,   0,   0, 0x20, 0x4e, 0, 0, 0x20, 0x4e, 0, 0,  1, 0, 24};
    maker_write("large.bmp", bmp, sizeof bmp);
    maker_write("large.jpg", "\xff\xd8\xff\xc0\0\x0b\x08\x4e\x20\x4e\x20\1\1\x11\0\xff\xd9", 17);
    maker_run(
        "ffmpeg -v error -f lavfi -i testsrc2=s=320x180:d=1 -c:v libx264 -colorspace ycgco %s",
        maker_path("ycgco.mkv"));
    maker_write("a.jxl", "\xff\x0a\xfa\x1f\x01\x90\x82\x0a\0\0\0\0", 12);
    maker_write("box.jxl",
                "\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14"
                "ftypjxl ",
                24);
    maker_write("empty.mp4", "", 0);
    maker_write("text.mp4", "This is no media at all, only some words.\n", 42);
    maker_write("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n/etc/passwd\n", 56);
    maker_write("concat.txt", "ffconcat version 1.0\nfile /etc/passwd\n", 38);
    maker_run("mkdir %s && mkfifo %s", maker_path("folder.mp4"), maker_path("pipe.mp4"));
    maker_run("ffmpeg -v error -f lavfi -i testsrc2=d=2 %s", maker_path("whole.mp4"));
    maker_run("head -c 20000 %s > %s", maker_path("whole.mp4"), maker_path("no_moov.mp4"));
    expect_refused("missing.mp4", -ENOENT, "media_open");
    expect_refused("folder.mp4", -EISDIR, "media_folder");
    expect_refused("pipe.mp4", -EINVAL, "media_special");
    expect_refused("empty.mp4", -EINVAL, "media_empty");
    expect_refused("text.mp4", -EINVAL, "media_unreadable");
    expect_refused("list.m3u8", -EINVAL, "media_unreadable");
    expect_refused("concat.txt", -EINVAL, "media_unreadable");
    expect_refused("no_moov.mp4", -EINVAL, "media_unreadable");
    struct media_info info;
    struct diagnostic problem = {0};
    CHECK_ERROR(maker_import("ycgco.mkv", &info, &problem), -EINVAL);
    CHECK_TEXT(problem.code, "media_colours");
    expect_refused("a.jxl", -EINVAL, "media_jpeg_xl");
    expect_refused("box.jxl", -EINVAL, "media_jpeg_xl");
    expect_refused("large.png", -E2BIG, "media_size");
    expect_refused("large.bmp", -E2BIG, "media_size");
    expect_refused("large.jpg", -E2BIG, "media_size");
    CHECK(store_count(), ==, 0);
}

static void test_video(void)
{
    struct media_info info, again, parsed;
    struct diagnostic problem = {0};
    char path[512];
    maker_run("ffmpeg -v error -f lavfi -i testsrc2=s=320x180:r=30000/1001:d=1.5015 -f lavfi -i "
              "sine=440:d=1.5015:r=48000 -c:v libx264 -bf 2 -c:a aac %s",
              maker_path("video.mp4"));
    CHECK_OK(maker_import("video.mp4", &info, &problem));
    CHECK(info.width, ==, 320);
    CHECK(info.height, ==, 180);
    CHECK(info.picture_count, ==, 45);
    CHECK(info.rate.num, ==, 30000);
    CHECK(info.rate.den, ==, 1001);
    CHECK_TEXT(info.picture_codec, "h264");
    CHECK_TEXT(info.sound_codec, "aac");
    CHECK_TRUE(!info.still && !info.interlaced && !info.hdr);
    CHECK_TRUE(info.start_known);
    CHECK(info.start_first_us, >, 0);
    media_start_text(&info, path);
    CHECK_TEXT(path, "");
    // 45 pictures of 1001/30000 s; AAC ends at most two of its frames later.
    CHECK_TRUE(rational_compare(info.duration, rational_make(45 * 1001, 30000)) >= 0);
    CHECK(info.sample_count, >=, 72072);
    CHECK(info.sample_count, <=, 72072 + 2048);
    struct stat status;
    static const char *const ending[] = {"", ".index", ".sound", ".json"};
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s%s", maker_path("store"), info.sha256, ending[i]);
        CHECK_OK(stat(path, &status));
        if (i == 2)
            CHECK(status.st_size, ==, info.sample_count * 8);
    }
    CHECK(store_count(), ==, 4);
    char *text = media_info_format(&info);
    CHECK_OK(media_info_parse(text, &parsed, &problem));
    char *twice = media_info_format(&parsed);
    CHECK_TEXT(twice, text);
    free(text);
    free(twice);
    CHECK_TRUE(parsed.loudness_known && parsed.loudness_lufs == info.loudness_lufs &&
               parsed.true_peak_dbtp == info.true_peak_dbtp);
    CHECK_OK(maker_import("video.mp4", &again, &problem)); // known by its hash
    CHECK(again.picture_count, ==, 45);
    CHECK(store_count(), ==, 4);
    char sha256[65];
    CHECK_OK(media_hash_file(maker_path("video.mp4"), sha256, &problem));
    CHECK_TEXT(sha256, info.sha256);
}

static void test_hash(void)
{
    char sha256[65];
    maker_write("abc", "abc", 3);
    CHECK_OK(media_hash_file(maker_path("abc"), sha256, NULL));
    // FIPS 180-2, appendix B.1.
    CHECK_TEXT(sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK_ERROR(media_hash_file(maker_path("nothing"), sha256, NULL), -ENOENT);
}

static void test_kinds(void)
{
    static const struct {
        const char *name, *make;
        int width, height;
        bool still, interlaced, hdr;
    } kinds[] = {
        {"a.png", "testsrc2=s=123x77 -frames:v 1", 122, 76, true, false, false},
        {"a.jpg", "testsrc2=s=320x200 -frames:v 1", 320, 200, true, false, false},
        {"a.bmp", "testsrc2=s=320x200 -frames:v 1", 320, 200, true, false, false},
        {"a.tiff", "testsrc2=s=320x200 -frames:v 1", 320, 200, true, false, false},
        {"a.webp", "testsrc2=s=320x200 -frames:v 1", 320, 200, true, false, false},
        {"still.gif", "testsrc2=s=320x200 -frames:v 1", 320, 200, true, false, false},
        {"a.gif", "testsrc2=s=320x200 -frames:v 5", 320, 200, false, false, false},
        {"wide.mpg", "testsrc2=s=720x576:r=25 -frames:v 5 -aspect 16:9", 1024, 576, false, false,
         false},
        {"inter.ts",
         "testsrc2=s=720x576:r=25 -frames:v 5 -vf setfield=tff -flags +ildct+ilme -c:v mpeg2video "
         "-aspect 4:3",
         768, 576, false, true, false},
        {"hdr.mkv",
         "testsrc2=s=320x180 -frames:v 3 -pix_fmt yuv420p10le -c:v ffv1 -color_trc smpte2084 "
         "-colorspace bt2020nc -color_primaries bt2020",
         320, 180, false, false, true},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct media_info info;
        struct diagnostic problem = {0};
        int failures = check_failures;
        maker_run("ffmpeg -v error -f lavfi -i %s %s", kinds[i].make, maker_path(kinds[i].name));
        CHECK_OK(maker_import(kinds[i].name, &info, &problem));
        CHECK(info.width, ==, kinds[i].width);
        CHECK(info.height, ==, kinds[i].height);
        CHECK(info.still, ==, kinds[i].still);
        CHECK(info.interlaced, ==, kinds[i].interlaced);
        CHECK(info.hdr, ==, kinds[i].hdr);
        CHECK(info.sample_count, ==, 0);
        if (check_failures != failures)
            fprintf(stderr, "%s: %s\n", kinds[i].name, problem.text);
    }
}

static void test_documents(void)
{
    static const char list[] = "{\"schema\": \"vistter.sequence/1\", \"rate\": \"25\", "
                               "\"pictures\": [\"a.png\", \"b.png\"]}";
    struct media_info info;
    maker_write("list.json", list, sizeof list - 1);
    CHECK_OK(maker_import("list.json", &info, NULL));
    CHECK_TEXT(info.container, "sequence");
    CHECK(info.picture_count, ==, 2);
    maker_write("other.json", "{\"schema\": \"other\"}", 19);
    CHECK_ERROR(maker_import("other.json", &info, NULL), -EINVAL);
}

// The first `percent` of a file, as another file whose name starts with "cut_".
static const char *cut(const char *name, int percent)
{
    static char path[64];
    struct stat status;
    CHECK_OK(stat(maker_path(name), &status));
    snprintf(path, sizeof path, "cut_%d_%s", percent, name);
    maker_run("head -c %lld %s > %s", (long long)status.st_size * percent / 100, maker_path(name),
              maker_path(path));
    return path;
}

// Stills that are cut short are refused, whatever their format; whole ones are not.
static void test_cut_stills(void)
{
    static const struct {
        const char *name, *make;
    } kinds[] = {{"s.png", ""},
                 {"s.jpg", ""},
                 {"s.bmp", ""},
                 {"s.tiff", ""},
                 {"raw.tiff", "-compression_algo raw"},
                 {"s.webp", ""},
                 {"lossless.webp", "-lossless 1"},
                 {"s.gif", ""},
                 {"s.jp2", ""},
                 {"s.jls", ""},
                 {"s.dpx", ""},
                 {"s.qoi", ""},
                 {"s.exr", "-pix_fmt gbrpf32le"},
                 {"zip.exr", "-compression zip16 -format half -pix_fmt gbrpf32le"},
                 {"s.sgi", ""},
                 {"s.pcx", ""},
                 {"s.ppm", ""}};
    static const int percents[] = {30, 90, 99};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct media_info info;
        struct diagnostic problem = {0};
        maker_run("ffmpeg -v error -f lavfi -i testsrc2=s=320x200 -frames:v 1 %s %s", kinds[i].make,
                  maker_path(kinds[i].name));
        int failures = check_failures;
        CHECK_OK(maker_import(kinds[i].name, &info, &problem));
        CHECK_TRUE(info.still && !info.damage_count);
        for (size_t k = 0; k < 3; k++) {
            CHECK_ERROR(maker_import(cut(kinds[i].name, percents[k]), &info, &problem), -EINVAL);
            CHECK_TRUE(strstr(problem.text, "cut short"));
            if (check_failures != failures) {
                fprintf(stderr, "%s at %d %%: %s\n", kinds[i].name, percents[k], problem.text);
                break;
            }
        }
    }
}

// Films and sounds that are cut short are taken, with a note of where they end. Where a file states
// how long it should be, it keeps that length.
static void test_cut_films(void)
{
    static const struct {
        const char *name, *make;
        bool pictures, stated;
    } kinds[] = {
        {"f.mp4", "-c:v libx264 -c:a aac -movflags +faststart", true, true},
        {"f.mov", "-c:v mjpeg -c:a pcm_s16le -movflags +faststart", true, true},
        {"f.mkv", "-c:v libx264 -c:a flac", true, true},
        {"f.webm", "-c:v libvpx -deadline realtime -c:a libopus", true, true},
        {"f.avi", "-c:v mpeg4 -c:a mp2", true, false},
        {"f.ts", "-c:v mpeg2video -c:a mp2", true, false},
        {"f.gif", "-an", true, false},
        {"f.wav", "-vn -c:a pcm_s16le", false, false},
        {"f.aiff", "-vn -c:a pcm_s16be", false, false},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct media_info whole, half;
        struct diagnostic problem = {0};
        char text[160];
        int failures = check_failures;
        maker_run("ffmpeg -v error -f lavfi -i testsrc2=s=160x120:r=25:d=10 -f lavfi -i "
                  "sine=440:d=10:r=48000 %s %s",
                  kinds[i].make, maker_path(kinds[i].name));
        CHECK_OK(maker_import(kinds[i].name, &whole, &problem));
        CHECK(whole.damage_count, ==, 0);
        // An odd number of bytes: transport streams consist of packets of 188.
        CHECK_OK(maker_import(cut(kinds[i].name, 49), &half, &problem));
        CHECK(half.damage_count, >, 0);
        CHECK(rational_floor(half.damage_first, 10), >=, 32);
        CHECK(rational_floor(half.damage_first, 10), <=, 65);
        media_damage_text(&half, text);
        CHECK_TRUE(strstr(text, "cut short"));
        if (kinds[i].stated) {
            CHECK(llabs(rational_floor(half.picture_duration, 1000) - 10000), <=, 40);
        } else {
            CHECK(rational_floor(half.duration, 10), >=, 32);
            CHECK(rational_floor(half.duration, 10), <=, 65);
        }
        char *json = media_info_format(&half);
        struct media_info parsed;
        CHECK_OK(media_info_parse(json, &parsed, &problem));
        CHECK(parsed.damage_count, ==, half.damage_count);
        CHECK_OK(rational_compare(parsed.damage_first, half.damage_first));
        free(json);
        if (check_failures != failures)
            fprintf(stderr, "%s: %s %s\n", kinds[i].name, text, problem.text);
    }
}

// Any cut and any damaged byte: an answer, in words when it is no, and nothing left in the store.
static void test_damage(uint64_t *seed)
{
    int fd = open(maker_path("video.mp4"), O_RDONLY);
    struct stat status;
    uint8_t *good = NULL;
    if (fd < 0 || fstat(fd, &status) || !(good = malloc((size_t)status.st_size)) ||
        read(fd, good, (size_t)status.st_size) != status.st_size)
        exit(EXIT_FAILURE);
    close(fd);
    size_t size = (size_t)status.st_size;
    uint8_t *bad = malloc(size);
    for (int n = 0; n < 40; n++) {
        struct media_info info;
        struct diagnostic problem = {0};
        size_t length = n % 4 ? size : 1 + (size_t)(check_random(seed) % size);
        memcpy(bad, good, size);
        for (int k = 0; n % 4 && k < 1 << n % 10; k++)
            bad[check_random(seed) % size] = (uint8_t)check_random(seed);
        maker_write("bad.mp4", bad, length);
        int before = store_count(), error = maker_import("bad.mp4", &info, &problem);
        if (error < 0) {
            CHECK_TRUE(problem.text[0]);
            CHECK(store_count(), ==, before);
        } else {
            CHECK(info.picture_count + info.sample_count, >, 0);
        }
    }
    free(good);
    free(bad);
}

// Starting behind many pictures costs their decoding; where each is a key it does not.
static void test_start_cost(void)
{
    struct media_info far, near, parsed;
    struct diagnostic problem = {0};
    char text[160];
    maker_run("ffmpeg -v error -f lavfi -i testsrc2=s=640x360:r=25:d=10 -c:v libx264 -g 250 "
              "-sc_threshold 0 %s",
              maker_path("far.mp4"));
    maker_run("ffmpeg -v error -f lavfi -i testsrc2=s=640x360:r=25:d=10 -c:v libx264 -g 1 %s",
              maker_path("near.mp4"));
    CHECK_OK(maker_import("far.mp4", &far, &problem));
    CHECK_OK(maker_import("near.mp4", &near, &problem));
    CHECK_TRUE(far.start_known && near.start_known);
    CHECK(far.start_slowest_us, >, 4 * far.start_first_us);
    CHECK(far.start_slowest_us, >, 4 * near.start_slowest_us);
    media_start_text(&far, text);
    CHECK_TEXT(text, "");
    far.start_slowest_us = 1834567;
    media_start_text(&far, text);
    CHECK_TRUE(strstr(text, "takes up to 1.8 s"));
    char *json = media_info_format(&far);
    CHECK_OK(media_info_parse(json, &parsed, &problem));
    CHECK(parsed.start_first_us, ==, far.start_first_us);
    CHECK(parsed.start_slowest_us, ==, far.start_slowest_us);
    memcpy(strstr(json, "slowest_ms"), "slowest_xx", 10);
    CHECK_ERROR(media_info_parse(json, &parsed, &problem), -EINVAL);
    CHECK_TEXT(problem.path, "start");
    free(json);
}

static void test_index(uint64_t *seed)
{
    struct index_picture pictures[] = {{-3, -3}, {0, 0}, {10, 10}, {11, 11}};
    struct index_key keys[] = {{-3, -5}, {10, 2}};
    struct index_damage damages[] = {{1, 2}, {3, 4}};
    struct media_index x = {.stream = 1,
                            .mode = INDEX_PTS,
                            .time_base = {1, 10},
                            .interlaced = true,
                            .end = 20,
                            .picture_count = 4,
                            .key_count = 2,
                            .damage_count = 2,
                            .pictures = pictures,
                            .keys = keys,
                            .damages = damages};
    struct media_index *y = NULL;
    struct diagnostic problem = {0};
    CHECK_OK(index_save(&x, maker_path("x.index"), &problem));
    CHECK_OK(index_load(maker_path("x.index"), &y, &problem));
    CHECK_BYTES(y->pictures, pictures, sizeof pictures);
    CHECK_BYTES(y->keys, keys, sizeof keys);
    CHECK_TRUE(y->interlaced && !y->hdr && y->stream == 1 && y->end == 20);
    // Times count from the first picture: 0, 0.3, 1.3 and 1.4 s, and the end at 2.3 s.
    static const struct {
        struct rational at;
        int picture;
    } looks[] = {{{0, 1}, 0},   {{29, 100}, 0},  {{3, 10}, 1},   {{129, 100}, 1}, {{13, 10}, 2},
                 {{14, 10}, 3}, {{229, 100}, 3}, {{23, 10}, -1}, {{100, 1}, -1}};
    for (size_t i = 0; i < sizeof looks / sizeof *looks; i++)
        CHECK(index_picture_at(y, looks[i].at), ==, looks[i].picture);
    for (int i = 0; i < 4; i++)
        CHECK(index_is_damaged(y, i), ==, i & 1);
    CHECK(index_find(y, 10, 0), ==, 2);
    CHECK(index_find(y, 9, 0), ==, -1);
    CHECK(index_key_before(y, 1), ==, 0);
    CHECK(index_key_before(y, 3), ==, 1);
    index_destroy(&y);
    CHECK_ERROR(index_load(maker_path("nothing.index"), &y, &problem), -ENOENT);
    // The checksum finds any one changed byte.
    uint8_t bytes[1024];
    int fd = open(maker_path("x.index"), O_RDWR);
    ssize_t size = read(fd, bytes, sizeof bytes);
    CHECK(size, ==, 64 + 8 * 16 + 8);
    for (int n = 0; n < 100; n++) {
        off_t at = (off_t)(check_random(seed) % (uint64_t)size);
        uint8_t flip = (uint8_t)(bytes[at] ^ (1 + check_random(seed) % 255));
        CHECK(pwrite(fd, &flip, 1, at), ==, 1);
        CHECK_ERROR(index_load(maker_path("x.index"), &y, &problem), -EBADMSG);
        CHECK(pwrite(fd, &bytes[at], 1, at), ==, 1);
    }
    CHECK_OK(ftruncate(fd, size - 16));
    CHECK_ERROR(index_load(maker_path("x.index"), &y, &problem), -EBADMSG);
    close(fd);
}

static void test_sound_file(void)
{
    float pairs[10], out[12];
    struct sound_file *file;
    for (int i = 0; i < 10; i++)
        pairs[i] = (float)(i + 1);
    maker_write("x.sound", pairs, sizeof pairs);
    CHECK_OK(sound_file_open(maker_path("x.sound"), &file, NULL));
    CHECK(sound_file_sample_count(file), ==, 5);
    static const int64_t firsts[] = {-100, -6, -5, -2, 0, 1, 4, 5, 6, 1000, INT64_MIN / 2};
    for (size_t k = 0; k < sizeof firsts / sizeof *firsts; k++) {
        memset(out, 0x55, sizeof out);
        sound_file_read(file, firsts[k], 6, out);
        for (int i = 0; i < 12; i++) {
            int64_t at = firsts[k] + i / 2;
            float expected = at >= 0 && at < 5 ? pairs[2 * at + i % 2] : 0;
            CHECK_TRUE(out[i] == expected);
        }
    }
    sound_file_close(&file);
    maker_write("odd.sound", pairs, 12);
    CHECK_ERROR(sound_file_open(maker_path("odd.sound"), &file, NULL), -EBADMSG);
    maker_write("none.sound", pairs, 0);
    CHECK_OK(sound_file_open(maker_path("none.sound"), &file, NULL));
    sound_file_read(file, 0, 6, out);
    CHECK_TRUE(out[0] == 0 && out[11] == 0);
    sound_file_close(&file);
}

// The helper of a broken decoder: ends by a signal, and says nothing.
static void test_crash(void)
{
    struct media_info info;
    struct diagnostic problem = {0};
    maker_run("mkdir %s && printf '#!/bin/sh\\ntouch $2/.import-$$-abc\\nkill -SEGV $$\\n' > "
              "%s/vistter-import && chmod +x %s/vistter-import",
              maker_path("libexec"), maker_path("libexec"), maker_path("libexec"));
    setenv("VISTTER_LIBEXEC", maker_path("libexec"), 1);
    int before = store_count();
    CHECK_ERROR(maker_import("video.mp4", &info, &problem), -EINVAL);
    CHECK_TEXT(problem.code, "media_crash");
    CHECK_TRUE(strstr(problem.text, "crashed"));
    CHECK(store_count(), ==, before);
    unsetenv("VISTTER_LIBEXEC");
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : (uint64_t)getpid() * 0x9e3779b97f4a7c15;
    fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
    maker_begin();
    test_hash();
    test_refused();
    test_video();
    test_kinds();
    test_documents();
    test_cut_stills();
    test_cut_films();
    test_damage(&seed);
    test_start_cost();
    test_index(&seed);
    test_sound_file();
    test_crash();
    maker_end();
    return check_end();
}
