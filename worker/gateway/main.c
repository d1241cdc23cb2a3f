// vistter-gateway: one live source, from its sender into its log (engine/live/log.h). No decoding.
//
// Started by whoever looks after sources, which gives it settings on a descriptor (settings.h) and
// reads what it says on another (status.h). It goes on whatever the source does: connections, jumps
// of its clock, other codecs begin a new gen in the log, nothing more; where the source cannot be
// opened the log is told so, for whoever shows it waits for that. It ends on SIGTERM, or as soon as
// nobody reads its status any more: another node may be about to take its place.
//
//   thread   owns                      waits for                      feeds
//   source   connection, demuxer       packets                        ingest (lock)
//   main     status                    20 ms; signals                 ingest (lock): what is
//   missing
#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/settings.h"
#include "engine/base/thread.h"
#include "worker/gateway/demux.h"
#include "worker/gateway/pace.h"
#include "worker/gateway/settings.h"
#include "worker/gateway/status.h"
#include "worker/gateway/ts_watch.h"

#include <errno.h>
#include <libavutil/error.h>
#include <libavutil/log.h>
#include <libavutil/mem.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#define TICK_NS      INT64_C(20000000)
#define SECOND_NS    INT64_C(1000000000)
#define IO_BYTES     32768
#define MESSAGE_MAX  1456 // of SRT
#define RETRY_NS     (SECOND_NS / 2)
#define RETRY_NS_MAX (8 * SECOND_NS)
#define RELAY_NS     (SECOND_NS / 5) // a sender may be back at once

struct gateway {
    // -- constant after the start
    struct gateway_settings settings;
    struct srt_input *srt; // NULL: pulled by libavformat
    int64_t offset_ns;     // farm time = monotonic clock + this
    bool paced;            // the server gives as fast as it can
    int64_t begin_ns;      // until then the source is not opened
    // -- the source's thread
    struct pace pace;
    struct ts_watch watch;
    uint8_t message[MESSAGE_MAX]; // of SRT: a short read would lose the rest of one
    int message_size, message_at;
    bool changed; // the message begins another programme
    // -- atomic
    atomic_bool stopping;
    const char *_Atomic text; // why there is nothing, in words
    // -- guarded by lock
    pthread_mutex_t lock;
    struct ingest *ingest;
};

static int64_t farm_now(const struct gateway *g)
{
    return clock_monotonic_ns() + g->offset_ns;
}

// ---- The source's thread ---------------------------------------------------------------------

static int should_stop(void *opaque)
{
    struct gateway *g = opaque;
    return atomic_load(&g->stopping);
}

// The end of a connection, or of a programme in it, is the end of the stream.
static int read_srt(void *opaque, uint8_t *bytes, int size)
{
    struct gateway *g = opaque;
    if (g->changed)
        return AVERROR_EOF;
    while (g->message_at == g->message_size) {
        if (atomic_load(&g->stopping))
            return AVERROR_EXIT;
        int n = srt_input_read(g->srt, g->message, MESSAGE_MAX);
        if (n < 0)
            return AVERROR_EOF;
        g->message_size = n;
        g->message_at = 0;
        g->changed = n && ts_watch_add(&g->watch, g->message, (size_t)n);
        if (g->changed)
            return AVERROR_EOF;
    }
    int left = g->message_size - g->message_at, n = size < left ? size : left;
    memcpy(bytes, g->message + g->message_at, (size_t)n);
    g->message_at += n;
    return n;
}

static void on_begin(void *opaque, bool has_pictures)
{
    struct gateway *g = opaque;
    pthread_mutex_lock(&g->lock);
    ingest_begin(g->ingest, has_pictures);
    pthread_mutex_unlock(&g->lock);
    atomic_store(&g->text, "");
}

static void wait_until(struct gateway *g, int64_t end_ns)
{
    for (int64_t now; !atomic_load(&g->stopping) && (now = clock_monotonic_ns()) < end_ns;)
        clock_sleep_until_ns(end_ns < now + TICK_NS ? end_ns : now + TICK_NS);
}

