// Every single allocation of the parser's own fails once: the answer is -ENOMEM with a diagnostic,
// and (under the asan preset) nothing leaks. The linker sends them here. Allocations inside jansson
// are left alone: 2.14 takes some failures while unpacking for the end of a string.
#include "tests/check.h"
#include "tests/engine/timeline/files.h"

#include <stdarg.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
char *__wrap_strdup(const char *text);
int __wrap_asprintf(char **ret, const char *format, ...);

static bool counting; // only while the parser runs, not in the test itself
static long until_failure;

static bool fails(void)
{
    return counting && until_failure-- == 0;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : __real_strdup(text);
}

int __wrap_asprintf(char **ret, const char *format, ...)
{
    if (fails()) {
        *ret = (char *)1; // as the manual says: undefined
        return -1;
    }
    va_list args;
    va_start(args, format);
    int length = vasprintf(ret, format, args);
    va_end(args);
    return length;
}

static int load_uncounted(void *opaque, const char *uri, char **ret_bytes, size_t *ret_size,
                          struct diagnostic *reterr)
{
    counting = false;
    int result = file_load(opaque, uri, ret_bytes, ret_size, reterr);
    counting = true;
    return result;
}

static void test_document(const char *name)
{
    char path[4096];
    size_t size;
    snprintf(path, sizeof path, "%s/%s", DATA "/valid", name);
    char *bytes = file_read(path, &size);
    CHECK_TRUE(bytes);
    long round = 0;
    int result = -ENOMEM;
    for (; bytes && result < 0 && round < 10000; round++) {
        struct timeline *timeline = NULL;
        struct diagnostic d = {0};
        until_failure = round;
        counting = true;
        result = timeline_parse(bytes, size, load_uncounted, (void *)(uintptr_t)DATA "/valid",
                                &timeline, &d);
        counting = false;
        CHECK_TRUE((result == 0) == (timeline != NULL));
        CHECK(d.error, ==, result);
        CHECK_TRUE(result == 0 || result == -ENOMEM);
        if (result < 0 && result != -ENOMEM)
            fprintf(stderr, "%s, allocation %ld: %s: %s\n", name, round, d.path, d.text);
        timeline_unref(&timeline);
    }
    CHECK_OK(result);
    CHECK(round, >, 20);
    fprintf(stderr, "%s: %ld allocations failed\n", name, round - 1);
    free(bytes);
}

int main(void)
{
    test_document("demo.json");
    test_document("all_kinds.json");
    test_document("nested.json");
    test_document("cameras.json");
    test_document("shapes.json");
    test_document("unordered.json");
    return check_end();
}
