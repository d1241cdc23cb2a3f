// Which of a channel's plans is on air when, and what each is asked for meanwhile.
#include "edge/roster.h"

#include "tests/check.h"

#define LEAD 50

static struct plan plans[4];
static struct slot slots[4], *all[4];
static char taken_in; // an intake stands for being armed: nothing looks into it here

// Armed in the order of the slots; the last one only prepared.
static void make(const int64_t *at_frame, const int64_t *from)
{
    for (int i = 0; i < 4; i++) {
        plans[i] = (struct plan){.epoch = 4 + (uint32_t)i,
                                 .committed = i < 3,
                                 .at_frame = at_frame[i],
                                 .lead_frames = LEAD};
        slots[i] = (struct slot){.plan = &plans[i], .listed = true};
        all[i] = &slots[i];
        if (i == 3)
            continue;
        slots[i].armed = &plans[i];
        slots[i].from = from[i];
        slots[i].intake = (struct intake *)&taken_in;
    }
}

static void test_in_force(void)
{
    const int64_t at[] = {100, 200, 200, 150};
    make(at, at);
    CHECK_TRUE(!roster_in_force(all, 4, 99));
    CHECK_TRUE(roster_in_force(all, 4, 100) == &slots[0]);
    CHECK_TRUE(roster_in_force(all, 4, 199) == &slots[0]); // what is not committed is not
    CHECK_TRUE(roster_in_force(all, 4, 200) == &slots[2]); // same frame: the later decision
    CHECK_TRUE(roster_in_force(all, 2, 200) == &slots[1]);
    CHECK_TRUE(roster_after(all, 4, NULL) == &slots[0]);
    CHECK_TRUE(roster_after(all, 4, &slots[0]) == &slots[1]);
    CHECK_TRUE(!roster_after(all, 4, &slots[2]));
    CHECK(roster_state(&slots[0], 100, 4), ==, CHANNEL_PLAN_ACTIVE);
    CHECK(roster_state(&slots[1], 199, 4), ==, CHANNEL_PLAN_ARMED);
    CHECK(roster_state(&slots[3], 199, 4), ==, CHANNEL_PLAN_PREPARED);
}

// A plan that is learnt of late leaves what is on air until its own frames can be there.
static void test_late(void)
{
    const struct plan p = {.at_frame = 1000, .lead_frames = LEAD};
    CHECK(roster_from(&p, 963, true), ==, 1000);
    CHECK(roster_from(&p, 964, true), ==, 1050);
    CHECK(roster_from(&p, 1000, true), ==, 1050);
    CHECK(roster_from(&p, 1001, true), ==, 1100);
    CHECK(roster_from(&p, 5000, true), ==, 5050);
    CHECK(roster_from(&p, 5000, false), ==, 1000); // nothing is on air: at once
    const int64_t at[] = {100, 200, 220, 300}, from[] = {100, 250, 220, 300};
    make(at, from);
    CHECK_TRUE(roster_in_force(all, 2, 249) == &slots[0]);
    CHECK_TRUE(roster_in_force(all, 2, 250) == &slots[1]);
    // One that was decided later and is in time: the late one has had its time before it came.
    CHECK_TRUE(roster_in_force(all, 3, 219) == &slots[0]);
    CHECK_TRUE(roster_in_force(all, 3, 220) == &slots[2]);
    CHECK_TRUE(roster_in_force(all, 3, 260) == &slots[2]);
    CHECK_TRUE(roster_retires(&slots[1], &slots[2]));
    CHECK_TRUE(!roster_retires(&slots[1], &slots[0]));
    CHECK_TRUE(!roster_retires(&slots[0], &slots[0]));
    slots[0].listed = false;
    CHECK_TRUE(!roster_retires(&slots[0], &slots[0])); // nothing has taken over
    CHECK_TRUE(roster_retires(&slots[0], &slots[2]));
}

int main(void)
{
    test_in_force();
    test_late();
    return check_end();
}
