// Decoding in children: the same pictures as without, and what ends or holds up a child costs
// nothing but itself. Children decode with a shim (tests/shim) that has a fault for each marker.
// Usage: jailed_test SHIM; jailed_test SHIM --bench FILE: what a child costs.
#include "tests/engine/source/media_maker.h"

#include "engine/base/crash_note.h"
#include "engine/base/thread.h"
#include "engine/source/decode.h"
#include "engine/source/jailed.h"
#include "engine/source/nursery.h"

#include <dirent.h>
#include <fcntl.h>
#include <libavutil/log.h>
#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <time.h>

#define COUNT 60
#define BAD   30 // the picture whose packet has the marker

enum fault { CRASH, HANG, BLOCK, FAULTS };
static const char *const variables[FAULTS] = {"DECODER_CRASH", "DECODER_HANG", "DECODER_BLOCK"};
static const char *const markers[FAULTS] = {"vistter-crash", "vistter-hang", "vistter-block"};
static char faulty[FAULTS][PATH_MAX];

// ---- Media ------------------------------------------------------------------------------------

static const struct {
    const char *file, *arguments;
} kinds[] = {
    {"a.mp4", "-c:v libx264 -bf 2 -g 12 -colorspace bt709"},
    {"b.ts", "-vf setfield=tff -c:v mpeg2video -b:v 6M -flags +ildct+ilme -g 8 -bf 2"},
    {"c.mkv", "-c:v ffv1 -pix_fmt yuva420p"},
    {"d.gif", ""},
    {"e.png", "-frames:v 1 -pix_fmt rgba"},
};
#define KINDS (sizeof kinds / sizeof *kinds)

static void import(const char *name, char ret[PATH_MAX])
{
    char path[PATH_MAX];
    struct media_info info;
    struct diagnostic problem = {0};
    snprintf(path, sizeof path, "%s/%s", maker_folder, name);
    CHECK_OK(media_import(path, maker_folder, &info, NULL, NULL, &problem));
    snprintf(ret, PATH_MAX, "%s/%s", maker_folder, info.sha256);
}

// The marker stands in a message that decoders take no notice of.
static void make_faulty(enum fault fault)
{
    const char *const coding = "-c:v libx264 -preset ultrafast -g 10 -bf 0 -colorspace bt709";
    char name[32];
    snprintf(name, sizeof name, "%d.mp4", fault);
    if (maker_run(
            "cd %s && raw='ffmpeg -v error -y -f rawvideo -pix_fmt yuv420p -s %dx%d -r 25 -i "
            "raw.yuv' && "
            "$raw -frames:v %d %s 1.h264 && "
            "$raw -vf trim=start_frame=%d,setpts=PTS-STARTPTS %s "
            "-bsf:v h264_metadata=sei_user_data=086f3693-b7b3-4f2c-9653-21492feee5b8+%s 2.h264 && "
            "cat 1.h264 2.h264 >3.h264 && ffmpeg -v error -y -r 25 -i 3.h264 -c copy %s",
            maker_folder, MAKER_WIDTH, MAKER_HEIGHT, BAD, coding, BAD, coding, markers[fault],
            name))
        exit(EXIT_FAILURE);
    import(name, faulty[fault]);
}

// ---- What is alike ----------------------------------------------------------------------------

static int open_count(void)
{
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (folder && readdir(folder))
        count++;
    closedir(folder);
    return count;
}

