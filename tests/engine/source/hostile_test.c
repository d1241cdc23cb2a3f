// Whatever a child answers, who asked goes on: it is refused, and where it does not keep to what is
// agreed, noted. Usage: hostile_test FOLDER, of a vistter-decode whose children are hostile.
#include "tests/check.h"

#include "engine/base/crash_note.h"
#include "engine/source/jailed.h"
#include "engine/source/nursery.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

static char folder[] = "/tmp/vistter-hostile-XXXXXX";

static void name_file(char what, char ret[PATH_MAX])
{
    snprintf(ret, PATH_MAX, "%s/%064x", folder, (unsigned)what);
    FILE *f = fopen(ret, "we");
    CHECK_TRUE(f && fputc(what, f) == what && !fclose(f));
}

// How often its children have been noted, -1 or the error that is told; and whether a picture came.
static int play(char what, struct picture **ret, struct diagnostic *problem, int *ret_noted)
{
    char path[PATH_MAX];
    struct jailed_decoder *d;
    struct crash_note notes[CRASH_NOTES_MAX];
    name_file(what, path);
    *ret = NULL;
    int error = jailed_decoder_open(path, &d, problem);
    if (!error) {
        error = jailed_decoder_get(d, 0, ret, problem);
        jailed_decoder_close(&d);
    }
    *ret_noted = crash_notes_list(notes);
    for (int i = 0; i < *ret_noted; i++)
        crash_notes_forget(notes[i].id);
    unlink(path);
    return error;
}

int main(int argc, char **argv)
{
    struct picture *picture;
    struct diagnostic problem;
    int noted;
    if (argc != 2 || !mkdtemp(folder))
        return EXIT_FAILURE;
    setenv("VISTTER_LIBEXEC", argv[1], 1);
    for (const char *what = "abcdefghij"; *what; what++) {
        CHECK_ERROR(play(*what, &picture, &problem, &noted), -EPERM);
        CHECK_TEXT(problem.code, "asset_suspect");
        CHECK(noted, ==, 2);
    }
    CHECK_ERROR(play('k', &picture, &problem, &noted), -EPIPE);
    CHECK(problem.error, ==, -EPIPE);
    CHECK(strlen(problem.text), ==, sizeof problem.text - 1);
    CHECK(strlen(problem.code), ==, sizeof problem.code - 1);
    CHECK(noted, ==, 0);
    for (const char *what = "lm"; *what; what++) {
        CHECK_OK(play(*what, &picture, &problem, &noted));
        CHECK(noted, ==, 0);
        CHECK_TRUE(picture && picture->width == 64 && picture->height == 64);
        if (picture)
            CHECK_TRUE(picture_checksum(picture)); // all of it can be read
        picture_unref(&picture);
    }
    CHECK(picture_outstanding(), ==, 0);
    nursery_close();
    rmdir(folder);
    return check_end();
}
