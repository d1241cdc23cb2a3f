// The fence under pauses, in virtual time: coordinators that stand still at any point, for any
// time, between any two steps, with messages that take their time, clocks that run apart, and a
// database that keeps its row locks as PostgreSQL does. What is checked: no commit under an epoch
// that another has followed, and nobody acts while another has the lease.
#include "coordinator/store/lease.h"
#include "tests/check.h"

#define MS           INT64_C(1000000)
#define COORDINATORS 3
#define TTL_NS       (3000 * MS)
#define RENEW_NS     (1000 * MS)
#define WAIT_NS      (250 * MS)
#define IDLE_NS      (2000 * MS) // idle_in_transaction_session_timeout
#define PAUSES       40000

// What a coordinator does next, at `at_ns`. A pause may come before any of them.
enum step { ASK, DECIDED, HEARD, BEGIN, CHECKED, ANSWERED, COMMITTED, END };

struct coordinator {
    struct lease lease;
    double rate; // of its clock
    enum step asks, writes;
    int64_t asks_at_ns, writes_at_ns, awake_ns;
    int64_t asked_ns;
    uint64_t given; // the answer on its way: an epoch, 0: another's
    uint64_t epoch; // of the transaction
    bool granted;
    int64_t locked_ns; // since when its transaction holds the row, idle; 0: not
};

static struct coordinator all[COORDINATORS];
static struct {
    int holder; // -1: none yet
    uint64_t epoch;
    int64_t expires_ns;
} row;
static uint64_t seed, newest_commit;
static int64_t now_ns;
static int pauses, commits, changes, fenced, acts;

static int64_t between(int64_t low, int64_t high)
{
    return low + (int64_t)(check_random(&seed) % (uint64_t)(high - low + 1));
}

static int64_t clock_of(const struct coordinator *c)
{
    return (int64_t)((double)now_ns * c->rate);
}

static bool is_locked(const struct coordinator *c)
{
    return c->locked_ns && now_ns - c->locked_ns < IDLE_NS; // else the server has ended the session
}

// As the statement of store_lease: waits for nobody, but fails while another's transaction holds
// the row.
static uint64_t database_lease(int index)
{
    if (row.holder != index && row.holder >= 0 && row.expires_ns > now_ns)
        return 0;
    for (int i = 0; i < COORDINATORS; i++)
        if (i != index && is_locked(&all[i]))
            return 0;
    if (row.holder != index) {
        row.holder = index;
        row.epoch++;
        changes++;
    }
    row.expires_ns = now_ns + TTL_NS;
    return row.epoch;
}

// Somebody acts by its own clock: nobody else may have the lease by the database's.
static void act(int index)
{
    struct coordinator *c = &all[index];
    if (!lease_epoch(&c->lease, clock_of(c)))
        return;
    acts++;
    CHECK(row.holder, ==, index);
    CHECK(row.epoch, ==, lease_epoch(&c->lease, clock_of(c)));
}

static void step_lease(int index)
{
    struct coordinator *c = &all[index];
    switch (c->asks) {
    case ASK:
        c->asked_ns = clock_of(c);
        break;
    case DECIDED: // at the database
        c->given = database_lease(index);
        break;
    default:
        if (c->given)
            lease_take(&c->lease, c->given, c->asked_ns, TTL_NS);
        else
            lease_drop(&c->lease);
        c->asks = ASK;
        c->asks_at_ns = now_ns + (c->given ? RENEW_NS : WAIT_NS);
        return;
    }
    c->asks++;
    c->asks_at_ns = now_ns + between(0, 20 * MS);
}

static void step_write(int index)
{
    struct coordinator *c = &all[index];
    bool fence = false;
    switch (c->writes) {
    case BEGIN:
        c->epoch = lease_epoch(&c->lease, clock_of(c));
        fence = !c->epoch;
        break;
    case CHECKED: // at the database: the row, and its lock
        c->granted = row.holder == index && row.epoch == c->epoch && row.expires_ns > now_ns;
        c->locked_ns = c->granted ? now_ns : 0;
        break;
    case ANSWERED:
        fence = !c->granted || !lease_epoch(&c->lease, clock_of(c));
        break;
    default: // at the database
        if (is_locked(c)) {
            CHECK(c->epoch, ==, row.epoch);
            CHECK(c->epoch, >=, newest_commit);
            newest_commit = c->epoch;
            commits++;
        }
        c->locked_ns = 0;
    }
    fenced += fence;
    bool ends = fence || c->writes == COMMITTED;
    if (fence)
        c->locked_ns = 0; // rolled back
    c->writes = ends ? BEGIN : c->writes + 1;
    // Now and then it stands still between its last look at the clock and the network.
    bool stands = !ends && between(1, 50) == 1;
    c->writes_at_ns = now_ns + between(0, ends ? 100 * MS : stands ? 4000 * MS : 20 * MS);
    if (stands)
        c->awake_ns = c->writes_at_ns;
    pauses += stands;
}

// What is at the database goes on there while its coordinator stands still.
static bool at_database(enum step step)
{
    return step == DECIDED || step == CHECKED || step == COMMITTED;
}

static void run(int index)
{
    struct coordinator *c = &all[index];
    bool awake = now_ns >= c->awake_ns;
    if (awake && between(1, 400) == 1) {
        pauses++;
        c->awake_ns = now_ns + between(MS, between(1, 3) * 4000 * MS);
        awake = false;
    }
    if (now_ns >= c->asks_at_ns && (awake || at_database(c->asks)))
        step_lease(index);
    if (now_ns >= c->writes_at_ns && (awake || at_database(c->writes)))
        step_write(index);
    if (awake)
        act(index);
}

int main(int argc, char **argv)
{
    seed = argc > 1 ? strtoull(argv[1], NULL, 10) : UINT64_C(0x9e3779b97f4a7c15);
    fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
    row.holder = -1;
    for (int i = 0; i < COORDINATORS; i++) {
        all[i].writes = BEGIN;
        all[i].rate = 1.0 + (double)(i - 1) * 0.05; // far worse than any clock
        lease_drop(&all[i].lease);
    }
    while (pauses < PAUSES) {
        now_ns += 5 * MS;
        for (int i = 0; i < COORDINATORS; i++)
            run(i);
    }
    fprintf(stderr,
            "%d pauses, %d changes of leader, %d commits, %d refused by the own clock or the row, "
            "%d acts\n",
            pauses, changes, commits, fenced, acts);
    CHECK(changes, >, PAUSES / 100);
    CHECK(commits, >, PAUSES);
    CHECK(fenced, >, PAUSES);
    return check_end();
}
