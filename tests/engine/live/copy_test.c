// Copies of logs: the same files as at home, whatever ends in between and whoever goes on; and
// another history instead, which every reader notices.
#include "tests/engine/live/made_up.h"
#include "tests/engine/live/same.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char home[256], copy[256];

static void fresh_pair(const char *name)
{
    fresh(name);
    snprintf(copy, sizeof copy, "%.200s-copy", path);
    snprintf(home, sizeof home, "%s", path);
}

static struct live_log *open_copy(void)
{
    struct live_log *log = NULL;
    struct diagnostic d = {0};
    CHECK_OK(live_log_copy(copy, "cam1", LIVE_LOG_LIMITS, &log, &d));
    return log;
}

static uint64_t newest_of(const struct live_log *log)
{
    uint64_t seq;
    uint32_t crc;
    live_log_newest(log, &seq, &crc);
    return seq;
}

static int append_unit(struct live_log *log, const struct live_reader *reader, const struct unit *u)
{
    size_t size = 0;
    int error =
        live_log_append_copy(log, live_reader_segment(reader), unit_start(u), unit_bytes(u), &size);
    CHECK(size, ==, error ? 0 : unit_bytes(u));
    return error;
}

// Takes what the reader has that is newer.
static void take_over(struct live_log *log, struct live_reader *reader)
{
    struct unit u;
    while (!live_reader_next(reader, &u))
        if (u.seq > newest_of(log))
            CHECK_OK(append_unit(log, reader, &u));
}

static struct live_reader *reader_of(const char *of)
{
    struct live_reader *reader = NULL;
    CHECK_OK(live_reader_open(of, &reader, NULL));
    return reader;
}

// A minute, of which the oldest is removed on both sides; the gateway ends and goes on twice.
static void test_same(void)
{
    fresh_pair("same");
    struct live_log *log = create(LIVE_LOG_LIMITS), *other = open_copy();
    struct live_reader *reader = reader_of(home);
    append_format(log, "h264");
    for (int i = 0; i < 1500; i++) {
        CHECK_OK(append_picture(log, i, 25, (size_t)(100 + i * 37 % 3000)));
        take_over(other, reader);
        if (i == 400 || i == 1440) {
            live_log_destroy(&log);
            log = create(LIVE_LOG_LIMITS);
        }
    }
    CHECK(check_same_files(home, copy), >=, 15);
    uint64_t seq;
    uint32_t crc;
    struct unit u, last = {0};
    live_log_newest(other, &seq, &crc);
    live_reader_rewind(reader);
    while (!live_reader_next(reader, &u))
        last = u;
    CHECK(last.seq, ==, seq);
    CHECK(last.crc, ==, crc);
    CHECK(live_log_done_ns(other, UNIT_PICTURE), ==, due(1499));
    live_reader_close(&reader);
    live_log_destroy(&other);
    live_log_destroy(&log);
}

// A copier can end anywhere in its last unit, or in the first of a segment; the next one goes on
// behind what is whole. Somebody who reads all the time gets every unit once.
static void test_cut(void)
{
    fresh_pair("cut");
    struct live_log *log = create(LIVE_LOG_LIMITS), *other;
    append_format(log, "h264");
    for (int i = 0; i < 60; i++)
        CHECK_OK(append_picture(log, i, 25, 60));
    struct live_reader *reader = reader_of(home), *watcher = NULL;
    struct unit u;
    uint64_t seen = 0;
    for (uint64_t stop = 1; stop <= 60; stop += 7) {
        int64_t cut = (int64_t)stop * 37 % 140;
        other = open_copy();
        live_reader_rewind(reader);
        while (newest_of(other) < stop && !live_reader_next(reader, &u))
            if (u.seq > newest_of(other))
                CHECK_OK(append_unit(other, reader, &u));
        live_log_destroy(&other);
        uint64_t *segments;
        size_t count;
        uint32_t history;
        char file[PATH_MAX];
        struct stat now;
        CHECK_OK(segments_list(copy, &history, &segments, &count));
        CHECK_OK(stat(segment_path(copy, history, segments[count - 1], file), &now));
        free(segments);
        CHECK_OK(truncate(file, now.st_size > cut ? now.st_size - cut : 0));
        watcher = watcher ? watcher : reader_of(copy);
        while (!live_reader_next(watcher, &u))
            CHECK(u.seq, ==, ++seen);
    }
    other = open_copy();
    live_reader_rewind(reader);
    take_over(other, reader);
    while (!live_reader_next(watcher, &u))
        CHECK(u.seq, ==, ++seen);
    CHECK(seen, ==, newest_of(other));
    CHECK(check_same_files(home, copy), >=, 2);
    live_reader_close(&watcher);
    live_reader_close(&reader);
    live_log_destroy(&other);
    live_log_destroy(&log);
}

