// Whatever a child that decodes units answers, who asked goes on: where it does not keep to what is
// agreed twice, the unit is to blame. Usage: hostile_units_test FOLDER, of a vistter-decode whose
// children are hostile.
#include "engine/live/decoders.h"
#include "engine/source/nursery.h"
#include "tests/check.h"

#include <errno.h>

// What is told of one picture, after so many restarts.
static int play(struct live_decoders *d, char what, struct picture **ret, int *ret_restarts)
{
    static const struct unit_format format = {.codec = "h264", .width = 64, .height = 64};
    uint64_t seq = (uint64_t)what;
    int64_t tag;
    int error;
    *ret = NULL;
    for (*ret_restarts = 0; *ret_restarts < 8 && !live_decoders_blame(d, seq); ++*ret_restarts) {
        CHECK_OK(live_decoders_open(d, 1, &format, NULL));
        error = live_decoders_push(d, 1, seq, (const uint8_t *)&what, 1, 7);
        if (!error)
            error = live_decoders_picture(d, 1, ret, &tag);
        if (error != -ERESTART)
            return error;
    }
    return -ERESTART;
}

int main(int argc, char **argv)
{
    struct picture *picture;
    int restarts;
    if (argc != 2)
        return EXIT_FAILURE;
    setenv("VISTTER_LIBEXEC", argv[1], 1);
    struct live_decoders *d = live_decoders_create("hostile");
    for (const char *what = "abcdefghijl"; *what; what++) {
        CHECK_ERROR(play(d, *what, &picture, &restarts), -ERESTART);
        CHECK_TRUE(live_decoders_blame(d, (uint64_t)*what));
        CHECK(restarts, ==, *what == 'i' ? 3 : 2); // once for the slots
        CHECK(live_decoders_newest_blamed("hostile"), ==, (uint64_t)*what);
    }
    CHECK_ERROR(play(d, 'k', &picture, &restarts), -EIO);
    for (const char *what = "mn"; *what; what++) {
        CHECK_OK(play(d, *what, &picture, &restarts));
        CHECK_TRUE(picture && picture->width == 64 && picture->height == 64);
        if (picture)
            CHECK_TRUE(picture_checksum(picture)); // all of it can be read
        picture_unref(&picture);
        CHECK(restarts, ==, 0);
    }
    CHECK(live_decoders_newest_blamed("another"), ==, 0);
    live_decoders_destroy(&d);
    CHECK(picture_outstanding(), ==, 0);
    nursery_close();
    return check_end();
}
