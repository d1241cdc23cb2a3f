// Whom to ask: when a taker turns to another provider, and when not.
#include "engine/receive/takeover.h"

#include "tests/check.h"

#define MS    INT64_C(1000000)
#define FRAME INT64_C(33333333)
#define LEAD  90

static struct takeover t;
static struct takeover_view view;
static int64_t now;

static void begin(int count, int lead)
{
    now = 1000 * MS;
    takeover_init(&t, count, FRAME, 240 * MS, lead);
    view = (struct takeover_view){.alive = {true, count > 1, count > 2}, .slack = LEAD};
}

// Looks each 20 ms for so long; a frame arrives each `every_ns` (0: none). Gives how long it took
// to turn, or -1.
static int64_t run(int64_t for_ns, int64_t every_ns, enum takeover_reason expected)
{
    int64_t start = now, next = now + every_ns;
    for (; now < start + for_ns; now += 20 * MS) {
        if (every_ns && now >= next) {
            view.arrived++;
            next += every_ns;
        }
        enum takeover_reason why = takeover_look(&t, &view, now);
        if (why != TAKEOVER_NONE) {
            CHECK(why, ==, expected);
            return now - start;
        }
    }
    return -1;
}

static void test_flow(void)
{
    begin(2, LEAD);
    view.waits = true;
    CHECK(run(60000 * MS, FRAME, TAKEOVER_NONE), ==, -1);
    view.waits = false; // nothing is asked for: nothing needs to come
    CHECK(run(60000 * MS, 0, TAKEOVER_NONE), ==, -1);
    CHECK(t.active, ==, 0);
}

static void test_gone(void)
{
    begin(2, LEAD);
    CHECK(run(100 * MS, FRAME, TAKEOVER_NONE), ==, -1);
    view.alive[0] = false;
    CHECK(run(1000 * MS, 0, TAKEOVER_GONE), ==, 0);
    CHECK(t.active, ==, 1);
    CHECK(t.takeovers, ==, 1);
    // Nobody else is there: it stays.
    view.alive[1] = false;
    CHECK(run(10000 * MS, 0, TAKEOVER_NONE), ==, -1);
    view.alive[0] = true;
    CHECK(run(1000 * MS, 0, TAKEOVER_GONE), ==, 0);
    CHECK(t.active, ==, 0);
}

// Links come up in any order: the provider gets a moment.
static void test_start(void)
{
    begin(2, LEAD);
    view.alive[0] = false;
    CHECK(run(900 * MS, 0, TAKEOVER_NONE), ==, -1);
    CHECK(run(1000 * MS, 0, TAKEOVER_GONE), >=, 0);
    begin(2, LEAD);
    view.alive[0] = false;
    CHECK(run(500 * MS, 0, TAKEOVER_NONE), ==, -1);
    view.alive[0] = true;
    CHECK(run(5000 * MS, FRAME, TAKEOVER_NONE), ==, -1);
}

static void test_silent(void)
{
    // With all of the lead buffered, a quarter of it may pass.
    begin(2, LEAD);
    view.waits = true;
    CHECK(run(1000 * MS, FRAME, TAKEOVER_NONE), ==, -1);
    int64_t took = run(5000 * MS, 0, TAKEOVER_SILENT);
    CHECK(took, >=, LEAD * FRAME / 4 - 40 * MS);
    CHECK(took, <=, LEAD * FRAME / 4 + 40 * MS);
    // The new one has time to start, and is given up after that.
    took = run(5000 * MS, 0, TAKEOVER_SILENT);
    CHECK(took, >=, TAKEOVER_START_NS + 240 * MS);
    CHECK(took, <=, TAKEOVER_START_NS + 240 * MS + LEAD * FRAME / 4 + 40 * MS);
    CHECK(t.active, ==, 0);
    // With little buffered it has to be quick.
    begin(2, 8);
    view.waits = true;
    view.slack = 5;
    CHECK(run(400 * MS, FRAME, TAKEOVER_NONE), ==, -1);
    took = run(5000 * MS, 0, TAKEOVER_SILENT);
    CHECK(took, >=, 130 * MS);
    CHECK(took, <=, 200 * MS);
    // A question after a pause needs its way there and back.
    begin(2, 8);
    view.waits = true;
    view.slack = 5;
    CHECK(run(400 * MS, FRAME, TAKEOVER_NONE), ==, -1);
    view.waits = false;
    CHECK(run(400 * MS, 0, TAKEOVER_NONE), ==, -1);
    view.waits = true;
    CHECK(run(370 * MS, 0, TAKEOVER_NONE), ==, -1);
    // There is nobody else.
    begin(1, LEAD);
    view.waits = true;
    CHECK(run(20000 * MS, 0, TAKEOVER_NONE), ==, -1);
}

