// Costs: median and 99th percentile of the last runs, and the mean of the last seconds.
#include "engine/base/cost.h"

#include "tests/check.h"

#include <stdbool.h>

static bool near(double value, double expected)
{
    return value > expected - 0.001 && value < expected + 0.001;
}

static void test_percentiles(void)
{
    static struct cost cost;
    double median, p99;
    cost_read(&cost, &median, &p99);
    CHECK_TRUE(near(median, 0) && near(p99, 0));
    for (int i = 1; i <= COST_WINDOW; i++)
        cost_add(&cost, INT64_C(9000000000)); // leaves the window
    for (int i = 1; i <= COST_WINDOW; i++)
        cost_add(&cost, i * INT64_C(1000000));
    cost_read(&cost, &median, &p99);
    CHECK_TRUE(near(median, COST_WINDOW / 2 + 1));
    CHECK_TRUE(near(p99, COST_WINDOW * 99 / 100 + 1));
}

// At first the plain mean; later what was long ago hardly counts.
static void test_mean(void)
{
    double mean = 0;
    uint64_t count = 0;
    cost_mean_add(&mean, ++count, 300, 10);
    CHECK_TRUE(near(mean, 10));
    cost_mean_add(&mean, ++count, 300, 20);
    CHECK_TRUE(near(mean, 15));
    while (count < 100000)
        cost_mean_add(&mean, ++count, 300, 10);
    CHECK_TRUE(near(mean, 10));
    for (int i = 0; i < 300; i++)
        cost_mean_add(&mean, ++count, 300, 20);
    CHECK_TRUE(mean > 16.2 && mean < 16.4); // 20 - 10 / e
    for (int i = 0; i < 1200; i++)
        cost_mean_add(&mean, ++count, 300, 20);
    CHECK_TRUE(mean > 19.9);
}

int main(void)
{
    test_percentiles();
    test_mean();
    return check_end();
}
