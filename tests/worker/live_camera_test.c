// Cameras from their log: streams that ffmpeg made go through the gateway's demuxer and ingest at
// simulated times, and what is shown is read from the pictures' own numbers. Skipped without
// ffmpeg.
#include "engine/live/camera.h"

#include "tests/worker/live_feed.h"

#include <errno.h>
#include <libavutil/log.h>
#include <sys/stat.h>
#include <unistd.h>

// ---- Cases -----------------------------------------------------------------------------------

static const struct rate rate25 = {25, 1};
static struct ingest_stats stats;

static void test_plain(void)
{
    char clip[128];
    snprintf(clip, sizeof clip, "%s/plain.ts", folder);
    make_clip(clip, 100, 150, CLIP_H264);
    log_file(clip, "plain", &stats);
    CHECK(stats.gen, ==, 1);
    CHECK(stats.streams[UNIT_PICTURE].units, ==, 150);
    CHECK(stats.streams[UNIT_PICTURE].format.width, ==, CLIP_WIDTH);
    CHECK(stats.streams[UNIT_SOUND].format.sample_rate, ==, 48000);
    read_times();
    look_at_all(rate25, 220);
    CHECK(broken, ==, 0);
    CHECK(check_consecutive(220), >=, 130);
    check_sync(220);
    check_tone(220);
    check_other_readers(rate25, 220);
    // It ends: held for half a second, then lost, in silence, with a fade and no click.
    int last = 219;
    while (last && all[last].state != SHOW_HELD)
        last--;
    CHECK(all[last].number, ==, 249);
    CHECK(all[last + 1].state, ==, SHOW_LOST);
    CHECK(all[last + 1].result, ==, -ENODATA);
    int held = 0, stood = 0;
    for (int n = 60; n < 220; n++) {
        held += all[n].state == SHOW_HELD;
        stood += all[n].number == 249;
    }
    CHECK(stood, >=, 12); // of 12.5, with its own
    CHECK(stood, <=, 14);
    CHECK(held, >=, stood - 5); // it takes three periods before that is known
    // The rule, by looking through the log, at a rate that repeats pictures.
    const struct rate rate = {30000, 1001};
    look_at_all(rate, 240);
    CHECK(broken, ==, 0);
    int repeats = 0;
    for (int n = 0; n < 240; n++) {
        int64_t t = epoch_ns - DELAY_NS + (2 * n + 1) * 1001 * SECOND_NS / 60000;
        size_t best = 0;
        for (size_t seq = 1; seq < 20000; seq++)
            if (times[seq] && times[seq] <= t && times[seq] >= times[best])
                best = seq;
        if (!all[n].result)
            CHECK(seq_of(all[n].content), ==, best);
        repeats += n && !all[n].result && all[n].content == all[n - 1].content &&
                   all[n].state == SHOW_LIVE;
    }
    CHECK(repeats, >=, 20); // 5 in 30, for five seconds
    CHECK(repeats, <=, 30);
}

static void test_wrap(void)
{
    char clip[128];
    snprintf(clip, sizeof clip, "%s/wrap.ts", folder);
    make_clip(clip, 0, 125, "-output_ts_offset 95441 " CLIP_H264); // 2^33 / 90000 = 95443.7
    log_file(clip, "wrap", &stats);
    CHECK(stats.gen, ==, 1);
    CHECK(stats.refused, <=, 40); // sound of the first half second
    read_times();
    look_at_all(rate25, 200);
    CHECK(broken, ==, 0);
    CHECK(check_consecutive(200), >=, 105);
    check_sync(200);
    check_other_readers(rate25, 200);
}

