// Takes, as the leader orders them, tells them, has them written, and learns them from edges.
#include "tests/coordinator/control/simulation.h"

#include <errno.h>
#include <time.h>

#define SECOND INT64_C(1000000000)
#define A      "{\"track\":\"programme\",\"clip\":\"a\"}"
#define B      "{\"track\":\"programme\",\"clip\":\"b\"}"
#define C      "{\"track\":\"corner\",\"clip\":\"c\"}"
#define MANUAL "{\"track\":\"programme\",\"clip\":\"a\",\"transition\":1,\"manual\":true}"

static struct sim sim;
static struct timeline *timeline;

// What the farm has said and asked for in the newest tick.
static struct {
    int told, written; // nodes, takes
    size_t takes;      // in the newest state
    uint64_t stored, sequences[TAKES_MAX];
    int64_t frames[TAKES_MAX];
    uint64_t writes[16];
} seen;

static void on_send(void *opaque, const char *node, const farm_state_message *state)
{
    (void)opaque;
    (void)node;
    if (state->renewal)
        return;
    seen.told++;
    seen.takes = 0;
    for (size_t i = 0; i < state->n_live; i++) {
        CHECK(state->live[i]->channel, ==, 1);
        seen.stored = state->live[i]->stored;
        for (size_t k = 0; k < state->live[i]->n_takes; k++) {
            seen.sequences[seen.takes] = state->live[i]->takes[k]->sequence;
            seen.frames[seen.takes++] = state->live[i]->takes[k]->at_frame;
        }
    }
}

static void on_commit(void *opaque, const struct farm_commit *commit)
{
    (void)opaque;
    (void)commit;
}

static void on_take(void *opaque, uint64_t channel, const struct farm_take *take)
{
    (void)opaque;
    CHECK(channel, ==, 1);
    seen.writes[seen.written++ % 16] = take->sequence;
}

static void tick(int64_t ns)
{
    const struct farm_outputs outputs = {.send = on_send, .commit = on_commit, .take = on_take};
    memset(&seen, 0, sizeof seen);
    sim.now.monotonic_ns += ns;
    sim.now.realtime_ns += ns;
    farm_tick(sim.farm, sim.now, &outputs);
}

static int take(const char *text, struct farm_took *ret)
{
    struct diagnostic why = {0};
    return farm_take(sim.farm, "channel0", text, sim.now, ret, &why);
}

static void begin(uint64_t seed)
{
    sim_create(&sim, seed);
    sim.timeline = timeline;
    sim.backup_edges = true;
    sim_channel(&sim, 0, true, 1, 3);
}

static void test_order(uint64_t seed)
{
    struct farm_took one, two, three;
    struct diagnostic why;
    begin(seed);
    CHECK_ERROR(take(A, &one), -EBUSY); // not on air yet
    CHECK_ERROR(farm_take(sim.farm, "nobody", A, sim.now, &one, &why), -ENOENT);
    sim_run(&sim, 10 * SECOND);
    CHECK_ERROR(take("{\"track\":\"programme\",\"clip\":\"z\"}", &one), -EINVAL);
    CHECK_OK(take(A, &one));
    CHECK(one.sequence, ==, 1);
    // Beyond what workers may have rendered by now, and no further than has to be.
    CHECK(one.at_frame, >=, sim_cursor(&sim) + SIM_LEAD + FARM_TAKE_FRAMES - 1);
    CHECK(one.at_frame, <=, sim_cursor(&sim) + SIM_LEAD + FARM_TAKE_FRAMES + 1);
    CHECK_OK(take(C, &two)); // another track: may be at the same frame
    CHECK(two.at_frame, ==, one.at_frame);
    CHECK_OK(take(B, &three));
    CHECK(three.sequence, ==, 3);
    CHECK(three.at_frame, ==, one.at_frame + 1);
    tick(0);
    CHECK(seen.told, >=, 3); // a worker and both edges
    CHECK(seen.takes, ==, 3);
    CHECK(seen.stored, ==, 0);
    for (uint64_t i = 0; i < 3; i++)
        CHECK(seen.sequences[i], ==, i + 1);
    CHECK(seen.frames[2], ==, three.at_frame);
    sim_destroy(&sim);
}

static void test_store(uint64_t seed)
{
    struct farm_took took;
    begin(seed);
    sim_run(&sim, 10 * SECOND);
    CHECK_OK(take(A, &took));
    CHECK_OK(take(B, &took));
    tick(0);
    CHECK(seen.written, ==, 2);
    tick(SECOND);
    CHECK(seen.written, ==, 0); // each is waited for
    farm_taken(sim.farm, 1, 1, 0);
    farm_taken(sim.farm, 1, 2, -EIO);
    tick(SECOND / 100);
    CHECK(seen.stored, ==, 1);
    CHECK(seen.written, ==, 1);
    CHECK(seen.writes[0], ==, 2);
    farm_taken(sim.farm, 1, 2, 0);
    tick(SECOND / 100);
    CHECK(seen.stored, ==, 2);
    tick(SECOND);
    CHECK(seen.written, ==, 0);
    // What the store has keeps its place in the order for the next leader.
    sim_restart(&sim);
    farm_load_take(sim.farm, 1, &(struct farm_take){1, 500, "programme", A});
    farm_load_take(sim.farm, 1, &(struct farm_take){2, 501, "programme", B});
    sim_run(&sim, 5 * SECOND);
    CHECK_OK(take(A, &took));
    CHECK(took.sequence, ==, 3);
    sim_destroy(&sim);
}