// What was half written is cut off, and what comes instead is shorter: a reader that has the half
// in hand does not wait for its other half.
static void test_other_half(void)
{
    fresh_pair("half");
    struct live_log *log = create(LIVE_LOG_LIMITS), *other = open_copy();
    append_format(log, "h264");
    CHECK_OK(append_picture(log, 0, 25, 100));
    struct live_reader *reader = reader_of(home), *watcher = reader_of(copy);
    take_over(other, reader);
    live_log_destroy(&other);
    uint8_t half[5000] = {0}, header[UNIT_HEADER_BYTES];
    struct unit u = {.kind = UNIT_DATA, .seq = 3, .body = half, .size = sizeof half}, got;
    unit_write_header(&u, header);
    uint64_t *segments;
    size_t count;
    uint32_t history;
    char file[PATH_MAX];
    CHECK_OK(segments_list(copy, &history, &segments, &count));
    FILE *f = fopen(segment_path(copy, history, segments[0], file), "ab");
    free(segments);
    fwrite(header, 1, sizeof header, f);
    fwrite(half, 1, sizeof half / 2, f);
    fclose(f);
    while (!live_reader_next(watcher, &got))
        continue;
    other = open_copy();
    CHECK_OK(append_picture(log, 1, 25, 10));
    take_over(other, reader);
    int error = -EAGAIN;
    for (int i = 0; i < 3 && error; i++)
        error = live_reader_next(watcher, &got);
    CHECK_OK(error);
    CHECK(got.index, ==, 1);
    CHECK(check_same_files(home, copy), ==, 1);
    live_reader_close(&watcher);
    live_reader_close(&reader);
    live_log_destroy(&other);
    live_log_destroy(&log);
}

// The home is gone: a gateway goes on in the copy, which is the home now; a copy of that, which
// stands where the first home was, goes on behind what both had. One writer at a time.
static void test_takeover(void)
{
    fresh_pair("takeover");
    struct live_log *log = create(LIVE_LOG_LIMITS), *other = open_copy(), *third = NULL;
    struct live_reader *reader = reader_of(home);
    struct diagnostic d;
    append_format(log, "h264");
    for (int i = 0; i < 100; i++)
        CHECK_OK(append_picture(log, i, 25, 60));
    take_over(other, reader);
    live_reader_close(&reader);
    uint64_t common = newest_of(other);
    CHECK_ERROR(live_log_create(copy, "cam1", LIVE_LOG_LIMITS, &third, &d), -EBUSY);
    CHECK_ERROR(live_log_copy(home, "cam1", LIVE_LOG_LIMITS, &third, &d), -EBUSY);
    live_log_destroy(&log);
    live_log_destroy(&other);
    CHECK_ERROR(live_log_copy(copy, "cam2", LIVE_LOG_LIMITS, &third, &d), -EEXIST);

    char first[256];
    snprintf(first, sizeof first, "%s", home);
    snprintf(path, sizeof path, "%s", copy);
    log = create(LIVE_LOG_LIMITS);
    CHECK(live_log_gen(log), ==, 1);
    CHECK(live_log_done_ns(log, UNIT_PICTURE), ==, due(99));
    for (int i = 100; i < 150; i++)
        CHECK_OK(append_picture(log, i, 25, 60));
    snprintf(copy, sizeof copy, "%s", first);
    snprintf(home, sizeof home, "%s", path);
    other = open_copy();
    CHECK(newest_of(other), ==, common);
    reader = reader_of(home);
    take_over(other, reader);
    CHECK(check_same_files(home, copy), >=, 4);
    live_reader_close(&reader);
    live_log_destroy(&log);
    live_log_destroy(&other);
}

// The copy had another past: what readers get afterwards is the home's alone, from its beginning,
// and they are told so once, wherever they were.
static void test_anew(void)
{
    fresh_pair("anew");
    struct live_log *log = create(LIVE_LOG_LIMITS), *other;
    append_format(log, "h264");
    for (int i = 0; i < 200; i++)
        CHECK_OK(append_picture(log, i, 25, 60));
    char kept[256];
    snprintf(kept, sizeof kept, "%s", path);
    snprintf(path, sizeof path, "%s", copy);
    other = create(LIVE_LOG_LIMITS);
    append_format(other, "hevc");
    for (int i = 0; i < 300; i++)
        CHECK_OK(append_picture(other, i, 30, 90));
    live_log_destroy(&other);
    snprintf(path, sizeof path, "%s", kept);

    struct live_reader *at[4];
    struct unit u;
    for (int k = 0; k < 4; k++) {
        at[k] = reader_of(copy);
        for (int i = 0; i < 100 * k; i++)
            CHECK_OK(live_reader_next(at[k], &u));
    }
    other = open_copy();
    CHECK(newest_of(other), >, 300);
    live_log_anew(other);
    CHECK(newest_of(other), ==, 0);
    struct live_reader *reader = reader_of(home);
    take_over(other, reader);
    CHECK(check_same_files(home, copy), >=, 5);
    for (int k = 0; k < 4; k++) {
        int told = 0, error;
        uint64_t next = 1;
        while (!(error = live_reader_next(at[k], &u)) || error == -ESTALE) {
            told += error == -ESTALE;
            if (!error &&
                (told || !k)) { // one that had begun to read may read its segment to the end
                CHECK(u.seq, ==, next++);
                CHECK_TRUE(u.kind != UNIT_DATA || u.size == 60);
            }
        }
        CHECK_ERROR(error, -EAGAIN);
        CHECK(told, ==, k > 0);
        CHECK(next - 1, ==, newest_of(other));
        live_reader_close(&at[k]);
    }
    live_reader_close(&reader);
    live_log_destroy(&log);
    live_log_destroy(&other);
}

