// Cameras whose bytes end the decoder, or hold it up: what was to be decoded from there to the next
// key is missing, everything else is as it was, for every reader; one that is killed costs nothing.
// Children decode with a shim (tests/shim) that has a fault at the bytes of one unit. Skipped
// without ffmpeg.
// Usage: live_jail_test SHIM; live_jail_test --bench FILE.ts: what a child costs.
#include "engine/base/clock.h"
#include "engine/live/camera.h"
#include "engine/live/decoder.h"
#include "engine/source/nursery.h"
#include "tests/worker/live_feed.h"

#include <dirent.h>
#include <errno.h>
#include <libavutil/log.h>
#include <signal.h>
#include <time.h>

#define FRAMES 190
#define BAD    60 // the picture; groups have 25

static const struct rate rate25 = {25, 1};
static struct ingest_stats stats;
static struct shown plain[FRAMES_MAX];

// ---- The bytes of one unit --------------------------------------------------------------------

static struct {
    uint64_t seq;
    int64_t index;
    char marker[25]; // bytes that no other unit has
} bad[UNIT_STREAMS];

static bool is_elsewhere(const struct unit *here, const char *marker)
{
    struct live_reader *reader;
    struct unit u;
    bool found = false;
    CHECK_OK(live_reader_open(log_path, &reader, NULL));
    while (!live_reader_next(reader, &u))
        found = found || (u.kind == UNIT_DATA && u.seq != here->seq &&
                          memmem(u.body, u.size, marker, strlen(marker)));
    live_reader_close(&reader);
    return found;
}

static void find_marker(const struct unit *u, char ret[25])
{
    for (size_t at = u->size / 2; at + 24 < u->size; at++)
        if (!memchr(u->body + at, 0, 24)) {
            memcpy(ret, u->body + at, 24);
            ret[24] = 0;
            if (!is_elsewhere(u, ret))
                return;
        }
    CHECK_TRUE(!"no bytes can be had");
}

static void find_bad(enum unit_stream stream, int64_t index)
{
    struct live_reader *reader;
    struct unit u;
    CHECK_OK(live_reader_open(log_path, &reader, NULL));
    bad[stream].seq = 0;
    while (!bad[stream].seq && !live_reader_next(reader, &u)) {
        if (u.kind != UNIT_DATA || u.stream != stream || u.index < index ||
            (stream == UNIT_PICTURE && u.flags & UNIT_KEY))
            continue;
        bad[stream].seq = u.seq;
        bad[stream].index = u.index;
        find_marker(&u, bad[stream].marker);
    }
    live_reader_close(&reader);
    CHECK(bad[stream].seq, >, 0);
}

// What children that begin from here on do at these bytes.
static void set_fault(const char *variable, const char *marker)
{
    nursery_close();
    unsetenv("DECODER_CRASH");
    unsetenv("DECODER_HANG");
    if (variable)
        setenv(variable, marker, 1);
}

// ---- Cases ------------------------------------------------------------------------------------

static void test_picture(const char *variable)
{
    int lost = 0, held_number = -1;
    set_fault(variable, bad[UNIT_PICTURE].marker);
    look_at_all(rate25, FRAMES);
    for (int n = 0; n < FRAMES; n++) {
        CHECK(all[n].result, ==, plain[n].result);
        CHECK_TRUE(all[n].sound == plain[n].sound);
        int64_t number = plain[n].number;
        if (plain[n].result || number < BAD - 3 || number >= BAD - BAD % 25 + 25) {
            CHECK_TRUE(all[n].picture == plain[n].picture);
            CHECK_TRUE(all[n].content == plain[n].content);
            continue;
        }
        // With reordering a few before it may be missing too; none is wrong.
        CHECK(all[n].number, <=, number);
        CHECK_TRUE(all[n].number < number || all[n].picture == plain[n].picture);
        if (all[n].number != number) {
            CHECK(all[n].number, >=, held_number); // with reordering one may come after one missed
            held_number = (int)all[n].number;
            lost++;
        }
    }
    CHECK(lost, >=, 25 - BAD % 25);
    CHECK(lost, <=, 25 - BAD % 25 + 3);
    CHECK(live_decoders_newest_blamed(strrchr(log_path, '/') + 1), ==, bad[UNIT_PICTURE].seq);
    check_other_readers(rate25, FRAMES);
}

