// Vocabulary of the delivery tests: packets of the test programme, outlets that get them, files
// that come out. Included once per test.
#pragma once

#include "edge/deliver/outlet.h"
#include "edge/encode/rendition.h"
#include "engine/base/clock.h"
#include "tests/check.h"
#include "tests/edge/media_file.h"
#include "tests/edge/programme.h"

#include <dirent.h>
#include <libavutil/log.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECONDS 12
#define SPEED   2 // media seconds per second

static struct rate rate = {30000, 1001};
static struct packet *packets[8192];
static int packet_count;
static struct deliver_setup setup;
static char folder[64];

// Runs a command in the folder; its exit status, -1 when it was killed.
static inline int shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline int shell(const char *format, ...)
{
    char rest[2048], command[2400];
    va_list list;
    va_start(list, format);
    vsnprintf(rest, sizeof rest, format, list);
    va_end(list);
    snprintf(command, sizeof command, "cd %s && %s", folder, rest);
    int status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static inline void on_packet(void *opaque, struct packet *packet)
{
    (void)opaque;
    packets[packet_count++] = packet;
}

static inline void make_packets(void)
{
    struct rendition_config config = {
        .name = "test",
        .width = 640,
        .height = 360,
        .video_bitrate = 800000,
        .audio_bitrate = 128000,
        .gop_frames = 60,
        .rate = rate,
        .preset = "veryfast",
        .on_packet = on_packet,
    };
    struct rendition *r = NULL;
    CHECK_OK(rendition_create(&config, &r, NULL));
    int64_t base = 30 * 86400 * 365; // a year on air
    for (int64_t n = base; n < base + SECONDS * 30; n++) {
        struct rendition_stats stats;
        do { // the encoder must not drop here: wait for its queue
            clock_sleep_until_ns(clock_monotonic_ns() + 1000000);
            rendition_stats(r, &stats);
        } while (n - base > 30 && (int64_t)stats.frames + 30 < n - base);
        struct programme_frame *f = test_programme(rate, 640, 360, n);
        rendition_push(r, f);
        programme_frame_unref(&f);
    }
    size_t size;
    const uint8_t *bytes = rendition_video_extradata(r, &size);
    setup = (struct deliver_setup){.width = 640,
                                   .height = 360,
                                   .rate = rate,
                                   .video_bitrate = 800000,
                                   .audio_bitrate = 128000};
    setup.video_extradata_size = (uint32_t)size;
    memcpy(setup.video_extradata, bytes, size);
    bytes = rendition_audio_extradata(r, &size);
    setup.audio_extradata_size = (uint32_t)size;
    memcpy(setup.audio_extradata, bytes, size);
    rendition_destroy(&r);
    int video = 0;
    for (int i = 0; i < packet_count; i++)
        video += packets[i]->stream == PACKET_VIDEO;
    CHECK(video, ==, SECONDS * 30);
}

// Finds the only file in `sub` that ends with `suffix`; returns whether there is one.
static inline bool find_file(const char *sub, const char *suffix, char *ret, size_t size)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, sub);
    DIR *dir = opendir(path);
    struct dirent *entry;
    int count = 0;
    while (dir && (entry = readdir(dir))) {
        size_t length = strlen(entry->d_name), tail = strlen(suffix);
        if (length > tail && !strcmp(entry->d_name + length - tail, suffix)) {
            snprintf(ret, size, "%s/%s", path, entry->d_name);
            count++;
        }
    }
    if (dir)
        closedir(dir);
    return count == 1;
}

// ---- Feeding -----------------------------------------------------------------------------------

static inline struct outlet *open_outlet(struct outlet_hub *hub, enum deliver_kind kind,
                                         const char *label, const char *url)
{
    struct outlet *o = outlet_create(hub, label);
    struct deliver_setup s = setup;
    s.kind = kind;
    s.programme = 7;
    snprintf(s.name, sizeof s.name, "demo");
    snprintf(s.url, sizeof s.url, "%s", url);
    outlet_set_programme(o, &s);
    return o;
}

static inline void wait_state(struct outlet *o, enum deliver_state state)
{
    struct deliver_report report;
    for (int i = 0; i < 3000; i++) {
        outlet_report(o, &report);
        if (report.state == state)
            return;
        clock_sleep_until_ns(clock_monotonic_ns() + 10000000);
    }
    CHECK(report.state, ==, state);
}

