// The store at a real PostgreSQL: store_test CONNINFO KEY_FILE MIGRATIONS POSTMASTER_PID
#include "coordinator/store/store.h"
#include "engine/base/clock.h"
#include "engine/base/crash_note.h"
#include "engine/base/thread.h"
#include "tests/check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <libpq-fe.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#define THREADS   8
#define TTL_MS    3000
#define BOUND_NS  INT64_C(30000000000) // well above what store.h promises, far below for ever
#define REVISION  "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define REVISION2 "ff112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static const char *database, *key, *migrations;
static pid_t postmaster;
static struct store *store; // leads, from test_lease on
static uint64_t channel;

static struct store *open_store(const char *holder)
{
    struct store *s = NULL;
    CHECK_OK(store_open(&(struct store_config){database, key, holder}, &s, NULL));
    return s;
}

static int lease(struct store *s, int ttl_ms, uint64_t *ret_epoch)
{
    struct store_lease wanted = {ttl_ms, 0, "http://h:1"};
    return store_lease(s, &wanted, ret_epoch, NULL);
}

// The postmaster and all its processes.
static void signal_database(int signal)
{
    char path[64], list[4096];
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)postmaster, (int)postmaster);
    FILE *file = fopen(path, "re");
    size_t size = file ? fread(list, 1, sizeof list - 1, file) : 0;
    CHECK(size, >, 0);
    list[size] = 0;
    if (file)
        fclose(file);
    kill(postmaster, signal);
    for (char *at = list, *end; (end = at, strtol(at, &end, 10)) && end != at; at = end)
        kill((pid_t)strtol(at, NULL, 10), signal);
}

static void run_threads(void *(*run)(void *opaque))
{
    pthread_t threads[THREADS];
    int64_t begin_ns = clock_monotonic_ns();
    for (intptr_t i = 0; i < THREADS; i++)
        CHECK_OK(thread_start(&threads[i], "test", run, (void *)i));
    for (int i = 0; i < THREADS; i++)
        thread_join(threads[i]);
    CHECK(clock_monotonic_ns() - begin_ns, <, BOUND_NS);
}

// ---- Migrations and the lease -----------------------------------------------------------------

static void *migrate_main(void *opaque)
{
    (void)opaque;
    struct store *s = open_store("migrates");
    int error;
    do
        error = store_migrate(s, migrations, NULL);
    while (error == -EAGAIN); // another is at it
    CHECK_OK(error);
    store_close(&s);
    return NULL;
}

static struct store_channel example(const char *name)
{
    struct store_channel c = {.width = 640, .height = 360, .rate = {25, 1}, .edges = 2};
    snprintf(c.name, sizeof c.name, "%s", name);
    return c;
}

// Every function that writes; gives how many refused with this error.
static int writes_refused(struct store *s, int expected)
{
    struct store_channel c = example("never");
    struct store_destination d = {.channel = channel, .name = "never", .kind = STORE_RECORDING};
    struct store_change change = {.kind = STORE_STOPPED};
    struct store_revision revision;
    struct store_commit commit = {channel, 9,     9, 9,    REVISION, (const uint8_t *)"x",
                                  1,       false, 0, false};
    struct store_node node = {.name = "never", .role = "edge"};
    struct store_source source = {.name = "never", .input = (char[]){"{}"}};
    uint64_t id;
    int refused = 0;
    refused += store_media_put(s, REVISION, "never", "{}", NULL) == expected;
    refused += store_timeline_put(s, "never", "{}", 2, REVISION, &revision, NULL) == expected;
    refused += store_channel_create(s, &c, &id, NULL) == expected;
    refused += store_channel_delete(s, "one", &id, NULL) == expected;
    refused += store_channel_change(s, "one", &change, NULL) == expected;
    refused += store_destination_add(s, &d, &id, NULL) == expected;
    refused += store_destination_remove(s, channel, "archive", NULL) == expected;
    refused += store_plan_reserve(s, channel, 99, NULL) == expected;
    refused += store_plan_put(s, &commit, NULL) == expected;
    refused += store_node_put(s, &node, NULL) == expected;
    refused += store_source_put(s, &source, NULL) == expected;
    refused += store_source_delete(s, "never", NULL) == expected;
    return refused;
}