// What cannot follow is refused and leaves nothing behind.
static void test_refused(void)
{
    fresh_pair("refused");
    struct live_log *log = create(LIVE_LOG_LIMITS), *other = open_copy();
    append_format(log, "h264");
    for (int i = 0; i < 40; i++)
        CHECK_OK(append_picture(log, i, 25, 60));
    struct live_reader *reader = reader_of(home);
    struct unit u;
    for (int i = 0; i < 20; i++) {
        CHECK_OK(live_reader_next(reader, &u));
        CHECK_OK(append_unit(other, reader, &u));
    }
    size_t size = 0;
    uint64_t segment = live_reader_segment(reader);
    CHECK_ERROR(append_unit(other, reader, &u), -EPROTO); // again
    CHECK_OK(live_reader_next(reader, &u));
    uint8_t bytes[200];
    memcpy(bytes, unit_start(&u), unit_bytes(&u));
    CHECK_ERROR(live_log_append_copy(other, u.seq + 1, bytes, unit_bytes(&u), &size), -EPROTO);
    CHECK_ERROR(live_log_append_copy(other, u.seq - 1, bytes, unit_bytes(&u), &size), -EPROTO);
    CHECK_ERROR(live_log_append_copy(other, 0, bytes, unit_bytes(&u), &size), -EPROTO);
    for (size_t cut = 0; cut < unit_bytes(&u); cut++)
        CHECK_ERROR(live_log_append_copy(other, segment, bytes, cut, &size), -EPROTO);
    for (size_t bit = 0; bit < 8 * unit_bytes(&u); bit += 5) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        CHECK_ERROR(live_log_append_copy(other, segment, bytes, unit_bytes(&u), &size), -EPROTO);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    struct unit stranger = u;
    stranger.source++;
    unit_write_header(&stranger, bytes);
    CHECK_ERROR(live_log_append_copy(other, segment, bytes, unit_bytes(&u), &size), -EPROTO);
    CHECK_OK(append_unit(other, reader, &u));
    take_over(other, reader);
    CHECK(check_same_files(home, copy), >=, 1);
    live_reader_close(&reader);
    live_log_destroy(&log);
    live_log_destroy(&other);
}

// A limit on the size of files stands for a full disk: what could not be written is written later.
static void test_full(void)
{
    fresh_pair("full");
    signal(SIGXFSZ, SIG_IGN);
    struct live_log *log = create(LIVE_LOG_LIMITS), *other = open_copy();
    for (int i = 0; i < 30; i++)
        CHECK_OK(append_picture(log, i, 25, 100));
    struct live_reader *reader = reader_of(home);
    struct unit u;
    struct rlimit before, limit;
    CHECK_OK(getrlimit(RLIMIT_FSIZE, &before));
    limit = before;
    limit.rlim_cur = 10 * 180 + 100;
    for (int i = 0; i < 10; i++) {
        CHECK_OK(live_reader_next(reader, &u));
        CHECK_OK(append_unit(other, reader, &u));
    }
    CHECK_OK(live_reader_next(reader, &u));
    CHECK_OK(setrlimit(RLIMIT_FSIZE, &limit));
    for (int tries = 0; tries < 3; tries++)
        CHECK(append_unit(other, reader, &u), <, 0);
    CHECK_OK(setrlimit(RLIMIT_FSIZE, &before));
    CHECK(newest_of(other), ==, 10);
    CHECK_OK(append_unit(other, reader, &u));
    take_over(other, reader);
    CHECK(check_same_files(home, copy), >=, 1);
    live_reader_close(&reader);
    live_log_destroy(&log);
    live_log_destroy(&other);
}

int main(void)
{
    snprintf(folder, sizeof folder, "/tmp/live-copy-XXXXXX");
    CHECK_TRUE(mkdtemp(folder));
    test_same();
    test_cut();
    test_other_half();
    test_takeover();
    test_anew();
    test_refused();
    test_full();
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    CHECK_OK(system(command));
    return check_end();
}
