// Two sources of one stream: whichever fails, and whenever, what comes out is the stream, each
// packet once, as long as one of them goes on and both are the same; and never the packets of two
// GOPs that differ.
#include "edge/deliver/splice.h"
#include "edge/deliver/unit.h"
#include "tests/check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define GOP     10
#define STEP_NS INT64_C(40000000)
#define FRAMES  400

static struct out {
    struct packet *packets[8192];
    int count;
} out;

static void on_packet(void *opaque, struct packet *packet)
{
    (void)opaque;
    out.packets[out.count++] = packet;
}

static void out_clear(void)
{
    for (int i = 0; i < out.count; i++)
        packet_unref(&out.packets[i]);
    out.count = 0;
}

static struct packet *make(enum packet_stream stream, int64_t dts, uint8_t variant)
{
    struct packet *p = packet_create(16);
    memset(p->data, (int)(dts * 7 + stream + variant), 16);
    p->stream = stream;
    p->key = stream == PACKET_AUDIO || dts % GOP == 0;
    p->pts = p->dts = dts;
    p->duration = 1;
    return p;
}

// A source's packets in order: a picture per frame, a piece of sound before each.
static void feed_frame(struct splice *s, enum splice_source source, int64_t n, uint8_t variant,
                       int64_t now)
{
    splice_add(s, source, make(PACKET_AUDIO, n, variant), now);
    splice_add(s, source, make(PACKET_VIDEO, n, variant), now);
}

// Everything to `to`, each once, in order. The first sound may come before the first key frame,
// where nothing begins.
static void check_whole(int64_t to)
{
    int64_t next[2] = {0, out.packets[0]->stream == PACKET_VIDEO};
    for (int i = 0; i < out.count; i++) {
        const struct packet *p = out.packets[i];
        CHECK(p->dts, ==, next[p->stream]);
        next[p->stream] = p->dts + 1;
        if (check_failures > 5)
            return;
    }
    CHECK(next[PACKET_VIDEO], ==, to);
}

static uint64_t state;
static int pick(int low, int high)
{
    state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
    return low + (int)((state >> 33) % (uint64_t)(high - low + 1));
}

// Each source runs a little behind or ahead of the other, and is now and then killed (its end is
// seen) or frozen (it is only silent), for a while, one at a time; after a kill it begins at a key
// frame. Sources that are frozen catch up, or leave out what they missed.
static void test_random(uint64_t seed)
{
    state = seed;
    struct splice *s = splice_create(on_packet, NULL);
    int64_t at[2] = {0, 0}, lag[2] = {pick(0, 3), pick(0, 3)};
    int64_t down_until[2] = {-1, -1}, calm_until = 30;
    bool killed[2] = {false, false}, bursts = pick(0, 1);
    int strikes = 0;
    for (int64_t t = 0; t < FRAMES; t++) {
        int64_t now = (t + 100) * STEP_NS;
        if (t > calm_until && t < FRAMES - 80) {
            int k = pick(0, 1);
            strikes++;
            killed[k] = pick(0, 1);
            down_until[k] = t + pick(1, 40);
            calm_until = down_until[k] + 30 + 2 * GOP;
            if (killed[k])
                splice_ended(s, (enum splice_source)k, now);
        }
        for (int k = 0; k < 2; k++) {
            if (t < down_until[k])
                continue;
            if (t == down_until[k] && killed[k]) // starts again, at a key frame
                at[k] = (t / GOP + 1) * GOP;
            int64_t to = t - lag[k];
            if (bursts && to % GOP < 6) // as encoders do that look ahead
                to -= to % GOP + 1;
            for (; at[k] <= to; at[k]++)
                feed_frame(s, (enum splice_source)k, at[k], 0, now);
        }
        splice_tick(s, now);
    }
    struct splice_stats stats;
    splice_stats(s, &stats);
    CHECK(stats.holes, ==, 0);
    CHECK(stats.turns, <=, (uint64_t)strikes + 1); // and whoever comes first
    int64_t last = -1;
    for (int i = 0; i < out.count; i++)
        last = out.packets[i]->stream == PACKET_VIDEO ? out.packets[i]->dts : last;
    CHECK(last, >=, FRAMES - 5 - (bursts ? 6 : 0));
    check_whole(last + 1);
    splice_destroy(&s);
    out_clear();
    if (check_failures)
        fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
}

// A second that makes something else is followed from its next key frame only.
static void test_differs(void)
{
    struct splice *s = splice_create(on_packet, NULL);
    for (int64_t n = 0; n < 25; n++) {
        feed_frame(s, SPLICE_FIRST, n, 0, n * STEP_NS);
        feed_frame(s, SPLICE_SECOND, n, 1, n * STEP_NS);
    }
    splice_ended(s, SPLICE_FIRST, 25 * STEP_NS);
    for (int64_t n = 25; n < 45; n++)
        feed_frame(s, SPLICE_SECOND, n, 1, n * STEP_NS);
    int64_t last = -1;
    for (int i = 0; i < out.count; i++) {
        const struct packet *p = out.packets[i];
        if (p->stream != PACKET_VIDEO)
            continue;
        bool other = p->data[0] != (uint8_t)(p->dts * 7);
        CHECK(other, ==, p->dts >= 30);
        CHECK_TRUE(p->dts == last + 1 || (p->dts == 30 && last == 24));
        last = p->dts;
    }
    CHECK(last, ==, 44);
    struct splice_stats stats;
    splice_stats(s, &stats);
    CHECK(stats.holes, ==, 1);
    CHECK(stats.source, ==, SPLICE_SECOND);
    splice_destroy(&s);
    out_clear();
}

static void test_units(void)
{
    struct unit unit = {0}, back = {0};
    struct packet *p[] = {make(PACKET_AUDIO, 3, 0), make(PACKET_AUDIO, 4, 0),
                          make(PACKET_VIDEO, 20, 0)};
    CHECK_TRUE(!unit_add(&unit, p[0]));
    CHECK_TRUE(!unit_add(&unit, p[1]));
    CHECK_TRUE(unit_add(&unit, p[2]));
    CHECK(unit.number, ==, 20);
    CHECK_TRUE(unit.key);
    size_t size;
    uint8_t *bytes = unit_pack(&unit, &size);
    CHECK_OK(unit_unpack(bytes, size, &back));
    CHECK(back.count, ==, 3);
    for (int i = 0; i < back.count; i++) {
        CHECK(back.packets[i]->stream, ==, p[i]->stream);
        CHECK(back.packets[i]->dts, ==, p[i]->dts);
        CHECK_BYTES(back.packets[i]->data, p[i]->data, p[i]->size);
    }
    unit_clear(&back);
    // Cut short or damaged anywhere: refused, or at least read within its bounds.
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *part = malloc(cut ? cut : 1); // so that a sanitizer sees a read behind it
        memcpy(part, bytes, cut);
        CHECK_ERROR(unit_unpack(part, cut, &back), -EPROTO);
        CHECK(back.count, ==, 0);
        free(part);
    }
    for (size_t i = 0; i < size; i++) {
        bytes[i] ^= 0xff;
        int result = unit_unpack(bytes, size, &back);
        CHECK_TRUE(result == 0 || result == -EPROTO);
        unit_clear(&back);
        bytes[i] ^= 0xff;
    }
    free(bytes);
    unit_clear(&unit);
    for (int i = 0; i < 3; i++)
        packet_unref(&p[i]);
}

int main(void)
{
    test_units();
    test_differs();
    for (uint64_t seed = 1; seed <= 2000 && check_failures < 20; seed++)
        test_random(seed);
    CHECK(packet_outstanding(), ==, 0);
    return check_end();
}