static void test_lease(void)
{
    uint64_t epoch, later;
    struct store *first = open_store("first");
    CHECK(writes_refused(first, -ESTALE), ==, 12); // nobody leads yet
    CHECK_OK(lease(first, TTL_MS, &epoch));
    struct store_channel c = example("one");
    CHECK_OK(store_channel_create(first, &c, &channel, NULL));
    store = open_store("second");
    CHECK_ERROR(lease(store, TTL_MS, &later), -EAGAIN);
    CHECK(writes_refused(store, -ESTALE), ==, 12);
    CHECK_OK(lease(first, 1, &epoch)); // runs out at once
    while (lease(store, 600000, &later) == -EAGAIN)
        ;
    CHECK(later, >, epoch);
    CHECK(writes_refused(first, -EIO), ==, 12); // its time is over, by its own clock
    CHECK_ERROR(lease(first, TTL_MS, &epoch), -EAGAIN);
    store_close(&first);
}

// ---- The log ----------------------------------------------------------------------------------

static void change(enum store_event kind, const char *timeline, const char *revision,
                   int64_t number, int64_t at_frame, int expected)
{
    struct store_change wanted = {.kind = kind, .number = number, .at_frame = at_frame};
    snprintf(wanted.timeline, sizeof wanted.timeline, "%s", timeline);
    snprintf(wanted.revision, sizeof wanted.revision, "%s", revision);
    CHECK_ERROR(store_channel_change(store, "one", &wanted, NULL), expected);
}

static int commit_as(uint32_t epoch, int64_t at_frame, int64_t start_frame, const char *revision,
                     bool restored, uint32_t replaces)
{
    char bytes[32];
    snprintf(bytes, sizeof bytes, "plan %u", epoch);
    struct store_commit row = {.channel = channel,
                               .plan_epoch = epoch,
                               .at_frame = at_frame,
                               .start_frame = start_frame,
                               .revision = revision,
                               .bytes = (const uint8_t *)bytes,
                               .size = strlen(bytes),
                               .restored = restored,
                               .replaces = replaces};
    return store_plan_put(store, &row, NULL);
}

// A plan that leaves optional tracks out, or a committed one that does so written again.
static int commit_without(uint32_t epoch, int64_t at_frame, int64_t start_frame,
                          const char *revision, bool restored)
{
    struct store_commit row = {.channel = channel,
                               .plan_epoch = epoch,
                               .at_frame = at_frame,
                               .start_frame = start_frame,
                               .revision = revision,
                               .bytes = (const uint8_t *)"plan",
                               .size = 4,
                               .restored = restored,
                               .without_optional = true};
    return store_plan_put(store, &row, NULL);
}

static int commit(uint32_t epoch, int64_t at_frame, int64_t start_frame, const char *revision)
{
    return commit_as(epoch, at_frame, start_frame, revision, false, 0);
}

// What the log says is on air at a frame: the fold by seq of events up to it.
static void check_fold_optional(int64_t frame, int64_t number, int64_t start_frame,
                                bool without_optional)
{
    char *text = NULL;
    CHECK_OK(store_event_list(store, channel, &text, NULL));
    json_t *events = json_loads(text, 0, NULL), *event;
    const json_t *state = NULL;
    size_t i;
    json_array_foreach(events, i, event)
    {
        const json_t *at = json_object_get(event, "at_frame");
        CHECK(json_integer_value(json_object_get(event, "seq")), ==, i + 1); // no holes
        if (json_is_integer(at) && json_integer_value(at) <= frame)
            state = json_object_get(event, "payload");
    }
    CHECK(json_integer_value(json_object_get(state, "number")), ==, number);
    CHECK(json_integer_value(json_object_get(state, "start_frame")), ==, start_frame);
    CHECK(json_is_true(json_object_get(state, "without_optional")), ==, without_optional);
    json_decref(events);
    free(text);
}

static void check_fold(int64_t frame, int64_t number, int64_t start_frame)
{
    check_fold_optional(frame, number, start_frame, false);
}

static struct store_channel get(void)
{
    struct store_channel c = {0};
    CHECK_OK(store_channel_get(store, "one", &c, NULL));
    return c;
}

