// Logs of made-up pictures, for tests of logs. Included once per test.
#pragma once

#include "engine/live/log.h"

#include "tests/check.h"

#define FRAME_NS INT64_C(40000000)

static char folder[64], path[256]; // of all logs of a test; of the log at hand

static inline void fresh(const char *name)
{
    snprintf(path, sizeof path, "%s/%s", folder, name);
}

static inline struct live_log *create(struct live_log_limits limits)
{
    struct live_log *log = NULL;
    struct diagnostic d = {0};
    CHECK_OK(live_log_create(path, "cam1", limits, &log, &d));
    return log;
}

static inline struct live_reader *open_reader(void)
{
    struct live_reader *reader = NULL;
    CHECK_OK(live_reader_open(path, &reader, NULL));
    return reader;
}

static inline int64_t due(int i)
{
    return INT64_C(1700000000000000000) + i * FRAME_NS;
}

// Picture i; its body tells which one it is, and its size.
static inline int append_picture(struct live_log *log, int i, int gop, size_t size)
{
    static uint8_t body[200000];
    memset(body, i, size);
    struct unit u = {.kind = UNIT_DATA,
                     .flags = i % gop == 0 ? UNIT_KEY : 0,
                     .gen = 1,
                     .pts = i * 3600,
                     .dts = i * 3600,
                     .chan_ns = due(i),
                     .done_ns = due(i),
                     .index = i,
                     .body = body,
                     .size = size};
    return live_log_append(log, &u);
}

static inline void append_format(struct live_log *log, const char *codec)
{
    struct unit_format format = {.width = 1280, .height = 720};
    snprintf(format.codec, sizeof format.codec, "%s", codec);
    uint8_t body[UNIT_FORMAT_BYTES];
    struct unit u = {
        .kind = UNIT_FORMAT, .gen = 1, .chan_ns = due(0), .done_ns = due(0) - 1, .body = body};
    u.size = unit_format_write(&format, body);
    CHECK_OK(live_log_append(log, &u));
}
