// What has risen during the last minute, against the definition: a list of all that was counted.
#include "edge/recent.h"
#include "tests/check.h"

#define SECOND INT64_C(1000000000)

// Ten calls a second for five minutes; something is counted at random, and now and then the counter
// starts again. A rise may be seen up to a second longer than the minute, never shorter.
static void test_against_list(uint64_t seed)
{
    struct recent r = {0};
    static int64_t at[4000];
    int count = 0;
    uint64_t total = 0;
    for (int64_t now = 5 * SECOND; now < 305 * SECOND; now += SECOND / 10) {
        if (check_random(&seed) % 1000 == 0) // the encoder was replaced
            total = 0;
        if (check_random(&seed) % 50 == 0) {
            total++;
            at[count++] = now;
        }
        uint64_t within = 0, about = 0, rise = recent_rise(&r, total, now);
        for (int i = 0; i < count; i++) {
            within += at[i] > now - 59 * SECOND && (uint64_t)(count - i) <= total;
            about += at[i] >= now - 62 * SECOND;
        }
        CHECK(rise, <=, about);
        CHECK(rise, <=, total);
        CHECK(rise, >=, within < total ? within : total);
    }
}

static void test_ends(void)
{
    struct recent r = {0};
    CHECK(recent_rise(&r, 7, 0), ==, 7); // counted before anybody asked
    for (int s = 1; s < 60; s++)
        CHECK(recent_rise(&r, 7, s * SECOND), ==, 7);
    CHECK(recent_rise(&r, 7, 62 * SECOND), ==, 0);
    CHECK(recent_rise(&r, 9, 63 * SECOND), ==, 2);
    CHECK(recent_rise(&r, 1, 64 * SECOND), ==, 1);
}

int main(void)
{
    for (uint64_t seed = 1; seed <= 20; seed++)
        test_against_list(seed);
    test_ends();
    return check_end();
}