// Gives packets [from, to) to all outlets at SPEED times their own pace.
static inline void play(struct outlet *const *outlets, int count, int from, int to)
{
    int64_t start = clock_monotonic_ns();
    const struct packet *zero = NULL;
    for (int i = from; i < to; i++) {
        const struct packet *p = packets[i];
        if (p->stream == PACKET_VIDEO) {
            zero = zero ? zero : p;
            int64_t at = rate_frame_time_ns(rate, p->dts) - rate_frame_time_ns(rate, zero->dts);
            clock_sleep_until_ns(start + at / SPEED);
        }
        for (int k = 0; k < count; k++)
            outlet_push(outlets[k], 7, p);
    }
}

// The first `to` packets once more, as those of a later time: a publisher's packets never go back.
static inline void play_later(struct outlet *o, int to, int round)
{
    struct packet *kept[8192];
    memcpy(kept, packets, sizeof kept);
    int64_t shift[] = {[PACKET_VIDEO] = (int64_t)round * SECONDS * 30,
                       [PACKET_AUDIO] = rate_first_sample(rate, (int64_t)round * SECONDS * 30)};
    for (int i = 0; i < to; i++) {
        struct packet *p = packets[i] = packet_create(kept[i]->size);
        CHECK_TRUE(p != NULL);
        memcpy(p->data, kept[i]->data, p->size);
        p->stream = kept[i]->stream;
        p->key = kept[i]->key;
        p->pts = kept[i]->pts + shift[p->stream];
        p->dts = kept[i]->dts + shift[p->stream];
        p->duration = kept[i]->duration;
    }
    play(&o, 1, 0, to);
    for (int i = 0; i < to; i++)
        packet_unref(&packets[i]);
    memcpy(packets, kept, sizeof kept);
}

static inline int key_after(int from)
{
    while (from < packet_count && !(packets[from]->stream == PACKET_VIDEO && packets[from]->key))
        from++;
    return from;
}

static inline int pictures_between(int from, int to)
{
    int count = 0;
    for (int i = from; i < to; i++)
        count += packets[i]->stream == PACKET_VIDEO;
    return count;
}

static inline void check_good(const char *what, const char *path, int pictures)
{
    struct media_file m;
    CHECK_OK(media_file_read(path, &m));
    double offset = media_file_offset_ms(&m);
    fprintf(stderr,
            "%s: %d pictures, %d keys, %d flashes, A/V offset %.2f ms, steps %.2f..%.2f ms\n", what,
            m.video_frames, m.keys, m.flash_count, offset, m.step_min * 1000, m.step_max * 1000);
    CHECK(m.decode_errors, ==, 0);
    CHECK_TRUE(m.dts_rises);
    CHECK(m.video_frames, ==, pictures);
    CHECK(m.longest_silence_packets, ==, 0);
    CHECK_TRUE(m.step_min * 1000 > 32 && m.step_max * 1000 < 35);
    CHECK(m.flash_count, >=, pictures / 30 - 1);
    CHECK_TRUE(offset <= 5);
    char command[700], line[512] = "";
    snprintf(command, sizeof command, "timeout 60 ffmpeg -v error -i '%s' -f null - 2>&1", path);
    FILE *out = popen(command, "r");
    if (!fgets(line, sizeof line, out))
        line[0] = 0;
    CHECK_TEXT(line, "");
    CHECK_OK(pclose(out));
}

static inline void wait_bytes(struct outlet *o, uint64_t bytes)
{
    struct deliver_report report = {0};
    for (int i = 0; i < 3000 && report.bytes < bytes; i++) {
        clock_sleep_until_ns(clock_monotonic_ns() + 10000000);
        outlet_report(o, &report);
    }
    CHECK(report.bytes, >=, bytes);
}

static inline struct outlet_hub *delivery_begin(const char *program)
{
    av_log_set_level(AV_LOG_QUIET);
    snprintf(folder, sizeof folder, "/tmp/vistter-deliver-test-XXXXXX");
    CHECK_TRUE(mkdtemp(folder));
    make_packets();
    struct outlet_hub *hub = NULL;
    CHECK_OK(outlet_hub_create(program, NULL, &hub, NULL));
    return hub;
}

static inline int delivery_end(struct outlet_hub **hub)
{
    outlet_hub_destroy(hub);
    for (int i = 0; i < packet_count; i++)
        packet_unref(&packets[i]);
    CHECK(packet_outstanding(), ==, 0);
    CHECK(picture_outstanding(), ==, 0);
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    if (!check_failures)
        CHECK_OK(system(command));
    else
        fprintf(stderr, "files are kept in %s\n", folder);
    return check_end();
}
