// Coded stems: bit-exact for every kind of sound; damage gives an error or samples, nothing else.
#include "engine/link/tile_codec.h"

#include <errno.h>

#include "tests/check.h"

#define SAMPLES_MAX 1700

static int32_t samples[2 * SAMPLES_MAX], decoded[2 * (SAMPLES_MAX + 65)];

static size_t round_trip(int count)
{
    uint8_t *bytes = NULL;
    size_t size = 0;
    CHECK_OK(stem_encode(samples, count, &bytes, &size));
    memset(decoded, 0x55, sizeof decoded);
    CHECK_OK(stem_decode(bytes, size, decoded, count));
    CHECK_BYTES(decoded, samples, (size_t)count * 2 * sizeof samples[0]);
    CHECK_TRUE(decoded[2 * count] == 0x55555555 || count == SAMPLES_MAX);
    for (size_t i = 0; i < size; i += 1 + size / 40)
        CHECK_ERROR(stem_decode(bytes, i, decoded, count), -EPROTO);
    CHECK_ERROR(stem_decode(bytes, size, decoded, count + 65), -EPROTO);
    free(bytes);
    return size;
}

static void test_kinds(uint64_t *state)
{
    memset(samples, 0, sizeof samples);
    uint8_t *bytes = NULL;
    size_t size = 0;
    CHECK_OK(stem_encode(samples, 1600, &bytes, &size));
    CHECK(size, ==, 2); // silence
    CHECK_OK(stem_decode(bytes, size, decoded, 1600));
    CHECK_BYTES(decoded, samples, 1600 * 8);
    CHECK_ERROR(stem_decode(bytes, 1, decoded, 1600), -EPROTO);
    free(bytes);

    // A straight line, the same on both channels: the first run starts anew (0, then +1000 is a
    // second difference of 1000 -> 11 bits zig-zagged), the others need nothing.
    for (int i = 0; i < 1600; i++)
        samples[2 * i] = samples[2 * i + 1] = 1000 * i;
    CHECK(round_trip(1600), ==, 1 + 1 + 11 * 8 + 24 + 1);

    for (int i = 0; i < 2 * SAMPLES_MAX; i++) // everything, including the limits of int32
        samples[i] = i % 97 == 0   ? INT32_MIN
                     : i % 89 == 0 ? INT32_MAX
                                   : (int32_t)check_random(state);
    round_trip(SAMPLES_MAX);
    for (int i = 0; i < 2 * SAMPLES_MAX; i++)
        samples[i] = (int32_t)(check_random(state) >> 52) - 2048;
    int counts[] = {1, 2, 7, 63, 64, 65, 1601, 1602};
    for (int i = 0; i < 8; i++)
        round_trip(counts[i]);
    memset(samples, 0, sizeof samples);
    for (int i = 0; i < 1600; i++) // only the right channel sounds
        samples[2 * i + 1] = (int32_t)(check_random(state) >> 50);
    round_trip(1600);
}

static void test_damage(uint64_t *state)
{
    for (int i = 0; i < 2 * SAMPLES_MAX; i++)
        samples[i] = (int32_t)(check_random(state) >> 48);
    uint8_t *bytes = NULL;
    size_t size = 0;
    CHECK_OK(stem_encode(samples, 1601, &bytes, &size));
    for (int i = 0; i < 2000; i++) {
        size_t length = i % 3 ? size : check_random(state) % (size + 1);
        uint8_t *damaged = malloc(length ? length : 1);
        memcpy(damaged, bytes, length);
        for (uint64_t n = check_random(state) % 4; n > 0 && length; n--)
            damaged[check_random(state) % length] = (uint8_t)check_random(state);
        int error = stem_decode(damaged, length, decoded, 1601);
        CHECK_TRUE(error == 0 || error == -EPROTO);
        free(damaged);
    }
    free(bytes);
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    fprintf(stderr, "seed %" PRIu64 "\n", seed);
    test_kinds(&seed);
    test_damage(&seed);
    return check_end();
}
