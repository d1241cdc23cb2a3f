// vistter-edge: puts channels on air. Takes group frames from workers, mixes them on the frame
// clock, encodes each rendition once, and feeds one process per destination.
//
// The path of a frame and its threads; every arrow is a bounded queue or window.
//
// clang-format off
//   thread      one per      owns                        waits for              feeds
//   link's own  provider     its socket                  SRT or Unix socket     windows (intake_put)
//   decode      plan         decoding, wishes            messages, 20 ms        decoded frames
//   mix         channel      frame clock, mixer, ladder  frame n's due time     queues of encoders
//   encode-N    rendition    AAC, who takes which GOP    its queue              lanes
//   encode-N.L  lane of it   x264                        its queue              queues of outlets
//   hash        hash file    the file                    its queue              the disk
//   meters      channel      levels, watches             its queue              reports, when asked
//   deliver     program      children and their sockets  poll                   vistter-deliver
//   link's own  program      control connections         NNG                    `main`, by eventfd
//   main        program      plans, settings, reports,   signals, 100 ms        everything's set-up
//                            signs of life while all mix threads move
//   purity      channel      frames that differ          such a frame          the disk
//   reaper      program      outputs that are gone       their encoders         nobody
//   state       program      the remembered state        a newer state          the disk
// clang-format on
//
// The mix thread waits for nobody behind it: full queues refuse and are counted. Nor does `main`
// wait for an encoder or a disk: an edge that does not report for a second counts as lost. What
// does not keep up behind the mix `main` relieves in a stated order (load.h). Nothing here waits
// for a coordinator: the desired state is remembered on disk and goes on without one.
#include "edge/load.h"
#include "edge/reaper.h"
#include "edge/report.h"
#include "edge/state.h"
#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/settings.h"
#include "engine/base/thread.h"
#include "engine/base/watchdog.h"
#include "engine/link/media_cache.h"
#include "engine/source/nursery.h"
#include "proto/control.pb-c.h"

#include <errno.h>
#include <inttypes.h>
#include <libavutil/log.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define REPORT_NS INT64_C(100000000)

static struct settings {
    const char *name, *coordinators, *cluster_key, *state_folder, *preview_listen, *preview_url;
    const char *frame_listen, *frame_address, *record_folder, *cache, *hash_file, *deliver,
        *log_level;
    int64_t segment_seconds, viewers_max, window_mib, cache_mib, frame_latency_ms;
    int64_t silent_seconds, black_seconds, frozen_seconds;
} settings;