// The one that is turned to does not answer, or has gone too: the next one is asked.
static void test_second(void)
{
    begin(3, LEAD);
    view.waits = true;
    CHECK(run(1000 * MS, FRAME, TAKEOVER_NONE), ==, -1);
    CHECK(t.second, ==, 1);
    view.alive[0] = view.alive[1] = false; // in the same moment
    CHECK(run(1000 * MS, 0, TAKEOVER_GONE), ==, 0);
    CHECK(t.active, ==, 2);
    CHECK(t.second, ==, -1);
    CHECK(takeover_next(&t, &view, now), ==, -1);
    // Dead and silent: in time for what is buffered, whatever is opened then takes.
    begin(3, LEAD);
    view.waits = true;
    CHECK(run(1000 * MS, FRAME, TAKEOVER_NONE), ==, -1);
    view.alive[0] = false;
    CHECK(run(1000 * MS, 0, TAKEOVER_GONE), ==, 0);
    CHECK(t.active, ==, 1);
    CHECK(t.second, ==, 2);
    view.slack = LEAD * 9 / 10;
    CHECK(run(5000 * MS, 0, TAKEOVER_SILENT), <, 2200 * MS);
    CHECK(t.active, ==, 2);
    // Back again, and not trusted as long as there is another.
    view.alive[0] = true;
    CHECK(takeover_next(&t, &view, now), ==, 0);
    begin(3, LEAD);
    view.waits = true;
    CHECK(run(100 * MS, FRAME, TAKEOVER_NONE), ==, -1);
    view.alive[0] = false;
    CHECK(run(1000 * MS, 0, TAKEOVER_GONE), ==, 0);
    view.alive[0] = true;
    CHECK(takeover_next(&t, &view, now), ==, 2);
    view.alive[1] = view.alive[2] = false;
    CHECK(run(1000 * MS, 0, TAKEOVER_GONE), ==, 0);
    CHECK(t.active, ==, 0);
}

static void begin_three(void)
{
    begin(3, LEAD);
    view.waits = true;
    CHECK(run(1000 * MS, FRAME, TAKEOVER_NONE), ==, -1);
    CHECK(t.second, ==, 1);
}

// Nothing is heard of it for a moment: another that is heard is asked, once, and it may have been a
// false alarm.
static void test_hushed(void)
{
    begin_three();
    view.waits = false; // nothing is due
    view.hushed[0] = true;
    CHECK(run(200 * MS, 0, TAKEOVER_NONE), ==, -1);
    view.waits = view.hushed[1] = true; // nobody is heard: it may be ourselves
    CHECK(run(200 * MS, 0, TAKEOVER_NONE), ==, -1);
    view.hushed[1] = false;
    CHECK(run(200 * MS, 0, TAKEOVER_HUSHED), ==, 0);
    CHECK(t.active, ==, 1);
    CHECK(t.second, ==, 2); // of which nothing was said
    // It was nothing. The other one is hushed in turn: no to and fro.
    view.hushed[0] = false;
    view.hushed[1] = true;
    CHECK(run(300 * MS, FRAME, TAKEOVER_NONE), ==, -1);
    view.alive[1] = view.hushed[1] = false; // it is lost indeed: another is asked at once
    CHECK(run(200 * MS, 0, TAKEOVER_GONE), ==, 0);
    CHECK(t.active, ==, 2);
    // Later it may be said again; not of one that has just begun to be asked and was never heard.
    begin_three();
    view.hushed[0] = true;
    CHECK(run(200 * MS, 0, TAKEOVER_HUSHED), ==, 0);
    view.hushed[0] = false;
    CHECK(run(TAKEOVER_AGAIN_NS + 20 * MS, FRAME, TAKEOVER_NONE), ==, -1);
    view.hushed[1] = true;
    CHECK(run(200 * MS, 0, TAKEOVER_HUSHED), ==, 0);
    CHECK(t.active, ==, 2);
    begin(2, LEAD);
    view.waits = true;
    view.alive[0] = false;
    view.hushed[0] = true;
    CHECK(run(500 * MS, 0, TAKEOVER_NONE), ==, -1);
    // Nor of one that has been heard, and has brought nothing yet: it begins.
    begin(2, LEAD);
    view.waits = true;
    CHECK(run(100 * MS, 0, TAKEOVER_NONE), ==, -1);
    view.hushed[0] = true;
    CHECK(run(500 * MS, 0, TAKEOVER_NONE), ==, -1);
    view.hushed[0] = false;
    CHECK(run(100 * MS, FRAME, TAKEOVER_NONE), ==, -1);
    view.hushed[0] = true;
    CHECK(run(200 * MS, 0, TAKEOVER_HUSHED), ==, 0);
}

