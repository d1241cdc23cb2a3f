// Live sources, as the leader gives them homes and followers: what each worker is told.
#include "coordinator/control/farm.h"
#include "tests/check.h"

#include <stdio.h>
#include <string.h>

#define MS INT64_C(1000000)

// What workers w0, w1 ... have been told last, and what they report.
static struct worker {
    bool alive, told, home, follows;
    char address[64], input[128], home_name[64];
    uint64_t term, instance;
    int links;
    uint8_t keys[8][FARM_KEY_BYTES];
    char consumers[8][64];
    // -- of its log
    uint64_t seq;
    int64_t done_ns;
    bool forgets; // reports nothing
    uint64_t bad_unit;
    bool quarantined;
    bool grows; // its log, with each report
} workers[4];
static struct farm *farm;
static struct farm_time now;
static uint64_t sequence;

static int on_random(void *opaque, uint8_t *bytes, size_t size)
{
    static uint8_t next;
    (void)opaque;
    memset(bytes, ++next, size);
    return 0;
}

static void begin(uint64_t epoch)
{
    const struct farm_config config = {.leader_epoch = epoch, .random = on_random};
    farm = farm_create(&config, now);
}

static void on_send(void *opaque, const char *node, const farm_state_message *state)
{
    (void)opaque;
    struct worker *w = &workers[node[1] - '0'];
    w->told = true;
    w->home = w->follows = false;
    w->links = 0;
    for (size_t i = 0; i < state->n_sources; i++) {
        const Vistter__Control__V1__SourcePlan *p = state->sources[i];
        CHECK_TEXT(p->source, "cam1");
        w->term = p->term;
        w->home = !strcmp(p->home, node);
        w->quarantined = p->quarantined;
        w->follows = !w->home;
        snprintf(w->home_name, sizeof w->home_name, "%s", p->home);
        snprintf(w->address, sizeof w->address, "%s", p->address);
        snprintf(w->input, sizeof w->input, "%s", p->input);
        for (size_t k = 0; k < p->n_links; k++, w->links++) {
            CHECK(p->links[k]->key.len, ==, FARM_KEY_BYTES);
            memcpy(w->keys[k], p->links[k]->key.data, FARM_KEY_BYTES);
            snprintf(w->consumers[k], sizeof w->consumers[k], "%s", p->links[k]->consumer);
            CHECK_TEXT(p->links[k]->link_id, "source-cam1");
        }
    }
}

static void report(int i)
{
    struct worker *w = &workers[i];
    char name[8], address[16];
    w->seq += w->grows;
    snprintf(name, sizeof name, "w%d", i);
    snprintf(address, sizeof address, "h%d:1", i);
    farm_report_message r = VISTTER__CONTROL__V1__NODE_REPORT__INIT;
    Vistter__Control__V1__SourceReport s = VISTTER__CONTROL__V1__SOURCE_REPORT__INIT,
                                       *list[] = {&s};
    r.node = name;
    r.instance = w->instance + 1;
    r.sequence = ++sequence;
    r.role = VISTTER__CONTROL__V1__NODE_ROLE__NODE_ROLE_WORKER;
    r.frame_address = address;
    s.source = (char[]){"cam1"};
    s.term = w->term;
    s.home = w->home;
    s.seq = w->seq;
    s.done_ns = w->done_ns;
    s.bad_unit = w->bad_unit;
    s.status = (char[]){"{\"state\":\"live\"}"};
    if ((w->home || w->follows) && !w->forgets) {
        r.sources = list;
        r.n_sources = 1;
    }
    CHECK_OK(farm_report(farm, &r, now));
}

static void run(int64_t ms)
{
    const struct farm_outputs outputs = {.send = on_send};
    for (int64_t i = 0; i < ms; i += 50) {
        now.monotonic_ns += 50 * MS;
        now.realtime_ns += 50 * MS;
        for (int k = 0; k < 4; k++)
            if (workers[k].alive)
                report(k);
        farm_tick(farm, now, &outputs);
    }
}

static int homes(void)
{
    int count = 0;
    for (int i = 0; i < 4; i++)
        count += workers[i].alive && workers[i].home;
    return count;
}

static int home(void)
{
    int i = 0;
    while (i < 4 && !(workers[i].alive && workers[i].home))
        i++;
    CHECK(i, <, 4);
    return i & 3;
}