static const struct setting table[] = {
    {"name", SETTING_TEXT, "NAME", NULL, 0, 0, "this node's name; the host's name by default",
     &settings.name},
    {"coordinators", SETTING_TEXT, "HOST:PORT,...", "127.0.0.1:7700", 0, 0,
     "control addresses of the coordinators", &settings.coordinators},
    {"cluster-key", SETTING_TEXT, "FILE", "/etc/vistter/cluster.key", 0, 0,
     "key file that all nodes of the cluster share; readable by its owner only",
     &settings.cluster_key},
    {"state-folder", SETTING_TEXT, "FOLDER", "/var/lib/vistter/edge", 0, 0,
     "where the newest desired state is kept, sealed", &settings.state_folder},
    {"preview-listen", SETTING_TEXT, "HOST:PORT", "127.0.0.1:8090", 0, 0,
     "where browsers fetch previews; empty for none", &settings.preview_listen},
    {"preview-url", SETTING_TEXT, "URL", "", 0, 0,
     "how browsers reach preview-listen; http://HOST:PORT by default", &settings.preview_url},
    {"viewers-max", SETTING_INTEGER, "N", "32", 1, 1000, "viewers of previews at a time",
     &settings.viewers_max},
    {"record-folder", SETTING_TEXT, "FOLDER", "/var/lib/vistter/recordings", 0, 0,
     "folder of recordings that name none of their own", &settings.record_folder},
    {"segment-seconds", SETTING_INTEGER, "S", "900", 2, 86400, "length of a recording's files",
     &settings.segment_seconds},
    {"window-mib", SETTING_INTEGER, "MiB", "1024", 16, 65536,
     "memory for frames held ahead, per plan", &settings.window_mib},
    {"cache", SETTING_TEXT, "FOLDER", "/var/cache/vistter-edge", 0, 0,
     "folder for fetched media (slates)", &settings.cache},
    {"cache-size", SETTING_INTEGER, "MiB", "2048", 64, 1 << 30, "largest size of that folder",
     &settings.cache_mib},
    {"frame-listen", SETTING_TEXT, "HOST:PORT", "127.0.0.1:0", 0, 0,
     "where coded packets are given to other edges' publishers (SRT, UDP); port 0: any",
     &settings.frame_listen},
    {"frame-address", SETTING_TEXT, "HOST:PORT", "", 0, 0,
     "the same as others reach it, when it differs", &settings.frame_address},
    {"frame-latency", SETTING_INTEGER, "ms", "120", 20, 2000,
     "SRT latency of frame links; at least four round trips", &settings.frame_latency_ms},
    {"hash-file", SETTING_TEXT, "FILE", "", 0, 0,
     "writes checksums of every mixed frame of every channel to this file", &settings.hash_file},
    {"silent-seconds", SETTING_INTEGER, "S", "10", 0, 86400,
     "an output below -60 dBFS for so long is an alarm; 0: none", &settings.silent_seconds},
    {"black-seconds", SETTING_INTEGER, "S", "5", 0, 86400,
     "an output that is black for so long is an alarm; 0: none", &settings.black_seconds},
    {"frozen-seconds", SETTING_INTEGER, "S", "10", 0, 86400,
     "an output whose picture stands still for so long is an alarm; 0: none",
     &settings.frozen_seconds},
    {"deliver", SETTING_TEXT, "FILE", NULL, 0, 0,
     "the delivery program; vistter-deliver beside this one by default", &settings.deliver},
    {"log-level", SETTING_TEXT, "LEVEL", "info", 0, 0, "error, warning, info or debug",
     &settings.log_level},
    {0},
};

// What the control link's thread leaves for the main thread, packed: the newest state, and the
// newest renewal, which comes after it.
#define MAILS 2
static struct mailbox {
    pthread_mutex_t lock;
    int wake_fd;
    struct mail {
        uint8_t *bytes;
        size_t size;
    } mails[MAILS];
} mailbox = {.lock = PTHREAD_MUTEX_INITIALIZER};

struct edge {
    struct outlet_hub *hub;
    struct outlet *preview;
    struct relay *relay;
    struct links *links;
    struct media_cache *cache;
    struct reaper *reaper;
    struct state_file *state_file;
    struct state *state;
    struct control_client *client;
    uint8_t key[CLUSTER_KEY_BYTES];
    int signal_fd;
    char preview_url[256];
};

static void on_state(void *opaque, const desired_state_message *message)
{
    (void)opaque;
    size_t size = vistter__control__v1__desired_state__get_packed_size(message);
    uint8_t *bytes = malloc(size ? size : 1);
    if (!bytes || size > CONTROL_MESSAGE_BYTES_MAX) {
        free(bytes);
        return; // the coordinator sends it again
    }
    vistter__control__v1__desired_state__pack(message, bytes);
    pthread_mutex_lock(&mailbox.lock);
    struct mail *mail = &mailbox.mails[message->renewal != NULL];
    free(mail->bytes);
    *mail = (struct mail){bytes, size};
    pthread_mutex_unlock(&mailbox.lock);
    uint64_t one = 1;
    ssize_t written = write(mailbox.wake_fd, &one, sizeof one);
    (void)written; // full means that a wake is already pending
}

