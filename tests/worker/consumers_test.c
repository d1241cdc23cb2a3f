// What a stage's consumers want together: who waits, and where to stand by.
#include "worker/render/consumers.h"

#include "tests/check.h"

struct frame_peer {
    int number;
};

static struct frame_peer peers[3];
static struct consumers consumers;

static void want(int peer, uint32_t start, int64_t from, int64_t credit)
{
    struct frame_want want = {.start = start, .from = from, .credit = credit, .keep = from};
    consumers_note(&consumers, &peers[peer], &want);
}

// Copies of what another makes: they wait for nothing, and are left out first.
static void test_spare(void)
{
    bool any;
    struct frame_want spare = {.start = 5, .from = 1000, .credit = 1090, .spare = true};
    CHECK_TRUE(!consumers_spare(&consumers, &any) && !any);
    consumers_note(&consumers, &peers[0], &spare);
    CHECK_TRUE(!consumers_wait(&consumers)); // though nothing has been made for it
    CHECK_TRUE(consumers_spare(&consumers, &any) && any);
    CHECK(consumers_stand_at(&consumers, false), ==, -1);
    want(1, 1, 1000, 1090); // another consumer has nobody else
    CHECK_TRUE(consumers_spare(&consumers, &any) && any);
    consumers_skip_spare(&consumers, true); // none of these is a sample
    CHECK(consumers_find(&consumers, &peers[0])->next, ==, 1000);
    consumers_skip_spare(&consumers, false);
    CHECK(consumers_find(&consumers, &peers[0])->next, ==, 1090);
    CHECK(consumers_find(&consumers, &peers[1])->next, ==, 1000);
    CHECK(consumers_stand_at(&consumers, true), ==, -1);
    consumer_clear(consumers_find(&consumers, &peers[1]));
    CHECK_TRUE(!consumers_spare(&consumers, &any) && any); // nothing is left to be made
    CHECK(consumers_stand_at(&consumers, true), ==, 1090);
    spare.from = 1010;
    spare.credit = 1100;
    consumers_note(&consumers, &peers[0], &spare); // what was left out stays so
    CHECK(consumers_find(&consumers, &peers[0])->next, ==, 1090);
    spare.spare = false; // the other one has failed: from the first missing one on
    spare.start = 6;
    spare.from = 1050;
    consumers_note(&consumers, &peers[0], &spare);
    CHECK(consumers_find(&consumers, &peers[0])->next, ==, 1050);
    CHECK_TRUE(consumers_wait(&consumers));
}

// A single spare copy is a sample: left out before copies are, and no copy.
static void test_sample(void)
{
    bool any;
    struct frame_want sample = {.start = 9, .from = 1200, .credit = 1201, .spare = true};
    struct frame_want copy = {.start = 5, .from = 1210, .credit = 1300, .spare = true};
    consumers_clear(&consumers);
    consumers_note(&consumers, &peers[0], &sample);
    CHECK_TRUE(!consumers_spare(&consumers, &any) && !any);
    consumers_note(&consumers, &peers[1], &copy);
    want(2, 1, 1200, 1201); // the last frame before a plan's end, which nobody else makes
    consumers_skip_spare(&consumers, true);
    CHECK(consumers_find(&consumers, &peers[0])->next, ==, 1201);
    CHECK(consumers_find(&consumers, &peers[1])->next, ==, 1210);
    CHECK(consumers_find(&consumers, &peers[2])->next, ==, 1200);
    consumers_clear(&consumers);
}

// The worst served of those that take frames ahead of time; spare copies do not count.
static void test_share(void)
{
    struct frame_want spare = {.start = 5, .from = 1000, .credit = 1100, .spare = true};
    consumers_clear(&consumers);
    CHECK_TRUE(consumers_share(&consumers, false) == 1);
    consumers_note(&consumers, &peers[0], &spare);
    CHECK_TRUE(consumers_share(&consumers, false) == 1);
    want(1, 1, 1000, 1100);
    CHECK_TRUE(consumers_share(&consumers, false) == 0);
    CHECK_TRUE(consumers_share(&consumers, true) == 1); // it begins
    consumers_find(&consumers, &peers[1])->next = 1075;
    CHECK_TRUE(consumers_share(&consumers, false) == 0.75);
    CHECK_TRUE(consumers_share(&consumers, true) == 0.75);
    want(2, 1, 1000, 1080);
    consumers_find(&consumers, &peers[2])->next = 1020;
    CHECK_TRUE(consumers_share(&consumers, false) == 0.25);
    consumers_clear(&consumers);
}

static void test_rewind(void)
{
    want(0, 1, 1000, 1080);
    want(1, 1, 1000, 1080);
    struct consumer *ahead = consumers_find(&consumers, &peers[0]);
    struct consumer *behind = consumers_find(&consumers, &peers[1]);
    ahead->next = 1050;
    ahead->key = 1040;
    ahead->again_count = 2;
    ahead->again[0] = (struct again){.frame = 1044, .sent_ns = 1};
    ahead->again[1] = (struct again){.frame = 1010, .sent_ns = 1};
    behind->next = 1020;
    behind->key = 980;
    consumers_rewind(&consumers, 1030);
    CHECK(ahead->next, ==, 1030);
    CHECK(ahead->key, ==, -1);
    CHECK(ahead->again_count, ==, 1);
    CHECK(ahead->again[0].frame, ==, 1010);
    CHECK(behind->next, ==, 1020);
    CHECK(behind->key, ==, 980);
    consumers_clear(&consumers);
}

int main(void)
{
    test_rewind();
    test_sample();
    test_share();
    CHECK(consumers_stand_at(&consumers, false), ==, -1);
    CHECK_TRUE(!consumers_wait(&consumers));
    // Two stand by: the one further on is with the clock.
    want(0, 1, 1000, 1000);
    want(1, 1, 1010, 1010);
    CHECK(consumers_stand_at(&consumers, false), ==, 1010);
    CHECK_TRUE(!consumers_wait(&consumers));
    // One takes a sample: the other stays where it is.
    want(1, 2, 1020, 1021);
    CHECK(consumers_stand_at(&consumers, false), ==, 1000);
    CHECK(consumers_find(&consumers, &peers[1])->next, ==, 1020);
    CHECK_TRUE(!consumers_wait(&consumers));
    // One begins to take frames: nothing else matters, and it waits.
    want(1, 3, 1021, 1111);
    CHECK(consumers_stand_at(&consumers, false), ==, -1);
    CHECK_TRUE(consumers_wait(&consumers));
    consumers_find(&consumers, &peers[1])->next = 1066;
    CHECK_TRUE(!consumers_wait(&consumers));
    want(1, 3, 1023, 1113);
    CHECK_TRUE(consumers_wait(&consumers));
    // Little is asked for: that says nothing.
    want(1, 4, 1200, 1208);
    CHECK_TRUE(!consumers_wait(&consumers));
    consumers_clear(&consumers);
    test_spare();
    consumers_clear(&consumers);
    CHECK(consumers_stand_at(&consumers, false), ==, -1);
    return check_end();
}
