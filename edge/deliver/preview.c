// Previews in the browser: endless fragmented MP4 over HTTP, several programmes on one port.
//
//   GET /preview/<channel name or number>.mp4
//
// Each programme has one muxer; its fragments (about five a second, and one at each key frame) go
// into a ring that all viewers read at their own pace. A viewer starts with the init segment and
// the newest key frame; one that falls out of the ring goes on at the newest key frame. Nobody
// waits for a viewer. Threads: `sink` muxes; civetweb has one thread per viewer, which waits for
// fragments and blocks in its own socket, ten seconds at most.
#include "edge/deliver/preview_ring.h"
#include "edge/deliver/sink.h"
#include "engine/base/clock.h"
#include "engine/base/thread.h"

#include <civetweb.h>
#include <errno.h>
#include <libavformat/avformat.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROGRAMMES_MAX 32
#define FRAGMENT_MS    200
#define RETRY_NS       INT64_C(2000000000)

struct programme {
    struct deliver_setup setup;
    struct preview_ring *ring;
    AVFormatContext *context;
    int64_t base, fragment_start; // frames
    int64_t last_dts[2];
    bool fragment_open, fragment_key;
};

struct preview {
    // -- constant after create
    struct feed *feed;
    struct status *status;
    // -- sink thread
    struct mg_context *server;
    int64_t retry_ns;
    AVPacket *packet;
    // -- written by the sink thread under lock, read by viewers under lock
    pthread_mutex_t lock;
    struct programme programmes[PROGRAMMES_MAX];
    int programme_count;
    int viewers_max;
    // -- atomic
    atomic_int viewers;
};

// ---- Viewers (civetweb's threads) --------------------------------------------------------------

// Gives a reference to the ring that the path names.
static struct preview_ring *find_ring(struct preview *p, const char *path)
{
    char name[256];
    static const char prefix[] = "/preview/";
    size_t length = strlen(path);
    if (strncmp(path, prefix, sizeof prefix - 1) || length < sizeof prefix + 4 ||
        strcmp(path + length - 4, ".mp4") || length - sizeof prefix - 3 >= sizeof name)
        return NULL;
    snprintf(name, sizeof name, "%.*s", (int)(length - 4 - (sizeof prefix - 1)),
             path + sizeof prefix - 1);
    struct preview_ring *ring = NULL;
    pthread_mutex_lock(&p->lock);
    for (int i = 0; i < p->programme_count && !ring; i++) {
        const struct deliver_setup *setup = &p->programmes[i].setup;
        char number[32];
        snprintf(number, sizeof number, "%llu", (unsigned long long)setup->programme);
        if (!strcmp(name, setup->name) || !strcmp(name, number))
            ring = preview_ring_ref(p->programmes[i].ring);
    }
    pthread_mutex_unlock(&p->lock);
    return ring;
}

static int refuse(struct mg_connection *connection, int status, const char *reason,
                  const char *text)
{
    mg_printf(connection,
              "HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n"
              "Cache-Control: no-store\r\nConnection: close\r\n\r\n%s",
              status, reason, strlen(text), text);
    return status;
}

static void show(struct preview *p, struct mg_connection *connection, struct preview_ring *ring)
{
    int64_t next = -1;
    for (;;) {
        struct preview_bytes *bytes = NULL;
        int result = preview_ring_next(ring, &next, 1000, &bytes);
        if (result == -EPIPE)
            break;
        if (result == -EAGAIN)
            continue;
        size_t size;
        const uint8_t *data = preview_bytes_data(bytes, &size);
        int written = mg_write(connection, data, size);
        preview_bytes_unref(&bytes);
        if (written < (int)size)
            break;
        status_add(p->status, size, 0);
    }
}