static void empty_mailbox(struct edge *e)
{
    uint64_t count;
    ssize_t got = read(mailbox.wake_fd, &count, sizeof count);
    (void)got; // only empties the counter
    struct mail mails[MAILS];
    pthread_mutex_lock(&mailbox.lock);
    memcpy(mails, mailbox.mails, sizeof mails);
    memset(mailbox.mails, 0, sizeof mailbox.mails);
    pthread_mutex_unlock(&mailbox.lock);
    for (int i = 0; i < MAILS; i++) {
        if (mails[i].bytes) // refusals are reported, old ones ignored
            (void)state_apply(e->state, mails[i].bytes, mails[i].size, true);
        free(mails[i].bytes);
    }
}

static int create_parts(struct edge *e, struct diagnostic *reterr)
{
    bool preview = *settings.preview_listen;
    const char *deliver = settings.deliver && *settings.deliver ? settings.deliver : NULL;
    // The hub looks for publishers that have outlived an edge with this state folder.
    int result = cluster_key_read(settings.cluster_key, e->key, reterr);
    if (!result)
        result =
            state_file_create(settings.state_folder, settings.name, e->key, &e->state_file, reterr);
    if (!result)
        result = outlet_hub_create(deliver, settings.state_folder, &e->hub, reterr);
    if (!result)
        result = relay_create(settings.frame_listen, settings.frame_address, &e->relay, reterr);
    if (result)
        return result;
    if (preview) {
        e->preview = outlet_create(e->hub, "preview");
        snprintf(e->preview_url, sizeof e->preview_url, "%s%s",
                 *settings.preview_url ? "" : "http://",
                 *settings.preview_url ? settings.preview_url : settings.preview_listen);
    }
    e->links = links_create(settings.name, (int)settings.frame_latency_ms);
    struct media_cache_config cache = {settings.cache, settings.cache_mib << 20};
    result = media_cache_create(&cache, &e->cache, reterr);
    if (!result && (result = reaper_create(&e->reaper)))
        diagnostic_set(reterr, result, "thread", "", "no thread: %s", strerror(-result));
    if (result)
        return result;
    struct channel_config config = {
        .links = e->links,
        .cache = e->cache,
        .outputs = {.hub = e->hub,
                    .relay = e->relay,
                    .node = settings.name,
                    .frame_latency_ms = (int)settings.frame_latency_ms,
                    .preview = e->preview,
                    .reaper = e->reaper,
                    .preview_listen = settings.preview_listen,
                    .record_folder = settings.record_folder,
                    .segment_seconds = (int)settings.segment_seconds,
                    .viewers_max = (int)settings.viewers_max},
        .window_bytes = (size_t)settings.window_mib << 20,
        .hash_file = settings.hash_file,
        .watch = {.silent_seconds = (int)settings.silent_seconds,
                  .black_seconds = (int)settings.black_seconds,
                  .frozen_seconds = (int)settings.frozen_seconds},
        .ledger_folder = settings.state_folder,
    };
    e->state = state_create(settings.name, e->state_file, &config);
    publish_start(&e->state->publish, settings.name, clock_monotonic_ns());
    return 0;
}

static int connect_control(struct edge *e, struct diagnostic *reterr)
{
    struct control_client_config config = {
        .addresses = settings.coordinators, .node = settings.name, .on_state = on_state};
    memcpy(config.key, e->key, sizeof config.key);
    int result = control_client_create(&config, &e->client, reterr);
    explicit_bzero(config.key, sizeof config.key);
    explicit_bzero(e->key, sizeof e->key);
    return result;
}

// All mix threads are asked: what each has done is looked at here.
static const char *hung_part(struct edge *e, int64_t now_ns)
{
    const char *hung = NULL;
    for (int i = 0; i < e->state->channel_count; i++)
        if (channel_hung(e->state->channels[i].channel, now_ns))
            hung = "a channel's mix thread";
    return hung;
}

static void tend_load(struct edge *e, struct load *load)
{
    struct channel *channels[STATE_CHANNELS_MAX];
    for (int i = 0; i < e->state->channel_count; i++)
        channels[i] = e->state->channels[i].channel;
    load_tend(load, channels, e->state->channel_count, clock_monotonic_ns());
}

