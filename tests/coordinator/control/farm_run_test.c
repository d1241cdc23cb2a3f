// The farm's thread with real sockets: a worker and an edge over the control link, a plan from
// start to commit, and a restart of the coordinator that sends the same plan again.
#include "coordinator/control/farm_run.h"

#include "engine/base/clock.h"
#include "engine/base/rate.h"
#include "tests/check.h"

#include <errno.h>
#include <pthread.h>

#define PATIENCE_NS INT64_C(30000000000) // before the test gives up
#define RATE        25

// -- guarded by lock
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t released = PTHREAD_COND_INITIALIZER;
static bool held;   // writes do not come back
static int waiting; // for that
static int commits, reserves, failures;
static uint8_t row[65536];
static size_t row_bytes;
static int64_t row_at_frame;

struct sim_node {
    const char *name;
    bool edge;
    struct control_client *client;
    // -- guarded by lock
    uint64_t state_epoch, state_version;
    uint32_t plan_epoch;
    bool committed;
    int64_t at_frame;
    uint8_t key[FARM_KEY_BYTES]; // of the first link that it sees
};

// ---- Store ------------------------------------------------------------------------------------

static int on_reserve(void *opaque, uint64_t channel, uint32_t plan_epoch)
{
    (void)opaque;
    pthread_mutex_lock(&lock);
    failures += channel != 5 || plan_epoch == 0;
    waiting++;
    while (held)
        pthread_cond_wait(&released, &lock);
    waiting--;
    reserves++;
    int r = reserves == 1 ? -EIO : 0; // the first try fails; it comes again
    pthread_mutex_unlock(&lock);
    return r;
}

static int on_commit(void *opaque, const struct farm_commit *commit)
{
    (void)opaque;
    pthread_mutex_lock(&lock);
    commits++;
    row_bytes = commit->plan_bytes < sizeof row ? commit->plan_bytes : 0;
    memcpy(row, commit->plan, row_bytes);
    row_at_frame = commit->at_frame;
    pthread_mutex_unlock(&lock);
    return 0;
}

// ---- Nodes ------------------------------------------------------------------------------------

static void on_state(void *opaque, const desired_state_message *state)
{
    struct sim_node *node = opaque;
    if (state->renewal)
        return;
    pthread_mutex_lock(&lock);
    node->state_epoch = state->epoch;
    node->state_version = state->version;
    node->plan_epoch = 0;
    node->committed = false;
    for (size_t i = 0; i < state->n_channels; i++) {
        const channel_plan_message *plan = state->channels[i];
        node->plan_epoch = plan->plan_epoch;
        node->committed = plan->committed;
        node->at_frame = plan->at_frame;
        if (plan->n_groups && plan->groups[0]->n_links)
            memcpy(node->key, plan->groups[0]->links[0]->key.data, sizeof node->key);
    }
    pthread_mutex_unlock(&lock);
}

static int64_t cursor_now(void)
{
    return rate_frame_at_ns((struct rate){RATE, 1}, clock_realtime_ns());
}

static void node_report(struct sim_node *node)
{
    node_report_message report = VISTTER__CONTROL__V1__NODE_REPORT__INIT;
    Vistter__Control__V1__PlanReport plan = VISTTER__CONTROL__V1__PLAN_REPORT__INIT;
    Vistter__Control__V1__PlanReport *plans[] = {&plan};
    Vistter__Control__V1__ChannelReport channel = VISTTER__CONTROL__V1__CHANNEL_REPORT__INIT;
    Vistter__Control__V1__ChannelReport *channels[] = {&channel};
    pthread_mutex_lock(&lock);
    report.role = node->edge ? VISTTER__CONTROL__V1__NODE_ROLE__NODE_ROLE_EDGE
                             : VISTTER__CONTROL__V1__NODE_ROLE__NODE_ROLE_WORKER;
    report.frame_address = "127.0.0.1:9";
    report.cores = 2;
    report.state_epoch = node->state_epoch;
    report.state_version = node->state_version;
    plan.channel = channel.channel = 5;
    plan.plan_epoch = channel.plan_epoch = node->plan_epoch;
    bool active = node->edge && node->committed && cursor_now() >= node->at_frame;
    plan.state = active ? VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_ACTIVE
                        : VISTTER__CONTROL__V1__PLAN_STATE__PLAN_STATE_PREPARED;
    channel.cursor = cursor_now();
    report.n_plans = node->plan_epoch != 0;
    report.plans = plans;
    report.n_channels = active;
    report.channels = channels;
    pthread_mutex_unlock(&lock);
    (void)control_client_report(node->client, &report); // not connected yet: again
}