// All pictures, forwards and to and fro.
static void compare(const char *path)
{
    struct picture_decoder *plain = NULL;
    struct jailed_decoder *jailed = NULL;
    int width, height, jailed_width, jailed_height;
    CHECK_OK(picture_decoder_open(path, 1, &plain, NULL));
    CHECK_OK(jailed_decoder_open(path, &jailed, NULL));
    if (!plain || !jailed)
        exit(EXIT_FAILURE);
    picture_decoder_size(plain, &width, &height);
    jailed_decoder_size(jailed, &jailed_width, &jailed_height);
    CHECK(jailed_width, ==, width);
    CHECK(jailed_height, ==, height);
    int64_t count = picture_decoder_index(plain)->picture_count;
    CHECK(jailed_decoder_index(jailed)->picture_count, ==, count);
    for (int64_t k = 0; k < 2 * count; k++) {
        int64_t i = k < count ? k : (k * 37) % count;
        struct picture *a = NULL, *b = NULL;
        CHECK_OK(picture_decoder_get(plain, i, &a, NULL));
        CHECK_OK(jailed_decoder_get(jailed, i, &b, NULL));
        CHECK_TRUE(a && b && picture_equal(a, b));
        picture_unref(&a);
        picture_unref(&b);
    }
    picture_decoder_close(&plain);
    jailed_decoder_close(&jailed);
}

static void test_same(void)
{
    char path[PATH_MAX];
    for (size_t i = 0; i < KINDS; i++) {
        import(kinds[i].file, path);
        compare(path);
        snprintf(path, sizeof path, "%s/%s", maker_folder, kinds[i].file); // without an index
        compare(path);
    }
}

// As many as anybody may hold, and longer than their decoder lasts.
static void test_held(void)
{
    char path[PATH_MAX];
    struct jailed_decoder *d;
    struct picture *held[COUNT] = {0};
    snprintf(path, sizeof path, "%s/%s", maker_folder, kinds[0].file);
    CHECK_OK(jailed_decoder_open(path, &d, NULL));
    for (int i = 0; i < COUNT; i++)
        CHECK_OK(jailed_decoder_get(d, i, &held[i], NULL));
    jailed_decoder_close(&d);
    for (int i = 0; i < COUNT; i++) {
        CHECK(held[i] ? maker_number(held[i]) : -1, ==, i);
        picture_unref(&held[i]);
    }
}

// What cannot be played is refused in the same words.
static void test_refused(void)
{
    char path[PATH_MAX];
    struct diagnostic plain, jailed;
    struct picture_decoder *a;
    struct jailed_decoder *b;
    static const char *const names[] = {"none", "", "broken.mp4"};
    maker_run("head -c 3000 %s/a.mp4 >%s/broken.mp4", maker_folder, maker_folder);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", maker_folder, names[i]);
        int error = picture_decoder_open(path, 1, &a, &plain);
        CHECK(error, <, 0);
        CHECK_ERROR(jailed_decoder_open(path, &b, &jailed), error);
        CHECK(jailed.error, ==, plain.error);
        CHECK_TEXT(jailed.code, plain.code);
        CHECK_TEXT(jailed.path, plain.path);
        CHECK_TEXT(jailed.text, plain.text);
    }
}

// ---- What ends children -----------------------------------------------------------------------

static void forget_all(void)
{
    struct crash_note notes[CRASH_NOTES_MAX];
    int count = crash_notes_list(notes);
    for (int i = 0; i < count; i++)
        crash_notes_forget(notes[i].id);
}

static void check_number(struct jailed_decoder *d, int64_t i)
{
    struct picture *picture = NULL;
    CHECK_OK(jailed_decoder_get(d, i, &picture, NULL));
    CHECK(picture ? maker_number(picture) : -1, ==, i);
    picture_unref(&picture);
}

// Two children end at the picture, which is noted; no third is given the file before that is
// forgotten.
static void test_fault(enum fault fault)
{
    struct crash_note notes[CRASH_NOTES_MAX];
    struct jailed_decoder *d = NULL;
    struct picture *picture;
    struct diagnostic problem;
    CHECK_OK(jailed_decoder_open(faulty[fault], &d, &problem));
    for (int round = 0; d && round < 2; round++) {
        for (int64_t i = 0; i < BAD; i += 7)
            check_number(d, i);
        CHECK_ERROR(jailed_decoder_get(d, BAD, &picture, &problem), -EPERM);
        CHECK_TEXT(problem.code, "asset_suspect");
        CHECK(crash_notes_list(notes), ==, 2);
        for (int i = 0; i < 2; i++) {
            CHECK(notes[i].place, ==, BAD);
            CHECK_TRUE(strstr(faulty[fault], notes[i].name));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) // which end in their own way
            CHECK(notes[i].signal, ==, fault == CRASH ? SIGSEGV : CRASH_HUNG);
#endif
        }
        CHECK_ERROR(jailed_decoder_get(d, 0, &picture, &problem), -EPERM);
        CHECK(crash_notes_list(notes), ==, 2);
        struct jailed_decoder *other;
        CHECK_ERROR(jailed_decoder_open(faulty[fault], &other, &problem), -EPERM);
        forget_all();
    }
    if (d)
        jailed_decoder_close(&d);
}

