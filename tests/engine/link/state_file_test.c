// The remembered state: nothing readable in it, and whatever is torn, one generation opens.
#include "engine/link/state_file.h"
#include "tests/check.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#define CANARY "a-stream-key-that-nobody-may-read"

static char folder[64], newest[128], previous[128];
static const uint8_t key[CLUSTER_KEY_BYTES] = {1, 2, 3};

static struct state_file *open_file(const char *node, const uint8_t *with)
{
    struct state_file *f = NULL;
    CHECK_OK(state_file_create(folder, node, with, &f, NULL));
    return f;
}

static void write_states(const char *const *texts, int count)
{
    for (int i = 0; i < count; i++) { // one after the other: the newest only would be written
        struct state_file *f = open_file("edge-1", key);
        uint8_t *bytes = NULL;
        size_t size;
        if (!state_file_read(f, 0, &bytes, &size))
            free(bytes);
        state_file_write(f, (const uint8_t *)texts[i], strlen(texts[i]));
        state_file_destroy(&f);
    }
}

static void check_read(int generation, int result, const char *text)
{
    struct state_file *f = open_file("edge-1", key);
    uint8_t *bytes = NULL;
    size_t size = 0;
    CHECK(state_file_read(f, generation, &bytes, &size), ==, result);
    if (bytes) {
        CHECK(size, ==, strlen(text));
        CHECK_BYTES(bytes, text, size < strlen(text) ? size : strlen(text));
    }
    free(bytes);
    state_file_destroy(&f);
}

static void check_sealed(const char *path)
{
    static char bytes[4096];
    FILE *f = fopen(path, "r");
    CHECK_TRUE(f);
    size_t size = f ? fread(bytes, 1, sizeof bytes, f) : 0;
    CHECK(size, >, strlen(CANARY));
    CHECK_TRUE(!memmem(bytes, size, "stream-key", 10));
    if (f)
        fclose(f);
    struct stat status;
    CHECK_OK(stat(path, &status));
    CHECK(status.st_mode & 0777, ==, 0600);
}

static void flip(const char *path, long at)
{
    FILE *f = fopen(path, "r+");
    CHECK_TRUE(f);
    fseek(f, at, SEEK_SET);
    int c = fgetc(f);
    fseek(f, at, SEEK_SET);
    fputc(c ^ 1, f);
    fclose(f);
}

int main(void)
{
    char top[] = "/tmp/vistter-state-test-XXXXXX", command[256];
    CHECK_TRUE(mkdtemp(top));
    snprintf(folder, sizeof folder, "%s/lib/edge", top); // made with what is above it
    snprintf(newest, sizeof newest, "%s/edge-1.state", folder);
    snprintf(previous, sizeof previous, "%s/edge-1.state.previous", folder);
    check_read(0, -ENOENT, "");
    write_states((const char *const[]){"one " CANARY, "two " CANARY, "three " CANARY}, 3);
    check_read(0, 0, "three " CANARY);
    check_read(1, 0, "two " CANARY);
    check_sealed(newest);
    check_sealed(previous);

    // Every way to tear the newest; the one before is there.
    struct stat status;
    CHECK_OK(stat(newest, &status));
    for (long i = 0; i < status.st_size; i++) {
        flip(newest, i);
        check_read(0, -EBADMSG, "");
        flip(newest, i);
    }
    check_read(0, 0, "three " CANARY);
    for (long size = status.st_size - 1; size >= 0; size -= 7) {
        CHECK_OK(truncate(newest, size));
        check_read(0, -EBADMSG, "");
    }
    check_read(1, 0, "two " CANARY);
    // What is torn never takes the place of what is not.
    write_states((const char *const[]){"four"}, 1);
    check_read(0, 0, "four");
    check_read(1, 0, "two " CANARY);
    write_states((const char *const[]){"five"}, 1);
    check_read(1, 0, "four");

    // Another node's file, another cluster's key.
    snprintf(command, sizeof command, "cp %s %s/edge-2.state", newest, folder);
    CHECK_OK(system(command));
    struct state_file *f = open_file("edge-2", key);
    uint8_t *bytes = NULL, other[CLUSTER_KEY_BYTES] = {3, 2, 1};
    size_t size;
    CHECK_ERROR(state_file_read(f, 0, &bytes, &size), -EBADMSG);
    state_file_destroy(&f);
    f = open_file("edge-1", other);
    CHECK_ERROR(state_file_read(f, 0, &bytes, &size), -EBADMSG);
    state_file_destroy(&f);

    struct diagnostic d;
    CHECK_ERROR(state_file_create(folder, "../x", key, &f, &d), -EINVAL);
    CHECK_ERROR(state_file_create("/proc/none", "x", key, &f, &d), -ENOENT);
    CHECK_TEXT(d.code, "state_folder");
    snprintf(command, sizeof command, "rm -rf %s", top);
    CHECK_OK(system(command));
    return check_end();
}
