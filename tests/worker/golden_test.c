// Golden frames: the same checksum with every level of processor-specific code, FFmpeg's and ours,
// each in a process of its own since both are chosen once; nothing is left behind.
#include "worker/golden.h"

#include "engine/base/clock.h"
#include "tests/check.h"

#include <errno.h>
#include <libavutil/cpu.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/vistter-golden-test-XXXXXX";

// The checksum with FFmpeg's `flags` (-1: all) and our kernels of level `level`.
static void hash_with(int flags, const char *level, uint8_t ret[32])
{
    int ends[2], status = 0;
    memset(ret, 0, 32);
    CHECK_OK(pipe(ends));
    pid_t pid = fork();
    if (!pid) {
        struct diagnostic problem = {0};
        uint8_t hash[32];
        char text[1024];
        setenv("VISTTER_CPU", level, 1);
        av_force_cpu_flags(flags);
        int64_t start = clock_monotonic_ns();
        int error = golden_hash(folder, hash, &problem);
        if (error)
            fprintf(stderr, "%s\n", diagnostic_format(&problem, text, sizeof text));
        fprintf(stderr, "kernels %s, FFmpeg's flags %x: %.0f ms\n", level, (unsigned)flags,
                (double)(clock_monotonic_ns() - start) / 1e6);
        _exit(error || write(ends[1], hash, sizeof hash) != sizeof hash);
    }
    close(ends[1]);
    CHECK(read(ends[0], ret, 32), ==, 32);
    close(ends[0]);
    CHECK(waitpid(pid, &status, 0), ==, pid);
    CHECK(status, ==, 0);
}

int main(void)
{
    CHECK_TRUE(mkdtemp(folder));
    uint8_t all[32], some[32], none[32];
    hash_with(-1, "avx512", all);
    hash_with(AV_CPU_FLAG_SSE2 | AV_CPU_FLAG_SSE, "avx2", some);
    hash_with(0, "c", none);
    CHECK_BYTES(some, all, 32);
    CHECK_BYTES(none, all, 32);
    CHECK_OK(rmdir(folder)); // empty
    struct diagnostic problem = {0};
    CHECK_ERROR(golden_hash(folder, all, &problem), -ENOENT);
    CHECK_TEXT(problem.path, folder);
    return check_end();
}