static struct farm_run *run_start(const char *listen, uint64_t leader_epoch)
{
    struct farm_run_config config = {.listen = listen,
                                     .cluster_key = {9, 9, 9},
                                     .leader_epoch = leader_epoch,
                                     .media_url = "http://127.0.0.1/media",
                                     .reserve = on_reserve,
                                     .commit = on_commit};
    struct farm_run *run = NULL;
    CHECK_OK(farm_run_create(&config, &run, NULL));
    return run;
}

static void channel_set(struct farm_run *run, bool running)
{
    uint8_t revision[32] = {1};
    channel_plan_message plan = VISTTER__CONTROL__V1__CHANNEL_PLAN__INIT;
    Vistter__Control__V1__OutputPlan output = VISTTER__CONTROL__V1__OUTPUT_PLAN__INIT;
    Vistter__Control__V1__OutputPlan *outputs[] = {&output};
    struct planner_track tracks[3] = {{0}};
    plan.channel = 5;
    plan.channel_name = "five";
    plan.width = 640;
    plan.height = 360;
    plan.rate_num = RATE;
    plan.rate_den = 1;
    plan.lead_frames = 10;
    plan.revision = (ProtobufCBinaryData){sizeof revision, revision};
    output.output = 1;
    plan.n_outputs = 1;
    plan.outputs = outputs;
    struct farm_channel channel = {
        .plan = &plan, .running = running, .tracks = tracks, .track_count = 3, .cut_count = -1};
    CHECK_OK(farm_run_set_channel(run, &channel, NULL));
}

static enum farm_channel_state state_of(struct farm_run *run)
{
    struct farm_snapshot *s = farm_run_snapshot(run);
    enum farm_channel_state state =
        s->channel_count == 1 ? s->channels[0].state : FARM_CHANNEL_STOPPED;
    farm_snapshot_destroy(&s);
    return state;
}

// Reports as nodes do until the channel is in a state; 50 ms each.
static bool report_until(struct farm_run *run, struct sim_node *nodes,
                         enum farm_channel_state state)
{
    int64_t end_ns = clock_monotonic_ns() + PATIENCE_NS;
    while (state_of(run) != state && clock_monotonic_ns() < end_ns) {
        node_report(&nodes[0]);
        node_report(&nodes[1]);
        clock_sleep_until_ns(clock_monotonic_ns() + 50000000); // the pace of reports
    }
    return state_of(run) == state;
}