static void test_log(void)
{
    change(STORE_STOPPED, "", "", 0, 5, 0); // is stopped: no event
    change(STORE_REVISION, "a", REVISION, 1, 0, -EBUSY);
    CHECK_ERROR(commit(1, 50, 50, REVISION), -ESTALE); // never started
    change(STORE_STARTED, "a", REVISION, 1, 0, 0);
    change(STORE_STARTED, "a", REVISION, 1, 0, -EBUSY);
    CHECK(get().start_frame, ==, -1);
    check_fold(1000000, 0, 0); // asked for, not on air
    CHECK_OK(store_plan_reserve(store, channel, 1, NULL));
    CHECK_OK(commit(1, 100, 100, REVISION));
    check_fold(99, 0, 0);
    check_fold(100, 1, 100);
    CHECK(get().start_frame, ==, 100);
    CHECK(get().last_at_frame, ==, 100);
    // Another revision goes on; the same again is no change; one that was overtaken never held.
    change(STORE_REVISION, "a", REVISION, 1, 0, 0);
    change(STORE_REVISION, "a", REVISION2, 2, 0, 0);
    CHECK(get().run, ==, 1);
    CHECK_OK(commit(2, 200, 100, REVISION2));
    CHECK_OK(commit(2, 200, 100, REVISION2)); // its answer was lost
    CHECK_OK(commit(3, 250, 100, REVISION2)); // placed elsewhere
    check_fold(199, 1, 100);
    check_fold(200, 2, 100);
    check_fold(300, 2, 100);
    // Another timeline is another run.
    change(STORE_REVISION, "b", REVISION, 7, 0, 0);
    CHECK(get().run, ==, 3);
    CHECK(get().start_frame, ==, -1);
    CHECK_OK(commit(4, 400, 400, REVISION));
    check_fold(399, 2, 100);
    check_fold(400, 7, 400);
    struct store_plan *plans;
    size_t count;
    CHECK_OK(store_plan_list(store, &plans, &count, NULL));
    CHECK(count, ==, 2); // the newest and the one before it
    CHECK(plans[0].plan_epoch, ==, 3);
    CHECK(plans[1].plan_epoch, ==, 4);
    CHECK_BYTES(plans[1].bytes, "plan 4", 6);
    free(plans[0].bytes);
    free(plans[1].bytes);
    free(plans);
    change(STORE_STOPPED, "", "", 0, 500, 0);
    check_fold(499, 7, 400);
    check_fold(500, 0, 0);
    CHECK_ERROR(commit(5, 600, 400, REVISION), -ESTALE); // it must not come back
    CHECK_OK(store_plan_list(store, &plans, &count, NULL));
    CHECK(count, ==, 0);
    free(plans);
}

// The newest plan's epoch, and how many there are.
static uint32_t newest_plan(size_t *ret_count)
{
    struct store_plan *plans;
    CHECK_OK(store_plan_list(store, &plans, ret_count, NULL));
    uint32_t newest = *ret_count ? plans[*ret_count - 1].plan_epoch : 0;
    for (size_t i = 0; i < *ret_count; i++)
        free(plans[i].bytes);
    free(plans);
    return newest;
}

// What this database never knew, or has lost, comes back with its frame; what it knows stays.
static void test_restored(void)
{
    size_t count;
    // Stopped at 500: the plans before it are over, a start that was lost is not.
    CHECK_ERROR(commit_as(5, 450, 400, REVISION, true, 0), -ESTALE);
    CHECK_OK(commit_as(6, 600, 600, REVISION2, true, 0));
    CHECK_TRUE(get().on_air);
    CHECK(get().start_frame, ==, 600);
    CHECK(get().last_plan_epoch, ==, 6);
    CHECK_TEXT(get().revision, REVISION2);
    CHECK(newest_plan(&count), ==, 6);
    // Again, and what is older: nothing.
    CHECK_OK(commit_as(6, 600, 600, REVISION2, true, 0));
    CHECK_OK(commit_as(4, 400, 400, REVISION, true, 0));
    CHECK(newest_plan(&count), ==, 6);
    CHECK(count, ==, 1);
    // Another revision of it, whose event is lost too; then one that only moves it elsewhere.
    CHECK_OK(commit_as(8, 700, 600, REVISION, true, 0));
    CHECK(get().run, <, 7);
    CHECK_TEXT(get().revision, REVISION);
    CHECK_OK(commit_as(9, 750, 600, REVISION, true, 0));
    int64_t run = (int64_t)get().run;
    CHECK_OK(commit_as(10, 800, 800, REVISION2, true, 0)); // from its own start: another timeline
    CHECK((int64_t)get().run, >, run);
    // Committed, and nobody had heard of it: the event begins with what replaces it, and the plan
    // on air stays beside that.
    change(STORE_REVISION, "a", REVISION, 1, 0, 0);
    CHECK_OK(commit(11, 900, 900, REVISION));
    CHECK_OK(commit_as(12, 950, 900, REVISION, false, 11));
    CHECK(newest_plan(&count), ==, 12);
    CHECK(count, ==, 2);
    check_fold(949, 0, 800);
    check_fold(950, 1, 900);
    change(STORE_STOPPED, "", "", 0, 1000, 0);
}