// The pictures go on, and the sound is silent from there to the end of its block.
static void test_sound(void)
{
    int differ = 0, last = 0;
    set_fault("DECODER_CRASH", bad[UNIT_SOUND].marker);
    look_at_all(rate25, FRAMES);
    for (int n = 0; n < FRAMES; n++) {
        CHECK(all[n].result, ==, plain[n].result);
        CHECK_TRUE(all[n].picture == plain[n].picture);
        if (all[n].sound == plain[n].sound)
            continue;
        differ++;
        last = n;
    }
    CHECK(differ, >=, 1);
    CHECK(differ, <=, 65536 / 1920 + 2);
    CHECK(last, <, FRAMES - 20);
    CHECK(live_decoders_newest_blamed(strrchr(log_path, '/') + 1), ==, bad[UNIT_SOUND].seq);
    check_other_readers(rate25, FRAMES);
}

// Each group is to blame by itself: none of its pictures is shown, and the sound goes on.
static void test_again_and_again(void)
{
    char clip[128], command[600];
    struct live_reader *reader;
    struct unit u;
    uint64_t last_key = 0;
    int keys = 0;
    snprintf(clip, sizeof clip, "%s/groups.ts", folder);
    make_clip(clip, 0, 25,
              "-bsf:v "
              "h264_metadata=sei_user_data=086f3693-b7b3-4f2c-9653-21492feee5b8+in-all-"
              "groups " CLIP_H264);
    snprintf(command, sizeof command, "cat %s %s %s >%s.all", clip, clip, clip, clip);
    CHECK_OK(system(command));
    strcat(clip, ".all");
    log_file(clip, "groups", &stats);
    CHECK_OK(live_reader_open(log_path, &reader, NULL));
    while (!live_reader_next(reader, &u))
        if (u.kind == UNIT_DATA && u.stream == UNIT_PICTURE && u.flags & UNIT_KEY) {
            CHECK_TRUE(memmem(u.body, u.size, "in-all-groups", 13));
            last_key = u.seq;
            keys++;
        }
    live_reader_close(&reader);
    CHECK(keys, ==, 3);
    set_fault("DECODER_CRASH", "in-all-groups");
    CHECK(look_at_all(rate25, 110), ==, 0);
    CHECK(live_decoders_newest_blamed("groups"), ==, last_key);
    for (int n = 30; n < 80; n++)
        CHECK_TRUE(all[n].result == -ENODATA && all[n].sound);
}

// Ends all that decodes for this process, but not who starts them.
static int kill_children(pid_t parent, int depth)
{
    int killed = 0;
    DIR *all_processes = opendir("/proc");
    for (struct dirent *entry; all_processes && (entry = readdir(all_processes));) {
        char path[300], text[256];
        snprintf(path, sizeof path, "/proc/%s/stat", entry->d_name);
        FILE *f = fopen(path, "r");
        size_t size = f ? fread(text, 1, sizeof text - 1, f) : 0;
        if (f)
            fclose(f);
        text[size] = 0;
        const char *end = strrchr(text, ')');
        if (!end || strtol(end + 3, NULL, 10) != parent)
            continue;
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (depth)
            killed += kill_children(pid, depth - 1);
        else
            killed += !kill(pid, SIGKILL);
    }
    closedir(all_processes);
    return killed;
}

static void test_killed(void)
{
    static int32_t sound[1920 * 2];
    struct camera *camera = open_camera(rate25);
    int waited = 0, killed = 0;
    set_fault(NULL, NULL);
    for (int n = 0; n < FRAMES; n++) {
        if (n == 40 || n == 70 || n == 71)
            killed += kill_children(getpid(), 1);
        struct shown s;
        while ((s = look(camera, rate25, n, sound)).result == -EAGAIN || !s.sound) {
            waited++; // for a pause to end; without a child nothing is shown
            clock_sleep_until_ns(clock_monotonic_ns() + SECOND_NS / 100);
        }
        CHECK(s.result, ==, plain[n].result);
        CHECK_TRUE(s.picture == plain[n].picture);
        CHECK_TRUE(s.sound == plain[n].sound);
    }
    CHECK(killed, ==, 3);
    CHECK(waited, >, 0);
    camera_destroy(&camera);
}

