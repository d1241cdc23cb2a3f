// kernels_bench [repetitions]: median time of whole operations on 1080p pictures with the kernels
// of each level. Prints lines of name, level, milliseconds, and the C reference's (or null), with
// tabs between. Under callgrind: each once with AVX2, which valgrind knows, and a dump of that name
// (see the script `instructions`).
#include "engine/compose/kernels.h"

#include "engine/base/clock.h"
#include "engine/base/crew.h"
#include "engine/compose/blend.h"
#include "engine/compose/convert.h"
#include "engine/compose/group.h"
#include "engine/compose/place.h"
#include "engine/compose/shadow.h"
#include "engine/link/tile_codec.h"
#include "tests/engine/compose/random_picture.h"

#if __has_include(<valgrind/callgrind.h>)
#include <valgrind/callgrind.h>
#else
#define RUNNING_ON_VALGRIND           0
#define CALLGRIND_ZERO_STATS          ((void)0)
#define CALLGRIND_DUMP_STATS_AT(name) ((void)(name))
#endif

#define WIDTH  1920
#define HEIGHT 1080

static const char *const levels[] = {"c", "avx2", "avx512"};
static int repetitions = 41;

struct bench {
    struct picture *dst, *translucent, *opaque, *sparse, *alpha;
    struct picture *smooth, *inset; // a noisy ramp, as a video; a smaller picture
    struct group_frame *group;      // what run_compose makes, and coded
    uint8_t *bytes;
    size_t size;
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

// Median, ns, by a clock: the thread's processor time, or time as it passes.
static double measure(void (*run)(struct bench *), struct bench *bench, int64_t (*clock_ns)(void))
{
    int64_t times[1001];
    run(bench); // warms caches and tables
    for (int i = 0; i < repetitions; i++) {
        int64_t start = clock_ns();
        run(bench);
        times[i] = clock_ns() - start;
    }
    qsort(times, (size_t)repetitions, sizeof times[0], compare);
    return (double)times[repetitions / 2];
}

static void report(const char *name, void (*run)(struct bench *), struct bench *bench)
{
    char reference[32] = "null";
    if (RUNNING_ON_VALGRIND) {
        if (!compose_cpu_force("avx2")) {
            fputs("what is recorded was counted with AVX2, which this processor lacks\n", stderr);
            exit(1);
        }
        run(bench); // fills tables
        CALLGRIND_ZERO_STATS;
        run(bench);
        CALLGRIND_DUMP_STATS_AT(name);
        return;
    }
    for (int i = 0; i < 3; i++) {
        if (!compose_cpu_force(levels[i]))
            continue;
        double ms = measure(run, bench, clock_thread_cpu_ns) / 1e6;
        printf("%s\t%s\t%.4f\t%s\n", name, levels[i], ms, reference);
        if (i == 0)
            snprintf(reference, sizeof reference, "%.4f", ms);
    }
}

// One pair of hands, then two, as time passes.
static void report_hands(const char *name, void (*run)(struct bench *), struct bench *bench)
{
    if (RUNNING_ON_VALGRIND)
        return;
    double alone = measure(run, bench, clock_monotonic_ns) / 1e6;
    crew_start(2);
    double shared = measure(run, bench, clock_monotonic_ns) / 1e6;
    crew_end();
    printf("%s\t2 hands\t%.4f\t%.4f\n", name, shared, alone);
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

static void run_shadow(struct bench *b)
{
    struct picture *out = NULL;
    int x, y;
    if (shadow_draw(&b->placement, WIDTH, HEIGHT, &out, &x, &y) < 0)
        exit(1);
    picture_unref(&out);
}

static void run_group(struct bench *b)
{
    struct group_frame *frame = NULL;
    group_builder_forget(b->builder);
    group_builder_begin(b->builder, NULL);
    group_builder_add(b->builder, b->sparse, 0, 0, 255, BLEND_NORMAL);
    group_builder_add(b->builder, b->sparse, 64, 32, 200, BLEND_NORMAL);
    if (group_builder_finish(b->builder, &frame) < 0)
        exit(1);
    group_fold(b->dst, frame);
    group_frame_unref(&frame);
}

static struct group_frame *composed(const struct bench *b, int inset_x)
{
    struct group_frame *frame = NULL;
    group_builder_begin(b->builder, b->smooth);
    group_builder_add(b->builder, b->sparse, 0, 0, 255, BLEND_NORMAL);
    group_builder_add(b->builder, b->inset, inset_x, 100, 204, BLEND_NORMAL);
    if (group_builder_finish(b->builder, &frame) < 0)
        exit(1);
    return frame;
}

static void run_compose(struct bench *b)
{
    group_builder_forget(b->builder);
    struct group_frame *frame = composed(b, 1200);
    group_frame_unref(&frame);
}

static void run_damage(struct bench *b)
{
    static int turn;
    struct group_frame *frame = composed(b, 1200 + 2 * (turn++ % 10));
    group_frame_unref(&frame);
}

static void run_encode(struct bench *b)
{
    uint8_t *bytes = NULL;
    size_t size;
    if (group_encode(b->group, NULL, &bytes, &size))
        exit(1);
    free(bytes);
}

static void run_decode(struct bench *b)
{
    struct group_frame *frame = NULL;
    if (group_decode(b->bytes, b->size, WIDTH, HEIGHT, NULL, &frame))
        exit(1);
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
    b->opacity = 255;
    report("over, translucent", run_over, b);
    report("over alpha, translucent", run_over_alpha, b);
    report("over, a tenth covered", run_sparse, b);
    report("copy, opaque", run_opaque, b);
    b->opacity = 128;
    report("over, translucent, opacity 128", run_over, b);
    report("lerp, opaque, opacity 128", run_opaque, b);
    report("dissolve", run_dissolve, b);
    b->opacity = 255;
    b->mode = BLEND_MULTIPLY;
    report("multiply, translucent", run_over, b);
    b->mode = BLEND_NORMAL;
    report("group of two sparse layers, fold", run_group, b);
    report("convert argb32, empty", run_convert, b);
    for (int i = 0; i < WIDTH * HEIGHT; i++)
        b->argb[i] = UINT32_C(0xff000000) | (uint32_t)i * UINT32_C(2654435761) >> 8;
    report("convert argb32, full", run_convert, b);
    report("adjust", run_adjust, b);
}

static void bench_place(struct bench *b)
{
    b->placement = (struct placement){.width = 1280, .height = 720};
    report("place 1920x1080 -> 1280x720", run_place, b);
    b->placement = (struct placement){.x = 100, .y = 50, .width = 480, .height = 270};
    report("place -> 480x270", run_place, b);
    b->placement.x = 100.5;
    b->placement.radius = 20;
    report("place -> 480x270, radius, half px", run_place, b);
    b->placement.border = 6;
    b->placement.border_colour = (struct colour){255, 255, 255, 255};
    report("place -> 480x270, radius, border", run_place, b);
    b->placement.shadow = (struct shadow){8, 8, 24, {0, 0, 0, 160}};
    report("shadow of 480x270, radius", run_shadow, b);
    b->placement.rotation = 10;
    report("shadow of 480x270, radius, 10 degrees", run_shadow, b);
    b->placement = (struct placement){.x = -960, .y = -540, .width = 3840, .height = 2160};
    report("place, zoomed by 2", run_place, b);
    report_hands("place, zoomed by 2", run_place, b);
    b->placement =
        (struct placement){.x = 700, .y = 400, .width = 480, .height = 270, .rotation = 10};
    report("place -> 480x270, 10 degrees", run_place, b);
    report_hands("place -> 480x270, 10 degrees", run_place, b);
}

static void bench_group(struct bench *b)
{
    report("frame of three layers", run_compose, b);
    report_hands("frame of three layers", run_compose, b);
    report("frame of three layers, one moves", run_damage, b);
    b->group = composed(b, 1200);
    if (group_encode(b->group, NULL, &b->bytes, &b->size))
        exit(1);
    report("encode", run_encode, b);
    report("decode", run_decode, b);
    group_frame_unref(&b->group);
    free(b->bytes);
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
        .smooth = picture_create(PICTURE_OPAQUE, WIDTH, HEIGHT),
        .inset = random_picture(&state, PICTURE_OPAQUE, 640, 360),
        .placer = placer_create(),
        .builder = group_builder_create(WIDTH, HEIGHT),
        .argb = calloc(WIDTH * HEIGHT, 4),
    };
    for (int y = 0; y < HEIGHT; y++)
        memset(b.translucent->plane[3] + y * b.translucent->stride[3], 1 + y % 254, WIDTH);
    for (int i = 0; i < 3; i++)
        for (int y = 0; y < plane_height(b.smooth, i); y++)
            for (int x = 0; x < plane_width(b.smooth, i); x++)
                b.smooth->plane[i][y * b.smooth->stride[i] + x] =
                    (uint8_t)((x + y) / 16 + random_below(&state, 6));
    picture_clear(b.sparse);
    blend_picture(b.sparse, b.translucent, 0, 972, 255, BLEND_NORMAL, NULL);
    bench_blend(&b);
    bench_place(&b);
    bench_group(&b);
    picture_unref(&b.dst);
    picture_unref(&b.opaque);
    picture_unref(&b.translucent);
    picture_unref(&b.sparse);
    picture_unref(&b.alpha);
    picture_unref(&b.smooth);
    picture_unref(&b.inset);
    placer_destroy(&b.placer);
    group_builder_destroy(&b.builder);
    free(b.argb);
    return 0;
}
