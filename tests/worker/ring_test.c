// The ring of coded frames: what it keeps is always decodable from a key that it also keeps.
#include "worker/render/ring.h"

#include "tests/check.h"

static struct ring ring;

static void push(int64_t base)
{
    ring_push(&ring, (struct coded_frame){.base = base, .payload = malloc(16), .size = 16});
}

int main(void)
{
    ring_clear(&ring, 100);
    for (int64_t n = 100; n < 400; n++)
        push(n - n % 60 < 100 ? 100 : n - n % 60);
    CHECK(ring_end(&ring), ==, 400);
    CHECK_TRUE(!ring_get(&ring, 99));
    CHECK_TRUE(!ring_get(&ring, 400));
    // A consumer at 150 still needs the key 120.
    ring_forget(&ring, 150);
    CHECK(ring.first, ==, 120);
    CHECK(ring_get(&ring, 150)->base, ==, 120);
    CHECK(ring.bytes, ==, (400 - 120) * 16);
    // At a key, everything before goes.
    ring_forget(&ring, 180);
    CHECK(ring.first, ==, 180);
    // Right at the end: the next frame will need the newest key, and so will who joins there.
    ring_forget(&ring, 400);
    CHECK(ring.first, ==, 360);
    // Past the end, everything goes; the numbers go on.
    ring_forget(&ring, 500);
    CHECK(ring.count, ==, 0);
    CHECK(ring_end(&ring), ==, 400);
    push(400);
    push(400);
    ring_cut(&ring, 401);
    CHECK_TRUE(ring_get(&ring, 400) && !ring_get(&ring, 401));
    CHECK(ring_end(&ring), ==, 401);
    CHECK(ring.bytes, ==, 16);
    ring_cut(&ring, 500);
    CHECK(ring_end(&ring), ==, 401);
    CHECK(ring_get(&ring, 400)->base, ==, 400);
    for (int i = 1; i < RING_FRAMES_MAX; i++)
        push(400);
    CHECK_TRUE(ring_full(&ring));
    ring_clear(&ring, 7);
    CHECK(ring.bytes, ==, 0);
    CHECK(ring_end(&ring), ==, 7);
    return check_end();
}