// ---- What it costs ----------------------------------------------------------------------------

static double used_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6 + (double)nursery_cpu_ns() / 1e6;
}

// Of all pictures of the log, in their order: ms each, and processor time of it.
static void cost(bool jailed, double *ret_ms, double *ret_used)
{
    struct live_reader *reader;
    struct unit u;
    struct unit_format format;
    struct live_decoders *child = live_decoders_create("bench");
    struct live_decoder *here = NULL;
    int count = 0;
    int64_t tag;
    double used = used_ms();
    int64_t start_ns = clock_monotonic_ns();
    CHECK_OK(live_reader_open(log_path, &reader, NULL));
    while (!live_reader_next(reader, &u)) {
        struct picture *picture = NULL;
        if (u.stream == UNIT_PICTURE && u.kind == UNIT_FORMAT && !(u.flags & UNIT_AGAIN)) {
            CHECK_OK(unit_format_parse(u.body, u.size, &format));
            live_decoder_destroy(&here);
            CHECK_OK(jailed ? live_decoders_open(child, 0, &format, NULL)
                            : live_decoder_create(&format, &here, NULL));
        }
        if (u.stream != UNIT_PICTURE || u.kind != UNIT_DATA)
            continue;
        (void)(jailed ? live_decoders_push(child, 0, u.seq, u.body, u.size, (int64_t)u.seq)
                      : live_decoder_push(here, u.body, u.size, (int64_t)u.seq));
        while (!(jailed ? live_decoders_picture(child, 0, &picture, &tag)
                        : live_decoder_picture(here, &picture, &tag))) {
            picture_unref(&picture);
            count++;
        }
    }
    *ret_ms = (double)(clock_monotonic_ns() - start_ns) / 1e6 / count;
    *ret_used = (used_ms() - used) / count;
    live_reader_close(&reader);
    live_decoder_destroy(&here);
    live_decoders_destroy(&child);
}

static void bench(const char *clip)
{
    log_file(clip, "bench", &stats);
    for (int round = 0; round < 5; round++) {
        double ms[2], used[2];
        for (int jailed = 0; jailed < 2; jailed++)
            cost(jailed, &ms[jailed], &used[jailed]);
        printf("a picture, here and by a child: %.2f and %.2f ms, in use %.2f and %.2f ms\n", ms[0],
               ms[1], used[0], used[1]);
    }
}

int main(int argc, char **argv)
{
    char clip[128], command[128];
    if (system("command -v ffmpeg >/dev/null"))
        return 77;
    if (argc < 2)
        return EXIT_FAILURE;
    av_log_set_level(AV_LOG_QUIET);
    snprintf(folder, sizeof folder, "/tmp/live-jail-XXXXXX");
    CHECK_TRUE(mkdtemp(folder));
    epoch_ns = START_NS;
    if (argc == 3) {
        bench(argv[2]);
    } else {
        snprintf(clip, sizeof clip, "%s/plain.ts", folder);
        make_clip(clip, 0, 150, CLIP_H264);
        log_file(clip, "plain", &stats);
        find_bad(UNIT_PICTURE, BAD);
        find_bad(UNIT_SOUND, 80000); // in the middle of a block
        setenv("LD_PRELOAD", argv[1], 1);
        setenv("ASAN_OPTIONS", "verify_asan_link_order=0", 0);
        look_at_all(rate25, FRAMES);
        CHECK(broken, ==, 0);
        memcpy(plain, all, sizeof plain);
        test_picture("DECODER_CRASH");
        test_picture("DECODER_HANG");
        test_sound();
        test_killed();
        test_again_and_again();
        unsetenv("LD_PRELOAD");
    }
    nursery_close();
    CHECK(picture_outstanding(), ==, 0);
    snprintf(command, sizeof command, "rm -r %s", folder);
    CHECK_OK(system(command));
    return check_end();
}
