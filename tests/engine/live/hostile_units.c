// A child for units that has been taken over (hostile_units_test.c), and is not even locked up: it
// does what the first byte of a unit says.
#include "engine/decode/serve.h"
#include "engine/live/decode_units.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIDE 64

static struct unit_reply picture_of(int side)
{
    return (struct unit_reply){.tag = 7, .width = side, .height = SIDE};
}

// False: it ends.
static bool answer(char what, struct unit_reply *r)
{
    switch (what) {
    case 'a':
        return false;
    case 'b': // an error that is none
        r->error = 5;
        return true;
    case 'c': // pictures that cannot be, or have no room
    case 'd':
    case 'e':
        *r = picture_of(what == 'c' ? 3 : what == 'd' ? 1 << 30 : 64 * SIDE);
        return true;
    case 'f':
        *r = picture_of(SIDE);
        r->format = (enum picture_format)7;
        return true;
    case 'g': // sound that cannot be
    case 'h':
        r->count = what == 'g' ? INT32_MAX : 8;
        r->rate = what == 'h' ? -1 : 48000;
        return true;
    case 'i': // slots that are never large enough
        *r = picture_of(8 * SIDE);
        r->error = -ENOSPC;
        return true;
    case 'j': // or cannot be made
        *r = picture_of(1 << 20);
        r->error = -ENOSPC;
        return true;
    case 'k': // words without an end
        memset(&r->problem, 'x', sizeof r->problem);
        r->error = -EIO;
        return true;
    default:
        *r = picture_of(SIDE);
        return true;
    }
}

void serve_units(const struct decode_order *order, const int fds[DECODE_FDS])
{
    struct unit_request request;
    uint8_t *area =
        mmap(NULL, UNIT_AREA_BYTES, PROT_READ, MAP_SHARED, fds[DECODE_MEMORY], DECODE_BOARD_BYTES);
    (void)order;
    while (read(fds[DECODE_CHANNEL], &request, sizeof request) == sizeof request) {
        struct unit_reply reply = {.tag = UNIT_NO_TIME};
        char what = request.what == UNIT_PUSH ? (char)area[0] : 0;
        bool half = what == 'l';
        if (what == 'm') // takes the memory away that the picture stands in
            (void)!ftruncate(fds[DECODE_MEMORY], 0);
        if (request.what == UNIT_PUSH && !answer(what, &reply))
            return;
        if (write(fds[DECODE_CHANNEL], &reply, half ? sizeof reply / 2 : sizeof reply) < 0 || half)
            return;
    }
}