static void run(struct edge *e)
{
    struct watchdog watchdog;
    struct load load;
    struct report_context context = {
        .preview_url = e->preview_url, .preview = e->preview, .relay = e->relay, .load = &load};
    load_init(&load, e->preview);
    int64_t next = clock_monotonic_ns(), log_at = next + LINKS_LOG_NS;
    watchdog_init(&watchdog);
    watchdog_ready();
    for (;;) {
        struct pollfd fds[] = {{.fd = e->signal_fd, .events = POLLIN},
                               {.fd = mailbox.wake_fd, .events = POLLIN}};
        int64_t left = next - clock_monotonic_ns();
        (void)poll(fds, 2, left > 0 ? (int)(left / 1000000) + 1 : 0);
        if (fds[0].revents) {
            watchdog_stopping();
            return;
        }
        if (fds[1].revents)
            empty_mailbox(e);
        if (clock_monotonic_ns() < next)
            continue;
        next = clock_monotonic_ns() + REPORT_NS;
        for (int i = 0; i < e->state->channel_count; i++)
            channel_tend(e->state->channels[i].channel);
        tend_load(e, &load);
        (void)report_send(e->client, e->state, &context); // lost when nobody is there
        watchdog_tend(&watchdog, hung_part(e, clock_monotonic_ns()), clock_monotonic_ns());
        if (next >= log_at) {
            links_log(e->links);
            log_at = next + LINKS_LOG_NS;
        }
    }
}

// In reverse: no more states, then the channels, whose last packets the reaper sees through to the
// outlets.
static void destroy_parts(struct edge *e)
{
    control_client_destroy(&e->client);
    if (e->hub)
        outlet_hub_leave(e->hub);
    state_destroy(&e->state);
    reaper_destroy(&e->reaper);
    state_file_destroy(&e->state_file);
    links_destroy(&e->links);
    relay_destroy(&e->relay);
    media_cache_destroy(&e->cache);
    outlet_destroy(&e->preview);
    outlet_hub_destroy(&e->hub);
    for (int i = 0; i < MAILS; i++) {
        if (mailbox.mails[i].bytes)
            explicit_bzero(mailbox.mails[i].bytes, mailbox.mails[i].size);
        free(mailbox.mails[i].bytes);
    }
}

static int block_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int main(int argc, char **argv)
{
    struct diagnostic d = {0};
    struct edge e = {0};
    char host[64] = "edge", text[768];
    if (settings_load(table, "vistter-edge [settings]",
                      "Mixes, encodes and delivers the channels that a coordinator places here.",
                      argc, argv, NULL, NULL, &d))
        goto fail;
    if (!settings.name || !*settings.name) {
        (void)gethostname(host, sizeof host - 1); // keeps "edge" when it fails
        settings.name = host;
    }
    if (log_set_level_name(settings.log_level)) {
        diagnostic_set(&d, -EINVAL, "setting_value", "log-level", "no such level");
        goto fail;
    }
    (void)prctl(PR_SET_DUMPABLE, 0); // stream keys and link keys are in memory
    av_log_set_level(AV_LOG_ERROR);
    e.signal_fd = block_signals();
    mailbox.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (create_parts(&e, &d) || connect_control(&e, &d))
        goto fail;
    int resumed = state_resume(e.state);
    if (resumed && resumed != -ENOENT)
        log_warning("state_resume", "error=\"%s\"", strerror(-resumed));
    log_info("edge_start", "name=%s version=%s", settings.name, VISTTER_VERSION);
    run(&e);
    destroy_parts(&e);
    nursery_close();
    log_info("stopped", "pictures_outstanding=%" PRId64 " packets_outstanding=%" PRId64,
             picture_outstanding(), packet_outstanding());
    return EXIT_SUCCESS;
fail:
    fprintf(stderr, "vistter-edge: %s\n", diagnostic_format(&d, text, sizeof text));
    destroy_parts(&e);
    return EXIT_FAILURE;
}