// Two clips one after the other in one connection.
static void test_joined(const char *name, const char *first, const char *second, int *ret_widths)
{
    char a[128], b[128], command[512];
    snprintf(a, sizeof a, "%s/%s.ts", folder, name);
    snprintf(b, sizeof b, "%s/%s-2.ts", folder, name);
    make_clip(a, 0, 75, first);
    make_clip(b, 75, 75, second);
    snprintf(command, sizeof command, "cat %s >>%s", b, a);
    CHECK_OK(system(command));
    log_file(a, name, &stats);
    look_at_all(rate25, 220);
    CHECK(broken, ==, 0);
    int numbers = 0, last = -1;
    for (int n = 0; n < 220; n++) {
        if (all[n].number >= 0) {
            ret_widths[all[n].number >= 75] = all[n].width;
            CHECK(all[n].number, >=, last);
            numbers += all[n].number > last;
            last = (int)all[n].number;
        }
    }
    fprintf(stderr, "%s: %d of 150 pictures shown\n", name, numbers);
    CHECK(numbers, >=, 110); // the rest is at the start and at the joint
    CHECK(last, ==, 149);
    check_other_readers(rate25, 220);
}

#define SMALL "-vf scale=168:96 -g 25 -bf 0 -c:a mp2 -b:a 128k -f mpegts "

static void test_changes(void)
{
    int widths[2] = {0};
    // Another codec, size and sound, and stamps that begin anew.
    test_joined("codec", CLIP_H264, "-tables_version 1 -c:v mpeg2video -q:v 3 " SMALL, widths);
    CHECK(stats.gen, ==, 2);
    CHECK_TEXT(stats.streams[UNIT_PICTURE].format.codec, "mpeg2video");
    CHECK_TEXT(stats.streams[UNIT_SOUND].format.codec, "mp2");
    CHECK(widths[0], ==, CLIP_WIDTH);
    CHECK(widths[1], ==, 168);
    // Another size, while all else goes on.
    test_joined("size", CLIP_H264, "-output_ts_offset 3.12 -vf scale=168:96 " CLIP_H264, widths);
    CHECK(stats.gen, ==, 1);
    CHECK(widths[0], ==, CLIP_WIDTH);
    CHECK(widths[1], ==, 168);
}

// How many pictures come after a key and are shown before it.
static int count_leading(void)
{
    struct live_reader *reader;
    struct unit u;
    int64_t key_ns = 0;
    int leading = 0;
    CHECK_OK(live_reader_open(log_path, &reader, NULL));
    while (!live_reader_next(reader, &u)) {
        if (u.kind != UNIT_DATA || u.stream != UNIT_PICTURE || u.index < 25)
            continue;
        leading += u.chan_ns < key_ns;
        key_ns = u.flags & UNIT_KEY ? u.chan_ns : key_ns;
    }
    live_reader_close(&reader);
    return leading;
}

// Pictures before a key that lean on the group before it: whoever begins at that key has them too.
static void test_open_groups(void)
{
    static const char *const codecs[] = {
        "-c:v libx264 -preset veryfast -x264-params "
        "keyint=24:min-keyint=24:scenecut=0:open-gop=1:b-adapt=0:bframes=2",
        "-c:v libx265 -preset ultrafast -x265-params keyint=24:open-gop=1:log-level=none",
        "-c:v mpeg2video -q:v 3 -g 12 -bf 2",
    };
    for (int i = 0; i < 3; i++) {
        char clip[128], options[256], name[16];
        snprintf(name, sizeof name, "open-%d", i);
        snprintf(clip, sizeof clip, "%s/%s.ts", folder, name);
        snprintf(options, sizeof options, "%s -c:a aac -f mpegts", codecs[i]);
        make_clip(clip, 0, 75, options);
        log_file(clip, name, &stats);
        CHECK(count_leading(), >=, 4);
        look_at_all(rate25, 110);
        CHECK(broken, ==, 0);
        CHECK(check_consecutive(110), >=, 55);
        check_other_readers(rate25, 110);
    }
}

