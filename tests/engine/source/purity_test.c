// The same bytes on every processor: decodes and converts one file of each kind with FFmpeg's
// processor-specific code fully on, partly on and off, each in a process of its own since the
// switch is process-wide, and with one and three decoding threads; and the switch for threads does
// start threads.
#include "tests/engine/source/media_maker.h"

#include "engine/source/decode.h"

#include <dirent.h>
#include <libavutil/cpu.h>
#include <libavutil/log.h>
#include <sys/wait.h>

#define COUNT 16

static const struct {
    const char *file, *arguments;
} kinds[] = {
    {"a.mp4", "-c:v libx264 -bf 2 -g 8 -colorspace bt709"},
    {"b.mp4", "-c:v libx264 -bf 2 -g 8 -colorspace smpte170m"},
    {"c.ts", "-vf setfield=tff -c:v mpeg2video -b:v 6M -flags +ildct+ilme -g 8 -bf 2"},
    {"d.mov", "-c:v prores_ks -pix_fmt yuv422p10le"},
    {"e.avi", "-c:v mjpeg -q:v 3 -pix_fmt yuvj422p"},
    {"f.mkv", "-c:v ffv1 -pix_fmt yuv444p12le"},
    {"g.mkv", "-c:v ffv1 -pix_fmt yuva420p"},
    {"h.mkv", "-c:v ffv1 -pix_fmt yuv420p10le -color_trc smpte2084 -colorspace bt2020nc"},
    {"i.mkv", "-c:v ffv1 -pix_fmt gbrp10le"},
    {"q.mkv", "-c:v ffv1 -pix_fmt gbrp10le -color_trc smpte2084 -color_primaries bt2020"},
    {"r.exr", "-frames:v 1 -pix_fmt gbrpf32le"},
    {"s.jp2", "-frames:v 1 -pix_fmt yuv420p"},
    {"t.webp", "-frames:v 1"},
    {"j.mpg", "-c:v mpeg2video -b:v 5M -aspect 16:9"},
    {"k.mp4", "-c:v mpeg4 -b:v 3M -bf 2"},
    {"l.gif", ""},
    {"m.webm", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 1M"},
    {"n.mp4", "-c:v libx265 -preset ultrafast -pix_fmt yuv420p10le -x265-params log-level=none"},
    {"o.png", "-frames:v 1 -pix_fmt rgb48be"},
    {"p.jpg", "-frames:v 1 -pix_fmt yuvj444p"},
};
#define KINDS (sizeof kinds / sizeof *kinds)

// One sum for each kind, written to `fd`.
static void child(int fd, int flags, int threads)
{
    av_log_set_level(AV_LOG_QUIET);
    av_force_cpu_flags(flags);
    for (size_t i = 0; i < KINDS; i++) {
        char path[256];
        struct picture_decoder *decoder;
        uint64_t sum = 0;
        snprintf(path, sizeof path, "%s/%s", maker_folder, kinds[i].file);
        if (picture_decoder_open(path, threads, &decoder, NULL))
            _exit(1);
        int64_t count = picture_decoder_index(decoder)->picture_count;
        for (int64_t k = 0; k < count; k++) {
            struct picture *picture;
            if (picture_decoder_get(decoder, k, &picture, NULL))
                _exit(2);
            sum = sum * 31 + picture_checksum(picture);
            picture_unref(&picture);
        }
        picture_decoder_close(&decoder);
        if (write(fd, &sum, sizeof sum) != sizeof sum)
            _exit(3);
    }
    _exit(0);
}

static void sums_with(int flags, int threads, uint64_t ret[KINDS])
{
    int ends[2], status = 0;
    memset(ret, 0, KINDS * sizeof *ret);
    if (pipe(ends))
        exit(EXIT_FAILURE);
    pid_t pid = fork();
    if (!pid)
        child(ends[1], flags, threads);
    close(ends[1]);
    for (size_t i = 0; i < KINDS; i++)
        CHECK(read(ends[0], &ret[i], sizeof ret[i]), ==, sizeof ret[i]);
    close(ends[0]);
    CHECK(waitpid(pid, &status, 0), ==, pid);
    CHECK(status, ==, 0);
}

static int thread_count(void)
{
    int count = 0;
    DIR *folder = opendir("/proc/self/task");
    for (struct dirent *e; folder && (e = readdir(folder));)
        count += e->d_name[0] != '.';
    if (folder)
        closedir(folder);
    return count;
}

// Threads that decoding a file takes; negative: refused.
static int threads_of(const char *file, const char *wanted)
{
    char path[256];
    struct picture_decoder *decoder;
    struct picture *picture = NULL;
    struct diagnostic problem = {0};
    setenv("VISTTER_DECODER_THREADS", wanted, 1);
    snprintf(path, sizeof path, "%s/%s", maker_folder, file);
    int before = thread_count(), error = picture_decoder_open(path, 0, &decoder, &problem);
    if (error < 0) {
        CHECK_TEXT(problem.path, "VISTTER_DECODER_THREADS");
        return error;
    }
    CHECK_OK(picture_decoder_get(decoder, COUNT - 1, &picture, NULL));
    int count = thread_count() - before;
    picture_unref(&picture);
    picture_decoder_close(&decoder);
    return count;
}

static void test_switch(void)
{
    (void)threads_of("a.mp4", "2"); // with the first one, ThreadSanitizer starts one of its own
    CHECK(threads_of("a.mp4", "1"), ==, 0);
    CHECK(threads_of("a.mp4", "2"), ==, 2);
    CHECK(threads_of("a.mp4", "4"), ==, 4);
    CHECK(threads_of("n.mp4", "4"), ==, 4); // HEVC
    CHECK(threads_of("f.mkv", "2"), >=, 1); // FFV1: slices, the caller takes part
    static const char *const bad[] = {"", "0", "17", "-1", "two", "2 "};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(threads_of("a.mp4", bad[i]), ==, -EINVAL);
    unsetenv("VISTTER_DECODER_THREADS");
}

int main(void)
{
    maker_begin();
    maker_raw("raw.yuv", COUNT);
    for (size_t i = 0; i < KINDS; i++)
        if (maker_run(
                "ffmpeg -v error -y -f rawvideo -pix_fmt yuv420p -s %dx%d -r 25 -i %s/raw.yuv "
                "%s %s/%s",
                MAKER_WIDTH, MAKER_HEIGHT, maker_folder, kinds[i].arguments, maker_folder,
                kinds[i].file))
            exit(EXIT_FAILURE);
    int sse2 = AV_CPU_FLAG_MMX | AV_CPU_FLAG_MMXEXT | AV_CPU_FLAG_CMOV | AV_CPU_FLAG_SSE |
               AV_CPU_FLAG_SSE2;
    int sse4 = sse2 | AV_CPU_FLAG_SSE3 | AV_CPU_FLAG_SSSE3 | AV_CPU_FLAG_SSE4 | AV_CPU_FLAG_SSE42;
    int host = av_get_cpu_flags();
    const struct {
        const char *name;
        int flags, threads;
    } ways[] = {{"no special code", 0, 1},
                {"SSE2", sse2 & host, 1},
                {"SSE4.2", sse4 & host, 1},
                {"AVX", (sse4 | AV_CPU_FLAG_AVX) & host, 1},
                {"three threads", -1, 3}};
    uint64_t all[KINDS], sums[KINDS];
    sums_with(-1, 1, all);
    for (size_t k = 0; k < sizeof ways / sizeof *ways; k++) {
        sums_with(ways[k].flags, ways[k].threads, sums);
        for (size_t i = 0; i < KINDS; i++) {
            CHECK_TRUE(sums[i] == all[i]);
            if (sums[i] != all[i])
                fprintf(stderr, "%s: other bytes with %s\n", kinds[i].file, ways[k].name);
        }
    }
    test_switch();
    // The switch works: were it without effect, the comparison above would prove nothing.
    av_force_cpu_flags(0);
    CHECK(av_get_cpu_flags(), ==, 0);
    maker_end();
    return check_end();
}