static void on_unit(void *opaque, const struct ingest_unit *unit)
{
    struct gateway *g = opaque;
    int64_t ticks = unit->dts != UNIT_NO_TIME ? unit->dts : unit->pts;
    if (g->paced && ticks != UNIT_NO_TIME)
        wait_until(g, pace_due_ns(&g->pace, ticks, clock_monotonic_ns()));
    pthread_mutex_lock(&g->lock);
    ingest_add(g->ingest, unit, farm_now(g));
    pthread_mutex_unlock(&g->lock);
}

static int demux(struct gateway *g, AVIOContext *io)
{
    struct demux_config config = {.io = io,
                                  .url = g->settings.input.url,
                                  .stop = should_stop,
                                  .on_begin = on_begin,
                                  .on_unit = on_unit,
                                  .opaque = g};
    int error = demux_run(&config);
    if (error >= 0 || !g->settings.relay) // nobody need send
        log_info("source_ended", "source=%s error=%d", g->settings.source, error);
    return error;
}

static int demux_srt(struct gateway *g)
{
    g->changed = false;
    uint8_t *buffer = av_malloc(IO_BYTES);
    AVIOContext *io =
        buffer ? avio_alloc_context(buffer, IO_BYTES, 0, g, read_srt, NULL, NULL) : NULL;
    int error = io ? demux(g, io) : -ENOMEM;
    if (io)
        av_freep(&io->buffer);
    avio_context_free(&io);
    return error;
}

static const char cannot_listen[] =
    "its address cannot be listened at: it is in use, or none of this host";

// Whether there is a connection.
static bool connect_srt(struct gateway *g)
{
    int connected = srt_input_connect(g->srt);
    if (connected < 0)
        atomic_store(&g->text, cannot_listen);
    else if (atomic_load(&g->text) == cannot_listen)
        atomic_store(&g->text, "");
    return connected > 0;
}

static void run_srt(struct gateway *g)
{
    while (!atomic_load(&g->stopping)) {
        if (!connect_srt(g))
            continue;
        log_info("source_connected", "source=%s", g->settings.source);
        g->watch = (struct ts_watch){0};
        g->message_size = g->message_at = 0;
        int error;
        do
            error = demux_srt(g);
        while (g->changed && !atomic_load(&g->stopping));
        srt_input_disconnect(g->srt);
        atomic_store(&g->text, error < 0 ? "what it sends is no MPEG-TS" : "the sender is gone");
    }
}

static const char *pull_text(const struct gateway *g, int error)
{
    if (error == -ECONNREFUSED)
        return g->settings.relay ? "the RTMP server does not run"
                                 : "the server refuses the connection";
    if (g->settings.relay)
        return error < 0 ? "nobody sends" : "the sender is gone";
    return error == -ETIMEDOUT ? "the server does not answer"
           : error < 0         ? "the server has no such stream"
                               : "the server has ended it";
}

static void run_pull(struct gateway *g)
{
    int64_t retry_ns = RETRY_NS;
    while (!atomic_load(&g->stopping)) {
        g->pace = (struct pace){0};
        int error = demux(g, NULL);
        atomic_store(&g->text, pull_text(g, error));
        retry_ns = g->settings.relay ? RELAY_NS : error < 0 ? retry_ns : RETRY_NS;
        wait_until(g, clock_monotonic_ns() + retry_ns);
        retry_ns = 2 * retry_ns < RETRY_NS_MAX ? 2 * retry_ns : RETRY_NS_MAX;
    }
}

static const char pausing[] = "its gateway ended, and opens the source again in a moment";

static void *run_source(void *opaque)
{
    struct gateway *g = opaque;
    wait_until(g, g->settings.quarantined ? INT64_MAX : g->begin_ns);
    if (atomic_load(&g->text) == pausing)
        atomic_store(&g->text, g->settings.relay ? "nobody sends" : "");
    if (g->srt)
        run_srt(g);
    else
        run_pull(g);
    return NULL;
}

// ---- The main thread -------------------------------------------------------------------------

static int tell(struct gateway *g, struct status *status)
{
    struct status_facts facts = {
        .quarantined = g->settings.quarantined, .has_srt = g->srt, .text = atomic_load(&g->text)};
    pthread_mutex_lock(&g->lock);
    ingest_stats(g->ingest, &facts.ingest);
    pthread_mutex_unlock(&g->lock);
    if (g->srt)
        srt_input_stats(g->srt, &facts.srt);
    return status_tell(status, &facts, farm_now(g));
}

