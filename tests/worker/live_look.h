// What a camera shows of a log, frame by frame, for tests of live sources. Included once per test.
#pragma once

#include "engine/frame/sound.h"
#include "engine/live/camera.h"
#include "engine/live/log.h"
#include "tests/worker/live_media.h"

#define SECOND_NS INT64_C(1000000000)
#define DELAY_NS  INT64_C(400000000)
#define HOLD_NS   INT64_C(500000000)

static char log_path[192]; // of the source that is looked at
static int64_t epoch_ns;   // of the channel that shows it

#define FRAMES_MAX 600

struct shown {
    int result;
    enum show_state state;
    int64_t number; // of the picture; -1: cannot be read, or there is none
    int width;
    uint64_t picture, sound, content;
};

// The unit that a picture came from, by what the camera calls its content.
static inline uint32_t seq_of(uint64_t content)
{
    return (uint32_t)content;
}

static struct camera *open_camera(struct rate rate)
{
    struct camera *camera = NULL;
    struct camera_config config = {log_path, rate, epoch_ns, DELAY_NS, HOLD_NS};
    CHECK_OK(camera_open(&config, &camera, NULL));
    return camera;
}

static struct shown look(struct camera *camera, struct rate rate, int64_t n, int32_t *sound)
{
    struct shown s = {.number = -1};
    struct picture *picture = NULL;
    s.result = camera_picture(camera, n, &picture, &s.content, &s.state, NULL);
    if (!s.result) {
        s.number = read_number(picture);
        s.width = picture->width;
        s.picture = picture_checksum(picture);
    }
    picture_unref(&picture);
    if (!camera_sound(camera, n, sound, NULL))
        s.sound = sound_checksum(sound, rate_sample_count(rate, n));
    return s;
}

static struct shown all[FRAMES_MAX];
static int broken; // pictures among them whose number cannot be read
static int32_t heard[FRAMES_MAX * 1920 * 2];

static inline int look_at_all(struct rate rate, int count)
{
    struct camera *camera = open_camera(rate);
    int live = 0;
    broken = 0;
    for (int n = 0; n < count; n++) {
        all[n] = look(camera, rate, n, heard + (ptrdiff_t)n * 1920 * 2);
        live += all[n].state == SHOW_LIVE;
        broken += !all[n].result && all[n].number < 0;
    }
    camera_destroy(&camera);
    return live;
}

// Whoever begins somewhere else has the same bits, forwards and backwards.
static inline void check_other_readers(struct rate rate, int count)
{
    static int32_t sound[48000 * 2];
    for (int from = 3; from < count - 12; from += 29) {
        struct camera *camera = open_camera(rate);
        for (int k = 0; k < 12; k++) {
            struct shown s = look(camera, rate, from + k, sound);
            CHECK(s.result, ==, all[from + k].result);
            CHECK(s.state, ==, all[from + k].state);
            CHECK_TRUE(s.picture == all[from + k].picture);
            CHECK_TRUE(s.content == all[from + k].content);
            CHECK_TRUE(s.sound == all[from + k].sound);
        }
        struct shown back = look(camera, rate, from, sound);
        CHECK_TRUE(back.picture == all[from].picture);
        CHECK_TRUE(back.sound == all[from].sound);
        camera_destroy(&camera);
    }
}

// Consecutive pictures from the first to the last live one; returns how many. What arrived before
// the source's clock was known comes at once: the first ones may be among it.
static inline int check_consecutive(int count)
{
    int numbers = 0;
    int64_t last = -1;
    for (int n = 0; n < count; n++)
        last = all[n].state == SHOW_LIVE ? all[n].number : last;
    for (int n = 0; n < count; n++) {
        if (all[n].state != SHOW_LIVE)
            continue;
        // The last one stands until it is known that no other comes.
        if (numbers > 3 && all[n - 1].state == SHOW_LIVE && all[n - 1].number != last)
            CHECK(all[n].number, ==, all[n - 1].number + 1);
        numbers++;
    }
    return numbers;
}

// Farm times of pictures by seq, from the log.
static int64_t times[20000];

static inline void read_times(void)
{
    struct live_reader *reader;
    struct unit u;
    int64_t done[UNIT_STREAMS] = {INT64_MIN, INT64_MIN}, newest_sample = 0;
    uint32_t gen = 0;
    memset(times, 0, sizeof times);
    CHECK_OK(live_reader_open(log_path, &reader, NULL));
    while (!live_reader_next(reader, &u)) {
        if (u.kind == UNIT_DATA) {
            CHECK(u.chan_ns, >, done[u.stream]); // nobody can have looked there yet
            if (u.stream == UNIT_PICTURE && u.seq < 20000)
                times[u.seq] = u.chan_ns;
        }
        if (u.gen != gen)
            newest_sample = 0;
        gen = u.gen;
        if (u.kind == UNIT_DATA && u.stream == UNIT_SOUND)
            newest_sample = u.index;
        if (u.kind == UNIT_MAP && !(u.flags & UNIT_AGAIN) && u.index)
            CHECK(u.index - newest_sample, >=, 48000);
        CHECK(u.done_ns, >=, done[u.stream]);
        done[u.stream] = u.done_ns;
    }
    live_reader_close(&reader);
}

// Each beep is heard when the picture that begins its second is to be seen.
static inline void check_sync(int count)
{
    int beeps = 0;
    int64_t quiet = 0;
    for (int64_t i = 0; i < (int64_t)count * 1920; i++, quiet++) {
        if (abs(heard[2 * i]) < SOUND_FULL_SCALE / 8)
            continue;
        if (quiet > 24000) {
            int64_t at_ns = epoch_ns - DELAY_NS + i * SECOND_NS / 48000, best = SECOND_NS;
            for (int n = 0; n < count; n++)
                if (!all[n].result && all[n].number % CLIP_RATE == 0 &&
                    llabs(times[seq_of(all[n].content)] - at_ns) < llabs(best))
                    best = times[seq_of(all[n].content)] - at_ns;
            CHECK(llabs(best), <=, 5000000);
            beeps++;
        }
        quiet = 0;
    }
    CHECK(beeps, >=, 3);
}

// The tone is there all the time, from the first picture to the last: at the joints of blocks too.
// 10 ms are three of its periods.
static inline void check_tone(int count)
{
    int first = 0, last = count - 1, pieces = 0;
    while (first < count && all[first].state != SHOW_LIVE)
        first++;
    while (last > first && all[last].state != SHOW_LIVE)
        last--;
    for (int64_t i = (int64_t)(first + 15) * 1920; i + 480 <= (int64_t)(last - 5) * 1920;
         i += 480) {
        double power = 0;
        for (int k = 0; k < 480; k++)
            power += (double)heard[2 * (i + k)] * heard[2 * (i + k)];
        double level = power / 480 / (0.5 * 0.02 * 0.02 * SOUND_FULL_SCALE * SOUND_FULL_SCALE);
        CHECK_TRUE(level > 0.6);
        CHECK_TRUE(level < 1.6 || level > 100); // or a beep
        pieces++;
    }
    CHECK(pieces, >=, 200);
}