// The processes whose parent is `parent`.
static int children_of(pid_t parent, pid_t ret[8])
{
    char path[64];
    int count = 0, pid;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)parent, (int)parent);
    FILE *f = fopen(path, "re");
    while (f && count < 8 && fscanf(f, "%d", &pid) == 1)
        ret[count++] = pid;
    if (f)
        fclose(f);
    return count;
}

// Children, and their keeper, that are killed from outside are replaced, and nothing is noted.
static void test_killed(void)
{
    char path[PATH_MAX];
    struct crash_note notes[CRASH_NOTES_MAX];
    struct jailed_decoder *d;
    pid_t keeper[8], child[8];
    snprintf(path, sizeof path, "%s/%s", maker_folder, kinds[0].file);
    CHECK_OK(jailed_decoder_open(path, &d, NULL));
    check_number(d, 7);
    CHECK(children_of(getpid(), keeper), ==, 1);
    CHECK(children_of(keeper[0], child), ==, 1);
    kill(child[0], SIGKILL);
    check_number(d, 8);
    check_number(d, 9);
    CHECK(children_of(keeper[0], child), ==, 1);
    struct pollfd ended = {.fd = pidfd_open(child[0], 0), .events = POLLIN};
    kill(keeper[0], SIGKILL);
    CHECK(poll(&ended, 1, -1), ==, 1); // with its keeper
    close(ended.fd);
    check_number(d, 10);
    CHECK(children_of(getpid(), child), ==, 1);
    CHECK_TRUE(child[0] != keeper[0]);
    CHECK(crash_notes_list(notes), ==, 0);
    jailed_decoder_close(&d);
    CHECK(children_of(child[0], keeper), ==, 0);
}

static void *get_blocked(void *opaque)
{
    struct picture *picture;
    CHECK_ERROR(jailed_decoder_get(opaque, BAD, &picture, NULL), -ECANCELED);
    return NULL;
}

// Who closes a clip does not wait for what its decoder is at.
static void test_stopped(void)
{
    struct crash_note notes[CRASH_NOTES_MAX];
    struct jailed_decoder *d;
    pthread_t thread;
    CHECK_OK(jailed_decoder_open(faulty[BLOCK], &d, NULL));
    jailed_decoder_stop(d);
    CHECK_OK(thread_start(&thread, "get", get_blocked, d));
    thread_join(thread);
    CHECK(crash_notes_list(notes), ==, 0);
    jailed_decoder_close(&d);
}

// ---- What it costs ----------------------------------------------------------------------------

static double ms_since(clockid_t clock, double from_ms)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6 - from_ms;
}

struct cost {
    double open_ms, each_ms, cpu_ms, close_ms; // each picture's, as time passes and in use
};

static struct cost plain_cost(const char *path, int64_t *ret_count)
{
    struct picture_decoder *d;
    struct picture *picture;
    struct cost c;
    double from = ms_since(CLOCK_MONOTONIC, 0);
    if (picture_decoder_open(path, 1, &d, NULL))
        exit(EXIT_FAILURE);
    c.open_ms = ms_since(CLOCK_MONOTONIC, from);
    int64_t count = *ret_count = picture_decoder_index(d)->picture_count;
    from = ms_since(CLOCK_MONOTONIC, 0);
    double cpu_from = ms_since(CLOCK_THREAD_CPUTIME_ID, 0);
    for (int64_t i = 0; i < count; i++) {
        if (picture_decoder_get(d, i, &picture, NULL))
            exit(EXIT_FAILURE);
        picture_unref(&picture);
    }
    c.each_ms = ms_since(CLOCK_MONOTONIC, from) / (double)count;
    c.cpu_ms = ms_since(CLOCK_THREAD_CPUTIME_ID, cpu_from) / (double)count;
    from = ms_since(CLOCK_MONOTONIC, 0);
    picture_decoder_close(&d);
    c.close_ms = ms_since(CLOCK_MONOTONIC, from);
    return c;
}

