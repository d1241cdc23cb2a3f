// Encoding: GOPs depend on their pictures alone, time stamps rise also over gaps, sound is on the
// sample. With --bench: pictures a second with several GOPs at once.
#include "edge/encode/rendition.h"
#include "engine/base/clock.h"
#include "engine/frame/sound.h"
#include "tests/check.h"
#include "tests/edge/programme.h"

#include <errno.h>
#include <libavcodec/avcodec.h>
#include <libavutil/cpu.h>
#include <libavutil/log.h>
#include <math.h>
#include <unistd.h>

#define PACKETS_MAX 4096

struct catch
{
    struct packet *packets[PACKETS_MAX];
    int count;
};

static void on_packet(void *opaque, struct packet *packet)
{
    struct catch *c = opaque;
    if (c->count < PACKETS_MAX)
        c->packets[c->count++] = packet;
    else
        packet_unref(&packet);
}

static void release(struct catch *c)
{
    for (int i = 0; i < c->count; i++)
        packet_unref(&c->packets[i]);
    c->count = 0;
}

static struct video_encoder *open_encoder(struct catch *c, const char *preset)
{
    struct video_encoder_config config = {
        .width = 320,
        .height = 180,
        .rate = {30000, 1001},
        .bitrate = 400000,
        .gop_frames = 30,
        .preset = preset,
        .on_packet = on_packet,
        .opaque = c,
    };
    struct video_encoder *e = NULL;
    struct diagnostic d = {0};
    CHECK_OK(video_encoder_create(&config, &e, &d));
    return e;
}

static void encode(struct video_encoder *e, int64_t from, int64_t to, int64_t leave_out)
{
    for (int64_t n = from; n < to; n++) {
        if (n == leave_out)
            continue;
        struct programme_frame *f = test_programme((struct rate){30000, 1001}, 320, 180, n);
        CHECK_OK(video_encoder_picture(e, n, f->picture));
        programme_frame_unref(&f);
    }
    CHECK_OK(video_encoder_drain(e));
}

static int first_at(const struct catch *c, int64_t pts)
{
    for (int i = 0; i < c->count; i++)
        if (c->packets[i]->pts == pts)
            return i;
    return -1;
}

// An encoder that started elsewhere, with other pictures before, gives the same bytes from the next
// GOP on. Frame numbers are those of a channel that has run for years.
static void test_purity(void)
{
    static struct catch a, b;
    int64_t base = INT64_C(9000000000);
    struct video_encoder *first = open_encoder(&a, "veryfast");
    struct video_encoder *second = open_encoder(&b, "veryfast");
    encode(first, base, base + 120, -1);
    encode(second, base + 47, base + 120, -1);
    int i = first_at(&a, base + 60), j = first_at(&b, base + 60);
    CHECK(i, >=, 0);
    CHECK(j, >=, 0);
    CHECK(a.count - i, ==, 60);
    CHECK(b.count - j, ==, 60);
    for (int k = 0; i >= 0 && j >= 0 && i + k < a.count && j + k < b.count; k++) {
        const struct packet *p = a.packets[i + k], *q = b.packets[j + k];
        CHECK(p->size, ==, q->size);
        CHECK(p->pts, ==, q->pts);
        CHECK(p->dts, ==, q->dts);
        CHECK(p->key, ==, q->key);
        if (p->size == q->size)
            CHECK_BYTES(p->data, q->data, p->size);
    }
    size_t size_a, size_b;
    const uint8_t *x = video_encoder_extradata(first, &size_a);
    const uint8_t *y = video_encoder_extradata(second, &size_b);
    CHECK(size_a, ==, size_b);
    CHECK_BYTES(x, y, size_a);
    static const uint8_t start_of_sps[] = {0, 0, 0, 1, 0x67}; // H.264 table 7-1: type 7
    CHECK_BYTES(x, start_of_sps, sizeof start_of_sps);
    release(&a);
    release(&b);
    video_encoder_destroy(&first);
    video_encoder_destroy(&second);
}

