#include "worker/gateway/status.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECOND_NS   INT64_C(1000000000)
#define LIVE_NS     (SECOND_NS * 2) // without a unit it is lost
#define UNSTABLE_NS (5 * SECOND_NS)

static int64_t heard_ns(const struct ingest_stats *s)
{
    int64_t a = s->streams[UNIT_PICTURE].last_ns, b = s->streams[UNIT_SOUND].last_ns;
    return a > b ? a : b;
}

static const char *state_of(struct status *status, const struct status_facts *f, int64_t now_ns)
{
    const struct ingest_stream_stats *streams = f->ingest.streams;
    uint64_t faults = streams[0].damaged + streams[1].damaged + streams[0].gaps + streams[1].gaps +
                      f->ingest.refused + f->ingest.unlogged + (uint64_t)f->srt.dropped;
    if (faults != status->faults)
        status->fault_ns = now_ns;
    status->faults = faults;
    if (f->quarantined)
        return "quarantined";
    if (!heard_ns(&f->ingest))
        return "connecting";
    if (now_ns - heard_ns(&f->ingest) > LIVE_NS)
        return "lost";
    return status->fault_ns && now_ns - status->fault_ns < UNSTABLE_NS ? "unstable" : "live";
}

static void add_stream(json_t *line, const char *name, enum unit_stream kind,
                       const struct ingest_stream_stats *s)
{
    if (!*s->format.codec)
        return;
    json_t *o = kind == UNIT_PICTURE
                    ? json_pack("{s:s, s:i, s:i, s:f}", "codec", s->format.codec, "width",
                                s->format.width, "height", s->format.height, "rate",
                                s->period_ns ? 1e9 / (double)s->period_ns : 0.0)
                    : json_pack("{s:s, s:i, s:i}", "codec", s->format.codec, "rate",
                                s->format.sample_rate, "channels", s->format.channels);
    json_object_set_new(o, "units", json_integer((json_int_t)s->units));
    json_object_set_new(o, "damaged", json_integer((json_int_t)s->damaged));
    json_object_set_new(o, "gaps", json_integer((json_int_t)s->gaps));
    json_object_set_new(line, name, o);
}

static void add_srt(json_t *line, const struct srt_input_stats *s)
{
    json_object_set_new(line, "srt",
                        json_pack("{s:f, s:f, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s}",
                                  "rtt_ms", s->rtt_ms, "latency_ms", s->latency_ms, "buffer_ms",
                                  s->buffer_ms, "connections", (json_int_t)s->connections,
                                  "received", (json_int_t)s->received, "lost", (json_int_t)s->lost,
                                  "retransmitted", (json_int_t)s->retransmitted, "dropped",
                                  (json_int_t)s->dropped, "undecrypted", (json_int_t)s->undecrypted,
                                  "refusals", (json_int_t)s->refused, "refusal", s->refusal));
}

// A pipe that is writable takes a line whole; where nobody reads this one is left out.
static int say(int fd, json_t *line)
{
    char *text = json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(6));
    json_decref(line);
    if (!text)
        return 0;
    size_t size = strlen(text);
    text[size] = '\n'; // in place of the end
    struct pollfd pipe = {.fd = fd, .events = POLLOUT};
    ssize_t n = 0;
    if (poll(&pipe, 1, 0) == 1)
        n = write(fd, text, size + 1);
    free(text);
    return n < 0 && errno == EPIPE ? -EPIPE : 0;
}

void status_refuse(int fd, const char *text)
{
    (void)say(fd, json_pack("{s:s, s:s}", "state", "refused", "text", text));
}

bool status_is_gone(const struct status *status)
{
    struct pollfd reader = {.fd = status->fd}; // hang-ups need not be asked for
    return poll(&reader, 1, 0) > 0 && reader.revents & (POLLERR | POLLHUP);
}

int status_tell(struct status *status, const struct status_facts *f, int64_t now_ns)
{
    const struct ingest_stats *s = &f->ingest;
    uint64_t bytes = s->streams[0].bytes + s->streams[1].bytes;
    int64_t since_ns = now_ns - status->told_ns;
    json_int_t bitrate =
        status->told_ns
            ? (json_int_t)((bytes - status->bytes) * 8000 / (uint64_t)(since_ns / 1000000 + 1))
            : 0;
    json_t *line =
        json_pack("{s:s, s:s, s:s, s:i, s:I, s:I, s:I, s:f, s:I, s:I}", "source", status->source,
                  "state", state_of(status, f, now_ns), "text", f->text, "gen", (int)s->gen, "seq",
                  (json_int_t)s->seq, "done_ns", (json_int_t)s->done_ns, "bitrate", bitrate,
                  "clock_ppm", (double)-s->slope / 1000, "refused", (json_int_t)s->refused,
                  "log_errors", (json_int_t)s->unlogged);
    status->bytes = bytes;
    status->told_ns = now_ns;
    add_stream(line, "video", UNIT_PICTURE, &s->streams[UNIT_PICTURE]);
    add_stream(line, "sound", UNIT_SOUND, &s->streams[UNIT_SOUND]);
    if (f->has_srt)
        add_srt(line, &f->srt);
    return say(status->fd, line);
}
