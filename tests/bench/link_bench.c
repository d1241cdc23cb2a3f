// A frame link at its work: link_bench VIDEO PICTURES FRAMES. Codes an opaque 1080p group, seals it
// and sends it over SRT on loopback, opens and decodes it, at 30 frames a second; VIDEO is raw
// yuv420p, PICTURES of them, shown in turn. Prints one JSON object: processor milliseconds a frame
// of all threads, milliseconds from before the coding until after the decoding (median, 99th
// percentile), Mbit/s.
#include <math.h>
#include <pthread.h>

#include "engine/base/clock.h"
#include "engine/frame/sound.h"
#include "engine/link/frame_link.h"
#include "engine/receive/payload.h"
#include "tests/bench/bench.h"
#include "worker/render/coder.h"

#define WIDTH        1920
#define HEIGHT       1080
#define PICTURES_MAX 64
#define FRAMES_MAX   3000
#define FRAME_NS     (INT64_C(1000000000) / 30)

static const uint8_t key[LINK_KEY_BYTES] = {1, 2, 3};
static const struct rate rate = {30, 1};
static struct group_frame *groups[PICTURES_MAX];
static int picture_count, frame_count;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct frame_peer *peer;
static int received;
static int64_t sent_at[FRAMES_MAX];
static double latency[FRAMES_MAX];
static uint64_t bytes;

static bool link_key(void *opaque, const char *consumer, const char *link_id,
                     uint8_t ret_key[LINK_KEY_BYTES])
{
    (void)opaque, (void)consumer, (void)link_id;
    memcpy(ret_key, key, LINK_KEY_BYTES);
    return true;
}

static void on_want(void *opaque, struct frame_peer *from, const struct frame_want *want)
{
    (void)opaque, (void)want;
    pthread_mutex_lock(&lock);
    if (!peer)
        peer = frame_peer_ref(from);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void on_gone(void *opaque, struct frame_peer *from)
{
    (void)opaque, (void)from;
}

static void on_frame(void *opaque, const struct frame_header *header, struct frame_body *body)
{
    (void)opaque;
    struct group_frame *group = NULL;
    int32_t *stem = NULL;
    if (payload_decode(body, WIDTH, HEIGHT, NULL, rate_sample_count(rate, header->frame), &group,
                       &stem))
        die("a frame does not decode");
    int64_t now = clock_monotonic_ns();
    if (header->frame < picture_count && !group_frame_equal(group, groups[header->frame]))
        die("a frame came out as another");
    pthread_mutex_lock(&lock);
    latency[received++] = (double)(now - sent_at[header->frame]) / 1e6;
    bytes += body->size;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    group_frame_unref(&group);
    free(stem);
    frame_body_unref(&body);
}

static void on_state(void *opaque, bool connected)
{
    (void)opaque, (void)connected;
}

static void groups_read(const char *path)
{
    FILE *file = fopen(path, "rb");
    struct group_builder *builder = group_builder_create(WIDTH, HEIGHT);
    if (!file)
        die(path);
    for (int n = 0; n < picture_count; n++) {
        struct picture *p = picture_create(PICTURE_OPAQUE, WIDTH, HEIGHT);
        for (int i = 0; i < 3; i++)
            for (int y = 0; y < plane_height(p, i); y++)
                if (fread(p->plane[i] + y * p->stride[i], (size_t)plane_width(p, i), 1, file) != 1)
                    die("the file is too short");
        group_builder_begin(builder, p);
        if (group_builder_finish(builder, &groups[n]))
            die("no memory");
        picture_unref(&p);
    }
    group_builder_destroy(&builder);
    fclose(file);
}

static void send_frames(void)
{
    static const int32_t silence[SOUND_CHANNELS * 1600];
    struct coder *coder = coder_create(WIDTH, HEIGHT, rate, NULL);
    int64_t start = clock_monotonic_ns();
    for (int n = 0; n < frame_count; n++) {
        clock_sleep_until_ns(start + n * FRAME_NS);
        struct coder_input in = {n, groups[n % picture_count], .sound = silence};
        struct coded_frame coded = {0};
        sent_at[n] = clock_monotonic_ns();
        coder_restart(coder); // as where everything moves
        if (coder_frame(coder, &in, &coded))
            die("no memory");
        struct frame_header header = {.kind = FRAME_MESSAGE_PICTURE,
                                      .channel = 1,
                                      .group = 1,
                                      .frame = n,
                                      .base_frame = coded.base,
                                      .width = WIDTH,
                                      .height = HEIGHT};
        if (frame_peer_send(peer, &header, coded.payload, coded.size))
            die("the link takes no frame");
        free(coded.payload);
    }
    coder_destroy(&coder);
}

int main(int argc, char **argv)
{
    if (argc != 4)
        die("VIDEO PICTURES FRAMES");
    picture_count = atoi(argv[2]);
    frame_count = atoi(argv[3]);
    if (picture_count < 1 || picture_count > PICTURES_MAX || frame_count < 1 ||
        frame_count > FRAMES_MAX)
        die("numbers out of range");
    groups_read(argv[1]);
    struct frame_server *server = NULL;
    struct frame_client *client = NULL;
    struct frame_server_config provider = {.listen = "127.0.0.1:0",
                                           .link_key = link_key,
                                           .on_want = on_want,
                                           .on_gone = on_gone,
                                           .srt_only = true};
    if (frame_server_create(&provider, &server, NULL))
        die("no listener");
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%d", frame_server_port(server));
    struct frame_client_config consumer = {.address = address,
                                           .consumer = "edge",
                                           .link_id = "link",
                                           .latency_ms = 20,
                                           .on_frame = on_frame,
                                           .on_state = on_state};
    memcpy(consumer.key, key, LINK_KEY_BYTES);
    if (frame_client_create(&consumer, &client, NULL))
        die("no client");
    frame_client_want(client, &(struct frame_want){.channel = 1, .group = 1, .credit = FRAMES_MAX});
    pthread_mutex_lock(&lock);
    while (!peer)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    double start = cpu_ms();
    send_frames();
    pthread_mutex_lock(&lock);
    while (received < frame_count)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    double spent = (cpu_ms() - start) / frame_count;
    frame_peer_unref(&peer);
    frame_client_destroy(&client);
    frame_server_destroy(&server);
    double middle = median(latency, frame_count);
    printf("{\"cpu\":%.3f,\"latency\":%.1f,\"latency_p99\":%.1f,\"rate\":%.1f}\n", spent, middle,
           latency[(int)ceil(0.99 * frame_count) - 1], (double)bytes * 240 / 1e6 / frame_count);
    return EXIT_SUCCESS;
}
