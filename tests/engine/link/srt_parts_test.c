// Parts, WANT payloads and stream ids: round trips, limits, and what is refused.
#include "engine/link/srt_parts.h"

#include <errno.h>

#include "engine/link/frame_want.h"
#include "tests/check.h"

static int random_below(uint64_t *state, int limit)
{
    return (int)((check_random(state) >> 16) % (uint64_t)limit);
}

static void test_join(uint64_t *state)
{
    static uint8_t message[20000], parts[20][PART_BYTES_MAX];
    static const size_t sizes[] = {1, 1447, 1448, 1449, 2896, 2897, 20000};
    struct part_joiner *joiner = part_joiner_create(sizeof message);
    for (uint32_t n = 0; n < 70; n++) {
        size_t size = sizes[n % 7], part_size[20];
        for (size_t i = 0; i < size; i++)
            message[i] = (uint8_t)check_random(state);
        int count = part_count(size), order[20];
        CHECK(count, ==, (size - 1) / 1448 + 1);
        for (int i = 0; i < count; i++) {
            part_size[i] = part_write(parts[i], n, i, message, size);
            int j = random_below(state, i + 1);
            order[i] = order[j];
            order[j] = i;
        }
        uint8_t *joined = NULL;
        size_t joined_size = 0;
        for (int i = 0; i < count; i++) {
            const uint8_t *part = parts[order[i]];
            int expected = i == count - 1;
            CHECK(part_joiner_add(joiner, part, part_size[order[i]], &joined, &joined_size), ==,
                  expected);
            CHECK(part_joiner_add(joiner, part, part_size[order[i]], &joined, &joined_size), ==, 0);
        }
        CHECK(joined_size, ==, size);
        CHECK_BYTES(joined, message, size);
        free(joined);
    }
    CHECK(part_joiner_incomplete(joiner), ==, 0);
    part_joiner_destroy(&joiner);
}

static void test_refused(void)
{
    struct part_joiner *joiner = part_joiner_create(3000);
    uint8_t part[PART_BYTES_MAX + 1] = {0}, message[3000] = {0}, *joined = NULL;
    size_t size;
    CHECK_ERROR(part_joiner_add(joiner, part, 7, &joined, &size), -EPROTO);
    CHECK_ERROR(part_joiner_add(joiner, part, 8, &joined, &size), -EPROTO);
    CHECK_ERROR(part_joiner_add(joiner, part, 100, &joined, &size), -EPROTO); // part 0 of 0
    CHECK_ERROR(part_joiner_add(joiner, part, sizeof part, &joined, &size), -EPROTO);
    part[6] = 4; // more parts than 3000 bytes can have
    CHECK_ERROR(part_joiner_add(joiner, part, 1456, &joined, &size), -EPROTO);
    part[6] = 2;
    CHECK_ERROR(part_joiner_add(joiner, part, 1455, &joined, &size), -EPROTO); // short, not last
    part[4] = 2;
    CHECK_ERROR(part_joiner_add(joiner, part, 1456, &joined, &size), -EPROTO); // part 2 of 2
    part[4] = 0;
    CHECK(part_joiner_add(joiner, part, 1456, &joined, &size), ==, 0);
    part[6] = 3; // the same message with another count
    CHECK_ERROR(part_joiner_add(joiner, part, 1456, &joined, &size), -EPROTO);

    // Messages that never end push each other out, and memory stays bounded.
    for (uint32_t n = 10; n < 1000; n++) {
        size_t n_size = part_write(part, n, 0, message, sizeof message);
        CHECK(part_joiner_add(joiner, part, n_size, &joined, &size), ==, 0);
    }
    CHECK(part_joiner_incomplete(joiner), ==, 1 + 990 - 4);
    CHECK_TRUE(joined == NULL);
    part_joiner_destroy(&joiner);
}

