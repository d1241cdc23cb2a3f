// What says that an edge does not keep up, and what does not.
#include "edge/load.h"

#include "tests/check.h"

static enum load_sign sign(uint64_t waiting, uint64_t undecoded, int64_t late_ms)
{
    return load_of(&(struct channel_pressure){waiting, undecoded, late_ms * 1000000});
}

int main(void)
{
    CHECK(sign(0, 0, 0), ==, LOAD_ROOM);
    CHECK(sign(2, 0, 5), ==, LOAD_ROOM);
    // Half a second of pictures at 30 a second, of one and a half that fit before one is left out.
    CHECK(sign(10, 0, 0), ==, LOAD_NEITHER);
    CHECK(sign(15, 0, 0), ==, LOAD_BEHIND);
    CHECK(sign(45, 0, 0), ==, LOAD_BEHIND);
    // Here in time, and not made into a picture.
    CHECK(sign(0, 1, 0), ==, LOAD_BEHIND);
    // A few frames late are seen by nobody who has a buffer; a tenth of a second is three of them.
    CHECK(sign(0, 0, 50), ==, LOAD_NEITHER);
    CHECK(sign(0, 0, 100), ==, LOAD_BEHIND);
    return check_end();
}