// Optional tracks go and come with plans that nobody has asked for: the log says so, with frames.
static void test_optional(void)
{
    change(STORE_STARTED, "a", REVISION, 1, 0, 0);
    CHECK_OK(commit(20, 2000, 2000, REVISION));
    uint64_t run = get().run;
    CHECK_OK(commit_without(21, 2100, 2000, REVISION, false));
    CHECK_OK(commit_without(21, 2100, 2000, REVISION, false)); // its answer was lost
    CHECK_OK(commit_without(22, 2150, 2000, REVISION, false)); // placed elsewhere
    check_fold_optional(2099, 1, 2000, false);
    check_fold_optional(2100, 1, 2000, true);
    check_fold_optional(2200, 1, 2000, true);
    CHECK(get().run, ==, run); // it goes on
    CHECK(get().start_frame, ==, 2000);
    CHECK_TEXT(get().revision, REVISION);
    // Another revision, asked for meanwhile, takes effect first with one plan, then with tracks.
    change(STORE_REVISION, "a", REVISION2, 2, 0, 0);
    CHECK_ERROR(commit(23, 2200, 2000, REVISION), -ESTALE);
    CHECK_OK(commit_without(24, 2250, 2000, REVISION, false)); // nothing comes or goes
    CHECK_OK(commit_without(25, 2300, 2000, REVISION2, false));
    check_fold_optional(2299, 1, 2000, true);
    check_fold_optional(2300, 2, 2000, true);
    CHECK_OK(commit(26, 2400, 2000, REVISION2));
    check_fold_optional(2399, 2, 2000, true);
    check_fold_optional(2400, 2, 2000, false);
    // One that the database has lost.
    CHECK_OK(commit_without(27, 2500, 2000, REVISION2, true));
    check_fold_optional(2499, 2, 2000, false);
    check_fold_optional(2500, 2, 2000, true);
    // One that nobody had heard of: what was asked for begins with what replaces it.
    change(STORE_REVISION, "a", REVISION, 1, 0, 0);
    CHECK_OK(commit_without(28, 2600, 2000, REVISION, false));
    CHECK_OK(commit_as(29, 2700, 2000, REVISION, false, 28));
    check_fold_optional(2699, 2, 2000, true);
    check_fold_optional(2700, 1, 2000, false);
    change(STORE_STOPPED, "", "", 0, 2800, 0);
    CHECK_ERROR(commit_without(30, 2900, 2000, REVISION, false), -ESTALE);
    check_fold(2900, 0, 0);
}

static void *race_main(void *opaque)
{
    bool starts = (intptr_t)opaque % 2;
    for (int i = 0; i < 20; i++) {
        struct store_change wanted = {.kind = starts ? STORE_STARTED : STORE_STOPPED,
                                      .timeline = "a",
                                      .revision = REVISION,
                                      .number = 1,
                                      .at_frame = 1100};
        int error = store_channel_change(store, "one", &wanted, NULL);
        CHECK_TRUE(!error || (starts && error == -EBUSY));
    }
    return NULL;
}