// A rendition that scales, with sound: all that is encoded on the way to a destination.
static void encode_noise(struct catch *c, int lanes)
{
    struct rendition_config config = {.name = "test",
                                      .width = 320,
                                      .height = 180,
                                      .video_bitrate = 400000,
                                      .audio_bitrate = 128000,
                                      .gop_frames = 6,
                                      .rate = {25, 1},
                                      .preset = "medium",
                                      .lanes = lanes,
                                      .on_packet = on_packet,
                                      .opaque = c};
    struct rendition *r = NULL;
    CHECK_OK(rendition_create(&config, &r, NULL));
    uint64_t seed = 1;
    for (int n = 0; n < 40; n++) { // fewer than the queue holds
        struct programme_frame *f = test_programme(config.rate, 640, 360, n);
        for (int y = 0; y < 360; y++) // noise that moves, so that motion search has work
            for (int x = 0; x < 640; x += 4)
                f->picture->plane[0][y * f->picture->stride[0] + (x + 3 * n) % 640] =
                    (uint8_t)(16 + check_random(&seed) % 200);
        for (int i = 0; i < 2 * f->sample_count; i++)
            f->samples[i] = (int32_t)(check_random(&seed) % 8000000) - 4000000;
        rendition_push(r, f);
        programme_frame_unref(&f);
    }
    rendition_destroy(&r);
}

static void check_same(const struct catch *a, const struct catch *b)
{
    CHECK(a->count, ==, b->count);
    for (int k = 0; k < a->count && k < b->count; k++) {
        const struct packet *p = a->packets[k], *q = b->packets[k];
        CHECK(p->stream, ==, q->stream);
        CHECK(p->pts, ==, q->pts);
        CHECK(p->dts, ==, q->dts);
        CHECK(p->size, ==, q->size);
        CHECK_BYTES(p->data, q->data, p->size < q->size ? p->size : q->size);
    }
}

// Several GOPs at once: the same packets in the same order.
static void test_lanes(void)
{
    static struct catch one, several;
    encode_noise(&one, 1);
    for (int lanes = 2; lanes <= GOP_LANES_MAX; lanes++) {
        encode_noise(&several, lanes);
        check_same(&several, &one);
        release(&several);
    }
    release(&one);
}

// The same bytes without FFmpeg's assembly, without x264's, and with older instructions of each.
static void test_processors(void)
{
    static const struct {
        const char *x264;
        int ffmpeg;
    } levels[] = {{"c", 0}, {"avx2", AV_CPU_FLAG_SSE2}, {"c", -1}, {"avx2", -1}};
    static struct catch reference, other;
    encode_noise(&reference, 1);
    CHECK(reference.count, >, 100);
    for (int i = 0; i < 4; i++) {
        setenv("VISTTER_CPU", levels[i].x264, 1);
        av_force_cpu_flags(levels[i].ffmpeg);
        encode_noise(&other, 1);
        check_same(&other, &reference);
        release(&other);
    }
    unsetenv("VISTTER_CPU");
    av_force_cpu_flags(-1);
    release(&reference);
}

// Four GOPs at 400 kbit/s: what is hard takes no more, what is easy not much less.
static void test_rate(bool hard)
{
    static struct catch c;
    struct video_encoder *e = open_encoder(&c, "veryfast");
    uint64_t seed = 1;
    double bits[4] = {0};
    for (int64_t n = 0; n < 120; n++) {
        struct programme_frame *f = test_programme((struct rate){30000, 1001}, 320, 180, n);
        for (int y = 0; hard && y < 180; y++)
            for (int x = 0; x < 320; x++)
                f->picture->plane[0][y * f->picture->stride[0] + x] =
                    (uint8_t)(100 + check_random(&seed) % 32);
        CHECK_OK(video_encoder_picture(e, n, f->picture));
        programme_frame_unref(&f);
    }
    CHECK_OK(video_encoder_drain(e));
    for (int i = 0; i < c.count; i++)
        bits[c.packets[i]->pts / 30] += 8 * (double)c.packets[i]->size;
    double full = 400000 * 1.001; // what the rate gives to a GOP
    for (int g = 0; g < 4; g++) {
        CHECK(bits[g], <=, full);
        CHECK(bits[g], >=, 0.8 * full);
    }
    release(&c);
    video_encoder_destroy(&e);
}

