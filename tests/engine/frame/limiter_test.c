// The limiter: quiet sound comes through as it was, loud sound stays under the ceiling also between
// samples, by oversampling done here in another way; gains have no steps; and whoever begins later
// has the same bits.
#include "engine/frame/limiter.h"

#include "engine/frame/sound.h"
#include "tests/check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PI      3.14159265358979323846
#define SECOND  48000
#define LENGTH  (3 * SECOND)
#define CEILING 7476412 // -1 dBTP

typedef int32_t sound[LENGTH][SOUND_CHANNELS];
static sound in, out, again;

static void run(int from, int piece, sound ret)
{
    struct limiter *l = limiter_create(LIMITER_CEILING);
    for (int at = from; at < LENGTH; at += piece) {
        int count = at + piece < LENGTH ? piece : LENGTH - at;
        limiter_sound(l, ret[at], in[at], count);
    }
    limiter_destroy(&l);
}

static double sine(double hz, double phase, int t)
{
    return sin(2 * PI * hz * t / SECOND + phase);
}

// The highest point of a channel in [from, to) at 8 points a sample: sinc, Hann window of 64.
static double true_peak(sound s, int channel, int from, int to)
{
    static double table[8][64];
    double peak = 0;
    for (int p = 0; p < 8; p++)
        for (int k = 0; k < 64; k++) {
            double x = k - 31 - p / 8.0, window = 0.5 + 0.5 * cos(PI * x / 32);
            table[p][k] = fabs(x) < 1e-9 ? 1 : fabs(x) >= 32 ? 0 : sin(PI * x) / (PI * x) * window;
        }
    for (int t = from + 32; t < to - 33; t++)
        for (int p = 0; p < 8; p++) {
            double sum = 0;
            for (int k = 0; k < 64; k++)
                sum += s[t + k - 31][channel] * table[p][k];
            peak = fmax(peak, fabs(sum));
        }
    return peak;
}

static void test_quiet(void)
{
    for (int t = 0; t < LENGTH; t++) {
        in[t][0] = (int32_t)(0.8 * SOUND_FULL_SCALE * sine(997, 0, t));
        in[t][1] = (int32_t)(0.4 * SOUND_FULL_SCALE * sine(5000, 1, t));
    }
    run(0, 1024, out);
    CHECK(memcmp(out[LIMITER_DELAY], in[0], sizeof in[0] * (LENGTH - LIMITER_DELAY)), ==, 0);
    for (int t = 0; t < LIMITER_DELAY; t++)
        CHECK_TRUE(out[t][0] == 0 && out[t][1] == 0);
}

// Four times full scale, in a burst; a sine whose samples stay below its peak (EBU Tech 3341,
// cases 15 to 18: a quarter of the sample rate at 45 degrees).
static void test_ceiling(void)
{
    static const struct {
        double hz, phase, level;
    } cases[] = {{60, 0, 4},         {997, 0, 4},       {12000, PI / 4, 1.4},
                 {12000, PI / 4, 8}, {8000, PI / 3, 2}, {15000, 0.3, 1.2}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int t = 0; t < LENGTH; t++) {
            double level = t >= SECOND && t < 2 * SECOND ? cases[i].level : 0.1;
            double value = level * SOUND_FULL_SCALE * sine(cases[i].hz, cases[i].phase, t);
            in[t][0] = (int32_t)value;
            in[t][1] = (int32_t)(value / 2);
        }
        run(0, 1000, out);
        CHECK_TRUE(true_peak(out, 0, SECOND - 2000, 2 * SECOND + 2000) <= CEILING);
        // Not more than needed: in the middle it is near the ceiling.
        CHECK_TRUE(true_peak(out, 0, SECOND + SECOND / 2, 2 * SECOND - SECOND / 4) >
                   0.93 * LIMITER_CEILING);
        for (int t = SECOND; t < 2 * SECOND; t += 100) // the channels together
            CHECK_TRUE(abs(out[t][0] - 2 * out[t][1]) <= 3);
    }
}

static void test_noise(uint64_t *state)
{
    for (int t = 0; t < LENGTH; t++)
        for (int c = 0; c < SOUND_CHANNELS; c++)
            in[t][c] = (int32_t)((int64_t)(check_random(state) >> 34) % (3 * SOUND_FULL_SCALE)) -
                       3 * SOUND_FULL_SCALE / 2;
    run(0, 777, out);
    for (int c = 0; c < SOUND_CHANNELS; c++)
        // White up to half the sample rate, where four-fold oversampling sees least: 0.7 dB.
        CHECK_TRUE(true_peak(out, c, 0, SECOND / 2) <= CEILING * 1.084);
}

// Down within the attack, up within hold and release, and by small steps: no click.
static void test_course(void)
{
    for (int t = 0; t < LENGTH; t++) {
        double level = t == SECOND ? 3.9 : 0.5;
        in[t][0] = in[t][1] = (int32_t)(level * SOUND_FULL_SCALE);
    }
    run(0, 4096, out);
    double before = 1, most = 0;
    for (int t = 0; t < LENGTH - LIMITER_DELAY; t++) {
        double gain = (double)out[t + LIMITER_DELAY][0] / in[t][0];
        most = fmax(most, fabs(gain - before));
        before = gain;
        if (t < SECOND - LIMITER_ATTACK - 12 ||
            t > SECOND + 12 + LIMITER_HOLD + LIMITER_ATTACK + LIMITER_RELEASE)
            CHECK_TRUE(gain == 1);
    }
    CHECK_TRUE(out[SECOND + LIMITER_DELAY][0] <= LIMITER_CEILING);
    CHECK_TRUE(most < 2.0 / LIMITER_ATTACK);
}

// It is given LIMITER_MEMORY samples before, in other pieces: from there on, the same bits.
static void test_later(uint64_t *state)
{
    for (int t = 0; t < LENGTH; t++) {
        double level = check_random(state) >> 63 ? 1.3 : 0.2;
        in[t][0] = (int32_t)(level * SOUND_FULL_SCALE * sine(200, 0, t));
        in[t][1] = (int32_t)(0.9 * SOUND_FULL_SCALE * sine(3000, 0, t));
    }
    run(0, 1024, out);
    run(SECOND, 331, again);
    int from = SECOND + LIMITER_MEMORY + LIMITER_DELAY;
    CHECK(memcmp(out[from], again[from], sizeof in[0] * (size_t)(LENGTH - from)), ==, 0);
    CHECK(memcmp(out[SECOND + LIMITER_DELAY], again[SECOND + LIMITER_DELAY], 8 * 64), !=, 0);
}

int main(void)
{
    uint64_t state = UINT64_C(0x2545f4914f6cdd1d);
    test_quiet();
    test_ceiling();
    test_noise(&state);
    test_course();
    test_later(&state);
    return check_end();
}
