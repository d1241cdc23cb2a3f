// What decoders have ended at: two bar a file, of whatever path, until one of them is forgotten.
#include "engine/base/crash_note.h"

#include "tests/check.h"

#include <errno.h>

#define CONTENT "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define OTHER   "ffffffffffffffff0123456789abcdef0123456789abcdef0123456789abcdef"

static struct crash_note notes[CRASH_NOTES_MAX];

static void test_bar(void)
{
    struct diagnostic problem;
    crash_notes_add("/cache/" CONTENT, 41, SIGSEGV);
    CHECK_OK(crash_notes_check("/cache/" CONTENT, &problem));
    crash_notes_add("/cache/" OTHER, -1, SIGABRT);
    CHECK_OK(crash_notes_check("/cache/" CONTENT, &problem));
    crash_notes_add("/other/" CONTENT, 42, CRASH_HUNG);
    CHECK_ERROR(crash_notes_check("/cache/" CONTENT, &problem), -EPERM);
    CHECK_TEXT(problem.code, "asset_suspect");
    CHECK_TEXT(problem.path, CONTENT);
    CHECK_OK(crash_notes_check("/cache/" OTHER, &problem));
    CHECK(crash_notes_list(notes), ==, 3);
    CHECK_TEXT(notes[0].name, CONTENT);
    CHECK(notes[0].place, ==, 41);
    CHECK(notes[0].signal, ==, SIGSEGV);
    CHECK_TEXT(notes[1].name, OTHER);
    CHECK(notes[1].place, ==, -1);
    CHECK_TRUE(notes[0].id && notes[0].id < notes[1].id && notes[1].id < notes[2].id);
    crash_notes_forget(notes[2].id + 1);
    CHECK(crash_notes_list(notes), ==, 3);
    crash_notes_forget(notes[2].id);
    CHECK(crash_notes_list(notes), ==, 2);
    CHECK_OK(crash_notes_check("/cache/" CONTENT, &problem));
    for (int i = 0; i < 2; i++)
        crash_notes_forget(notes[i].id);
    CHECK(crash_notes_list(notes), ==, 0);
}

// What has no content name cannot be told to anybody.
static void test_names(void)
{
    static const char *const paths[] = {"", "film.mp4", "/cache/" CONTENT ".index",
                                        "/cache/X123456789abcdef0123456789abcdef0123456789abcdef"
                                        "0123456789abcdef"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        for (int k = 0; k < 3; k++) {
            crash_notes_add(paths[i], 1, SIGSEGV);
            CHECK_OK(crash_notes_check(paths[i], NULL));
        }
    CHECK(crash_notes_list(notes), ==, 0);
}

static void test_full(void)
{
    for (int i = 0; i < 2 * CRASH_NOTES_MAX; i++)
        crash_notes_add(CONTENT, i, SIGSEGV);
    CHECK(crash_notes_list(notes), ==, CRASH_NOTES_MAX);
    CHECK(notes[CRASH_NOTES_MAX - 1].place, ==, CRASH_NOTES_MAX - 1);
}

int main(void)
{
    test_bar();
    test_names();
    test_full();
    return check_end();
}