// What is buffered shrinks by a frame each `shrink_ns`.
static int64_t run_slow(int64_t for_ns, int64_t shrink_ns)
{
    int64_t start = now, took = -1;
    while (took < 0 && now < start + for_ns) {
        int64_t turned = run(shrink_ns, FRAME, TAKEOVER_SLOW);
        took = turned < 0 ? -1 : now - start;
        view.slack -= view.slack > 1;
    }
    return took;
}

static void test_slow(void)
{
    begin(2, LEAD);
    view.waits = true;
    CHECK(run_slow(60000 * MS, 100 * MS), >, 0);
    CHECK(view.slack, <, LEAD / 2);
    CHECK(view.slack, >, LEAD / 2 - 8);
    CHECK(t.active, ==, 1);
    // The other one is as slow: it is not turned to and fro.
    CHECK(run_slow(9900 * MS, 100 * MS), ==, -1);
    CHECK(run_slow(60000 * MS, 100 * MS), >, 0);
    CHECK(t.takeovers, ==, 2);
    // Nor is it turned to one that was silent a moment ago.
    begin(2, LEAD);
    view.waits = true;
    CHECK(run(4000 * MS, 0, TAKEOVER_SILENT), >=, 0);
    CHECK(run_slow(6000 * MS, 80 * MS), ==, -1);
    CHECK(view.slack, <, LEAD / 2);
    CHECK(t.active, ==, 1);
    // A third one that may be quicker is asked before all of it is gone, and then nobody.
    begin(3, LEAD);
    view.waits = true;
    CHECK(run_slow(60000 * MS, 100 * MS), >, 0);
    CHECK(run_slow(2000 * MS, 100 * MS), >, 0);
    CHECK(t.active, ==, 2);
    CHECK(run_slow(6000 * MS, 100 * MS), ==, -1);
    // Little, and growing: it has just begun.
    begin(2, LEAD);
    view.waits = true;
    for (view.slack = 0; view.slack < LEAD; view.slack++)
        CHECK(run(100 * MS, 25 * MS, TAKEOVER_NONE), ==, -1);
}

// A plan that follows another has its provider long before it may ask for anything; then files are
// opened. That is no slowness.
static void test_follows(void)
{
    begin(2, LEAD);
    view.slack = 0;
    CHECK(run(3000 * MS, 0, TAKEOVER_NONE), ==, -1);
    view.waits = true;
    CHECK(run(900 * MS, 0, TAKEOVER_NONE), ==, -1);
    for (view.slack = 1; view.slack < LEAD; view.slack++)
        CHECK(run(100 * MS, 25 * MS, TAKEOVER_NONE), ==, -1);
}

// Frames are used as they come: little is ever buffered, and that means nothing.
static void test_no_clock(void)
{
    begin(2, 0);
    view.waits = true;
    view.slack = 1;
    CHECK(run_slow(20000 * MS, 400 * MS), ==, -1);
    view.slack = 1;
    CHECK(run(10000 * MS, 450 * MS, TAKEOVER_NONE), ==, -1);
    int64_t took = run(5000 * MS, 0, TAKEOVER_SILENT);
    CHECK(took, >=, 400 * MS);
    CHECK(took, <=, 520 * MS);
}

int main(void)
{
    test_flow();
    test_gone();
    test_start();
    test_silent();
    test_second();
    test_hushed();
    test_slow();
    test_follows();
    test_no_clock();
    return check_end();
}
