// A child that has been taken over, in place of engine/decode/serve.c, and not even locked up: it
// does what the first byte of its file says (hostile_test.c).
#include "engine/decode/serve.h"

#include "engine/media/index.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIDE 64

static int channel;

static void say(const void *bytes, size_t size)
{
    (void)!write(channel, bytes, size);
}

static struct decode_reply opening(int width, int64_t index_bytes)
{
    return (struct decode_reply){.width = width, .height = SIDE, .index_bytes = index_bytes};
}

static void say_opening(int width)
{
    struct index_picture picture = {0, 0};
    struct media_index index = {
        .time_base = {1, 25}, .end = 1, .picture_count = 1, .pictures = &picture};
    uint8_t *bytes;
    size_t size;
    if (index_pack(&index, &bytes, &size))
        return;
    struct decode_reply reply = opening(width, (int64_t)size);
    say(&reply, sizeof reply);
    say(bytes, size);
    struct decode_request request;
    (void)!read(channel, &request, sizeof request);
}

// As many as there are of its children, this one too.
static unsigned count_children(int memory)
{
    _Atomic unsigned *board =
        mmap(NULL, DECODE_BOARD_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    return board == MAP_FAILED ? 0 : atomic_fetch_add(&board[64], 1) + 1;
}

void serve(const struct decode_order *order, const int fds[DECODE_FDS])
{
    char what = 0, garbage[4096];
    struct decode_reply reply = {0};
    (void)order;
    channel = fds[DECODE_CHANNEL];
    memset(garbage, 0xff, sizeof garbage);
    (void)!pread(fds[DECODE_MEDIA], &what, 1, 0);
    switch (what) {
    case 'a': // ends without a word
        return;
    case 'b': // an error that is none
        reply.error = 5;
        say(&reply, sizeof reply);
        break;
    case 'c': // pictures that cannot be
        reply = opening(3, 0);
        say(&reply, sizeof reply);
        break;
    case 'd':
        reply = opening(1 << 30, 0);
        say(&reply, sizeof reply);
        break;
    case 'e': // indexes that cannot be
        reply = opening(SIDE, -1);
        say(&reply, sizeof reply);
        break;
    case 'f':
        reply = opening(SIDE, INT64_C(1) << 50);
        say(&reply, sizeof reply);
        break;
    case 'g':
        reply = opening(SIDE, sizeof garbage);
        say(&reply, sizeof reply);
        say(garbage, sizeof garbage);
        break;
    case 'h': // a picture that is of no format
        say_opening(SIDE);
        reply.format = (enum picture_format)7;
        say(&reply, sizeof reply);
        break;
    case 'i': // half an answer
        say_opening(SIDE);
        say(&reply, sizeof reply / 2);
        return;
    case 'j': // the second child says something else than the first
        say_opening(count_children(fds[DECODE_MEMORY]) == 1 ? SIDE : 2 * SIDE);
        return;
    case 'k': // words without an end, and an error that others take for something else
        memset(&reply.problem, 'x', sizeof reply.problem);
        reply.error = -EPIPE;
        say(&reply, sizeof reply);
        break;
    case 'l': // takes the memory away that the picture stands in
        say_opening(SIDE);
        (void)!ftruncate(fds[DECODE_MEMORY], 0);
        say(&reply, sizeof reply);
        break;
    default: // everything is as it should be
        say_opening(SIDE);
        say(&reply, sizeof reply);
        break;
    }
    (void)!read(channel, &what, 1);
}
