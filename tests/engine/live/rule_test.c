// The rules of live sources, without media: stamps, which picture stands, the sound's map, and
// resampling by it.
#include "engine/live/resample.h"
#include "engine/live/show.h"
#include "engine/live/sound_map.h"

#include "engine/base/thread.h"
#include "engine/frame/sound.h"
#include "tests/check.h"

#include <math.h>

#define SECOND_NS INT64_C(1000000000)
#define EPOCH_NS  (INT64_C(1790000000) * SECOND_NS)

// ---- Which picture ---------------------------------------------------------------------------

// Against the rule said plainly: the last picture at or before t, looked for one by one.
static void test_show(uint64_t seed)
{
    struct show_entry entries[200];
    int64_t at = EPOCH_NS;
    for (int i = 0; i < 200; i++) {
        at += (int64_t)(check_random(&seed) % 60000000);
        entries[i] = (struct show_entry){.chan_ns = at, .seq = (uint64_t)i + 1};
    }
    const struct rate rate = {30000, 1001};
    int repeated = 0, dropped = 0;
    size_t last = 0;
    for (int64_t n = 0; n < 200; n++) {
        int64_t t = show_time_ns(rate, EPOCH_NS, n, 400000000);
        CHECK(t, ==,
              EPOCH_NS - 400000000 + n * 1001 * SECOND_NS / 30000 + 1001 * SECOND_NS / 60000);
        struct show show = show_at(entries, 200, at, t, 0);
        int expected = -1;
        for (int i = 0; i < 200; i++)
            if (entries[i].chan_ns <= t)
                expected = i;
        if (t > at) {
            CHECK(show.state, ==, SHOW_NOT_YET);
        } else if (expected < 0) {
            CHECK(show.state, ==, SHOW_NOTHING);
        } else {
            CHECK(show.state, ==, SHOW_LIVE);
            CHECK(show.entry, ==, expected);
            repeated += n > 12 && show.entry == last;
            dropped += show.entry > last + 1;
            last = show.entry;
        }
    }
    CHECK(repeated, >, 0);
    CHECK(dropped, >, 0);
}

