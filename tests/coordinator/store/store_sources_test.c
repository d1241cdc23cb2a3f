// Sources in a real PostgreSQL: store_sources_test CONNINFO KEY_FILE MIGRATIONS
#include "coordinator/store/store.h"
#include "engine/base/clock.h"
#include "tests/check.h"

#include <errno.h>
#include <libpq-fe.h>

static struct store *store;

static void query(PGconn *c, const char *sql)
{
    PGresult *r = PQexec(c, sql);
    CHECK_TRUE(PQresultStatus(r) == PGRES_COMMAND_OK || PQresultStatus(r) == PGRES_TUPLES_OK);
    PQclear(r);
}

static int put_source(const char *name, const char *worker, const char *input)
{
    char text[128];
    struct store_source source = {.input = text};
    struct diagnostic why = {0};
    snprintf(text, sizeof text, "%s", input);
    snprintf(source.name, sizeof source.name, "%s", name);
    snprintf(source.worker, sizeof source.worker, "%s", worker);
    int error = store_source_put(store, &source, &why);
    CHECK_TRUE(!strstr(why.text, "canary"));
    return error;
}

static char *sealed_text(PGconn *other, const char *name)
{
    PGresult *r = PQexecParams(other,
                               "select encode(sealed_input, 'escape') from sources "
                               "where name = $1",
                               1, NULL, &name, NULL, NULL, 0);
    CHECK(PQntuples(r), ==, 1);
    char *text = strdup(PQgetvalue(r, 0, 0));
    PQclear(r);
    return text;
}

// Kept by name, sealed, and bound to the name.
static void test_sources(PGconn *other)
{
    struct store_source *list;
    size_t count;
    CHECK_OK(put_source("cam2", "", "{\"canary\":2}"));
    CHECK_OK(put_source("cam1", "w", "{\"canary\":1}"));
    CHECK_OK(store_source_list(store, &list, &count, NULL));
    CHECK(count, ==, 2);
    CHECK_TEXT(list[0].name, "cam1");
    CHECK_TEXT(list[0].worker, "w");
    CHECK_TEXT(list[0].input, "{\"canary\":1}");
    CHECK_TEXT(list[1].worker, "");
    int64_t age_ms = clock_realtime_ns() / 1000000 - list[0].created_ms;
    CHECK_TRUE(age_ms >= -1000 && age_ms < 60000);
    uint64_t id = list[0].id;
    int64_t created_ms = list[0].created_ms, changed_ms = list[0].changed_ms;
    store_sources_free(list, count);
    char *first = sealed_text(other, "cam1"), *again;
    CHECK_TRUE(!strstr(first, "canary"));
    CHECK_OK(put_source("cam1", "", "{\"canary\":3}"));
    CHECK_OK(store_source_list(store, &list, &count, NULL));
    CHECK(count, ==, 2);
    CHECK_TRUE(list[0].id == id && list[0].created_ms == created_ms);
    CHECK_TRUE(list[0].changed_ms >= changed_ms);
    CHECK_TEXT(list[0].worker, "");
    CHECK_TEXT(list[0].input, "{\"canary\":3}");
    store_sources_free(list, count);
    CHECK_TRUE(strcmp(first, again = sealed_text(other, "cam1")) != 0);
    free(first);
    free(again);
    // One that was moved to another name does not open, and the others are there still.
    query(other, "update sources set sealed_input = (select sealed_input from sources where "
                 "name = 'cam2') where name = 'cam1'");
    CHECK_OK(store_source_list(store, &list, &count, NULL));
    CHECK(count, ==, 2);
    CHECK_TRUE(!list[0].input);
    CHECK_TEXT(list[1].input, "{\"canary\":2}");
    store_sources_free(list, count);
    for (const char *const *name = (const char *const[]){"", "..", "-a", "a/b", "a b", NULL}; *name;
         name++)
        CHECK_ERROR(put_source(*name, "", "{}"), -EINVAL);
    CHECK_OK(store_source_delete(store, "cam1", NULL));
    CHECK_ERROR(store_source_delete(store, "cam1", NULL), -ENOENT);
    CHECK_OK(store_source_list(store, &list, &count, NULL));
    CHECK(count, ==, 1);
    store_sources_free(list, count);
    CHECK_OK(store_source_delete(store, "cam2", NULL));
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 77;
    uint64_t epoch;
    CHECK_OK(store_open(&(struct store_config){argv[1], argv[2], "only"}, &store, NULL));
    CHECK_OK(store_migrate(store, argv[3], NULL));
    CHECK_OK(store_lease(store, &(struct store_lease){600000, 0, "http://h:1"}, &epoch, NULL));
    PGconn *other = PQconnectdb(argv[1]);
    CHECK_TRUE(PQstatus(other) == CONNECTION_OK);
    test_sources(other);
    store_lease_release(store);
    store_close(&store);
    PQfinish(other);
    return check_end();
}