static struct cost jailed_cost(const char *path)
{
    struct jailed_decoder *d;
    struct picture *picture;
    struct cost c;
    double from = ms_since(CLOCK_MONOTONIC, 0);
    if (jailed_decoder_open(path, &d, NULL))
        exit(EXIT_FAILURE);
    c.open_ms = ms_since(CLOCK_MONOTONIC, from);
    int64_t count = jailed_decoder_index(d)->picture_count, child_ns = jailed_decoder_cpu_ns(d);
    from = ms_since(CLOCK_MONOTONIC, 0);
    double cpu_from = ms_since(CLOCK_THREAD_CPUTIME_ID, 0);
    for (int64_t i = 0; i < count; i++) {
        if (jailed_decoder_get(d, i, &picture, NULL))
            exit(EXIT_FAILURE);
        picture_unref(&picture);
    }
    c.each_ms = ms_since(CLOCK_MONOTONIC, from) / (double)count;
    c.cpu_ms = (ms_since(CLOCK_THREAD_CPUTIME_ID, cpu_from) +
                (double)(jailed_decoder_cpu_ns(d) - child_ns) / 1e6) /
               (double)count;
    from = ms_since(CLOCK_MONOTONIC, 0);
    jailed_decoder_close(&d);
    c.close_ms = ms_since(CLOCK_MONOTONIC, from);
    return c;
}

static void bench(const char *path)
{
    for (int round = 0; round < 5; round++) {
        int64_t count;
        struct cost a = plain_cost(path, &count), b = jailed_cost(path);
        printf("%lld pictures, here and by a child: %.2f and %.2f ms each, in use %.2f and %.2f; "
               "open %.1f and %.1f, close %.1f and %.1f\n",
               (long long)count, a.each_ms, b.each_ms, a.cpu_ms, b.cpu_ms, a.open_ms, b.open_ms,
               a.close_ms, b.close_ms);
    }
}

int main(int argc, char **argv)
{
    av_log_set_level(AV_LOG_QUIET);
    if (argc == 4) {
        bench(argv[3]);
        return EXIT_SUCCESS;
    }
    maker_begin();
    maker_raw("raw.yuv", COUNT);
    for (size_t i = 0; i < KINDS; i++)
        if (maker_run("ffmpeg -v error -y -f rawvideo -pix_fmt yuv420p -s %dx%d -r 25 -i "
                      "%s/raw.yuv %s %s/%s",
                      MAKER_WIDTH, MAKER_HEIGHT, maker_folder, kinds[i].arguments, maker_folder,
                      kinds[i].file))
            exit(EXIT_FAILURE);
    for (enum fault i = CRASH; i < FAULTS; i++)
        make_faulty(i);
    if (argc < 2)
        return EXIT_FAILURE;
    setenv("LD_PRELOAD", argv[1], 1); // for children
    setenv("ASAN_OPTIONS", "verify_asan_link_order=0", 0);
    for (enum fault i = CRASH; i < FAULTS; i++)
        setenv(variables[i], markers[i], 1);
    test_same();
    int before = open_count();
    test_held();
    test_refused();
    for (enum fault i = CRASH; i < FAULTS; i++)
        test_fault(i);
    test_killed();
    test_stopped();
    CHECK(open_count(), ==, before);
    nursery_close();
    pid_t any[8];
    CHECK(children_of(getpid(), any), ==, 0);
    CHECK(picture_outstanding(), ==, 0);
    unsetenv("LD_PRELOAD");
    maker_end();
    return check_end();
}
