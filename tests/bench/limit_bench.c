// How near blending comes to what memory gives: limit_bench ROUNDS. A full 1080p picture with alpha
// everywhere over an opaque one, by bands of rows on 1 and on 2 threads, beside memcpy within as
// much memory. Prints a JSON object per number of threads: medians of GB/s (read and written) of
// interleaved rounds.
#include <pthread.h>

#include "engine/base/clock.h"
#include "engine/compose/blend.h"
#include "tests/bench/bench.h"

#define WIDTH       1920
#define HEIGHT      1080
#define THREADS_MAX 2
#define REPEATS     40

static struct picture *dst, *src;
static char *memory;
static size_t read_bytes, written_bytes; // of a blend: src and dst, and dst again
static int thread_count;

static void blend_band(int thread)
{
    int rows = HEIGHT / thread_count / 2 * 2;
    struct rect band = {0, thread * rows, WIDTH, rows};
    blend_picture(dst, src, 0, 0, 255, BLEND_NORMAL, &band);
}

static void copy_band(int thread)
{
    size_t half = read_bytes / 2, part = half / (size_t)thread_count;
    memcpy(memory + part * (size_t)thread, memory + half + part * (size_t)thread, part);
}

struct job {
    pthread_t thread;
    int number;
    void (*work)(int thread);
};

static void *repeat(void *opaque)
{
    struct job *job = opaque;
    for (int i = 0; i < REPEATS; i++)
        job->work(job->number);
    return NULL;
}

// GB/s when each of the threads does its band of `bytes`.
static double speed(void (*work)(int thread), size_t bytes)
{
    struct job jobs[THREADS_MAX];
    int64_t start = clock_monotonic_ns();
    for (int i = 0; i < thread_count; i++) {
        jobs[i] = (struct job){.number = i, .work = work};
        if (pthread_create(&jobs[i].thread, NULL, repeat, &jobs[i]))
            die("no thread");
    }
    for (int i = 0; i < thread_count; i++)
        pthread_join(jobs[i].thread, NULL);
    return (double)bytes * REPEATS / (double)(clock_monotonic_ns() - start);
}

static size_t picture_bytes(const struct picture *p)
{
    size_t sum = 0;
    for (int i = 0; i < picture_planes(p); i++)
        sum += (size_t)plane_width(p, i) * (size_t)plane_height(p, i);
    return sum;
}

int main(int argc, char **argv)
{
    int rounds = argc == 2 ? atoi(argv[1]) : 0;
    if (rounds < 1 || rounds > ROUNDS_MAX)
        die("ROUNDS");
    dst = picture_create(PICTURE_OPAQUE, WIDTH, HEIGHT);
    src = picture_create(PICTURE_ALPHA, WIDTH, HEIGHT);
    picture_fill(dst, (const uint8_t[4]){100, 120, 140, 255});
    picture_fill(src, (const uint8_t[4]){50, 60, 70, 120});
    read_bytes = picture_bytes(src) + picture_bytes(dst);
    written_bytes = picture_bytes(dst);
    memory = malloc(read_bytes);
    if (!memory)
        die("no memory");
    memset(memory, 1, read_bytes);
    for (thread_count = 1; thread_count <= THREADS_MAX; thread_count++) {
        double blend[ROUNDS_MAX], copy[ROUNDS_MAX];
        for (int i = 0; i < rounds; i++) {
            blend[i] = speed(blend_band, read_bytes + written_bytes);
            copy[i] = speed(copy_band, read_bytes);
        }
        printf("{\"threads\":%d,\"ours\":%.2f,\"copy\":%.2f}\n", thread_count,
               median(blend, rounds), median(copy, rounds));
    }
    free(memory);
    picture_unref(&dst);
    picture_unref(&src);
    return EXIT_SUCCESS;
}