static int on_request(struct mg_connection *connection, void *opaque)
{
    struct preview *p = opaque;
    const struct mg_request_info *request = mg_get_request_info(connection);
    bool head = !strcmp(request->request_method, "HEAD");
    if (!head && strcmp(request->request_method, "GET"))
        return refuse(connection, 405, "Method Not Allowed", "only GET is known here\n");
    struct preview_ring *ring = find_ring(p, request->local_uri);
    if (!ring)
        return refuse(connection, 404, "Not Found", "no such channel has a preview here\n");
    int status = 200;
    if (atomic_fetch_add(&p->viewers, 1) >= p->viewers_max) {
        status = refuse(connection, 503, "Service Unavailable", "too many viewers\n");
    } else {
        // Public by design of the console: another origin may read the picture, nothing else.
        mg_printf(connection, "HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\n"
                              "Access-Control-Allow-Origin: *\r\nCache-Control: no-store\r\n"
                              "Connection: close\r\n\r\n");
        if (!head)
            show(p, connection, ring);
    }
    atomic_fetch_sub(&p->viewers, 1);
    preview_ring_unref(&ring);
    return status;
}

// ---- Muxing (sink thread) ----------------------------------------------------------------------

static void *preview_create(struct feed *feed, struct status *status)
{
    struct preview *p = base_alloc(sizeof *p);
    p->feed = feed;
    p->status = status;
    p->packet = av_packet_alloc();
    p->viewers_max = 32;
    pthread_mutex_init(&p->lock, NULL);
    mg_init_library(MG_FEATURES_DEFAULT);
    return p;
}

static void start_server(struct preview *p, const struct deliver_setup *setup)
{
    if (setup->viewers_max > 0)
        p->viewers_max = setup->viewers_max;
    char threads[16];
    snprintf(threads, sizeof threads, "%d", p->viewers_max + 4);
    const char *options[] = {"listening_ports",
                             setup->url,
                             "num_threads",
                             threads,
                             "request_timeout_ms",
                             "10000",
                             "access_control_allow_origin",
                             "",
                             "enable_directory_listing",
                             "no",
                             "tcp_nodelay",
                             "1",
                             NULL};
    const struct mg_callbacks callbacks = {0};
    p->server = mg_start(&callbacks, p, options);
    p->retry_ns = clock_monotonic_ns() + RETRY_NS;
    if (!p->server) {
        status_error(p->status, "the preview cannot listen on %s; is the port in use?", setup->url);
        status_set(p->status, DELIVER_WAITING);
        return;
    }
    mg_set_request_handler(p->server, "/", on_request, p);
    status_error(p->status, "%s", "");
    status_set(p->status, DELIVER_LIVE);
}

static struct programme *find_programme(struct preview *p, uint64_t id)
{
    for (int i = 0; i < p->programme_count; i++)
        if (p->programmes[i].setup.programme == id)
            return &p->programmes[i];
    return NULL;
}

static void close_muxer(struct programme *g)
{
    if (g->context && g->context->pb) {
        uint8_t *rest = NULL;
        avio_close_dyn_buf(g->context->pb, &rest);
        av_free(rest);
        g->context->pb = NULL;
    }
    avformat_free_context(g->context);
    g->context = NULL;
}

static void preview_clear(void *sink, uint64_t programme)
{
    struct preview *p = sink;
    struct programme *g = find_programme(p, programme);
    if (!g)
        return;
    preview_ring_close(g->ring);
    close_muxer(g);
    pthread_mutex_lock(&p->lock);
    preview_ring_unref(&g->ring);
    *g = p->programmes[--p->programme_count];
    pthread_mutex_unlock(&p->lock);
}

// Takes what the muxer has written so far. NULL: nothing.
static struct preview_bytes *take_output(struct programme *g)
{
    uint8_t *bytes = NULL;
    avio_flush(g->context->pb);
    int size = avio_close_dyn_buf(g->context->pb, &bytes);
    g->context->pb = NULL;
    struct preview_bytes *taken = size > 0 ? preview_bytes_create(bytes, (size_t)size) : NULL;
    av_free(bytes);
    if (avio_open_dyn_buf(&g->context->pb) < 0)
        close_muxer(g);
    return taken;
}

