// The order in which a node gives things up and takes them up again, and how long each takes.
#include "engine/base/overload.h"

#include "tests/check.h"

#include <string.h>

#define MS INT64_C(1000000)
#define S  INT64_C(1000000000)

struct node {
    struct overload overload;
    int64_t now_ns;
};

static struct node edge(void)
{
    return (struct node){
        {.has = {[OVERLOAD_PREVIEWS] = true, [OVERLOAD_SAMPLES] = true, [OVERLOAD_COPIES] = true}},
        7 * S};
}

// Looks each 100 ms for so long. Returns the level at the end.
static enum overload_level pass(struct node *n, bool behind, bool room, int64_t for_ns)
{
    for (int64_t end = n->now_ns + for_ns; n->now_ns < end; n->now_ns += 100 * MS)
        (void)overload_step(&n->overload, behind, room, n->now_ns);
    return n->overload.level;
}

// How long it takes until the level changes, in tenths of a second; -1: more than `max`.
static int change(struct node *n, bool behind, bool room, int max)
{
    enum overload_level before = n->overload.level;
    for (int i = 1; i <= max; i++)
        if (pass(n, behind, room, 100 * MS) != before)
            return i;
    return -1;
}

// A level a second down; each comes back five seconds after the one before; reverse order.
static void test_order(void)
{
    static const enum overload_level order[] = {OVERLOAD_NONE, OVERLOAD_PREVIEWS, OVERLOAD_SAMPLES,
                                                OVERLOAD_COPIES, OVERLOAD_OVERLAYS};
    struct node n = edge();
    n.overload.has[OVERLOAD_OVERLAYS] = true;    // nobody has all of them
    CHECK(change(&n, true, false, 100), ==, 11); // the first look begins it
    for (int i = 2; i < OVERLOAD_LEVELS; i++) {
        CHECK(n.overload.level, ==, order[i - 1]);
        CHECK(change(&n, true, false, 100), ==, 10);
    }
    CHECK(n.overload.level, ==, OVERLOAD_OVERLAYS);
    CHECK(change(&n, true, false, 1000), ==, -1); // nothing is left
    CHECK(change(&n, false, true, 100), ==, 51);
    for (int i = 3; i > 0; i--) {
        CHECK(n.overload.level, ==, order[i]);
        CHECK(change(&n, false, true, 100), ==, 50);
    }
    CHECK(n.overload.level, ==, OVERLOAD_NONE);
    CHECK(change(&n, false, true, 1000), ==, -1);
}

// A moment behind is none, nor is a moment with room; in between nothing changes.
static void test_moments(void)
{
    struct node n = edge();
    for (int i = 0; i < 50; i++) {
        CHECK(pass(&n, true, false, 900 * MS), ==, OVERLOAD_NONE);
        CHECK(pass(&n, false, i % 2, 100 * MS), ==, OVERLOAD_NONE);
    }
    CHECK(pass(&n, true, false, 1200 * MS), ==, OVERLOAD_PREVIEWS);
    for (int i = 0; i < 50; i++) {
        CHECK(pass(&n, false, true, 4800 * MS), ==, OVERLOAD_PREVIEWS);
        CHECK(pass(&n, true, false, 100 * MS), ==, OVERLOAD_PREVIEWS);
    }
    // What is neither starts nothing anew, and does not count.
    CHECK(pass(&n, false, true, 4000 * MS), ==, OVERLOAD_PREVIEWS);
    CHECK(pass(&n, false, false, 900 * S), ==, OVERLOAD_PREVIEWS);
    CHECK(pass(&n, false, true, 1200 * MS), ==, OVERLOAD_NONE);
}

// Where a thing does not fit, it is tried less and less often: 5, 10, 20, 40, 80, 80 seconds.
static void test_again(void)
{
    static const int waits[] = {51, 101, 201, 401, 801, 801};
    struct node n = edge();
    CHECK(pass(&n, true, false, 1200 * MS), ==, OVERLOAD_PREVIEWS);
    for (int i = 0; i < 6; i++) {
        CHECK(change(&n, false, true, 2000), ==, waits[i]);
        CHECK(n.overload.level, ==, OVERLOAD_NONE);
        CHECK(pass(&n, false, true, 20 * S), ==, OVERLOAD_NONE);
        CHECK(change(&n, true, false, 100), ==, 11);
    }
    // Two steps at one time are one mistake, and long after the last one it is another matter.
    CHECK(change(&n, true, false, 100), ==, 10);
    CHECK(n.overload.level, ==, OVERLOAD_SAMPLES);
    CHECK(change(&n, false, true, 2000), ==, 801);
    CHECK(change(&n, false, true, 2000), ==, 800);
    CHECK(pass(&n, false, true, 30 * S), ==, OVERLOAD_NONE);
    CHECK(change(&n, true, false, 100), ==, 11);
    CHECK(change(&n, false, true, 2000), ==, 51);
}

// A worker has no previews: it passes them over, both ways.
static void test_passes_over(void)
{
    struct node n = {{.has = {[OVERLOAD_SAMPLES] = true, [OVERLOAD_COPIES] = true}}, 7 * S};
    CHECK(pass(&n, true, false, 1200 * MS), ==, OVERLOAD_SAMPLES);
    CHECK(pass(&n, true, false, 1200 * MS), ==, OVERLOAD_COPIES);
    CHECK(pass(&n, false, true, 5200 * MS), ==, OVERLOAD_SAMPLES);
    CHECK(pass(&n, false, true, 5200 * MS), ==, OVERLOAD_NONE);
    struct node none = {{.level = OVERLOAD_NONE}, 7 * S};
    CHECK(pass(&none, true, false, 60 * S), ==, OVERLOAD_NONE);
}

// Who was not looked at for a while, because it had no time for that either, is given its second.
static void test_gap(void)
{
    struct node n = edge();
    CHECK(overload_step(&n.overload, true, false, 7 * S), ==, OVERLOAD_NONE);
    CHECK(overload_step(&n.overload, true, false, 10 * S), ==, OVERLOAD_PREVIEWS);
    CHECK(overload_step(&n.overload, true, false, 10 * S + 500 * MS), ==, OVERLOAD_PREVIEWS);
    CHECK(overload_step(&n.overload, true, false, 19 * S), ==, OVERLOAD_SAMPLES); // one at a time
}

static void test_words(void)
{
    char text[256];
    struct node n = edge();
    (void)pass(&n, true, false, 2200 * MS);
    overload_text(&n.overload, "it is slow", text, sizeof text);
    CHECK_TRUE(strstr(text, "it is slow; given up so far: previews, samples. ") == text);
    (void)pass(&n, true, false, 1 * S);
    overload_text(&n.overload, "it is slow", text, sizeof text);
    CHECK_TRUE(strstr(text, "previews, samples, copies, and nothing is left") != NULL);
    (void)pass(&n, false, true, 1 * S);
    overload_text(&n.overload, "it is slow", text, sizeof text);
    CHECK_TRUE(strstr(text, "previews, samples, copies. ") != NULL);
    CHECK_TEXT(overload_name(OVERLOAD_NONE), "");
    CHECK_TEXT(overload_name(OVERLOAD_LEVELS), "");
}

int main(void)
{
    test_order();
    test_moments();
    test_again();
    test_passes_over();
    test_gap();
    test_words();
    return check_end();
}
