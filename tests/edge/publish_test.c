// Who of two edges publishes: what an edge makes of a leader's words, of its silence, and of the
// other edge. Times are stated, in ms.
#include "edge/publish.h"
#include "engine/link/control_link.h"
#include "proto/control.pb-c.h"
#include "tests/check.h"

#include <string.h>

#define MS      INT64_C(1000000)
#define CHANNEL 3
#define LEASE   (CONTROL_LEASE_NS / MS)
#define MARGIN  (CONTROL_LEASE_MARGIN_NS / MS)

static struct publish p;

// A state of `leader` that says who feeds first and second addresses of output 1.
static void say(uint64_t leader, uint64_t epoch, const char *first, const char *second)
{
    Vistter__Control__V1__ChannelPlan plan = VISTTER__CONTROL__V1__CHANNEL_PLAN__INIT;
    Vistter__Control__V1__ChannelPlan *plans[] = {&plan};
    Vistter__Control__V1__Publisher who = VISTTER__CONTROL__V1__PUBLISHER__INIT;
    Vistter__Control__V1__Publisher *list[] = {&who};
    Vistter__Control__V1__DesiredState state = VISTTER__CONTROL__V1__DESIRED_STATE__INIT;
    plan.channel = who.channel = CHANNEL;
    who.output = 1;
    who.epoch = epoch;
    who.first = (char *)(uintptr_t)first;
    who.second = (char *)(uintptr_t)second;
    state.epoch = leader;
    state.channels = plans;
    state.n_channels = 1;
    state.publishers = list;
    state.n_publishers = epoch ? 1 : 0;
    publish_take(&p, &state);
}

static void begin(void)
{
    p = (struct publish){0};
    publish_start(&p, "a", 0);
}

static bool holds(int which, int64_t ms)
{
    const struct publish_grant *g = publish_find(&p, CHANNEL, 1);
    return g && publish_holds(&p, g, which, ms * MS);
}

static enum publish_mode mode(bool planned, bool other, bool reached, int64_t ms)
{
    return publish_mode(&p, publish_find(&p, CHANNEL, 1), 0, planned, other, reached, ms * MS);
}

// It lasts from when the report was sent that the leader has heard, not from when that is known.
static void test_lease(void)
{
    begin();
    say(7, 1, "a", "b");
    CHECK_TRUE(!holds(0, 0)); // named, not renewed
    publish_sent(&p, 99, 1, 1000 * MS);
    publish_sent(&p, 99, 2, 1100 * MS);
    publish_renew(&p, 7, 99, 1);
    CHECK_TRUE(holds(0, 1000 + LEASE - 1) && !holds(0, 1000 + LEASE));
    CHECK_TRUE(!holds(1, 1001));
    publish_renew(&p, 7, 98, 2); // of another life
    publish_renew(&p, 7, 99, 3); // never sent
    CHECK_TRUE(!holds(0, 1000 + LEASE));
    publish_renew(&p, 7, 99, 2);
    publish_renew(&p, 7, 99, 1); // overtaken
    CHECK_TRUE(holds(0, 1100 + LEASE - 1) && !holds(0, 1100 + LEASE));
    publish_sent(&p, 99, 2 + PUBLISH_SENT_MAX, 9000 * MS);
    publish_renew(&p, 7, 99, 2); // forgotten
    CHECK_TRUE(!holds(0, 9000));
}

static void test_leaders(void)
{
    begin();
    say(7, 4, "a", "b");
    publish_sent(&p, 99, 1, 0);
    publish_renew(&p, 7, 99, 1);
    CHECK_TRUE(holds(0, 1));
    say(8, 0, "", ""); // says nothing yet: who was named stays so
    CHECK(mode(false, true, true, 1), ==, PUBLISH_YES);
    publish_renew(&p, 8, 99, 1); // of a leader that has named nobody
    CHECK_TRUE(!holds(0, 1));
    say(8, 4, "b", "b");
    CHECK(mode(true, true, true, 1), ==, PUBLISH_NO);
    publish_sent(&p, 99, 2, 0);
    say(9, 0, "", ""); // of a version that names nobody: plans count, after a while
    publish_sent(&p, 99, 3, 1000 * MS);
    publish_sent(&p, 99, 4, (1000 + LEASE) * MS);
    CHECK(mode(true, true, true, 1000 + LEASE), ==, PUBLISH_NO);
    publish_sent(&p, 99, 5, (1001 + 4 * LEASE) * MS);
    CHECK(mode(true, true, true, 1001 + 4 * LEASE), ==, PUBLISH_YES);
    CHECK_TRUE(publish_newer((struct publish_id){8, 1}, (struct publish_id){7, 9}));
    CHECK_TRUE(publish_newer((struct publish_id){7, 10}, (struct publish_id){7, 9}));
    CHECK_TRUE(!publish_newer((struct publish_id){7, 9}, (struct publish_id){7, 9}));
}

static void test_mode(void)
{
    int64_t late = LEASE + MARGIN;
    begin();
    CHECK(mode(true, true, false, 0), ==, PUBLISH_YES); // nothing was said: by the plan
    CHECK(mode(false, true, false, 0), ==, PUBLISH_NO);
    say(7, 1, "a", "b"); // as from the disk: it may have gone to another meanwhile
    CHECK(mode(false, true, true, late - 1), ==, PUBLISH_WAIT);
    CHECK(mode(false, false, false, 0), ==, PUBLISH_YES);
    CHECK(mode(false, true, true, late), ==, PUBLISH_YES); // nobody leads, the other knows no more
    CHECK(mode(false, true, false, late), ==, PUBLISH_KEEP);
    publish_sent(&p, 99, 1, late * MS);
    publish_renew(&p, 7, 99, 1);
    CHECK(mode(false, true, false, late + 1), ==, PUBLISH_YES);
    CHECK(mode(false, true, false, late + LEASE), ==, PUBLISH_KEEP); // cut off from everybody
    CHECK(mode(false, true, true, late + LEASE), ==, PUBLISH_YES);   // from the leader alone
    publish_taken(&p, CHANNEL, 1, 0);
    CHECK(mode(false, true, true, late + 1), ==, PUBLISH_NO);
    CHECK_TRUE(!holds(0, late + 1));
    say(7, 1, "a", "b"); // the same again is not newer
    CHECK(mode(false, true, true, late + 1), ==, PUBLISH_NO);
    say(7, 3, "a", "b");
    CHECK(mode(false, true, true, late + 1), ==, PUBLISH_YES);
}

static void test_report(void)
{
    Vistter__Control__V1__Publisher said[PUBLISH_GRANTS_MAX], *list[PUBLISH_GRANTS_MAX];
    begin();
    say(7, 5, "a", "b");
    CHECK(publish_report(&p, said, list), ==, 1);
    CHECK(list[0]->leader, ==, 7);
    CHECK(list[0]->epoch, ==, 5);
    CHECK_TEXT(list[0]->second, "b");
    Vistter__Control__V1__DesiredState nothing = VISTTER__CONTROL__V1__DESIRED_STATE__INIT;
    publish_take(&p, &nothing); // the channel is elsewhere
    CHECK(publish_report(&p, said, list), ==, 0);
}

int main(void)
{
    test_lease();
    test_leaders();
    test_mode();
    test_report();
    return check_end();
}
