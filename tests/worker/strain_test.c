// When a worker is behind: its consumers have less than half of what they may have, and it does not
// become more.
#include "worker/strain.h"

#include "tests/check.h"

#define TENTH INT64_C(100000000)

static struct strain strain;
static int64_t now_ns = 50 * TENTH;

// Tenths of a second in which the share goes from one value to another, evenly.
static enum overload_level pass(double from, double to, int tenths)
{
    enum overload_level level = strain.overload.level;
    for (int i = 0; i < tenths; i++, now_ns += TENTH)
        level = strain_look(&strain, from + (to - from) * i / tenths, now_ns);
    return level;
}

int main(void)
{
    // A channel starts: all is to be made, and in three seconds is; slowly, but more comes than
    // goes.
    strain_init(&strain);
    CHECK(pass(1, 1, 50), ==, OVERLOAD_NONE);
    CHECK(pass(0, 1, 30), ==, OVERLOAD_NONE);
    CHECK(pass(0, 0.75, 200), ==, OVERLOAD_NONE);
    // What is buffered shrinks: nothing happens above a half, then one thing goes after the other.
    CHECK(pass(1, 0.5, 50), ==, OVERLOAD_NONE);
    CHECK(pass(0.49, 0.48, 12), ==, OVERLOAD_SAMPLES);
    CHECK(pass(0.48, 0.47, 10), ==, OVERLOAD_COPIES);
    CHECK(pass(0.47, 0.4, 100), ==, OVERLOAD_COPIES);
    // It grows again; room is not before three quarters.
    CHECK(pass(0.4, 0.7, 30), ==, OVERLOAD_COPIES);
    CHECK(pass(0.7, 0.7, 900), ==, OVERLOAD_COPIES);
    CHECK(pass(0.8, 1, 53), ==, OVERLOAD_SAMPLES);
    CHECK(pass(1, 1, 50), ==, OVERLOAD_NONE);
    // Nothing comes at all. Overlays are the last thing, where there are any, and the first to
    // come back.
    CHECK(pass(0, 0, 12), ==, OVERLOAD_SAMPLES);
    CHECK(pass(0, 0, 50), ==, OVERLOAD_COPIES);
    strain_optional(&strain, true);
    CHECK(pass(0, 0, 12), ==, OVERLOAD_OVERLAYS);
    CHECK(pass(0, 0, 50), ==, OVERLOAD_OVERLAYS);
    CHECK(pass(1, 1, 102), ==, OVERLOAD_COPIES); // it had been taken up too early
    return check_end();
}
