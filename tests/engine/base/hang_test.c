// Who hangs at a file, in virtual time: an endless loop is seen by what it uses, a wait for good by
// its using nothing; slow disks, busy, stopped and frozen machines are no reason.
#include "engine/base/hang.h"

#include "tests/check.h"

#define MS INT64_C(1000000)
#define S  (1000 * MS)

struct thread {
    struct hang_watch watch;
    struct hang_step step;
    struct hang_sight sight;
    int64_t now_ns;
};

// It works `share` per cent of the time, and is looked at each `every_ns`. When it counts as hung,
// since it began; -1: it does not within `for_ns`.
static int64_t hung_after(struct thread *t, int share, int64_t every_ns, int64_t for_ns)
{
    for (int64_t passed = 0; passed <= for_ns; passed += every_ns) {
        if (hang_look(&t->watch, &t->step, &t->sight, t->now_ns))
            return passed;
        t->now_ns += every_ns;
        t->sight.cpu_ns += every_ns * share / 100;
    }
    return -1;
}

static struct thread begin(enum hang_kind kind, uint32_t pixels)
{
    return (struct thread){.step = {.number = 1, .kind = kind, .pixels = pixels},
                           .sight = {.cpu_ns = 900 * S},
                           .now_ns = 77 * S};
}

static void test_endless(void)
{
    struct thread t = begin(HANG_DECODES, 0);
    CHECK(hung_after(&t, 100, 50 * MS, 60 * S), ==, 250 * MS);
    t = begin(HANG_DECODES, 1920 * 1080); // 207.36 ms more
    CHECK(hung_after(&t, 100, 10 * MS, 60 * S), ==, 460 * MS);
    t = begin(HANG_READS, 0);
    CHECK(hung_after(&t, 100, 100 * MS, 60 * S), ==, 2 * S);
    t = begin(HANG_STARTS, 0);
    CHECK(hung_after(&t, 100, 100 * MS, 60 * S), ==, 5 * S);
    t = begin(HANG_STARTS, UINT32_MAX); // no overflow
    CHECK(hung_after(&t, 100, 100 * MS, 60 * S), ==, -1);
}

// What it uses counts, not what passes.
static void test_busy_machine(void)
{
    struct thread t = begin(HANG_DECODES, 0);
    CHECK(hung_after(&t, 10, 100 * MS, 60 * S), ==, 2500 * MS);
    t = begin(HANG_DECODES, 0);
    CHECK(hung_after(&t, 1, 100 * MS, 24 * S), ==, -1);
}

static void test_goes_on(void)
{
    struct thread t = begin(HANG_DECODES, 0);
    for (int i = 0; i < 1000; i++) { // 200 ms for each packet, one after another
        CHECK(hung_after(&t, 100, 50 * MS, 150 * MS), ==, -1);
        t.step.number++;
    }
    t.sight.asleep = true;
    t.step.kind = HANG_READS; // waits for a disk, whatever the kernel calls it
    CHECK(hung_after(&t, 0, 100 * MS, 3600 * S), ==, -1);
    t.step = (struct hang_step){.number = 2000, .kind = HANG_STARTS};
    CHECK(hung_after(&t, 0, 100 * MS, 3600 * S), ==, -1);
    t = begin(HANG_DECODES, 0); // a page is read, or it gets no processor
    CHECK(hung_after(&t, 0, 100 * MS, 3600 * S), ==, -1);
}

static void test_waits_for_good(void)
{
    struct thread t = begin(HANG_DECODES, 0);
    t.sight.asleep = true;
    CHECK(hung_after(&t, 0, 100 * MS, 60 * S), ==, 500 * MS);
    t = begin(HANG_DECODES, 1920 * 1080);
    t.sight.asleep = true;
    CHECK(hung_after(&t, 0, 10 * MS, 60 * S), ==, 710 * MS);
    // It wakes up now and then, or whenever it has been looked at.
    t = begin(HANG_DECODES, 0);
    for (int i = 0; i < 100; i++) {
        t.sight.asleep = true;
        CHECK(hung_after(&t, 0, 100 * MS, 300 * MS), ==, -1);
        t.sight.asleep = i % 2;
        t.sight.cpu_ns += i % 2 * MS;
        CHECK(hung_after(&t, 0, 100 * MS, 0), ==, -1);
    }
}

// A process that was stopped uses nothing and is not looked at; a machine that stood still as a
// whole may call that use; a watcher that comes late has seen nothing either.
static void test_nobody_looked(void)
{
    struct thread t = begin(HANG_DECODES, 0);
    t.sight.asleep = true;
    CHECK(hung_after(&t, 0, 50 * MS, 100 * MS), ==, -1);
    t.now_ns += 3600 * S;
    CHECK(hung_after(&t, 0, 50 * MS, 100 * MS), ==, -1);
    t = begin(HANG_DECODES, 0);
    CHECK(hung_after(&t, 100, 100 * MS, 100 * MS), ==, -1);
    t.now_ns += 3600 * S;
    t.sight.cpu_ns += 3600 * S;
    CHECK(hung_after(&t, 0, 100 * MS, 1 * S), ==, -1);
    t = begin(HANG_DECODES, 0);
    CHECK(hung_after(&t, 100, 60 * S, 120 * S), ==, -1);
}

int main(void)
{
    test_endless();
    test_busy_machine();
    test_goes_on();
    test_waits_for_good();
    test_nobody_looked();
    return check_end();
}