// Present, absent from 100 to 900 ms, present again; what is between a gap's end and the next
// picture still belongs to it.
static void test_gap(void)
{
    const int64_t ms = 1000000;
    const struct show_entry entries[] = {{40 * ms, 0, 1},
                                         {80 * ms, 0, 2},
                                         {100 * ms, 900 * ms, 3},
                                         {921 * ms, 0, 4},
                                         {940 * ms, 0, 5}};
    static const struct {
        int t, done;
        enum show_state state;
        int entry;
    } cases[] = {{39, 950, SHOW_NOTHING, 0}, {40, 950, SHOW_LIVE, 0},  {99, 950, SHOW_LIVE, 1},
                 {100, 950, SHOW_LIVE, 1},   {101, 950, SHOW_HELD, 1}, {580, 950, SHOW_HELD, 1},
                 {581, 950, SHOW_LOST, 0},   {900, 950, SHOW_LOST, 0}, {920, 950, SHOW_LOST, 0},
                 {921, 950, SHOW_LIVE, 3},   {940, 950, SHOW_LIVE, 4}, {951, 950, SHOW_NOT_YET, 0},
                 {580, 579, SHOW_NOT_YET, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct show show = show_at(entries, 5, cases[i].done * ms, cases[i].t * ms, 500 * ms);
        CHECK(show.state, ==, cases[i].state);
        CHECK(show.entry, ==, cases[i].entry);
    }
    // A gap before any picture.
    struct show show = show_at(entries + 2, 1, 900 * ms, 500 * ms, 500 * ms);
    CHECK(show.state, ==, SHOW_LOST);
}

// ---- Hours of a source whose clock is off ----------------------------------------------------

// Pictures at 30 a second and sound of 1024 samples at 48 kHz, both by a clock that is `ppm` fast;
// arrivals are up to 8 ms late, 40 at times. The stamps pass the wrap at 2^33 in the first minute.
static void test_hours(int ppm, uint64_t seed)
{
    const int64_t hours = 4, first = (INT64_C(1) << 33) - 30 * 90000;
    struct stamper stamper = {0};
    struct sound_map_maker map;
    struct sound_point points[2], point;
    bool mapped = false;
    int64_t sample = 0, worst_av = 0, worst_true = 0, worst_step = 0, last_slope = 0,
            points_count = 0;
    int64_t last_farm = 0;
    for (int64_t i = 0; i < hours * 3600 * 30; i++) {
        int64_t source_ns = i * SECOND_NS / 30;
        int64_t true_ns = EPOCH_NS + source_ns - source_ns * ppm / 1000000;
        uint64_t luck = check_random(&seed);
        int64_t late = (int64_t)(luck % 8000000) + (luck >> 40 & 63 ? 0 : 32000000);
        int64_t ticks = (first + i * 3000) & ((INT64_C(1) << 33) - 1);
        CHECK(stamper_arrive(&stamper, ticks, true_ns + late), ==, STAMP_OK);
        if (!stamper_acquired(&stamper))
            continue;
        int64_t farm = stamper_farm_ns(&stamper, ticks);
        CHECK(farm, >, last_farm);
        last_farm = farm;
        int64_t off = llabs(farm - true_ns);
        worst_true = off > worst_true ? off : worst_true;
        while (sample * SECOND_NS / 48000 <= source_ns) {
            int64_t sound_ticks = first + sample * 90000 / 48000;
            int64_t sound_farm = stamper_farm_ns(&stamper, sound_ticks);
            if (!mapped) {
                sound_map_begin(&map, 48000, sound_farm, points);
                map.before.index = sample; // the gen's sample 0 is this one
                map.last.index = sample + points[1].index;
                mapped = true;
            }
            while (sound_map_arrive(&map, sample, sound_farm, &point)) {
                CHECK(point.index - sample, >=, 48000);
                int64_t slope = map.last.farm_ns - map.before.farm_ns - SECOND_NS;
                int64_t step = llabs(slope - last_slope);
                worst_step = step > worst_step ? step : worst_step;
                last_slope = slope;
                points_count++;
            }
            off = llabs(sound_map_farm_ns(&map, sample) - sound_farm);
            worst_av = off > worst_av ? off : worst_av;
            sample += 1024;
        }
    }
    fprintf(stderr, "%+d ppm, %lld h: sound within %lld us of the pictures, these within %lld us\n",
            ppm, (long long)hours, (long long)worst_av / 1000, (long long)worst_true / 1000);
    CHECK(points_count, >, hours * 3600 - 10);
    CHECK(worst_step, <=, 50000); // 50 ppm a second
    CHECK(worst_av, <, 20000000);
    CHECK(worst_true, <, 20000000);
    CHECK(llabs(last_slope + ppm * 1000), <,
          40000); // the source is followed, not corrected in jumps
}

// A way that becomes 100 ms longer is followed without haste: 50 ppm more or less each second.
static void test_slope(void)
{
    struct stamper s = {0};
    int64_t slope = 0, worst = 0, most = 0;
    for (int i = 0; i < 300 * 30; i++) {
        int64_t due_ns = EPOCH_NS + i * SECOND_NS / 30;
        CHECK(stamper_arrive(&s, i * 3000, due_ns + (i > 1800 ? 100000000 : 0)), ==, STAMP_OK);
        worst = llabs(s.loop.slope - slope) > worst ? llabs(s.loop.slope - slope) : worst;
        slope = s.loop.slope;
        most = slope > most ? slope : most;
    }
    CHECK(worst, ==, 50000); // it would like to go faster
    CHECK(most, >, 200000);
    CHECK(most, <=, 1000000);
    int64_t late_ns =
        EPOCH_NS + 8999 * SECOND_NS / 30 + 100000000 - stamper_farm_ns(&s, 8999 * 3000);
    CHECK(llabs(late_ns), <, 10000000);
}

// What arrives in a burst at the start does not make the source late for ever, a jump is told, and
// so is a way that became half a second longer.
static void test_jumps(void)
{
    struct stamper s = {0};
    for (int i = 0; i < 300; i++) {
        int64_t due_ns = EPOCH_NS + i * SECOND_NS / 30;
        int64_t arrival = due_ns < EPOCH_NS + 400000000 ? EPOCH_NS + 400000000 : due_ns;
        CHECK(stamper_arrive(&s, i * 3000, arrival), ==, STAMP_OK);
    }
    CHECK(llabs(stamper_farm_ns(&s, 299 * 3000) - (EPOCH_NS + 299 * SECOND_NS / 30)), <, 1000000);
    struct stamper before = s;
    CHECK(stamper_arrive(&s, 300 * 3000 + 4 * 90000, EPOCH_NS + 10 * SECOND_NS), ==, STAMP_JUMPED);
    s = before;
    CHECK(stamper_arrive(&s, 300 * 3000 - 4 * 90000, EPOCH_NS + 10 * SECOND_NS), ==, STAMP_JUMPED);
    s = before;
    int told = -1;
    for (int i = 300; i < 600 && told < 0; i++)
        if (stamper_arrive(&s, i * 3000, EPOCH_NS + i * SECOND_NS / 30 + 500000000) == STAMP_JUMPED)
            told = i;
    CHECK(told, >=, 330);
    CHECK(told, <=, 400);
    CHECK(ticks_between_ns((INT64_C(1) << 33) - 90000, 90000), ==, 2 * SECOND_NS);
    CHECK(ticks_between_ns(90000, (INT64_C(1) << 33) - 90000), ==, -2 * SECOND_NS);
}

// ---- Resampling ------------------------------------------------------------------------------

static double tone(double hz, double seconds)
{
    return 0.5 * sin(2 * M_PI * hz * seconds);
}

// The tone's part at `hz` and all else that is in `samples`: dB of the rest against the tone.
static double residue_db(const int32_t *pairs, int count, double hz, double *ret_gain_db)
{
    double a = 0, b = 0, rest = 0;
    double ss = 0, cc = 0, sc = 0;
    for (int i = 0; i < count; i++) {
        double s = sin(2 * M_PI * hz * i / 48000), c = cos(2 * M_PI * hz * i / 48000),
               x = pairs[2 * i];
        ss += s * s, cc += c * c, sc += s * c, a += x * s, b += x * c;
    }
    double det = ss * cc - sc * sc, p = (a * cc - b * sc) / det, q = (b * ss - a * sc) / det;
    for (int i = 0; i < count; i++) {
        double fit = p * sin(2 * M_PI * hz * i / 48000) + q * cos(2 * M_PI * hz * i / 48000);
        rest += (pairs[2 * i] - fit) * (pairs[2 * i] - fit);
    }
    *ret_gain_db = 20 * log10(hypot(p, q) / (0.5 * SOUND_FULL_SCALE));
    return 10 * log10(rest / (count / 2.0) / (p * p + q * q));
}

// A tone through a resampler at a constant ratio: its level, and what else there is.
static void test_tone(int rate, double hz, double level_db_off, double residue_most)
{
    enum { COUNT = 4800 };
    struct resampler *r = resampler_create(rate);
    int reach = resampler_reach(r),
        source_count = (int)((int64_t)COUNT * rate / 48000) + 2 * reach + 8;
    int32_t *source = base_alloc((size_t)source_count * 2 * sizeof *source), out[2 * COUNT];
    for (int i = 0; i < source_count; i++) {
        source[2 * i] = (int32_t)lrint(SOUND_FULL_SCALE * tone(hz, (double)(i - reach) / rate));
        source[2 * i + 1] = SOUND_FULL_SCALE / 2;
    }
    for (int m = 0; m < COUNT; m++) {
        resampler_sample(r, ((__int128)m * rate << 32) / 48000, source, -reach,
                         out + (ptrdiff_t)2 * m);
        CHECK(out[2 * m + 1], ==, SOUND_FULL_SCALE / 2); // what stands still stays as it is
    }
    double gain_db, residue = residue_db(out, COUNT, hz, &gain_db);
    CHECK_TRUE(fabs(gain_db) < level_db_off);
    CHECK_TRUE(residue < residue_most);
    if (!(fabs(gain_db) < level_db_off) || !(residue < residue_most))
        fprintf(stderr, "%d Hz: tone of %g Hz at %.3f dB, residue %.1f dB\n", rate, hz, gain_db,
                residue);
    free(source);
    resampler_destroy(&r);
}

// A minute of sound from a source that is 300 ppm off, by a map whose slope goes from 0 to 300 ppm
// in steps of 50 each second: the tone is smooth everywhere, so there is no click, and wherever
// reading begins the bits are the same.
static void test_minute(int ppm)
{
    enum { SECONDS = 60, RATE = 44100 };
    struct sound_point points[SECONDS + 4];
    points[0] = (struct sound_point){0, EPOCH_NS};
    for (int i = 1; i < SECONDS + 4; i++) {
        int64_t slope = (ppm < 0 ? 1 : -1) *
                        (int64_t)(i > 7   ? 300
                                  : i > 1 ? (i - 1) * 50
                                          : 0) *
                        1000;
        points[i] =
            (struct sound_point){(int64_t)i * RATE, points[i - 1].farm_ns + SECOND_NS + slope};
    }
    struct resampler *r = resampler_create(RATE);
    int reach = resampler_reach(r);
    int64_t first = -2 * reach, count = (int64_t)(SECONDS + 3) * RATE;
    int32_t *source = base_alloc((size_t)(count - first) * 2 * sizeof *source);
    for (int64_t i = first; i < count; i++)
        source[2 * (i - first)] = source[2 * (i - first) + 1] =
            (int32_t)lrint(SOUND_FULL_SCALE * tone(1000, (double)i / RATE));
    int32_t out[2], before[3] = {0};
    int64_t worst = 0, last_index = 0;
    int segment = 0;
    for (int64_t m = 0; m < (int64_t)SECONDS * 48000; m++) {
        __int128 time = (__int128)EPOCH_NS * 48000 + (__int128)m * SECOND_NS;
        while ((__int128)points[segment + 1].farm_ns * 48000 <= time)
            segment++;
        __int128 position = sound_position(points[segment], points[segment + 1], time);
        CHECK_TRUE((int64_t)(position >> 32) >= last_index);
        last_index = (int64_t)(position >> 32);
        resampler_sample(r, position, source, first, out);
        // The value that the tone has there, and the second difference, which a click would break.
        double expected = SOUND_FULL_SCALE * tone(1000, (double)position / 4294967296.0 / RATE);
        int64_t off = llabs(out[0] - lrint(expected));
        worst = off > worst ? off : worst;
        if (m >= 2)
            CHECK_TRUE(fabs((double)out[0] - 2.0 * before[1] + before[0]) <
                       0.5 * SOUND_FULL_SCALE * 0.0175);
        before[0] = before[1];
        before[1] = out[0];
    }
    CHECK(worst, <, SOUND_FULL_SCALE / 20000); // -92 dB of the tone
    // 60 s of a source that is off by 300 ppm for all but the first seconds: 18 ms of samples, less
    // what the first seven seconds lack.
    int64_t lead = last_index - (int64_t)SECONDS * RATE;
    CHECK(llabs(lead), >=, RATE * 15 / 1000);
    CHECK(llabs(lead), <=, RATE * 18 / 1000);
    CHECK_TRUE(ppm > 0 ? lead > 0 : lead < 0);
    free(source);
    resampler_destroy(&r);
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 20261127;
    fprintf(stderr, "seed %" PRIu64 "\n", seed);
    test_show(seed);
    test_gap();
    test_jumps();
    test_slope();
    test_hours(300, seed);
    test_hours(-300, seed);
    test_hours(0, seed);
    test_tone(48000, 997, 0.1, -90);
    test_tone(44100, 15000, 0.1, -75);
    test_tone(48000, 19000, 0.1, -75);
    test_tone(96000, 10000, 0.1, -75);
    test_tone(32000, 3000, 0.1, -75);
    test_minute(300);
    test_minute(-300);
    return check_end();
}