int main(void)
{
    struct sim_node nodes[2] = {{.name = "w"}, {.name = "e", .edge = true}};
    struct diagnostic why;
    char address[64];
    // A free port, found by a server that is closed again.
    struct control_server *server = NULL;
    struct control_server_config probe = {.listen = "127.0.0.1:0"};
    CHECK_OK(control_server_create(&probe, &server, NULL));
    snprintf(address, sizeof address, "127.0.0.1:%d", control_server_port(server));
    control_server_destroy(&server);
    for (int i = 0; i < 2; i++) {
        struct control_client_config config = {.addresses = address,
                                               .key = {9, 9, 9},
                                               .node = nodes[i].name,
                                               .on_state = on_state,
                                               .opaque = &nodes[i]};
        CHECK_OK(control_client_create(&config, &nodes[i].client, &why));
    }
    struct farm_run *run = run_start(address, 1);
    CHECK_OK(farm_run_start(run, &why));
    channel_set(run, true);
    CHECK_TRUE(report_until(run, nodes, FARM_CHANNEL_ON_AIR));
    pthread_mutex_lock(&lock);
    CHECK(commits, ==, 1);
    CHECK(reserves, ==, 2);
    CHECK(failures, ==, 0);
    CHECK(nodes[0].plan_epoch, ==, 1);
    CHECK_TRUE(nodes[0].committed && nodes[1].committed);
    CHECK(nodes[1].at_frame, ==, row_at_frame);
    CHECK_BYTES(nodes[0].key, nodes[1].key, sizeof nodes[0].key); // both ends of the link
    uint8_t key[FARM_KEY_BYTES];
    memcpy(key, nodes[0].key, sizeof key);
    pthread_mutex_unlock(&lock);
    // Another life of the coordinator: nothing on air changes.
    farm_run_destroy(&run);
    run = run_start(address, 2);
    CHECK_OK(farm_run_load(run, row, row_bytes, &why));
    CHECK_ERROR(farm_run_load(run, "nonsense", 8, &why), -EPROTO);
    channel_set(run, true);
    CHECK_OK(farm_run_start(run, &why));
    CHECK_TRUE(report_until(run, nodes, FARM_CHANNEL_ON_AIR));
    int64_t end_ns = clock_monotonic_ns() + PATIENCE_NS;
    for (bool heard = false; !heard && clock_monotonic_ns() < end_ns;) {
        node_report(&nodes[0]);
        node_report(&nodes[1]);
        clock_sleep_until_ns(clock_monotonic_ns() + 50000000);
        pthread_mutex_lock(&lock);
        heard = nodes[0].state_epoch == 2 && nodes[1].state_epoch == 2;
        pthread_mutex_unlock(&lock);
    }
    pthread_mutex_lock(&lock);
    CHECK(nodes[0].state_epoch, ==, 2);
    CHECK(nodes[1].state_epoch, ==, 2);
    CHECK(nodes[0].plan_epoch, ==, 1);
    CHECK(commits, ==, 1);
    CHECK_BYTES(nodes[1].key, key, sizeof key);
    pthread_mutex_unlock(&lock);
    // A store that does not come back holds up nothing but what it is asked: while a write hangs,
    // all nodes still hear within two ticks that their plans are over.
    pthread_mutex_lock(&lock);
    held = true;
    pthread_mutex_unlock(&lock);
    channel_set(run, false);
    channel_set(run, true);
    end_ns = clock_monotonic_ns() + PATIENCE_NS;
    for (bool hangs = false; !hangs && clock_monotonic_ns() < end_ns;) {
        node_report(&nodes[0]);
        node_report(&nodes[1]);
        clock_sleep_until_ns(clock_monotonic_ns() + 50000000);
        pthread_mutex_lock(&lock);
        hangs = waiting > 0;
        pthread_mutex_unlock(&lock);
    }
    int64_t hung_ns = clock_monotonic_ns();
    channel_set(run, false);
    end_ns = clock_monotonic_ns() + PATIENCE_NS;
    for (bool stopped = false; !stopped && clock_monotonic_ns() < end_ns;) {
        node_report(&nodes[0]);
        node_report(&nodes[1]);
        clock_sleep_until_ns(clock_monotonic_ns() + 50000000);
        pthread_mutex_lock(&lock);
        stopped = nodes[0].plan_epoch == 0 && nodes[1].plan_epoch == 0;
        pthread_mutex_unlock(&lock);
    }
    pthread_mutex_lock(&lock);
    CHECK(nodes[0].plan_epoch + nodes[1].plan_epoch, ==, 0);
    CHECK(waiting, ==, 1);
    fprintf(stderr, "told %d ms after the change, the store hanging\n",
            (int)((clock_monotonic_ns() - hung_ns) / 1000000));
    held = false;
    pthread_cond_broadcast(&released);
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < 2; i++)
        control_client_destroy(&nodes[i].client);
    farm_run_destroy(&run);
    return check_end();
}
