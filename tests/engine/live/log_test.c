// The log of a live source: what is written is read, by others, while it is written; torn ends, a
// second life of the writer, and what is removed.
#include "engine/live/log.h"

#include "engine/base/clock.h"
#include "engine/live/segments.h"
#include "tests/engine/live/made_up.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

// RFC 3720, B.4, and 8 bytes at a time against one.
static void test_crc(void)
{
    uint8_t bytes[64] = {0};
    CHECK(crc32c_add(0, bytes, 32), ==, 0x8A9136AA);
    memset(bytes, 0xFF, 32);
    CHECK(crc32c_add(0, bytes, 32), ==, 0x62A8AB43);
    for (int i = 0; i < 64; i++)
        bytes[i] = (uint8_t)i;
    CHECK(crc32c_add(0, bytes, 32), ==, 0x46DD794E);
    for (size_t cut = 0; cut < 64; cut++)
        CHECK(crc32c_add(crc32c_add(0, bytes, cut), bytes + cut, 64 - cut), ==,
              crc32c_add(0, bytes, 64));
}

// Any cut is "goes on", any changed bit is found.
static void test_wire(void)
{
    uint8_t bytes[UNIT_HEADER_BYTES + 100];
    struct unit u = {.kind = UNIT_DATA,
                     .stream = UNIT_SOUND,
                     .flags = UNIT_KEY,
                     .source = 7,
                     .gen = 3,
                     .seq = 12345678901,
                     .pts = -5,
                     .dts = UNIT_NO_TIME,
                     .chan_ns = 99,
                     .done_ns = 98,
                     .index = 1 << 20,
                     .body = bytes + UNIT_HEADER_BYTES,
                     .size = 100};
    for (int i = 0; i < 100; i++)
        bytes[UNIT_HEADER_BYTES + i] = (uint8_t)(i * 7);
    unit_write_header(&u, bytes);
    struct unit got;
    CHECK_OK(unit_parse(bytes, sizeof bytes, &got));
    CHECK(got.seq, ==, u.seq);
    CHECK(got.dts, ==, UNIT_NO_TIME);
    CHECK(got.pts, ==, -5);
    CHECK(got.index, ==, 1 << 20);
    CHECK(got.stream, ==, UNIT_SOUND);
    CHECK(got.size, ==, 100);
    for (size_t size = 0; size < sizeof bytes; size++)
        CHECK_ERROR(unit_parse(bytes, size, &got), -EAGAIN);
    for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        CHECK(unit_parse(bytes, sizeof bytes, &got), <, 0);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    struct unit_format format = {.codec = "aac",
                                 .sample_rate = 44100,
                                 .channels = 2,
                                 .extradata_size = 2},
                       back;
    uint8_t body[UNIT_FORMAT_BYTES];
    size_t size = unit_format_write(&format, body);
    CHECK_OK(unit_format_parse(body, size, &back));
    CHECK_TRUE(unit_format_equal(&format, &back));
    CHECK_ERROR(unit_format_parse(body, size - 1, &back), -EPROTO);
    body[UNIT_CODEC_BYTES + 3] = 0x7F; // width
    CHECK_ERROR(unit_format_parse(body, size, &back), -EPROTO);
}

// A reader in another process gets all that is written, in order, while it is written.
static void test_follow(void)
{
    fresh("follow");
    pid_t reader_pid = fork();
    if (!reader_pid) {
        struct live_reader *reader = open_reader();
        int64_t end = clock_monotonic_ns() + INT64_C(20000000000);
        int next = 0;
        while (next < 500 && clock_monotonic_ns() < end) {
            struct unit u;
            int error = live_reader_next(reader, &u);
            if (error == -EAGAIN)
                live_reader_wait(reader, INT64_C(1000000000));
            else if (error ||
                     (u.kind == UNIT_DATA && (u.index != next++ || u.body[0] != (uint8_t)u.index)))
                _exit(1);
        }
        _exit(next == 500 ? 0 : 2);
    }
    struct live_log *log = create(LIVE_LOG_LIMITS);
    append_format(log, "h264");
    for (int i = 0; i < 500; i++)
        CHECK_OK(append_picture(log, i, 25, (size_t)(1 + i * 397 % 60000)));
    int status = -1;
    waitpid(reader_pid, &status, 0);
    CHECK(status, ==, 0);
    live_log_destroy(&log);
}

// Each byte at which a writer can end in the middle of its last unit: what was whole is read, its
// successor's units follow, and the seq shows nothing missing (the torn one was never said).
static void test_torn(void)
{
    for (int cut = 0; cut < 140; cut += 13) {
        char name[32], file[PATH_MAX];
        snprintf(name, sizeof name, "torn-%d", cut);
        fresh(name);
        struct live_log *log = create(LIVE_LOG_LIMITS);
        for (int i = 0; i < 3; i++)
            CHECK_OK(append_picture(log, i, 25, 60));
        CHECK_ERROR(append_picture(log, 2, 25, 60), -EINVAL); // not above what is done
        live_log_destroy(&log);
        uint32_t history;
        uint64_t *segments;
        size_t count;
        CHECK_OK(segments_list(path, &history, &segments, &count));
        CHECK_OK(truncate(segment_path(path, history, segments[0], file), 3 * 140 - cut));
        free(segments);
        struct live_reader *reader = open_reader();
        struct unit u;
        int whole = cut ? 2 : 3;
        for (int i = 0; i < whole; i++)
            CHECK_OK(live_reader_next(reader, &u));
        CHECK_ERROR(live_reader_next(reader, &u), -EAGAIN);
        log = create(LIVE_LOG_LIMITS);
        CHECK(live_log_gen(log), ==, 1);
        CHECK(live_log_done_ns(log, UNIT_PICTURE), ==, due(whole - 1));
        CHECK_OK(append_picture(log, 3, 25, 60));
        CHECK_OK(live_reader_next(reader, &u));
        CHECK(u.index, ==, 3);
        CHECK(u.seq, ==, whole + 1);
        live_reader_close(&reader);
        live_log_destroy(&log);
    }
}