// However requests fall together, a stop follows a start and a start a stop.
static void test_race(void)
{
    run_threads(race_main);
    char *text = NULL;
    CHECK_OK(store_event_list(store, channel, &text, NULL));
    json_t *events = json_loads(text, 0, NULL), *event;
    const char *before = "stopped";
    size_t i;
    json_array_foreach(events, i, event)
    {
        const char *kind = json_string_value(json_object_get(event, "kind"));
        CHECK(json_integer_value(json_object_get(event, "seq")), ==, i + 1);
        if (!strcmp(kind, "started") || !strcmp(kind, "stopped"))
            CHECK_TRUE(strcmp(kind, before) != 0);
        if (!strcmp(kind, "started") || !strcmp(kind, "stopped"))
            before = kind;
    }
    json_decref(events);
    free(text);
    change(STORE_STOPPED, "", "", 0, 1100, 0);
}

static void *put_main(void *opaque)
{
    char bytes[64], sha256[65];
    struct store_revision revision;
    for (int i = 0; i < 5; i++) {
        snprintf(bytes, sizeof bytes, "{\"a\":%d}", (int)(intptr_t)opaque * 100 + i);
        snprintf(sha256, sizeof sha256, "%064x", (unsigned)((intptr_t)opaque * 100 + i));
        CHECK_OK(store_timeline_put(store, "many", bytes, strlen(bytes), sha256, &revision, NULL));
    }
    return NULL;
}

static void test_timelines(void)
{
    struct store_revision revision;
    char *bytes = NULL;
    size_t size;
    run_threads(put_main);
    CHECK_OK(store_timeline_get(store, "many", 0, &revision, &bytes, &size, NULL));
    CHECK(revision.number, ==, THREADS * 5);
    free(bytes);
}

// ---- Small things -----------------------------------------------------------------------------

static enum store_verdict crash(const char *node, uint64_t id)
{
    struct store_crash row = {node, REVISION, id, 42 + (int64_t)(id > 7), id > 8 ? CRASH_HUNG : 11};
    enum store_verdict verdict = STORE_CLEARED;
    CHECK_OK(store_media_crash(store, &row, &verdict, NULL));
    return verdict;
}

// The second crash poisons; told again, none counts twice; cleared, all begins anew.
static void check_crashes(void)
{
    struct store_poisoned *list;
    size_t count;
    CHECK_ERROR(store_media_clear(store, REVISION, NULL), -ENOENT);
    CHECK(crash("worker1", 7), ==, STORE_SUSPECT);
    CHECK(crash("worker1", 7), ==, STORE_SUSPECT);
    CHECK_OK(store_media_poisoned(store, &list, &count, NULL));
    CHECK(count, ==, 0);
    free(list);
    CHECK(crash("worker2", 7), ==, STORE_POISONED);
    CHECK_OK(store_media_poisoned(store, &list, &count, NULL));
    CHECK(count, ==, 1);
    CHECK_TEXT(list[0].sha256, REVISION);
    CHECK_TEXT(list[0].name, "name");
    CHECK(list[0].picture, ==, 42);
    CHECK_TRUE(!list[0].hung);
    free(list);
    CHECK(crash("worker3", 9), ==, STORE_POISONED); // says no more about where
    CHECK_OK(store_media_poisoned(store, &list, &count, NULL));
    CHECK_TRUE(count == 1 && list[0].picture == 42 && !list[0].hung);
    free(list);
    CHECK_OK(store_media_clear(store, REVISION, NULL));
    CHECK(crash("worker2", 7), ==, STORE_CLEARED);
    CHECK(crash("worker2", 9), ==, STORE_SUSPECT);
    CHECK(crash("worker1", 8), ==, STORE_POISONED);
    CHECK_OK(store_media_poisoned(store, &list, &count, NULL));
    CHECK_TRUE(count == 1 && list[0].picture == 43 && list[0].hung);
    free(list);
    CHECK_OK(store_media_clear(store, REVISION, NULL));
}

