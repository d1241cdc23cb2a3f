// The meter, by the signals of EBU Tech 3341 that two channels can hold, and by what is not sound.
#include "engine/media/loudness.h"

#include "engine/base/rate.h"
#include "tests/check.h"

#include <math.h>
#include <stdlib.h>

static struct loudness_meter *meter;
static double lufs, dbtp;

static void begin(void)
{
    CHECK_OK(loudness_meter_create(&meter));
}

static void end(void)
{
    loudness_meter_finish(meter, &lufs, &dbtp);
    loudness_meter_destroy(&meter);
}

// Both sides the same, in pieces of odd sizes.
static void play(const float *samples, int64_t count)
{
    static float pairs[2 * 7919];
    for (int64_t done = 0, part; done < count; done += part) {
        part = count - done < 7919 ? count - done : 7919;
        for (int64_t i = 0; i < part; i++)
            pairs[2 * i] = pairs[2 * i + 1] = samples[done + i];
        CHECK_OK(loudness_meter_add(meter, pairs, part));
    }
}

// 1 kHz, whose peak is at `level` dBFS.
static void tone(double level, double seconds)
{
    int64_t count = (int64_t)(seconds * SAMPLE_RATE_HZ + 0.5);
    float *samples = malloc((size_t)count * sizeof *samples);
    for (int64_t i = 0; i < count; i++)
        samples[i] =
            (float)(pow(10, level / 20) * sin(2 * M_PI * 1000 * (double)i / SAMPLE_RATE_HZ));
    play(samples, count);
    free(samples);
}

static void expect_lufs(const char *what, double expected)
{
    end();
    CHECK_TRUE(fabs(lufs - expected) <= 0.1);
    if (!(fabs(lufs - expected) <= 0.1))
        fprintf(stderr, "%s: %.2f LUFS, not %.1f\n", what, lufs, expected);
}

// Table 1, test cases 1 to 5: +-0.1 LU.
static void test_integrated(void)
{
    begin();
    tone(-23, 20);
    expect_lufs("case 1", -23);
    CHECK_TRUE(dbtp > -23.4 && dbtp < -22.8);
    begin();
    tone(-33, 20);
    expect_lufs("case 2", -33);
    begin();
    tone(-36, 10);
    tone(-23, 60);
    tone(-36, 10);
    expect_lufs("case 3", -23);
    begin();
    tone(-72, 10);
    tone(-36, 10);
    tone(-23, 60);
    tone(-36, 10);
    tone(-72, 10);
    expect_lufs("case 4", -23);
    begin();
    tone(-26, 20);
    tone(-20, 20.1);
    tone(-26, 20);
    expect_lufs("case 5", -23);
}

// Test cases 15 to 19: a sine of a fraction of the sampling rate that no sample meets at its peak;
// +0.2/-0.4 dB.
static void test_true_peak(void)
{
    static const struct {
        int period; // samples
        double phase, amplitude, expected;
    } cases[] = {
        {4, 0, 0.5, -6}, {4, 45, 0.5, -6}, {6, 60, 0.5, -6}, {8, 67.5, 0.5, -6}, {4, 45, 1.41, 3}};
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        static float samples[SAMPLE_RATE_HZ];
        for (int i = 0; i < SAMPLE_RATE_HZ; i++) {
            double swell = fmin(1, fmin(i, SAMPLE_RATE_HZ - 1 - i) / 4800.0); // no click to measure
            samples[i] = (float)(cases[k].amplitude * swell *
                                 sin(2 * M_PI * i / cases[k].period + cases[k].phase * M_PI / 180));
        }
        begin();
        play(samples, SAMPLE_RATE_HZ);
        end();
        CHECK_TRUE(dbtp <= cases[k].expected + 0.2 && dbtp >= cases[k].expected - 0.4);
        if (dbtp > cases[k].expected + 0.2 || dbtp < cases[k].expected - 0.4)
            fprintf(stderr, "true peak %zu: %.2f dBTP, not %.1f\n", k, dbtp, cases[k].expected);
    }
}

// The first sample is one to the peak as well as the last.
static void test_ends(void)
{
    static float samples[9600];
    for (int at = 0; at < 9600; at += 9599) {
        samples[at] = 0.25f;
        begin();
        play(samples, 9600);
        end();
        CHECK_TRUE(fabs(dbtp - 20 * log10(0.25)) < 0.2);
        CHECK_TRUE(isinf(lufs)); // 0.2 s: shorter than a block
        samples[at] = 0;
    }
}

static void test_nothing(void)
{
    static float samples[SAMPLE_RATE_HZ];
    begin();
    end();
    CHECK_TRUE(lufs == -HUGE_VAL && dbtp == -HUGE_VAL);
    begin();
    play(samples, SAMPLE_RATE_HZ);
    end();
    CHECK_TRUE(lufs == -HUGE_VAL && dbtp == -HUGE_VAL);
    begin();
    tone(-75, 2); // below the gate, but there
    end();
    CHECK_TRUE(lufs == -HUGE_VAL);
    CHECK_TRUE(fabs(dbtp + 75) < 0.4);
}

// What a hostile file may hold; the sound after it is measured as ever.
static void test_no_numbers(void)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY, 3e38f, -3e38f};
    begin();
    play(bad, sizeof bad / sizeof bad[0]);
    tone(-23, 20);
    expect_lufs("after no numbers", -23);
}

// Silence that is told measures as silence that is played, wherever the blocks stand in it.
static void test_silence(void)
{
    static float zeros[10 * SAMPLE_RATE_HZ];
    static const int64_t counts[] = {1, 4799, 100000, 96001, 333333, 10 * SAMPLE_RATE_HZ};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        double measured[2][2];
        for (int told = 0; told < 2; told++) {
            begin();
            tone(-30, 1.234);
            if (told)
                CHECK_OK(loudness_meter_add_silence(meter, counts[i]));
            else
                play(zeros, counts[i]);
            tone(-24, 0.777);
            end();
            measured[told][0] = lufs;
            measured[told][1] = dbtp;
        }
        CHECK_TRUE(measured[0][0] == measured[1][0] && measured[0][1] == measured[1][1]);
    }
}

int main(void)
{
    test_integrated();
    test_true_peak();
    test_ends();
    test_nothing();
    test_no_numbers();
    test_silence();
    return check_end();
}