static void serve(struct gateway *g, struct status *status, const sigset_t *signals)
{
    const struct timespec tick = {.tv_nsec = TICK_NS};
    int64_t next_ns = 0;
    while (sigtimedwait(signals, NULL, &tick) < 0 && !status_is_gone(status)) {
        pthread_mutex_lock(&g->lock);
        ingest_tick(g->ingest, farm_now(g));
        pthread_mutex_unlock(&g->lock);
        int64_t now = clock_monotonic_ns();
        if (now < next_ns)
            continue;
        next_ns = now + SECOND_NS;
        if (tell(g, status) < 0)
            return;
    }
}

static int refuse(const struct diagnostic *d, int status_fd)
{
    char text[1024];
    fprintf(stderr, "vistter-gateway: %s\n", diagnostic_format(d, text, sizeof text));
    status_refuse(status_fd, text);
    return 2;
}

int main(int argc, char **argv)
{
    static struct gateway g;
    int64_t settings_fd = 0, status_fd = 1, pause_ms = 0;
    const struct setting table[] = {
        {.name = "settings-fd",
         .type = SETTING_INTEGER,
         .initial = "0",
         .max = 1023,
         .target = &settings_fd,
         .help = "Descriptor that the settings are read from, as JSON."},
        {.name = "status-fd",
         .type = SETTING_INTEGER,
         .initial = "1",
         .max = 1023,
         .target = &status_fd,
         .help = "Descriptor that a line of JSON is written to each second."},
        {.name = "pause-ms",
         .type = SETTING_INTEGER,
         .initial = "0",
         .max = 60000,
         .target = &pause_ms,
         .help = "The log is told that nothing comes for so long before the source is opened."},
        {0}};
    struct diagnostic d;
    signal(SIGPIPE, SIG_IGN);
    (void)prctl(PR_SET_DUMPABLE, 0); // secrets are in memory
    if (settings_load(table, "vistter-gateway [OPTIONS] <SETTINGS",
                      "Takes one live source into its log.", argc, argv, NULL, NULL, &d) < 0 ||
        gateway_settings_read((int)settings_fd, &g.settings, &d) < 0)
        return refuse(&d, (int)status_fd);
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL); // before any thread
    av_log_set_level(AV_LOG_QUIET);             // FFmpeg's messages hold URLs
    pthread_mutex_init(&g.lock, NULL);
    g.offset_ns = clock_realtime_ns() - clock_monotonic_ns();
    g.begin_ns = clock_monotonic_ns() + pause_ms * INT64_C(1000000);
    g.text = g.settings.quarantined ? "what it sends has ended decoders too often"
             : pause_ms             ? pausing
             : g.settings.relay     ? "nobody sends"
                                    : "";
    struct live_log *log = NULL;
    int error = live_log_create(g.settings.folder, g.settings.source, LIVE_LOG_LIMITS, &log, &d);
    for (int i = 0; !error && i < UNIT_STREAMS; i++)
        if (live_log_done_ns(log, i) > farm_now(&g) + SECOND_NS)
            error =
                diagnostic_set(&d, -EINVAL, "live_folder", g.settings.folder,
                               "holds a log of the future; if the clock was set back, empty it");
    if (!error && g.settings.input.kind != LIVE_INPUT_PULL && !g.settings.quarantined)
        error = srt_input_open(&g.settings.input, &g.srt, &d);
    g.paced = !strncmp(g.settings.input.url, "http", 4);
    pthread_t source;
    if (!error) {
        g.ingest = ingest_create(log);
        error = thread_start(&source, "source", run_source, &g);
        if (error < 0)
            (void)diagnostic_set(&d, error, "thread", "", "no thread can be started");
    }
    if (!error) {
        struct status status = {.source = g.settings.source, .fd = (int)status_fd};
        serve(&g, &status, &signals);
        atomic_store(&g.stopping, true);
        thread_join(source);
    }
    ingest_destroy(&g.ingest);
    srt_input_close(&g.srt);
    live_log_destroy(&log);
    explicit_bzero(&g.settings, sizeof g.settings);
    log_info("stopped", "error=%d", error);
    return error < 0 ? refuse(&d, (int)status_fd) : 0;
}