static void test_rows(void)
{
    struct store_destination d = {
        .channel = channel, .name = "main", .url = "rtmp://h/a", .key = "a secret"};
    struct store_destination *list;
    struct store_node *nodes, node = {.name = "w", .role = "worker", .version = "1"};
    size_t count;
    uint64_t id;
    CHECK_OK(store_destination_add(store, &d, &id, NULL));
    CHECK_ERROR(store_destination_add(store, &d, &id, NULL), -EEXIST);
    CHECK_OK(store_destination_list(store, channel, &list, &count, NULL));
    CHECK(count, ==, 1);
    CHECK_TEXT(list[0].key, "a secret");
    free(list);
    CHECK_OK(store_destination_list_all(store, &list, &count, NULL));
    CHECK(count, ==, 1);
    CHECK_TEXT(list[0].key, "");
    free(list);
    CHECK_OK(store_node_put(store, &node, NULL));
    snprintf(node.frame_address, sizeof node.frame_address, "h:1");
    CHECK_OK(store_node_put(store, &node, NULL));
    CHECK_OK(store_node_list(store, &nodes, &count, NULL));
    CHECK(count, ==, 1);
    CHECK_TEXT(nodes[0].frame_address, "h:1");
    CHECK_TRUE(!nodes[0].draining);
    int64_t age_ms = clock_realtime_ns() / 1000000 - nodes[0].seen_ms;
    CHECK_TRUE(age_ms >= -1000 && age_ms < 60000);
    free(nodes);
    CHECK_OK(store_node_drain(store, "w", true, NULL));
    CHECK_OK(store_node_put(store, &node, NULL)); // it reports, and drains on
    CHECK_OK(store_node_list(store, &nodes, &count, NULL));
    CHECK_TRUE(nodes[0].draining);
    free(nodes);
    CHECK_OK(store_node_drain(store, "w", false, NULL));
    CHECK_ERROR(store_node_drain(store, "nobody", true, NULL), -ENOENT);
    snprintf(node.name, sizeof node.name, "e");
    snprintf(node.role, sizeof node.role, "edge");
    CHECK_OK(store_node_put(store, &node, NULL));
    CHECK_OK(store_node_drain(store, "e", true, NULL));
    CHECK_OK(store_node_list(store, &nodes, &count, NULL));
    CHECK_TRUE(nodes[0].draining && !nodes[1].draining);
    free(nodes);
    CHECK(store_media_known(store, REVISION, NULL), ==, 0);
    CHECK_OK(store_media_put(store, REVISION, "name", "{}", NULL));
    CHECK(store_media_known(store, REVISION, NULL), ==, 1);
    check_crashes();
}

// ---- A database that does not do as it should ---------------------------------------------------

static void query(PGconn *c, const char *sql)
{
    PGresult *r = PQexec(c, sql);
    CHECK_TRUE(PQresultStatus(r) == PGRES_COMMAND_OK || PQresultStatus(r) == PGRES_TUPLES_OK);
    PQclear(r);
}

// Its sessions are ended behind its back: neither lost nor done twice.
static void test_sessions_ended(PGconn *other)
{
    struct store_channel *channels;
    size_t before, after;
    uint64_t id;
    CHECK_OK(store_channel_list(store, &channels, &before, NULL));
    free(channels);
    for (int i = 0; i < 3; i++) {
        char name[16];
        snprintf(name, sizeof name, "ended%d", i);
        struct store_channel c = example(name);
        query(other, "select pg_terminate_backend(pid) from pg_stat_activity "
                     "where application_name = 'vistter-coordinator'");
        // Until they are gone for the others, too.
        CHECK_OK(store_channel_create(store, &c, &id, NULL));
        CHECK_OK(store_channel_list(store, &channels, &after, NULL));
        free(channels);
        CHECK(after, ==, before + (size_t)i + 1);
    }
}

static void test_busy(PGconn *other)
{
    struct store_change stop = {.kind = STORE_STOPPED};
    query(other, "begin");
    query(other, "select 1 from channels where name = 'one' for update");
    int64_t begin_ns = clock_monotonic_ns();
    struct diagnostic why;
    CHECK_ERROR(store_channel_change(store, "one", &stop, &why), -ETIMEDOUT);
    CHECK_TEXT(why.code, "database_busy");
    CHECK(clock_monotonic_ns() - begin_ns, <, BOUND_NS);
    query(other, "rollback");
    CHECK_OK(store_channel_change(store, "one", &stop, NULL));
}