// What was shown while it came is what the log holds later, though after a gap was told there came
// pictures from before it.
static void test_followed(void)
{
    char clip[128];
    int known = 0, held = 0;
    snprintf(clip, sizeof clip, "%s/plain.ts", folder);
    log_followed(clip, "followed", true, &stats);
    look_at_all(rate25, 220);
    CHECK(broken, ==, 0);
    for (int n = 0; n < 200; n++) {
        if (live[n].result == -EAGAIN)
            continue;
        CHECK(live[n].state, ==, all[n].state);
        CHECK_TRUE(live[n].picture == all[n].picture);
        CHECK_TRUE(!live[n].sound || live[n].sound == all[n].sound);
        known++;
        held += live[n].state == SHOW_HELD && n < 120;
    }
    CHECK(known, >=, 190);
    CHECK(held, >=, 10);
    check_other_readers(rate25, 200);
}

// Packets are missing: the picture stands from there to the next key, and nothing broken is shown.
static void test_damage(void)
{
    char clip[128];
    snprintf(clip, sizeof clip, "%s/damage.ts", folder);
    make_clip(clip, 0, 125, CLIP_H264);
    FILE *f = fopen(clip, "rb");
    static uint8_t bytes[4 << 20];
    size_t size = fread(bytes, 1, sizeof bytes, f), kept = 0, count = size / 188;
    fclose(f);
    for (size_t i = 0; i < count; i++) {
        bool picture = ((bytes[i * 188 + 1] & 0x1F) << 8 | bytes[i * 188 + 2]) == 0x100;
        if (picture && i >= count / 2 && i < count / 2 + 6)
            continue;
        memmove(bytes + kept++ * 188, bytes + i * 188, 188);
    }
    CHECK(kept, <, count);
    f = fopen(clip, "wb");
    CHECK(fwrite(bytes, 188, kept, f), ==, kept);
    fclose(f);
    log_file(clip, "damage", &stats);
    CHECK(stats.streams[UNIT_PICTURE].damaged, >=, 1);
    look_at_all(rate25, 200);
    CHECK(broken, ==, 0);
    int repeated = 0, jumps = 0;
    for (int n = 1; n < 200; n++)
        if (all[n].state == SHOW_LIVE && all[n - 1].state == SHOW_LIVE) {
            int64_t step = all[n].number - all[n - 1].number;
            repeated += step == 0;
            jumps += step > 1;
            CHECK_TRUE(step <= 1 || all[n].number % CLIP_RATE == 0); // on with a key
            CHECK(step, >=, 0);
        }
    CHECK(jumps, ==, 1);
    CHECK(repeated, >=, 1);
    CHECK(repeated, <=, CLIP_RATE);
    check_other_readers(rate25, 200);
}

// Bytes that are wrong anywhere: nothing ends, and nothing is logged that the log refuses.
static void test_mutated(uint64_t seed)
{
    static uint8_t bytes[1 << 20];
    char clip[128], name[32];
    snprintf(clip, sizeof clip, "%s/plain.ts", folder);
    FILE *f = fopen(clip, "rb");
    size_t size = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    fprintf(stderr, "seed %" PRIu64 "\n", seed);
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 1 << 2 * round; i++)
            bytes[check_random(&seed) % size] ^= (uint8_t)(1 << check_random(&seed) % 8);
        snprintf(name, sizeof name, "mutated-%d", round);
        snprintf(clip, sizeof clip, "%s/%s.ts", folder, name);
        f = fopen(clip, "wb");
        CHECK(fwrite(bytes, 1, size, f), ==, size);
        fclose(f);
        log_file(clip, name, &stats);
        CHECK(stats.streams[UNIT_PICTURE].units, >, 100);
        CHECK(look_at_all(rate25, 200), >, 50);
        check_other_readers(rate25, 200);
    }
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 11;
    if (system("command -v ffmpeg >/dev/null"))
        return 77;
    av_log_set_level(AV_LOG_QUIET);
    snprintf(folder, sizeof folder, "/tmp/live-camera-XXXXXX");
    CHECK_TRUE(mkdtemp(folder));
    epoch_ns = START_NS; // frames are half a frame beside the pictures: none is near the edge
    test_plain();
    test_followed();
    test_wrap();
    test_changes();
    test_open_groups();
    test_damage();
    test_mutated(seed);
    CHECK(picture_outstanding(), ==, 0);
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    CHECK_OK(system(command));
    return check_end();
}