static void test_owner(void)
{
    fresh("owner");
    struct live_log *log = create(LIVE_LOG_LIMITS), *second = NULL;
    struct diagnostic d;
    CHECK_ERROR(live_log_create(path, "cam1", LIVE_LOG_LIMITS, &second, &d), -EBUSY);
    CHECK_OK(append_picture(log, 0, 25, 60));
    live_log_destroy(&log);
    CHECK_ERROR(live_log_create(path, "cam2", LIVE_LOG_LIMITS, &second, &d), -EEXIST);
}

struct kept {
    int first, keys, formats;
    int64_t bytes, from_ns;
};

static struct kept read_all(void)
{
    struct kept kept = {.first = -1};
    struct live_reader *reader = open_reader();
    struct unit u;
    while (!live_reader_next(reader, &u)) {
        kept.bytes += (int64_t)unit_bytes(&u);
        kept.formats += u.kind == UNIT_FORMAT;
        if (u.kind != UNIT_DATA)
            continue;
        CHECK(kept.formats, >=, 1); // before all data, wherever the log begins
        if (kept.first < 0) {
            kept.first = (int)u.index;
            kept.from_ns = u.chan_ns;
            CHECK_TRUE(u.flags & UNIT_KEY);
        }
        kept.keys += !!(u.flags & UNIT_KEY);
    }
    live_reader_close(&reader);
    return kept;
}

// 15 s or two whole groups, the longer of both; less where that is more than may be.
static void test_limits(void)
{
    fresh("short-gops");
    struct live_log *log = create(LIVE_LOG_LIMITS);
    append_format(log, "h264");
    for (int i = 0; i < 1500; i++)
        CHECK_OK(append_picture(log, i, 25, 100));
    struct kept kept = read_all();
    CHECK(due(1499) - kept.from_ns, >=, INT64_C(15000000000));
    CHECK(due(1499) - kept.from_ns, <=, INT64_C(17100000000));
    live_log_destroy(&log);

    fresh("long-gops");
    log = create(LIVE_LOG_LIMITS);
    append_format(log, "h264");
    for (int i = 0; i < 2000; i++)
        CHECK_OK(append_picture(log, i, 300, 100));
    kept = read_all();
    CHECK(kept.keys, ==, 3); // two whole ones and the one under way
    live_log_destroy(&log);

    fresh("large");
    struct live_log_limits limits = LIVE_LOG_LIMITS;
    limits.bytes_max = 4 << 20;
    log = create(limits);
    append_format(log, "h264");
    for (int i = 0; i < 200; i++)
        CHECK_OK(append_picture(log, i, 25, 100000));
    kept = read_all();
    CHECK(kept.bytes, <=, 7 << 20); // and a segment
    CHECK(kept.bytes, >=, 2 << 20);
    live_log_destroy(&log);
}

// A reader that fell behind goes on with what there is, and the seq tells it.
static void test_behind(void)
{
    fresh("behind");
    struct live_log *log = create(LIVE_LOG_LIMITS);
    append_format(log, "h264");
    CHECK_OK(append_picture(log, 0, 25, 100));
    struct live_reader *reader = open_reader();
    struct unit u;
    CHECK_OK(live_reader_next(reader, &u));
    CHECK_OK(live_reader_next(reader, &u));
    uint64_t seq = u.seq;
    for (int i = 1; i < 1500; i++)
        CHECK_OK(append_picture(log, i, 25, 100));
    int holes = 0, last = 0;
    for (; !live_reader_next(reader, &u); seq = u.seq) {
        holes += u.seq != seq + 1;
        last = u.kind == UNIT_DATA ? (int)u.index : last;
    }
    CHECK(holes, ==, 1);
    CHECK(last, ==, 1499);
    live_reader_close(&reader);
    live_log_destroy(&log);
}

// A limit on the size of files stands for a full disk: what could not be written whole is as if it
// had never been, and what comes later is there.
static void test_full(void)
{
    fresh("full");
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit before, limit;
    CHECK_OK(getrlimit(RLIMIT_FSIZE, &before));
    limit = before;
    limit.rlim_cur = 2 * 180 + 100;
    struct live_log *log = create(LIVE_LOG_LIMITS);
    CHECK_OK(setrlimit(RLIMIT_FSIZE, &limit));
    CHECK_OK(append_picture(log, 0, 25, 100));
    CHECK_OK(append_picture(log, 1, 25, 100));
    CHECK(append_picture(log, 2, 25, 100), <, 0);
    CHECK(append_picture(log, 2, 25, 4000), <, 0); // not even the first of its segment
    CHECK_OK(setrlimit(RLIMIT_FSIZE, &before));
    CHECK_OK(append_picture(log, 3, 25, 100));
    struct live_reader *reader = open_reader();
    static const int expected[] = {0, 1, 3};
    struct unit u;
    for (int i = 0; i < 3; i++) {
        CHECK_OK(live_reader_next(reader, &u));
        CHECK(u.index, ==, expected[i]);
    }
    CHECK_ERROR(live_reader_next(reader, &u), -EAGAIN);
    live_reader_close(&reader);
    live_log_destroy(&log);
}

int main(void)
{
    snprintf(folder, sizeof folder, "/tmp/live-log-XXXXXX");
    CHECK_TRUE(mkdtemp(folder));
    test_crc();
    test_wire();
    test_follow();
    test_torn();
    test_owner();
    test_limits();
    test_behind();
    test_full();
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    CHECK_OK(system(command));
    return check_end();
}