// A full disk as the server says it.
static void test_full(PGconn *other)
{
    struct diagnostic why;
    query(other, "create function no_room() returns trigger language plpgsql as "
                 "$$ begin raise exception using errcode = '53100'; end $$");
    query(other, "create trigger no_room before update on nodes execute function no_room()");
    CHECK_ERROR(store_node_drain(store, "w", true, &why), -ETIMEDOUT);
    CHECK_TEXT(why.code, "database_full");
    query(other, "drop function no_room cascade");
    CHECK_OK(store_node_drain(store, "w", true, NULL));
}

// Of several hosts the first one takes calls and says nothing: the next is asked in time, and first
// from then on.
static void test_silent_host(void)
{
    char text[1024], *host = NULL;
    struct store_channel *channels;
    size_t count;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK_OK(bind(fd, (struct sockaddr *)&address, sizeof address));
    CHECK_OK(listen(fd, 8));
    CHECK_OK(getsockname(fd, (struct sockaddr *)&address, &size));
    PQconninfoOption *options = PQconninfoParse(database, NULL);
    for (PQconninfoOption *o = options; o->keyword; o++)
        host = !strcmp(o->keyword, "host") ? o->val : host;
    snprintf(text, sizeof text, "%s host=127.0.0.1,%s port=%d,5432 target_session_attrs=read-write",
             database, host, ntohs(address.sin_port));
    PQconninfoFree(options);
    struct store *s = NULL;
    CHECK_OK(store_open(&(struct store_config){text, key, "several"}, &s, NULL));
    CHECK_OK(store_channel_list(s, &channels, &count, NULL));
    free(channels);
    int64_t begin_ns = clock_monotonic_ns();
    struct store_coordinator leader;
    CHECK_OK(store_leader(s, &leader, NULL)); // another lane, another connection
    CHECK(clock_monotonic_ns() - begin_ns, <, INT64_C(500000000));
    store_close(&s);
    close(fd);
}

static void *frozen_main(void *opaque)
{
    struct store_channel *channels, c = example("frozen");
    struct store_commit row = {channel, 50,    900, 900,  REVISION, (const uint8_t *)"x",
                               1,       false, 0,   false};
    size_t count;
    uint64_t id;
    int error = 0;
    switch ((intptr_t)opaque) {
    case 0:
        error = lease(store, 600000, &id);
        break;
    case 1:
        error = store_plan_put(store, &row, NULL);
        break;
    case 2:
        error = store_channel_create(store, &c, &id, NULL);
        break;
    default:
        error = store_channel_list(store, &channels, &count, NULL);
    }
    CHECK_TRUE(error == -EIO || error == -ETIMEDOUT);
    return NULL;
}

static void test_frozen(void)
{
    struct store_channel *channels;
    size_t count;
    uint64_t epoch;
    signal_database(SIGSTOP);
    run_threads(frozen_main);
    int64_t begin_ns = clock_monotonic_ns();
    struct store *late = open_store("late");
    CHECK_ERROR(store_channel_list(late, &channels, &count, NULL), -EIO); // cannot even connect
    store_close(&late);
    CHECK(clock_monotonic_ns() - begin_ns, <, BOUND_NS);
    signal_database(SIGCONT);
    begin_ns = clock_monotonic_ns();
    int error;
    do
        error = store_channel_list(store, &channels, &count, NULL);
    while (error == -EIO && clock_monotonic_ns() - begin_ns < BOUND_NS);
    CHECK_OK(error);
    for (size_t i = 0; i < count; i++)
        CHECK_TRUE(strcmp(channels[i].name, "frozen") != 0); // it was never committed
    free(channels);
    CHECK_OK(lease(store, 600000, &epoch));
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return 77;
    database = argv[1];
    key = argv[2];
    migrations = argv[3];
    postmaster = (pid_t)atoi(argv[4]);
    PGconn *other = PQconnectdb(database);
    CHECK_TRUE(PQstatus(other) == CONNECTION_OK);
    run_threads(migrate_main);
    test_lease();
    test_log();
    test_restored();
    test_optional();
    test_race();
    test_timelines();
    test_rows();
    test_sessions_ended(other);
    test_busy(other);
    test_full(other);
    test_silent_host();
    test_frozen();
    store_lease_release(store);
    store_close(&store);
    PQfinish(other);
    return check_end();
}