// The database is away, and the leader dies: edges tell what it had accepted.
static void test_adopted(uint64_t seed)
{
    struct farm_took took;
    begin(seed);
    sim_run(&sim, 10 * SECOND);
    sim_restart(&sim);
    CHECK_ERROR(take(A, &took), -ESTALE); // it might take a number that edges know already
    sim_run(&sim, 3 * SECOND);
    int64_t far = sim_cursor(&sim) + 500;
    Vistter__Control__V1__LiveTake t = VISTTER__CONTROL__V1__LIVE_TAKE__INIT, *takes[] = {&t};
    Vistter__Control__V1__ChannelReport c = VISTTER__CONTROL__V1__CHANNEL_REPORT__INIT,
                                        *channels[] = {&c};
    farm_report_message report = VISTTER__CONTROL__V1__NODE_REPORT__INIT;
    t.sequence = 7;
    t.at_frame = far;
    t.take = B;
    c.channel = 1;
    c.n_takes = 1;
    c.takes = takes;
    report.node = sim.nodes[SIM_EDGE].name;
    report.instance = sim.nodes[SIM_EDGE].instance;
    report.sequence = sim.nodes[SIM_EDGE].sequence += 10;
    report.role = VISTTER__CONTROL__V1__NODE_ROLE__NODE_ROLE_EDGE;
    report.n_channels = 1;
    report.channels = channels;
    CHECK_OK(farm_report(sim.farm, &report, sim.now));
    sim_run(&sim, SECOND); // the edge reports as ever
    CHECK_OK(take(A, &took));
    CHECK(took.sequence, ==, 8);
    CHECK(took.at_frame, ==, far + 1);
    tick(0);
    CHECK(seen.takes, ==, 2);
    CHECK(seen.frames[0], ==, far);
    CHECK(seen.written, ==, 2); // neither is known to be written
    sim_destroy(&sim);
}

static void test_fader(uint64_t seed)
{
    static const char *const half = "{\"track\":\"programme\",\"fader\":0.5}";
    static const char *const end = "{\"track\":\"programme\",\"fader\":1}";
    struct farm_took took, first;
    begin(seed);
    sim_run(&sim, 10 * SECOND);
    CHECK_ERROR(take(half, &took), -EINVAL);
    CHECK_OK(take(A, &took));
    CHECK_ERROR(take(half, &took), -EINVAL);
    CHECK_OK(take(MANUAL, &took));
    CHECK_OK(take(half, &first));
    CHECK_OK(take(half, &took));
    CHECK(took.at_frame, ==, first.at_frame); // more a second than there are frames
    struct farm_snapshot *s = farm_snapshot_create(sim.farm, sim.now);
    CHECK_TRUE(s->channels[0].shown[1].fader == 0.5 && !s->channels[0].shown[0].take);
    farm_snapshot_destroy(&s);
    CHECK_OK(take(end, &took));
    CHECK_ERROR(take(half, &took), -EINVAL);
    sim_destroy(&sim);
}

// What nothing depends on any more goes, once it is written; a channel has room for so many.
static void test_kept(uint64_t seed)
{
    struct farm_took took;
    begin(seed);
    sim_run(&sim, 10 * SECOND);
    CHECK_OK(take(C, &took));
    for (int i = 0; i < 30; i++) {
        CHECK_OK(take(i % 2 ? A : B, &took));
        for (uint64_t n = 1; n <= took.sequence; n++)
            farm_taken(sim.farm, 1, n, 0);
        sim_run(&sim, SECOND);
    }
    CHECK_OK(take(A, &took));
    tick(0);
    // Five seconds, what is on its way, two that those depend on, and the other track's.
    CHECK(seen.takes, >=, 8);
    CHECK(seen.takes, <=, 12);
    CHECK(seen.sequences[0], ==, 1);
    // The database is away: they are kept for it, but nodes need not know them for ever.
    for (int i = 0; i < 20; i++) {
        CHECK_OK(take(i % 2 ? A : B, &took));
        sim_run(&sim, SECOND);
    }
    CHECK_OK(take(A, &took));
    tick(0);
    CHECK(seen.takes, <=, 12);
    CHECK(seen.written, ==, 21); // one was handed out before, and is waited for
    int full = 0;
    for (int i = 0; i < TAKES_MAX && !full; i++)
        full = take(i % 2 ? A : B, &took);
    CHECK(full, ==, -EBUSY);
    sim_destroy(&sim);
}

int main(int argc, char **argv)
{
    static const char text[] =
        "{\"schema\":\"vistter.timeline/"
        "1\",\"format\":{\"width\":320,\"height\":180,\"rate\":\"25\"},"
        "\"tracks\":[{\"clips\":[]},{\"name\":\"programme\",\"live\":true,\"clips\":["
        "{\"id\":\"a\",\"kind\":\"pattern\",\"pattern\":{\"kind\":\"bars\"}},"
        "{\"id\":\"b\",\"kind\":\"pattern\",\"pattern\":{\"kind\":\"grid\"}}]},"
        "{\"name\":\"corner\",\"live\":true,\"clips\":["
        "{\"id\":\"c\",\"kind\":\"pattern\",\"pattern\":{\"kind\":\"ramp\"}}]}]}";
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : (uint64_t)time(NULL);
    printf("seed %" PRIu64 "\n", seed);
    CHECK_OK(timeline_parse(text, strlen(text), NULL, NULL, &timeline, NULL));
    test_order(seed);
    test_store(seed);
    test_adopted(seed);
    test_fader(seed);
    test_kept(seed);
    timeline_unref(&timeline);
    return check_end() || sim_failures();
}
