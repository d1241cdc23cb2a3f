// One line per fact on standard error: time, level, event name, then key=value pairs.
//
//   2026-11-23T14:00:00.123Z warning frame_late channel=demo frame=1200 late_ms=12
//
// Levels by consequence: error = something is off air or lost; warning = viewers might notice;
// info = an operator cares; debug = a developer does. Code in engine/ logs at debug only and
// returns errors. Secrets (keys, tokens, full destination URLs) never go into a line.
// Thread: any; one write(2) per line, so lines of several threads never mix.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

// Lines above `level` are dropped. Default: info.
void log_set_level(enum log_level level);
// Parses "error|warning|info|debug"; returns 0 or -EINVAL.
int log_set_level_name(const char *name);
bool log_enabled(enum log_level level);

// `event` is a stable identifier; `format` gives the key=value part. Values with blanks are the
// caller's to quote.
void log_line(enum log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_error(event, ...)   log_line(LOG_LEVEL_ERROR, event, __VA_ARGS__)
#define log_warning(event, ...) log_line(LOG_LEVEL_WARNING, event, __VA_ARGS__)
#define log_info(event, ...)    log_line(LOG_LEVEL_INFO, event, __VA_ARGS__)
#define log_debug(event, ...)   log_line(LOG_LEVEL_DEBUG, event, __VA_ARGS__)

// Limits a fact that can repeat per frame: the first goes out at once, then one summary per period.
// Owner: one thread. Zero-initialise; `log_limit` returns how many times the event happened since
// the last line when a line is due now, else 0.
struct log_limit {
    int64_t next_ns;
    uint64_t count;
};
uint64_t log_limit(struct log_limit *limit, int64_t now_ns, int64_t period_ns);
