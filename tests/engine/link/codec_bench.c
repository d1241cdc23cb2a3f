// codec_bench WIDTH HEIGHT FILE...: each file is one raw yuv420p picture. Prints the median thread
// milliseconds to code and decode an opaque group, and Mbit/s at 30 frames a second.
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/clock.h"
#include "engine/link/tile_codec.h"

#define REPEATS 31

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static struct group_frame *read_group(const char *path, int width, int height)
{
    struct picture *p = picture_create(PICTURE_OPAQUE, width, height);
    FILE *file = fopen(path, "rb");
    for (int i = 0; file && i < 3; i++)
        for (int y = 0; y < plane_height(p, i); y++)
            if (fread(p->plane[i] + y * p->stride[i], 1, (size_t)plane_width(p, i), file) !=
                (size_t)plane_width(p, i)) {
                fprintf(stderr, "%s: too short\n", path);
                exit(EXIT_FAILURE);
            }
    if (!file) {
        perror(path);
        exit(EXIT_FAILURE);
    }
    fclose(file);
    struct group_frame *frame = NULL;
    struct group_builder *builder = group_builder_create(width, height);
    group_builder_begin(builder, p);
    if (group_builder_finish(builder, &frame))
        exit(EXIT_FAILURE);
    group_builder_destroy(&builder);
    picture_unref(&p);
    return frame;
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return EXIT_FAILURE;
    int width = atoi(argv[1]), height = atoi(argv[2]);
    for (int i = 3; i < argc; i++) {
        struct group_frame *frame = read_group(argv[i], width, height), *decoded = NULL;
        int64_t encode[REPEATS], decode[REPEATS];
        size_t size = 0;
        for (int n = 0; n < REPEATS; n++) {
            uint8_t *bytes = NULL;
            int64_t start = clock_thread_cpu_ns();
            if (group_encode(frame, NULL, &bytes, &size))
                return EXIT_FAILURE;
            int64_t middle = clock_thread_cpu_ns();
            if (group_decode(bytes, size, width, height, NULL, &decoded))
                return EXIT_FAILURE;
            encode[n] = middle - start;
            decode[n] = clock_thread_cpu_ns() - middle;
            group_frame_unref(&decoded);
            free(bytes);
        }
        qsort(encode, REPEATS, sizeof encode[0], compare);
        qsort(decode, REPEATS, sizeof decode[0], compare);
        printf("%s %s: encode %.2f ms, decode %.2f ms, %.0f Mbit/s of %.0f\n", compose_cpu_name(),
               argv[i], (double)encode[REPEATS / 2] / 1e6, (double)decode[REPEATS / 2] / 1e6,
               (double)size * 240 / 1e6, width * height * 1.5 * 240 / 1e6);
        group_frame_unref(&frame);
    }
    return EXIT_SUCCESS;
}