static void set(const char *pinned)
{
    CHECK_OK(farm_set_sources(farm, &(struct farm_source){"cam1", pinned, "{\"secret\":1}"},
                              pinned ? 1 : 0));
}

static void start(int count)
{
    memset(workers, 0, sizeof workers);
    now = (struct farm_time){1000 * MS, 1700000000000 * MS};
    begin(1);
    for (int i = 0; i < count; i++)
        workers[i].alive = true;
}

// One takes it in, another keeps a copy of its log; nobody else knows of it, or of its secret.
static void test_home(void)
{
    start(3);
    set("");
    run(3000);
    CHECK(homes(), ==, 1);
    struct worker *h = &workers[home()];
    CHECK_TEXT(h->input, "{\"secret\":1}");
    CHECK(h->links, ==, 1);
    int followers = 0;
    for (int i = 0; i < 3; i++) {
        followers += workers[i].follows;
        if (!workers[i].follows)
            continue;
        CHECK_TEXT(workers[i].input, "");
        CHECK(workers[i].links, ==, 1);
        CHECK_TRUE(!memcmp(workers[i].keys[0], h->keys[0], FARM_KEY_BYTES));
        CHECK(workers[i].term, ==, h->term);
        char address[8];
        snprintf(address, sizeof address, "h%d:1", home());
        CHECK_TEXT(workers[i].address, address);
    }
    CHECK(followers, ==, 1);
    set(NULL);
    run(100);
    CHECK(homes(), ==, 0);
    farm_destroy(&farm);
}

// The home is lost: who has the newest log goes on with it.
static void test_loss(void)
{
    start(3);
    set("w0");
    run(3000);
    CHECK(home(), ==, 0);
    uint64_t term = workers[0].term;
    workers[0].seq = 100;
    workers[0].done_ns = 5000 * MS;
    for (int i = 1; i < 3; i++)
        if (workers[i].follows) {
            workers[i].seq = 90;
            workers[i].done_ns = 4900 * MS;
        }
    run(1000);
    workers[0].alive = false;
    run(2000);
    CHECK(homes(), ==, 1);
    CHECK_TRUE(workers[home()].seq == 90);
    CHECK(workers[home()].term, >, term);
    // It is back, with a log that is ahead: it has to follow before it is home again.
    struct worker *between = &workers[home()];
    workers[0].alive = true;
    workers[0].instance++;
    between->done_ns = 9000 * MS;
    run(500);
    CHECK_TRUE(between->home);
    CHECK_TRUE(workers[0].follows);
    CHECK(workers[0].term, ==, between->term);
    workers[0].done_ns = 8500 * MS;
    run(500);
    CHECK(homes(), ==, 1);
    CHECK(home(), ==, 0);
    CHECK_TRUE(workers[1].follows || workers[2].follows);
    farm_destroy(&farm);
}

static void end(int i)
{
    char name[8];
    snprintf(name, sizeof name, "w%d", i);
    workers[i].alive = false;
    farm_gone(farm, name);
}

// A home whose process ends is known to have ended long before it would be lost; by less than all
// that says so, nobody is moved.
static void test_ended(void)
{
    start(3);
    set("w0");
    run(3000);
    int other = workers[1].follows ? 1 : 2;
    struct worker *home_worker = &workers[0], *follower = &workers[other];
    CHECK_TRUE(follower->follows && home_worker->home);
    home_worker->grows = follower->grows = true;
    run(1000);
    follower->grows = home_worker->grows = false;
    // Late, its connection standing.
    home_worker->alive = false;
    run(600);
    CHECK_TRUE(!follower->home);
    home_worker->alive = true;
    run(200);
    // Its connection breaks, and it calls again.
    end(0);
    run(250);
    home_worker->alive = true;
    run(600);
    CHECK_TRUE(!follower->home);
    // The leader cannot hear it, while who follows sees its log grow: only when it is lost.
    follower->grows = true;
    end(0);
    run(700);
    CHECK_TRUE(!follower->home);
    home_worker->alive = true;
    run(200);
    follower->grows = false;
    run(200);
    // It has ended. Nobody knows yet that it is lost, and its log is the newest: it is not asked.
    home_worker->done_ns = follower->done_ns + 1000 * MS;
    run(100);
    end(0);
    run(400);
    CHECK_TRUE(follower->home);
    run(1000);
    CHECK_TRUE(follower->home);
    CHECK(homes(), ==, 1);
    farm_destroy(&farm);
}