static void check_times(const struct catch *c, int64_t base, int frames, int64_t left_out)
{
    bool seen[512] = {0};
    CHECK(c->count, ==, frames - (left_out >= 0));
    for (int i = 0; i < c->count; i++) {
        const struct packet *p = c->packets[i];
        CHECK(p->dts, <=, p->pts);
        if (i)
            CHECK(p->dts, >, c->packets[i - 1]->dts);
        CHECK(p->key, ==, p->pts % 30 == 0 || p->pts == left_out + 1);
        seen[p->pts - base] = true;
    }
    for (int i = 0; i < frames; i++)
        CHECK(seen[i], ==, base + i != left_out);
}

static void test_times(void)
{
    static const char *const presets[] = {"ultrafast", "veryfast", "medium"};
    static struct catch c;
    for (int i = 0; i < 3; i++) {
        // Left out: nothing; inside a GOP; just after the key; the key itself.
        static const int64_t left_out[] = {-1, 617, 631, 630};
        for (int j = 0; j < 4; j++) {
            struct video_encoder *e = open_encoder(&c, presets[i]);
            encode(e, 600, 690, left_out[j]);
            bool key_lost = left_out[j] == 630;
            if (!key_lost)
                for (int k = 0; k < c.count; k++)
                    CHECK(c.packets[k]->key, ==, c.packets[k]->pts % 30 == 0);
            else
                check_times(&c, 600, 90, 630);
            for (int k = 1; k < c.count; k++)
                CHECK(c.packets[k]->dts, >, c.packets[k - 1]->dts);
            CHECK(c.count, ==, left_out[j] < 0 ? 90 : 89);
            release(&c);
            video_encoder_destroy(&e);
        }
    }
    struct video_encoder *e = open_encoder(&c, "veryfast");
    struct programme_frame *f = test_programme((struct rate){30, 1}, 320, 180, 5);
    CHECK_OK(video_encoder_picture(e, 5, f->picture));
    CHECK_ERROR(video_encoder_picture(e, 5, f->picture), -EINVAL);
    programme_frame_unref(&f);
    release(&c);
    video_encoder_destroy(&e);
    release(&c);
}

static void test_refusals(void)
{
    struct video_encoder *e = NULL;
    struct diagnostic d = {0};
    struct video_encoder_config config = {
        .width = 321, .height = 180, .rate = {30, 1}, .bitrate = 400000, .gop_frames = 30};
    CHECK_ERROR(video_encoder_create(&config, &e, &d), -EINVAL);
    CHECK_TEXT(d.code, "rendition_size");
    config.width = 320;
    config.preset = "nonsense";
    CHECK_ERROR(video_encoder_create(&config, &e, &d), -EINVAL);
    CHECK_TEXT(d.code, "encoder_refused");
    config.gop_frames = 0;
    CHECK_ERROR(video_encoder_create(&config, &e, &d), -EINVAL);
    CHECK_TRUE(e == NULL);
}

