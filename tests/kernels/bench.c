// kernels_bench [repetitions]: median time of each kernel at each level, and of whole operations on
// 1080p pictures. Not a test: figures depend on the machine.
#include "engine/compose/kernels.h"

#include "engine/base/clock.h"
#include "engine/compose/blend.h"
#include "engine/compose/convert.h"
#include "engine/compose/group.h"
#include "engine/compose/place.h"
#include "tests/engine/compose/random_picture.h"

#define WIDTH  1920
#define HEIGHT 1080

static const char *const levels[] = {"c", "avx2", "avx512"};
static int repetitions = 41;

struct bench {
    struct picture *dst, *translucent, *opaque, *sparse, *alpha;
    struct placer *placer;
    struct group_builder *builder;
    uint32_t *argb;
    struct placement placement;
    int opacity;
    enum blend_mode mode;
};

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

// Median of the thread's processor time, ns.
static double measure(void (*run)(struct bench *), struct bench *bench)
{
    int64_t times[1001];
    run(bench); // warms caches and tables
    for (int i = 0; i < repetitions; i++) {
        int64_t start = clock_thread_cpu_ns();
        run(bench);
        times[i] = clock_thread_cpu_ns() - start;
    }
    qsort(times, (size_t)repetitions, sizeof times[0], compare);
    return (double)times[repetitions / 2];
}

static void report(const char *name, void (*run)(struct bench *), struct bench *bench, int pixels)
{
    double reference = 0;
    for (int i = 0; i < 3; i++) {
        if (!compose_cpu_force(levels[i]))
            continue;
        double ns = measure(run, bench);
        reference = i == 0 ? ns : reference;
        printf("%-34s %-7s %8.3f ns/pixel %8.3f ms %6.1f x\n", name, levels[i], ns / pixels,
               ns / 1e6, reference / ns);
    }
}

static void run_over(struct bench *b)
{
    blend_picture(b->dst, b->translucent, 0, 0, b->opacity, b->mode, NULL);
}

static void run_over_alpha(struct bench *b)
{
    blend_picture(b->alpha, b->translucent, 0, 0, b->opacity, BLEND_NORMAL, NULL);
}

static void run_sparse(struct bench *b)
{
    blend_picture(b->dst, b->sparse, 0, 0, 255, BLEND_NORMAL, NULL);
}

static void run_opaque(struct bench *b)
{
    blend_picture(b->dst, b->opaque, 0, 0, b->opacity, BLEND_NORMAL, NULL);
}

static void run_dissolve(struct bench *b)
{
    blend_dissolve(b->alpha, b->opaque, 0, 0, 255, b->translucent, 0, 0, 255, 100);
}

static void run_place(struct bench *b)
{
    struct picture *out = NULL;
    int x, y;
    if (placer_place(b->placer, b->opaque, &b->placement, WIDTH, HEIGHT, &out, &x, &y) < 0)
        exit(1);
    picture_unref(&out);
}

static void run_group(struct bench *b)
{
    struct group_frame *frame = NULL;
    group_builder_begin(b->builder, NULL);
    group_builder_add(b->builder, b->sparse, 0, 0, 255, BLEND_NORMAL);
    group_builder_add(b->builder, b->sparse, 64, 32, 200, BLEND_NORMAL);
    if (group_builder_finish(b->builder, &frame) < 0)
        exit(1);
    group_fold(b->dst, frame);
    group_frame_unref(&frame);
}

static void run_convert(struct bench *b)
{
    convert_argb32(b->alpha, (const uint8_t *)b->argb, WIDTH * 4);
}

static void run_adjust(struct bench *b)
{
    convert_adjust(b->dst, b->opaque, 0.1, 1.1, 0.9, 200);
}

static void bench_blend(struct bench *b)
{
    int pixels = WIDTH * HEIGHT;
    b->opacity = 255;
    report("over, translucent", run_over, b, pixels);
    report("over alpha, translucent", run_over_alpha, b, pixels);
    report("over, a tenth covered", run_sparse, b, pixels);
    report("copy, opaque", run_opaque, b, pixels);
    b->opacity = 128;
    report("over, translucent, opacity 128", run_over, b, pixels);
    report("lerp, opaque, opacity 128", run_opaque, b, pixels);
    report("dissolve", run_dissolve, b, pixels);
    b->opacity = 255;
    b->mode = BLEND_MULTIPLY;
    report("multiply, translucent", run_over, b, pixels);
    b->mode = BLEND_NORMAL;
    report("group of two sparse layers, fold", run_group, b, pixels);
    report("convert argb32, empty", run_convert, b, pixels);
    for (int i = 0; i < pixels; i++)
        b->argb[i] = UINT32_C(0xff000000) | (uint32_t)i * UINT32_C(2654435761) >> 8;
    report("convert argb32, full", run_convert, b, pixels);
    report("adjust", run_adjust, b, pixels);
}

static void bench_place(struct bench *b)
{
    b->placement = (struct placement){.width = 1280, .height = 720};
    report("place 1920x1080 -> 1280x720", run_place, b, 1280 * 720);
    b->placement = (struct placement){.x = 100, .y = 50, .width = 480, .height = 270};
    report("place -> 480x270", run_place, b, 480 * 270);
    b->placement.x = 100.5;
    b->placement.radius = 20;
    report("place -> 480x270, radius, half px", run_place, b, 480 * 270);
    b->placement = (struct placement){.x = -960, .y = -540, .width = 3840, .height = 2160};
    report("place, zoomed by 2", run_place, b, WIDTH * HEIGHT);
    b->placement =
        (struct placement){.x = 700, .y = 400, .width = 480, .height = 270, .rotation = 10};
    report("place -> 480x270, 10 degrees", run_place, b, 480 * 270);
}

int main(int argc, char **argv)
{
    uint64_t state = 1;
    if (argc > 1)
        repetitions = atoi(argv[1]);
    repetitions = repetitions < 1 ? 1 : repetitions > 1001 ? 1001 : repetitions;
    struct bench b = {
        .dst = random_picture(&state, PICTURE_OPAQUE, WIDTH, HEIGHT),
        .opaque = random_picture(&state, PICTURE_OPAQUE, WIDTH, HEIGHT),
        .translucent = random_picture(&state, PICTURE_ALPHA, WIDTH, HEIGHT),
        .sparse = picture_create(PICTURE_ALPHA, WIDTH, HEIGHT),
        .alpha = random_picture(&state, PICTURE_ALPHA, WIDTH, HEIGHT),
        .placer = placer_create(),
        .builder = group_builder_create(WIDTH, HEIGHT),
        .argb = calloc(WIDTH * HEIGHT, 4),
    };
    for (int y = 0; y < HEIGHT; y++)
        memset(b.translucent->plane[3] + y * b.translucent->stride[3], 1 + y % 254, WIDTH);
    picture_clear(b.sparse);
    blend_picture(b.sparse, b.translucent, 0, 972, 255, BLEND_NORMAL, NULL);
    bench_blend(&b);
    bench_place(&b);
    picture_unref(&b.dst);
    picture_unref(&b.opaque);
    picture_unref(&b.translucent);
    picture_unref(&b.sparse);
    picture_unref(&b.alpha);
    placer_destroy(&b.placer);
    group_builder_destroy(&b.builder);
    free(b.argb);
    return 0;
}
