// Exact time: the cadence of 29.97 and 59.94, frame times and their inverse.
#include "engine/base/rate.h"

#include "tests/check.h"

#include <errno.h>

static void check_parse(void)
{
    struct rate r;
    CHECK_OK(rate_parse("30", &r));
    CHECK(r.num, ==, 30);
    CHECK_OK(rate_parse("29.97", &r));
    CHECK(r.num, ==, 30000);
    CHECK(r.den, ==, 1001);
    CHECK_OK(rate_parse("60000/1001", &r));
    CHECK(r.num, ==, 60000);
    CHECK_OK(rate_parse("50/2", &r));
    CHECK(r.num, ==, 25);
    CHECK_OK(rate_parse("25.0", &r));
    static const char *const bad[] = {
        "", "0", "-5", "30/0", "30/", "abc", "1/2", "12.5", "30x", "241", "99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK_ERROR(rate_parse(bad[i], &r), -EINVAL);
    char text[24];
    CHECK_TEXT(rate_format((struct rate){30000, 1001}, text), "30000/1001");
}

static void check_cadence(void)
{
    // SMPTE: at 30000/1001, 8008 samples per 5 frames.
    struct rate ntsc = {30000, 1001};
    int total = 0;
    for (int n = 0; n < 5; n++)
        total += rate_sample_count(ntsc, n);
    CHECK(total, ==, 8008);
    struct rate ntsc60 = {60000, 1001};
    total = 0;
    for (int n = 0; n < 5; n++)
        total += rate_sample_count(ntsc60, n);
    CHECK(total, ==, 4004);
    // No drift after ten years: frames and samples still meet.
    int64_t n = INT64_C(30000) * 3600 * 24 * 3653 / 1001 / 5 * 5;
    CHECK(rate_first_sample(ntsc, n), ==, n / 5 * 8008);
}

static void check_inverse(void)
{
    static const struct rate rates[] = {
        {25, 1}, {30000, 1001}, {30, 1}, {60000, 1001}, {24000, 1001}};
    uint64_t random = 12345;
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        for (int k = 0; k < 2000; k++) {
            int64_t n = (int64_t)(check_random(&random) % 10000000000);
            int64_t t = rate_frame_time_ns(rates[i], n);
            CHECK(rate_frame_at_ns(rates[i], t), ==, n);
            CHECK(rate_frame_at_ns(rates[i], t - 1), ==, n - 1);
        }
    }
}

int main(void)
{
    check_parse();
    check_cadence();
    check_inverse();
    struct rational half = rational_make(-3, -6);
    CHECK(half.num, ==, 1);
    CHECK(half.den, ==, 2);
    CHECK(rational_floor(rational_make(-1, 3), 1), ==, -1);
    CHECK(rational_compare(rational_add(half, half), rational_make(1, 1)), ==, 0);
    return check_end();
}