// Packets are on the grid of 1024 samples wherever the encoder starts, over gaps as well.
static void test_audio(void)
{
    static struct catch c;
    struct audio_encoder_config config = {.bitrate = 128000, .on_packet = on_packet, .opaque = &c};
    struct audio_encoder *e = NULL;
    CHECK_OK(audio_encoder_create(&config, &e, NULL));
    static int32_t samples[2 * 48000];
    int64_t at = 100000; // 97 * 1024 = 99328 < at < 98 * 1024 = 100352
    CHECK_OK(audio_encoder_sound(e, at, samples, 48000));
    CHECK(c.count, >, 0);
    CHECK(c.packets[0]->pts, ==, 100352 - 1024);
    CHECK_OK(audio_encoder_sound(e, at + 60000, samples, 48000)); // a gap of 12000
    CHECK_OK(audio_encoder_sound(e, at + 90000, samples, 48000)); // an overlap of 18000
    for (int i = 1; i < c.count; i++)
        CHECK(c.packets[i]->pts - c.packets[i - 1]->pts, ==, 1024);
    int before = c.count;
    // A long gap: packets go on, on the grid again, and never go back.
    CHECK_OK(audio_encoder_sound(e, at + 48000 * 60, samples, 48000));
    CHECK(c.count, >, before);
    for (int i = before; i < c.count; i++)
        CHECK(c.packets[i]->pts, >, c.packets[i - 1]->pts);
    CHECK((c.packets[c.count - 1]->pts % 1024), ==, 0);
    size_t size;
    const uint8_t *extradata = audio_encoder_extradata(e, &size);
    CHECK(size, >=, 2);
    CHECK(extradata[0] >> 3, ==, 2); // AAC-LC, ISO 14496-3 table 1.1
    release(&c);
    audio_encoder_destroy(&e);
}

// Something between music and speech: tones that slide, noise, and clicks: each third of a second,
// and where one encoder follows another (short blocks on both sides).
static void sound_fill(int32_t *samples, int64_t first, int count)
{
    for (int i = 0; i < count; i++) {
        int64_t n = first + i;
        uint64_t noise = (uint64_t)n * UINT64_C(0x9e3779b97f4a7c15);
        double t = (double)(n % 480000) / 48000;
        double value = 0.2 * sin(6.2831853 * (300 + 20 * t) * t) + 0.1 * sin(6.2831853 * 2750 * t);
        value += 0.02 * ((double)(noise >> 40) / (1 << 24) - 0.5) +
                 (n % 16000 < 40 || (n + 700) % 131072 < 40 ? 0.5 : 0);
        samples[2 * i] = samples[2 * i + 1] = (int32_t)(value * SOUND_FULL_SCALE);
    }
}

static void encode_sound(struct catch *c, int64_t from, int64_t to, int piece)
{
    static int32_t samples[2 * 4800];
    struct audio_encoder_config config = {.bitrate = 160000, .on_packet = on_packet, .opaque = c};
    struct audio_encoder *e = NULL;
    CHECK_OK(audio_encoder_create(&config, &e, NULL));
    for (int64_t at = from; at < to; at += piece) {
        sound_fill(samples, at, piece);
        CHECK_OK(audio_encoder_sound(e, at, samples, piece));
    }
    audio_encoder_destroy(&e);
}

// An encoder that begins later gives the same packets from its second block on, however its sound
// is cut into pieces.
static void test_audio_purity(void)
{
    static struct catch a, b;
    encode_sound(&a, 1000000, 1000000 + 480000, 1920);
    encode_sound(&b, 1150000, 1000000 + 480000, 1601);
    int compared = 0;
    int64_t pure_from = (1150000 / (128 * 1024) + 1) * (128 * 1024);
    for (int i = 0, k = 0; i < a.count && k < b.count;) {
        if (a.packets[i]->pts != b.packets[k]->pts) {
            a.packets[i]->pts < b.packets[k]->pts ? i++ : k++;
            continue;
        }
        if (a.packets[i]->pts >= pure_from) {
            CHECK(a.packets[i]->size, ==, b.packets[k]->size);
            CHECK_BYTES(a.packets[i]->data, b.packets[k]->data, b.packets[k]->size);
            compared++;
        }
        i++, k++;
    }
    CHECK(compared, >, 200);
    for (int i = 1; i < a.count; i++)
        CHECK(a.packets[i]->pts - a.packets[i - 1]->pts, ==, 1024);
    release(&a);
    release(&b);
}