// Another leader goes on with who is home, and what was said before does not win.
static void test_leader(void)
{
    start(3);
    set("");
    run(3000);
    int at = home();
    uint64_t term = workers[at].term;
    farm_destroy(&farm);
    begin(2);
    set("");
    run(3000);
    CHECK(home(), ==, at);
    CHECK(workers[at].term, ==, term);
    // Cut off, it still believes to be home when it is heard again.
    workers[at].alive = false;
    run(2000);
    CHECK(homes(), ==, 1);
    int other = home();
    CHECK(other, !=, at);
    workers[at].alive = true;
    run(1000);
    CHECK(home(), ==, other);
    CHECK(homes(), ==, 1);
    CHECK_TRUE(!workers[at].home); // and is told so
    farm_destroy(&farm);
}

static void test_view(void)
{
    start(2);
    set("w1");
    run(3000);
    workers[1].seq = workers[0].seq = 7;
    workers[1].done_ns = now.realtime_ns;
    workers[0].done_ns = now.realtime_ns - 50 * MS;
    run(100);
    struct farm_snapshot *s = farm_snapshot_create(farm, now);
    CHECK(s->source_count, ==, 1);
    CHECK_TEXT(s->sources[0].home, "w1");
    CHECK_TRUE(s->sources[0].home_alive);
    CHECK_TEXT(s->sources[0].status, "{\"state\":\"live\"}");
    CHECK(s->sources[0].follower_count, ==, 1);
    CHECK_TEXT(s->sources[0].followers[0].node, "w0");
    CHECK(s->sources[0].followers[0].behind_ms, ==, 150); // now, 100 ms later
    farm_snapshot_destroy(&s);
    workers[1].alive = false;
    run(1000);
    s = farm_snapshot_create(farm, now);
    CHECK_TEXT(s->sources[0].home, "w0");
    farm_snapshot_destroy(&s);
    farm_destroy(&farm);
}

// A unit that ends decoders, on all who decode it.
static void bad_unit(uint64_t seq)
{
    for (int i = 0; i < 3; i++) {
        workers[i].bad_unit = seq;
        workers[i].seq = seq + 5;
    }
    run(1000);
}

static bool is_quarantined(void)
{
    struct farm_snapshot *snapshot = farm_snapshot_create(farm, now);
    int alarms = 0;
    for (int i = 0; i < snapshot->node_count; i++)
        for (int k = 0; k < snapshot->nodes[i].alarm_count; k++)
            alarms += !strcmp(snapshot->nodes[i].alarms[k].code, "source_quarantined");
    bool quarantined = workers[home()].quarantined;
    CHECK(alarms, ==, quarantined);
    CHECK(strstr(snapshot->sources[0].error, "not taken in") != NULL, ==, quarantined);
    farm_snapshot_destroy(&snapshot);
    return quarantined;
}

// Three units in a minute, and it is not taken in for half a minute, then for a whole one; another
// input is taken in at once.
static void test_quarantine(void)
{
    start(3);
    set("");
    run(3000);
    for (int i = 0; i < 3; i++) {
        workers[i].seq = 50; // what a worker remembers of a log that had more units
        workers[i].bad_unit = 4711;
    }
    run(1000);
    bad_unit(100);
    bad_unit(130);
    CHECK_TRUE(!is_quarantined());
    run(60000);
    bad_unit(160);
    CHECK_TRUE(!is_quarantined()); // in more than a minute
    bad_unit(170);
    bad_unit(180);
    CHECK_TRUE(is_quarantined());
    run(28000);
    CHECK_TRUE(is_quarantined());
    run(2000);
    CHECK_TRUE(!is_quarantined());
    for (uint64_t seq = 200; seq < 230; seq += 10)
        bad_unit(seq);
    CHECK_TRUE(is_quarantined());
    run(57000);
    CHECK_TRUE(is_quarantined());
    run(3000);
    CHECK_TRUE(!is_quarantined());
    for (uint64_t seq = 300; seq < 330; seq += 10)
        bad_unit(seq);
    CHECK_TRUE(is_quarantined());
    CHECK_OK(farm_set_sources(farm, &(struct farm_source){"cam1", "", "{\"secret\":2}"}, 1));
    run(100);
    CHECK_TRUE(!is_quarantined());
    farm_destroy(&farm);
}

int main(void)
{
    test_home();
    test_loss();
    test_ended();
    test_leader();
    test_view();
    test_quarantine();
    return check_end();
}
