// A film with one packet overwritten: from its picture on, in decode order, up to the next key
// frame nothing is shown; every other picture is, bit for bit, that of the whole film, in any order
// of asking. Which pictures these are comes from the ffprobe program.
#include "tests/engine/source/media_maker.h"

#include "engine/media/index.h"

#include <libavutil/log.h>

#define COUNT 90

struct packet {
    long long pts, position, size;
    bool key;
};

static int packet_list(const char *path, struct packet packets[COUNT])
{
    char command[512];
    int count = 0;
    snprintf(
        command, sizeof command,
        "ffprobe -v error -select_streams v -show_entries packet=pts,size,pos,flags -of csv=p=0"
        " %s",
        path);
    FILE *f = popen(command, "r");
    char flags[8];
    struct packet p;
    while (count < COUNT &&
           fscanf(f, "%lld,%lld,%lld,%7s", &p.pts, &p.size, &p.position, flags) == 4) {
        p.key = flags[0] == 'K';
        packets[count++] = p;
    }
    pclose(f);
    return count;
}

// Place in the order of presentation.
static int shown_place(const struct packet packets[COUNT], int k)
{
    int place = 0;
    for (int i = 0; i < COUNT; i++)
        place += packets[i].pts < packets[k].pts;
    return place;
}

static void expect_damage(const struct packet packets[COUNT], int broken, bool ret[COUNT])
{
    int key = broken + 1;
    while (key < COUNT && !packets[key].key)
        key++;
    for (int k = 0; k < COUNT; k++)
        ret[shown_place(packets, k)] =
            k >= broken && (k < key || (key < COUNT && packets[k].pts < packets[key].pts));
}

static void overwrite(const char *path, const struct packet *p)
{
    FILE *f = fopen(path, "r+b");
    CHECK_OK(fseek(f, (long)(p->position + p->size / 3), SEEK_SET));
    for (long long i = p->size / 3; i < p->size; i++)
        fputc((int)(i * 37 % 251), f);
    fclose(f);
}

static int64_t open_stored(const char *path, struct maker_clip *m, char asset[256])
{
    char store[160];
    struct media_info info = {0};
    struct diagnostic problem = {0};
    snprintf(store, sizeof store, "%s/store", maker_folder);
    CHECK_OK(media_import(path, store, &info, NULL, NULL, &problem));
    CHECK(info.picture_count, ==, COUNT);
    snprintf(asset, 256, "%s/%s", store, info.sha256);
    int error = maker_open(m, CLIP_VIDEO, asset, false, &problem);
    if (error) {
        fprintf(stderr, "%s: %s\n", path, problem.text);
        exit(EXIT_FAILURE);
    }
    return info.damage_count;
}

// Checksum of picture `i`; 0: it is not shown.
static uint64_t sum_of(struct maker_clip *m, int i)
{
    struct picture *picture;
    uint64_t content, sum;
    struct diagnostic problem = {0};
    int error = maker_picture(m, rational_make(2 * i + 1, 50), &picture, &content, &problem);
    if (error) {
        CHECK(error, ==, -EIO);
        CHECK_TEXT(problem.code, "media_damaged");
        return 0;
    }
    sum = picture_checksum(picture);
    picture_unref(&picture);
    return sum;
}

static void test_broken(const char *name, const char *arguments, int broken)
{
    struct maker_clip m;
    struct packet packets[COUNT];
    char path[160], asset[256];
    uint64_t whole[COUNT], random = 4711;
    bool damaged[COUNT];
    int failures = check_failures;
    snprintf(path, sizeof path, "%s/%s", maker_folder, name);
    if (maker_run("ffmpeg -v error -y -f rawvideo -pix_fmt yuv420p -s %dx%d -r 25 -i %s/raw.yuv %s "
                  "%s",
                  MAKER_WIDTH, MAKER_HEIGHT, maker_folder, arguments, path))
        exit(EXIT_FAILURE);
    CHECK(open_stored(path, &m, asset), ==, 0);
    for (int i = 0; i < COUNT; i++)
        whole[i] = sum_of(&m, i);
    source_destroy(&m.source);
    CHECK(packet_list(path, packets), ==, COUNT);
    expect_damage(packets, broken, damaged);
    overwrite(path, &packets[broken]);
    CHECK(open_stored(path, &m, asset), ==, 1);
    for (int i = 0; i < COUNT; i++) {
        uint64_t sum = sum_of(&m, i);
        CHECK_TRUE(sum == (damaged[i] ? 0 : whole[i]));
        if (sum != (damaged[i] ? 0 : whole[i]))
            fprintf(stderr, "picture %d: %s\n", i,
                    damaged[i] ? "shown"
                    : sum      ? "differs"
                               : "not shown");
    }
    for (int n = 0; n < 40; n++) {
        int i = (int)(check_random(&random) % COUNT);
        CHECK_TRUE(sum_of(&m, i) == (damaged[i] ? 0 : whole[i]));
    }
    source_destroy(&m.source);
    if (check_failures != failures)
        fprintf(stderr, "%s with packet %d broken\n", name, broken);
}

// The second half is gone: it shows nothing for as long as the file says that it lasts.
static void test_cut(void)
{
    struct maker_clip m;
    char path[160], asset[256], store[160];
    struct media_info info = {0};
    snprintf(path, sizeof path, "%s/cut.mp4", maker_folder);
    snprintf(store, sizeof store, "%s/store", maker_folder);
    maker_run("ffmpeg -v error -y -f rawvideo -pix_fmt yuv420p -s %dx%d -r 25 -i %s/raw.yuv -c:v "
              "libx264 -bf 0 -g 15 -movflags +faststart %s",
              MAKER_WIDTH, MAKER_HEIGHT, maker_folder, path);
    struct packet packets[COUNT];
    CHECK(packet_list(path, packets), ==, COUNT);
    CHECK_OK(truncate(path, packets[40].position)); // 40 pictures are left
    CHECK_OK(media_import(path, store, &info, NULL, NULL, NULL));
    CHECK(info.damage_count, ==, 1);
    CHECK_OK(rational_compare(info.damage_first, rational_make(40, 25)));
    CHECK_OK(rational_compare(info.picture_duration, rational_make(COUNT, 25)));
    snprintf(asset, sizeof asset, "%s/%s", store, info.sha256);
    CHECK_OK(maker_open(&m, CLIP_VIDEO, asset, true, NULL));
    for (int i = 0; i < 2 * COUNT; i++)
        CHECK_TRUE(!sum_of(&m, i) == (i % COUNT >= 40));
    source_destroy(&m.source);
}

int main(void)
{
    av_log_set_level(AV_LOG_QUIET);
    maker_begin();
    maker_raw("raw.yuv", COUNT);
    maker_run("mkdir %s/store", maker_folder);
    test_broken("plain.mp4", "-c:v libx264 -bf 0 -g 15", 20);
    test_broken("key.mp4", "-c:v libx264 -bf 0 -g 15", 30);
    test_broken("last.mkv", "-c:v libx264 -bf 0 -g 15", 80);
    test_broken("reordered.mp4", "-c:v libx264 -bf 3 -b_strategy 0 -g 15", 46);
    test_broken("open.mkv", "-c:v libx264 -bf 3 -b_strategy 0 -g 15 -x264-params open-gop=1", 46);
    test_broken("mpeg2.mkv", "-c:v mpeg2video -b:v 6M -bf 2 -g 12", 31);
    test_broken("intra.mov", "-c:v prores_ks -pix_fmt yuv422p10le", 12);
    test_cut();
    CHECK(picture_outstanding(), ==, 0);
    maker_end();
    return check_end();
}