enum { BLOCK = 128, JOINT_FRAMES = 4 * BLOCK };

// The noise of each coded frame, by FFmpeg's decoder, against what was said from sample `first` on.
static void measure_noise(const AVCodecContext *encoder, const struct catch *c, int64_t first,
                          double noise[JOINT_FRAMES])
{
    static int32_t said[2 * 1024];
    AVCodecContext *d = avcodec_alloc_context3(avcodec_find_decoder_by_name("aac"));
    AVPacket *packet = av_packet_alloc();
    AVFrame *frame = av_frame_alloc();
    d->extradata = av_mallocz((size_t)encoder->extradata_size + AV_INPUT_BUFFER_PADDING_SIZE);
    memcpy(d->extradata, encoder->extradata, (size_t)encoder->extradata_size);
    d->extradata_size = encoder->extradata_size;
    CHECK(avcodec_open2(d, NULL, NULL), ==, 0);
    for (int i = 0; i < c->count && check_failures < 5; i++) {
        packet->data = c->packets[i]->data;
        packet->size = (int)c->packets[i]->size;
        packet->pts = c->packets[i]->pts;
        CHECK(avcodec_send_packet(d, packet), ==, 0);
        CHECK(avcodec_receive_frame(d, frame), ==, 0);
        int64_t at = frame->pts;
        if (at < first || (at - first) / 1024 >= JOINT_FRAMES)
            continue;
        sound_fill(said, at, 1024);
        const float *left = (const float *)(const void *)frame->data[0];
        for (int k = 0; k < 1024; k++) {
            double error = (double)left[k] - (double)said[2 * k] / SOUND_FULL_SCALE;
            noise[(at - first) / 1024] += error * error;
        }
    }
    packet->data = NULL;
    packet->size = 0;
    av_packet_free(&packet);
    av_frame_free(&frame);
    avcodec_free_context(&d);
}

// FFmpeg's encoder, one all along.
static AVCodecContext *encode_reference(struct catch *c, int64_t from, int64_t to)
{
    static int32_t said[2 * 1024];
    AVCodecContext *e = avcodec_alloc_context3(avcodec_find_encoder_by_name("aac"));
    AVFrame *frame = av_frame_alloc();
    AVPacket *packet = av_packet_alloc();
    e->sample_rate = frame->sample_rate = 48000;
    e->sample_fmt = AV_SAMPLE_FMT_FLTP;
    frame->format = e->sample_fmt;
    e->ch_layout = (AVChannelLayout)AV_CHANNEL_LAYOUT_STEREO;
    e->bit_rate = 160000;
    e->time_base = (AVRational){1, 48000};
    e->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    CHECK(avcodec_open2(e, NULL, NULL), ==, 0);
    frame->nb_samples = 1024;
    CHECK(av_channel_layout_copy(&frame->ch_layout, &e->ch_layout), ==, 0);
    CHECK(av_frame_get_buffer(frame, 0), ==, 0);
    for (int64_t at = from; at < to; at += 1024) {
        CHECK(av_frame_make_writable(frame), ==, 0);
        sound_fill(said, at, 1024);
        for (int k = 0; k < 2; k++)
            for (int i = 0; i < 1024; i++)
                ((float *)(void *)frame->data[k])[i] = (float)said[2 * i + k] / SOUND_FULL_SCALE;
        frame->pts = at;
        CHECK(avcodec_send_frame(e, frame), ==, 0);
        while (avcodec_receive_packet(e, packet) >= 0) {
            struct packet *p = packet_create((size_t)packet->size);
            memcpy(p->data, packet->data, p->size);
            p->pts = packet->pts;
            on_packet(c, p);
            av_packet_unref(packet);
        }
    }
    av_packet_free(&packet);
    av_frame_free(&frame);
    return e;
}