static void test_want(void)
{
    struct frame_want want = {
        .channel = UINT64_C(0xfedcba9876543210),
        .group = 4000000000,
        .plan_epoch = 17,
        .start = 0x0a0b0c0d,
        .from = -5,
        .credit = INT64_C(1) << 40,
        .host = UINT64_C(0x8877665544332211),
        .keep = -9,
        .ended = true,
        .missing_count = FRAME_WANT_MISSING_MAX,
    };
    for (int i = 0; i < FRAME_WANT_MISSING_MAX; i++)
        want.missing[i] = 1000 - 100 * i;
    uint8_t bytes[WANT_BYTES_MAX + 8] = {0};
    struct frame_want out;
    size_t size = frame_want_write(&want, bytes);
    CHECK(size, ==, 56 + 64 * 8);
    CHECK_BYTES(bytes, "\x03\x01\x40\x00\x0d\x0c\x0b\x0a\x10\x32\x54\x76\x98\xba\xdc\xfe", 16);
    CHECK_OK(frame_want_read(bytes, size, &out));
    CHECK(out.channel, ==, want.channel);
    CHECK(out.group, ==, want.group);
    CHECK(out.start, ==, want.start);
    CHECK(out.from, ==, -5);
    CHECK(out.credit, ==, want.credit);
    CHECK_TRUE(out.host == want.host);
    CHECK(out.keep, ==, -9);
    CHECK_TRUE(out.ended);
    CHECK_BYTES(out.missing, want.missing, sizeof want.missing);
    for (size_t i = 0; i < sizeof bytes; i++)
        if (i != size)
            CHECK_ERROR(frame_want_read(bytes, i, &out), -EPROTO);
    bytes[2] = 65;
    CHECK_ERROR(frame_want_read(bytes, size + 8, &out), -EPROTO);
    bytes[2] = 64;
    bytes[0] = 2;
    CHECK_ERROR(frame_want_read(bytes, size, &out), -EPROTO);
    bytes[0] = 3;
    bytes[1] = 2;
    CHECK_ERROR(frame_want_read(bytes, size, &out), -EPROTO);
}

static void test_block_name(void)
{
    struct block_name name = {0x01020304, 7, UINT64_C(0x1122334455667788), 9, 3110400}, out;
    uint8_t bytes[BLOCK_NAME_BYTES + 1] = {0};
    block_name_write(&name, 77, bytes);
    uint32_t start = 0;
    CHECK_BYTES(bytes, "\x04\x03\x02\x01\x07\0\0\0\x88\x77\x66\x55\x44\x33\x22\x11", 16);
    CHECK_OK(block_name_read(bytes, BLOCK_NAME_BYTES, &out, &start));
    CHECK(start, ==, 77);
    CHECK_BYTES(&out, &name, sizeof name);
    CHECK_ERROR(block_name_read(bytes, BLOCK_NAME_BYTES - 1, &out, &start), -EPROTO);
    CHECK_ERROR(block_name_read(bytes, BLOCK_NAME_BYTES + 1, &out, &start), -EPROTO);
}

static void test_stream_id(void)
{
    char text[STREAM_ID_MAX + 1], name[66];
    struct link_name out;
    CHECK_OK(stream_id_format("edge-1", "a.B_9", text));
    CHECK_TEXT(text, "#!::r=edge-1,s=a.B_9");
    CHECK_OK(stream_id_parse(text, &out));
    CHECK_TEXT(out.consumer, "edge-1");
    CHECK_TEXT(out.link_id, "a.B_9");
    memset(name, 'x', 65);
    name[65] = 0;
    CHECK_ERROR(stream_id_format(name, "b", text), -EINVAL);
    CHECK_OK(stream_id_format(name + 1, name + 1, text));
    CHECK_OK(stream_id_parse(text, &out));
    static const char *const bad[] = {
        "",        "#!::",         "#!::r=,s=b",    "#!::r=a,s=",         "#!::s=b,r=a",
        "#!::r=a", "#!::r=a,s=b,", "#!::r=a,s=b ",  "#!::r=a/b,s=c",      "#!::r=a,s=b,m=x",
        "r=a,s=b", "#!:{r=a,s=b}", "#!::r=a b,s=c", "#!::r=\xc3\xa4,s=c", " #!::r=a,s=b",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK_ERROR(stream_id_parse(bad[i], &out), -EINVAL);
    char longer[200];
    snprintf(longer, sizeof longer, "#!::r=a,s=%s", name);
    CHECK_ERROR(stream_id_parse(longer, &out), -EINVAL);
    CHECK_ERROR(stream_id_format("a", "", text), -EINVAL);
    CHECK_ERROR(stream_id_format("a,s=b", "c", text), -EINVAL);
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    fprintf(stderr, "seed %" PRIu64 "\n", seed);
    test_join(&seed);
    test_refused();
    test_want();
    test_block_name();
    test_stream_id();
    return check_end();
}
