// Sums of what two edges coded: equal for equal packets from wherever an edge began, different for
// one changed byte, and known not to be as planned where a frame was not.
#include "edge/gops.h"
#include "tests/check.h"

#include <string.h>

#define GOP   25
#define BLOCK INT64_C(131072)

static void give(struct gops *g, enum packet_stream stream, int64_t time, bool key, uint8_t content)
{
    struct packet *p = packet_create(100);
    memset(p->data, content, p->size);
    p->stream = stream;
    p->key = key;
    p->pts = p->dts = time;
    p->duration = stream == PACKET_AUDIO ? 1024 : 1;
    gops_add(g, p);
    packet_unref(&p);
}

// Pictures `from` to `to`; `changed` has another byte, -1: none; `lost` is left out.
static void pictures(struct gops *g, int64_t from, int64_t to, int64_t changed, int64_t lost)
{
    for (int64_t n = from; n < to; n++)
        if (n != lost)
            give(g, PACKET_VIDEO, n, n % GOP == 0, (uint8_t)(n + (n == changed)));
}

static void sound(struct gops *g, int64_t from, int64_t to, int64_t changed)
{
    for (int64_t at = from; at < to; at += 1024)
        give(g, PACKET_AUDIO, at, true, (uint8_t)(at / 1024 + (at == changed)));
}

static const struct gop_sum *find(const struct gop_sum *sums, int count, bool of_sound,
                                  int64_t first)
{
    for (int i = 0; i < count; i++)
        if (sums[i].sound == of_sound && sums[i].first == first)
            return &sums[i];
    return NULL;
}

int main(void)
{
    struct gops a, b;
    struct gop_sum of_a[2 * GOPS_KEPT], of_b[2 * GOPS_KEPT];
    gops_init(&a, (struct rate){25, 1});
    gops_init(&b, (struct rate){25, 1});
    pictures(&a, 0, 126, -1, -1);
    pictures(&b, 40, 126, 80, 110); // begins in the middle of a GOP
    sound(&a, -1024, 4 * BLOCK, -1);
    sound(&b, BLOCK - 5 * 1024, 4 * BLOCK, 2 * BLOCK + 7 * 1024);
    int count_a = gops_read(&a, of_a), count_b = gops_read(&b, of_b);
    CHECK(count_a, ==, GOPS_KEPT + 3); // of sound 0, 1 and 2; not what began before it
    CHECK(count_b, ==, 3 + 2);
    const struct gop_sum *x = find(of_a, count_a, false, 50), *y = find(of_b, count_b, false, 50);
    CHECK_TRUE(x && y && x->sum == y->sum && x->whole && y->whole);
    CHECK(x->from, ==, 50);
    CHECK(x->to, ==, 75);
    x = find(of_a, count_a, false, 75), y = find(of_b, count_b, false, 75);
    CHECK_TRUE(x && y && x->sum != y->sum && x->whole && y->whole); // a changed byte
    y = find(of_b, count_b, false, 100);
    CHECK_TRUE(y && !y->whole); // a picture is missing
    CHECK_TRUE(!find(of_b, count_b, false, 25));
    x = find(of_a, count_a, true, BLOCK), y = find(of_b, count_b, true, BLOCK);
    CHECK_TRUE(x && y && x->sum == y->sum && x->whole);
    // 2.73 s of sound, and some before: frames 51 to 136 and more.
    CHECK_TRUE(x->from <= 68 && x->from >= 40 && x->to >= 136 && x->to < 140);
    x = find(of_a, count_a, true, 2 * BLOCK), y = find(of_b, count_b, true, 2 * BLOCK);
    CHECK_TRUE(x && y && x->sum != y->sum);
    struct unplanned u = {0};
    for (int64_t n = 10; n < 20; n++)
        unplanned_add(&u, n, n + 1);
    CHECK(u.count, ==, 1);
    unplanned_add(&u, 60, 61);
    CHECK_TRUE(unplanned_has(&u, 0, 25) && !unplanned_has(&u, 25, 50) && unplanned_has(&u, 50, 75));
    CHECK_TRUE(!unplanned_has(&u, 20, 60) && unplanned_has(&u, 19, 20) &&
               !unplanned_has(&u, 0, 10));
    gops_finish(&a);
    gops_finish(&b);
    CHECK(packet_outstanding(), ==, 0);
    return check_end();
}