// Where one encoder follows another, what is heard is as near to what was said as with one all
// along: the decoder's overlap of the two blocks fits, also over a click.
static void test_audio_joints(void)
{
    static struct catch a, b;
    static double ours[JOINT_FRAMES], reference[JOINT_FRAMES];
    const int64_t first = BLOCK * 1024; // a packet is decoded to the samples that begin at its pts
    encode_sound(&a, first, first + JOINT_FRAMES * 1024, 1024);
    AVCodecContext *e = encode_reference(&b, first, first + JOINT_FRAMES * 1024);
    measure_noise(e, &a, first, ours);
    measure_noise(e, &b, first, reference);
    avcodec_free_context(&e);
    double sum = 0, reference_sum = 0, joints = 0, reference_joints = 0;
    for (int i = BLOCK / 2; i < JOINT_FRAMES - 2; i++) {
        bool joint = i % BLOCK < 2 || i % BLOCK > BLOCK - 3;
        sum += ours[i];
        reference_sum += reference[i];
        joints += joint ? ours[i] : 0;
        reference_joints += joint ? reference[i] : 0;
        if (joint)
            CHECK_TRUE(ours[i] < 2 * reference[i] + 0.02);
    }
    printf("noise against one encoder all along: %.3f, at the joints %.3f\n", sum / reference_sum,
           joints / reference_joints);
    CHECK_TRUE(joints < 1.25 * reference_joints);
    CHECK_TRUE(sum < 1.05 * reference_sum);
    release(&a);
    release(&b);
}

// One that nobody needs for a while takes nothing, counts nothing, and goes on with a key picture.
static void test_idle(void)
{
    static struct catch c;
    struct rendition_config config = {.name = "test",
                                      .width = 320,
                                      .height = 180,
                                      .video_bitrate = 400000,
                                      .audio_bitrate = 128000,
                                      .gop_frames = 50,
                                      .rate = {25, 1},
                                      .preset = "ultrafast",
                                      .on_packet = on_packet,
                                      .opaque = &c};
    struct rendition_stats stats = {0};
    struct rendition *r = NULL;
    CHECK_OK(rendition_create(&config, &r, NULL));
    for (int n = 0; n < 90; n++) {
        if (n == 30) // all of these are through
            while (stats.frames < 30)
                rendition_stats(r, &stats);
        rendition_set_idle(r, n >= 30 && n < 60);
        struct programme_frame *f = test_programme(config.rate, 320, 180, n);
        rendition_push(r, f);
        programme_frame_unref(&f);
    }
    while (stats.frames < 60)
        rendition_stats(r, &stats);
    CHECK(stats.dropped + stats.failed, ==, 0);
    rendition_destroy(&r);
    bool seen[90] = {0};
    for (int i = 0; i < c.count; i++) {
        const struct packet *p = c.packets[i];
        if (p->stream != PACKET_VIDEO)
            continue;
        seen[p->pts] = true;
        CHECK(p->key, ==, p->pts == 0 || p->pts == 60);
    }
    for (int n = 0; n < 90; n++)
        CHECK(seen[n], ==, n < 30 || n >= 60);
    release(&c);
}