static int open_muxer(struct programme *g)
{
    if (avformat_alloc_output_context2(&g->context, NULL, "mp4", NULL) < 0)
        return -ENOMEM;
    int result = sink_add_streams(g->context, &g->setup);
    if (!result && avio_open_dyn_buf(&g->context->pb) < 0)
        result = -ENOMEM;
    AVDictionary *options = NULL;
    av_dict_set(&options, "movflags", "empty_moov+default_base_moof+frag_custom", 0);
    if (!result && avformat_write_header(g->context, &options) < 0)
        result = -EIO;
    av_dict_free(&options);
    if (result) {
        close_muxer(g);
        return result;
    }
    struct preview_bytes *init = take_output(g);
    preview_ring_set_init(g->ring, &init);
    g->base = INT64_MIN;
    g->last_dts[0] = g->last_dts[1] = INT64_MIN;
    g->fragment_open = false;
    return 0;
}

static void preview_setup(void *sink, const struct deliver_setup *setup)
{
    struct preview *p = sink;
    if (!p->server)
        start_server(p, setup);
    preview_clear(p, setup->programme);
    if (p->programme_count == PROGRAMMES_MAX)
        return;
    struct programme g = {.setup = *setup, .ring = preview_ring_create()};
    if (open_muxer(&g)) {
        status_error(p->status, "the preview of %s cannot be made", setup->name);
        preview_ring_unref(&g.ring);
        return;
    }
    pthread_mutex_lock(&p->lock);
    p->programmes[p->programme_count++] = g;
    pthread_mutex_unlock(&p->lock);
}

static void end_fragment(struct programme *g)
{
    if (!g->fragment_open || !g->context)
        return;
    g->fragment_open = false;
    if (av_write_frame(g->context, NULL) < 0)
        return; // nothing comes out; viewers go on with the next
    struct preview_bytes *bytes = take_output(g);
    if (bytes)
        preview_ring_add(g->ring, &bytes, g->fragment_key);
}

static void preview_packet(void *sink, uint64_t programme, const struct packet *packet)
{
    struct preview *p = sink;
    struct programme *g = find_programme(p, programme);
    if (!g || !g->context)
        return;
    bool video = packet->stream == PACKET_VIDEO, key = video && packet->key;
    if (g->base == INT64_MIN) {
        if (!key)
            return;
        g->base = packet->dts;
    }
    int64_t length = muldiv_floor(FRAGMENT_MS, g->setup.rate.num, g->setup.rate.den * 1000);
    if (video && (key || packet->dts - g->fragment_start >= (length > 0 ? length : 1)))
        end_fragment(g);
    if (!g->context)
        return;
    sink_fill_packet(g->context, &g->setup, packet, g->base, p->packet);
    if (p->packet->dts < 0 || p->packet->dts <= g->last_dts[packet->stream])
        return; // sound from before the key frame
    g->last_dts[packet->stream] = p->packet->dts;
    if (video && !g->fragment_open) {
        g->fragment_open = true;
        g->fragment_key = key;
        g->fragment_start = packet->dts;
    }
    if (av_write_frame(g->context, p->packet) < 0)
        status_error(p->status, "a packet of %s does not fit the preview", g->setup.name);
}

static void preview_idle(void *sink)
{
    struct preview *p = sink;
    if (!p->server && p->programme_count && clock_monotonic_ns() >= p->retry_ns)
        start_server(p, &p->programmes[0].setup);
}

static void preview_destroy(void *sink)
{
    struct preview *p = sink;
    for (int i = 0; i < p->programme_count; i++)
        preview_ring_close(p->programmes[i].ring);
    if (p->server)
        mg_stop(p->server); // joins the viewers' threads
    while (p->programme_count)
        preview_clear(p, p->programmes[0].setup.programme);
    mg_exit_library();
    av_packet_free(&p->packet);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

const struct sink_ops sink_preview_ops = {
    .create = preview_create,
    .setup = preview_setup,
    .clear = preview_clear,
    .packet = preview_packet,
    .idle = preview_idle,
    .destroy = preview_destroy,
};
