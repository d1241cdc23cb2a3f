// A timeline with its files, as it is made ready for a server.
#include "coordinator/cli/bundle.h"
#include "tests/check.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

// sha256sum of "abc" (FIPS 180-4, appendix) and of "" (NIST's example with no bits).
#define HASH_ABC   "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define HASH_EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define HEAD                                                                                       \
    "{\"schema\":\"vistter.timeline/1\",\"format\":{\"width\":64,\"height\":36,\"rate\":\"25\"},"

static char folder[64];

static void write_file(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    if (!file || fputs(text, file) < 0 || fclose(file)) {
        perror(path);
        exit(EXIT_FAILURE);
    }
}

static int load(const char *name, struct bundle **ret, struct diagnostic *reterr)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return bundle_load(path, NULL, ret, reterr);
}

// Another file of the same name elsewhere would show: all stand in one folder.
static void test_nested(void)
{
    struct bundle *b = NULL;
    struct diagnostic problem;
    write_file("a.bin", "abc");
    write_file("empty", "");
    write_file("list.json", "{\"schema\":\"vistter.sequence/1\",\"rate\":\"25\",\"pictures\":"
                            "[\"file:a.bin\",\"file:empty\"]}");
    write_file("inner.json",
               HEAD "\"duration\":5,\"assets\":{\"l\":\"file:list.json\"},\"tracks\":[]}");
    write_file("outer.json", HEAD "\"duration\":5,\"fonts\":[\"file:./a.bin\"],\"assets\":"
                                  "{\"n\":\"file:inner.json\",\"m\":\"file:inner.json\",\"k\":"
                                  "\"sha256:" HASH_ABC "\"},\"tracks\":[]}");
    CHECK_OK(load("outer.json", &b, &problem));
    if (!b)
        return;
    // What a document names stands before it; each file once.
    CHECK(b->count, ==, 4);
    CHECK_TEXT(b->items[0].sha256, HASH_ABC);
    CHECK_TEXT(b->items[0].place, "fonts[0]");
    CHECK_TEXT(b->items[1].sha256, HASH_EMPTY);
    CHECK(b->items[2].kind, ==, DOCUMENT_SEQUENCE);
    CHECK_TEXT(b->items[2].bytes, "{\"schema\":\"vistter.sequence/1\",\"rate\":\"25\",\"pictures\":"
                                  "[\"sha256:" HASH_ABC "\",\"sha256:" HASH_EMPTY "\"]}");
    CHECK(b->items[3].kind, ==, DOCUMENT_TIMELINE);
    CHECK_TEXT(b->items[3].place, "assets.n");
    char wanted[1024];
    snprintf(wanted, sizeof wanted,
             HEAD "\"duration\":5,\"assets\":{\"l\":\"sha256:%s\"},\"tracks\":[]}",
             b->items[2].sha256);
    CHECK_TEXT(b->items[3].bytes, wanted);
    snprintf(wanted, sizeof wanted,
             HEAD "\"duration\":5,\"fonts\":[\"sha256:" HASH_ABC
                  "\"],\"assets\":{\"n\":\"sha256:%s\","
                  "\"m\":\"sha256:%s\",\"k\":\"sha256:" HASH_ABC "\"},\"tracks\":[]}",
             b->items[3].sha256, b->items[3].sha256);
    CHECK_TEXT(b->timeline.bytes, wanted);
    CHECK(b->timeline.size, ==, strlen(wanted));
    bundle_destroy(&b);
}

static void test_refused(void)
{
    struct bundle *b = NULL;
    struct diagnostic problem;
    write_file("self.json",
               HEAD "\"duration\":5,\"assets\":{\"s\":\"file:self.json\"},\"tracks\":[]}");
    CHECK_ERROR(load("self.json", &b, &problem), -EINVAL);
    CHECK_TEXT(problem.code, "timeline_cycle");
    CHECK_TEXT(problem.path, "assets.s");
    write_file("p.json", HEAD "\"duration\":5,\"assets\":{\"q\":\"file:q.json\"},\"tracks\":[]}");
    write_file("q.json", HEAD "\"duration\":5,\"assets\":{\"p\":\"file:p.json\"},\"tracks\":[]}");
    CHECK_ERROR(load("p.json", &b, &problem), -EINVAL);
    CHECK_TEXT(problem.code, "timeline_cycle");
    write_file("gone.json",
               HEAD "\"duration\":5,\"assets\":{\"x\":\"file:nowhere\"},\"tracks\":[]}");
    CHECK_ERROR(load("gone.json", &b, &problem), -ENOENT);
    CHECK_TEXT(problem.path, "assets.x");
    write_file("folder.json", HEAD "\"duration\":5,\"fonts\":[\"file:.\"],\"tracks\":[]}");
    CHECK_TRUE(load("folder.json", &b, &problem) < 0);
    CHECK_TEXT(problem.path, "fonts[0]");
    write_file("broken.json", "{\"schema\":");
    write_file("holder.json",
               HEAD "\"duration\":5,\"assets\":{\"b\":\"file:broken.json\"},\"tracks\":[]}");
    CHECK_ERROR(load("holder.json", &b, &problem), -EINVAL);
    CHECK_TEXT(problem.path, "assets.b");
    CHECK_TRUE(!b);
}

static int fetch(void *opaque, const char *uri, char **ret, size_t *ret_size,
                 struct diagnostic *reterr)
{
    static const char text[] = HEAD "\"duration\":7,\"tracks\":[]}";
    if (strcmp(uri, "sha256:" HASH_ABC))
        return diagnostic_set(reterr, -ENOENT, "not_found", "", "not in the store");
    ++*(int *)opaque;
    *ret = strdup(text);
    *ret_size = sizeof text - 1;
    return 0;
}

static void test_check(void)
{
    struct diagnostic problem;
    int64_t duration = 0;
    size_t tracks = 0;
    int calls = 0;
    char path[128];
    snprintf(path, sizeof path, "%s/check.json", folder);
    write_file("part.json", HEAD "\"duration\":5,\"tracks\":[]}");
    write_file(
        "check.json", HEAD
        "\"assets\":{\"f\":\"file:part.json\",\"s\":\"sha256:" HASH_ABC "\"},\"tracks\":["
        "{\"clips\":[{\"kind\":\"timeline\",\"asset\":\"f\",\"start\":0,\"duration\":30}]},"
        "{\"clips\":[{\"kind\":\"timeline\",\"asset\":\"s\",\"start\":12,\"duration\":30}]}]}");
    CHECK_OK(bundle_check(path, fetch, &calls, &duration, &tracks, &problem));
    CHECK(duration, ==, 42);
    CHECK(tracks, ==, 2);
    CHECK(calls, ==, 1);
    write_file(
        "check.json",
        HEAD "\"assets\":{\"s\":\"sha256:" HASH_EMPTY "\"},\"tracks\":["
             "{\"clips\":[{\"kind\":\"timeline\",\"asset\":\"s\",\"start\":0,\"duration\":3}]}]}");
    CHECK_ERROR(bundle_check(path, fetch, &calls, &duration, &tracks, &problem), -ENOENT);
    CHECK_TEXT(problem.path, "tracks[0].clips[0].asset");
}

int main(void)
{
    snprintf(folder, sizeof folder, "/tmp/bundle-test-XXXXXX");
    if (!mkdtemp(folder)) {
        perror(folder);
        return EXIT_FAILURE;
    }
    test_nested();
    test_refused();
    test_check();
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    CHECK_OK(system(command));
    return check_end();
}