// The rendition's stream is ordered by time, complete, and keeps sound when pictures are dropped.
static void test_rendition(void)
{
    static struct catch c;
    struct rate rate = {25, 1};
    struct rendition_config config = {
        .name = "test",
        .width = 320, // scaled from 640x360
        .height = 180,
        .video_bitrate = 400000,
        .audio_bitrate = 128000,
        .gop_frames = 50,
        .rate = rate,
        .preset = "ultrafast",
        .on_packet = on_packet,
        .opaque = &c,
    };
    struct rendition *r = NULL;
    CHECK_OK(rendition_create(&config, &r, NULL));
    enum { FRAMES = 40 }; // below the queue's bound: nothing may be lost
    for (int n = 0; n < FRAMES; n++) {
        struct programme_frame *f = test_programme(rate, 640, 360, n);
        rendition_push(r, f);
        programme_frame_unref(&f);
    }
    rendition_destroy(&r);
    int video = 0, audio = 0;
    double last = -1;
    for (int i = 0; i < c.count; i++) {
        const struct packet *p = c.packets[i];
        double seconds = p->stream == PACKET_VIDEO ? (double)p->dts / 25 : (double)p->dts / 48000;
        CHECK_TRUE(seconds >= last - 0.050); // one video frame of play at the end of the queue
        last = seconds > last ? seconds : last;
        p->stream == PACKET_VIDEO ? video++ : audio++;
    }
    CHECK(video, ==, FRAMES);
    CHECK(audio, >=, (FRAMES * 1920 - LIMITER_DELAY) / 1024 - 1);
    release(&c);
}

static void bench_lanes(int lanes)
{
    static struct catch c;
    enum { FRAMES = 240, WIDTH = 1920, HEIGHT = 1080, KEPT = 30 };
    struct rendition_config config = {.name = "bench",
                                      .width = WIDTH,
                                      .height = HEIGHT,
                                      .video_bitrate = 6000000,
                                      .audio_bitrate = 128000,
                                      .gop_frames = 30,
                                      .rate = {30, 1},
                                      .preset = "veryfast",
                                      .lanes = lanes,
                                      .on_packet = on_packet,
                                      .opaque = &c};
    struct rendition *r = NULL;
    if (rendition_create(&config, &r, NULL))
        return;
    uint64_t seed = 1;
    struct picture *pictures[KEPT];
    for (int i = 0; i < KEPT; i++) {
        pictures[i] = picture_create(PICTURE_OPAQUE, WIDTH, HEIGHT);
        uint8_t colour[4] = {40, 128, 128, 255};
        picture_fill(pictures[i], colour);
        for (int y = 0; y < HEIGHT; y += 2) // some texture that moves
            for (int x = 0; x < WIDTH; x += 8)
                pictures[i]->plane[0][y * pictures[i]->stride[0] + (x + i * 2) % WIDTH] =
                    (uint8_t)(40 + check_random(&seed) % 60);
    }
    int64_t start = clock_monotonic_ns();
    struct rendition_stats stats = {0};
    for (int n = 0; n < FRAMES; n++) {
        struct programme_frame *f = programme_frame_create(n, 1600 * (int64_t)n, 1600);
        f->picture = picture_ref(pictures[n % KEPT]);
        while (n - (int64_t)stats.frames > 40) { // what the queue holds
            usleep(1000);
            rendition_stats(r, &stats);
        }
        rendition_push(r, f);
        programme_frame_unref(&f);
    }
    rendition_destroy(&r);
    printf("1080p veryfast, %d at once: %.1f pictures a second\n", lanes,
           FRAMES / ((double)(clock_monotonic_ns() - start) / 1e9));
    for (int i = 0; i < KEPT; i++)
        picture_unref(&pictures[i]);
    release(&c);
}

static int bench(void)
{
    for (int lanes = 1; lanes <= GOP_LANES_MAX; lanes *= 2)
        bench_lanes(lanes);
    return 0;
}

int main(int argc, char **argv)
{
    av_log_set_level(AV_LOG_ERROR);
    if (argc > 1 && !strcmp(argv[1], "--bench"))
        return bench();
    test_purity();
    test_processors();
    test_lanes();
    test_rate(false);
    test_rate(true);
    test_times();
    test_refusals();
    test_audio();
    test_audio_purity();
    test_audio_joints();
    test_idle();
    test_rendition();
    CHECK(picture_outstanding(), ==, 0);
    CHECK(packet_outstanding(), ==, 0);
    return check_end();
}
