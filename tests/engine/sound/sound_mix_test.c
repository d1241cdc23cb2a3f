// The sound mixer: which samples a frame reads, gain, pan, speed, loop, nesting, tones and beeps.
#include "engine/frame/sound.h"
#include "engine/media/media.h"
#include "engine/sound/mix.h"

#include "tests/check.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <unistd.h>

static char folder[] = "/tmp/mix-test-XXXXXX";
static const struct rate rates[] = {{25, 1}, {30000, 1001}, {30, 1}, {60000, 1001}};

static int resolve(void *opaque, const char *uri, char *path, struct diagnostic *reterr)
{
    (void)opaque;
    if (!strcmp(uri, "file:missing"))
        return diagnostic_set(reterr, -ENOENT, "asset_missing", "/here/missing.wav", "is gone");
    snprintf(path, PATH_MAX, "%s/%s", folder, uri + strlen("file:"));
    return 0;
}
static const struct asset_resolver resolver = {resolve, NULL};

// Sample k is (k + 1) / 2^23 at the left and its negative at the right: quantised, it is k + 1.
// `lufs` is what its facts say; NAN: they do not.
static void write_ramp(const char *name, int count, double lufs)
{
    char path[PATH_MAX];
    float *samples = malloc((size_t)count * 2 * sizeof *samples);
    for (int i = 0; i < count; i++) {
        samples[2 * i] = (float)(i + 1) / SOUND_FULL_SCALE;
        samples[2 * i + 1] = -samples[2 * i];
    }
    snprintf(path, sizeof path, "%s/%s.sound", folder, name);
    FILE *file = fopen(path, "w");
    CHECK(fwrite(samples, 2 * sizeof *samples, (size_t)count, file), ==, count);
    fclose(file);
    free(samples);
    struct media_info info = {.container = "wav",
                              .sound_codec = "pcm",
                              .rate = {0, 1},
                              .duration = rational_make(count, SAMPLE_RATE_HZ),
                              .sample_count = count,
                              .loudness_known = !isnan(lufs),
                              .loudness_lufs = lufs,
                              .true_peak_dbtp = lufs};
    memset(info.sha256, '0', 64);
    char *json = media_info_format(&info);
    snprintf(path, sizeof path, "%s/%s.json", folder, name);
    file = fopen(path, "w");
    fputs(json, file);
    fclose(file);
    free(json);
}

static const char *loudness = "", *inner_loudness = ""; // a field of the timeline

static const char inner_json[] =
    "{%s\"schema\": \"vistter.timeline/1\", \"format\": {\"width\": 64, \"height\": 36, \"rate\": "
    "\"25\"}, \"assets\": {\"a\": "
    "\"file:long\"}, "
    "\"tracks\": [{\"clips\": [{\"kind\": \"audio\", \"asset\": \"a\", \"start\": 0, "
    "\"duration\": 1000}]}]}";

static int load(void *opaque, const char *uri, char **ret_bytes, size_t *ret_size,
                struct diagnostic *reterr)
{
    (void)opaque;
    (void)uri;
    (void)reterr;
    *ret_size = (size_t)asprintf(ret_bytes, inner_json, inner_loudness);
    return 0;
}

// A timeline of 25 frames a second with the given clips, one per track.
static struct timeline *timeline_of(const char *rate, const char *const *clips, int count)
{
    char json[4096];
    int length = snprintf(
        json, sizeof json,
        "{%s\"schema\": \"vistter.timeline/1\", \"format\": {\"width\": 64, "
        "\"height\": 36, \"rate\": \"%s\"}, "
        "\"assets\": {\"a\": \"file:long\", \"s\": \"file:short\", \"m\": \"file:missing\", "
        "\"p\": \"file:picture\", \"q\": \"file:silent\", \"f\": \"file:faint\", "
        "\"n\": \"file:nested\"}, \"tracks\": [",
        loudness, rate);
    for (int i = 0; i < count; i++)
        length += snprintf(json + length, sizeof json - (size_t)length, "%s{\"clips\": [{%s}]}",
                           i ? ", " : "", clips[i]);
    snprintf(json + length, sizeof json - (size_t)length, "]}");
    struct timeline *timeline = NULL;
    struct diagnostic d = {0};
    CHECK_OK(timeline_parse(json, strlen(json), load, NULL, &timeline, &d));
    if (!timeline) {
        fprintf(stderr, "%s: %s\n", d.path, d.text);
        exit(check_end());
    }
    return timeline;
}

static int32_t frame[SAMPLE_RATE_HZ * SOUND_CHANNELS];
static int problems;
static struct diagnostic first;

// One frame of one clip, at 25 frames a second.
static void mix_one(const char *clip, int64_t n)
{
    struct timeline *t = timeline_of("25", &clip, 1);
    struct sound_mixer *m = sound_mixer_create(t, t->rate, &resolver, NULL);
    memset(frame, 0x55, sizeof frame);
    problems = sound_mixer_frame(m, n, n, 0, 1, frame, &first);
    sound_mixer_destroy(&m);
    timeline_unref(&t);
}

// 1000 frames of each rate read consecutive samples, from several channel frames on.
static void test_continuity(void)
{
    static const char *const names[] = {"25", "30000/1001", "30", "60000/1001"};
    static const int64_t offsets[] = {0, 1, 2, 3, 4, 1234567, 2589408001};
    const char *clip = "\"kind\": \"audio\", \"asset\": \"a\", \"start\": 7, \"duration\": 2000";
    for (size_t r = 0; r < 4; r++)
        for (size_t o = 0; o < sizeof offsets / sizeof offsets[0]; o++) {
            struct timeline *t = timeline_of(names[r], &clip, 1);
            struct sound_mixer *m = sound_mixer_create(t, rates[r], &resolver, NULL);
            int64_t next = 0;
            int jumps = 0;
            for (int64_t n = 7; n < 1007; n++) {
                problems = sound_mixer_frame(m, n, n + offsets[o], 0, 1, frame, NULL);
                int count = rate_sample_count(rates[r], n + offsets[o]);
                if (n == 7) { // may start up to one sample late
                    CHECK(frame[0], >=, 0);
                    CHECK(frame[0], <=, 1);
                    next = frame[0];
                }
                for (int i = 0; i < count; i++, next++)
                    jumps += frame[2 * i] != next || frame[2 * i + 1] != -next;
            }
            CHECK(jumps, ==, 0);
            sound_mixer_destroy(&m);
            timeline_unref(&t);
        }
}

static void test_gain_and_pan(void)
{
#define AUDIO "\"kind\": \"audio\", \"asset\": \"a\", \"start\": 0, \"duration\": 100"
    mix_one(AUDIO, 10);
    CHECK(frame[0], ==, 19201); // 10 frames of 1920 samples, counted from 1
    mix_one(AUDIO ", \"in\": \"2s\"", 0);
    CHECK(frame[0], ==, 96001);
    mix_one(AUDIO ", \"sound\": {\"gain\": -20}", 10); // a tenth
    CHECK(frame[0], ==, 1920);
    CHECK(frame[1], ==, -1920);
    mix_one(AUDIO ", \"sound\": {\"gain\": -96}", 10);
    CHECK(frame[0], ==, 0);
    mix_one(AUDIO ", \"sound\": {\"pan\": 0.5}", 10);
    CHECK(frame[0], ==, 9601); // 19201 / 2, half away from zero
    CHECK(frame[1], ==, -19201);
    mix_one(AUDIO ", \"sound\": {\"pan\": -1}", 10);
    CHECK(frame[0], ==, 19201);
    CHECK(frame[1], ==, 0);
    mix_one(AUDIO ", \"sound\": {\"muted\": true}", 10);
    CHECK(frame[0], ==, 0);
    mix_one("\"kind\": \"audio\", \"asset\": \"m\", \"start\": 0, \"duration\": 100", 10);
    CHECK(frame[0], ==, 0);
    CHECK(problems, ==, 1);
    CHECK_TEXT(first.path, "tracks[0].clips[0]");
    CHECK_TEXT(first.text, "asset \"m\": /here/missing.wav: is gone");
    mix_one("\"kind\": \"audio\", \"asset\": \"p\", \"start\": 0, \"duration\": 100", 10);
    CHECK(problems, ==, 1);
    CHECK_TEXT(first.text, "asset \"p\": has no sound");
    mix_one("\"kind\": \"video\", \"asset\": \"p\", \"start\": 0, \"duration\": 100", 10);
    CHECK(problems, ==, 0);
    // A fade of 20 frames: in the middle of frame 10 it has come to 10.5 / 20.
    mix_one(AUDIO ", \"sound\": {\"fade_in\": 20}", 10);
    CHECK(frame[0], ==, 9601);
    CHECK(labs((long)frame[2 * 960] - (19201 + 960) * 21 / 40), <=, 1);
    CHECK(problems, ==, 0);
}

// Sample 19201 of the ramp, whose facts say -33 LUFS, by exact powers of ten: 20 dB are a factor
// of 10.
static void test_loudness(void)
{
    mix_one(AUDIO, 10);
    CHECK(frame[0], ==, 19201);
    loudness = "\"loudness\": -13, ";
    mix_one(AUDIO, 10);
    CHECK(frame[0], ==, 192010);
    CHECK(frame[1], ==, -192010);
    CHECK(problems, ==, 0);
    mix_one(AUDIO ", \"sound\": {\"gain\": -20}", 10); // the clip's own comes on top
    CHECK(frame[0], ==, 19201);
    loudness = "\"loudness\": -33, ";
    mix_one(AUDIO, 10);
    CHECK(frame[0], ==, 19201);
    loudness = "\"loudness\": -39, "; // 10^(-6/20) = 0.501187
    mix_one(AUDIO, 10);
    CHECK(frame[0], ==, 9623);
    // 30 dB at most: 10^1.5 = 31.6228, of sample 1921.
    loudness = "\"loudness\": -5, ";
    mix_one("\"kind\": \"audio\", \"asset\": \"f\", \"start\": 0, \"duration\": 100", 1);
    CHECK(frame[0], ==, 60747);
    // Silent, not known, and no asset: as they are.
    mix_one("\"kind\": \"audio\", \"asset\": \"q\", \"start\": 0, \"duration\": 100", 1);
    CHECK(frame[0], ==, 1921);
    mix_one("\"kind\": \"video\", \"asset\": \"s\", \"start\": 0, \"duration\": 100", 0);
    CHECK(frame[2 * 99], ==, 100);
    CHECK(problems, ==, 0);
    mix_one(
        "\"kind\": \"pattern\", \"start\": 0, \"duration\": 100, \"pattern\": {\"kind\": \"bars\", "
        "\"tone\": {\"frequency\": 1000, \"level\": -20}}",
        0);
    CHECK(frame[2 * 12], ==, SOUND_FULL_SCALE / 10 + 1); // 838860.8
    // A nested timeline is levelled by its own loudness only.
    const char *nested =
        "\"kind\": \"timeline\", \"asset\": \"n\", \"start\": 0, \"duration\": 100";
    mix_one(nested, 10);
    CHECK(frame[0], ==, 19201);
    inner_loudness = "\"loudness\": -13, ";
    mix_one(nested, 10);
    CHECK(frame[0], ==, 192010);
    loudness = "";
    mix_one(nested, 10);
    CHECK(frame[0], ==, 192010);
    inner_loudness = "";
}

static void test_speed_and_loop(void)
{
    mix_one(AUDIO ", \"speed\": 2", 10);
    CHECK(frame[0], ==, 2 * 19200 + 1);
    CHECK(frame[2 * 100], ==, 2 * 19300 + 1);
    mix_one(AUDIO ", \"speed\": \"1/2\"", 10);
    CHECK(frame[0], ==, 9601);
    CHECK(frame[2], ==, 9602); // 9601.5: between two samples, half away from zero
    CHECK(frame[4], ==, 9602);
    // 1000 samples again and again; and once, with silence behind them.
    const char *loop = "\"kind\": \"audio\", \"asset\": \"s\", \"start\": 0, \"duration\": 100, "
                       "\"loop\": true";
    mix_one(loop, 10);
    int wrong = 0;
    for (int i = 0; i < 1920; i++)
        wrong += frame[2 * i] != (19200 + i) % 1000 + 1;
    CHECK(wrong, ==, 0);
    mix_one("\"kind\": \"audio\", \"asset\": \"s\", \"start\": 0, \"duration\": 100", 0);
    CHECK(frame[2 * 999], ==, 1000);
    CHECK(frame[2 * 1000], ==, 0);
    CHECK(frame[2 * 1919], ==, 0);
}

// A nested timeline, as loud as its clip says; the stem of all tracks is the sum of each.
static void test_tracks(void)
{
    static const char *const clips[] = {
        AUDIO,
        "\"kind\": \"timeline\", \"asset\": \"n\", \"start\": 0, \"duration\": 100, \"sound\": "
        "{\"gain\": -20}",
        "\"kind\": \"pattern\", \"start\": 0, \"duration\": 100, "
        "\"pattern\": {\"kind\": \"bars\", \"tone\": {\"level\": -6}}",
    };
    mix_one(clips[1], 10);
    CHECK(frame[0], ==, 1920);
    CHECK(frame[2 * 1919], ==, (19201 + 1919) / 10);
    struct timeline *t = timeline_of("25", clips, 3);
    struct sound_mixer *m = sound_mixer_create(t, t->rate, &resolver, NULL);
    static int32_t sum[4000], part[4000];
    for (int cut = 0; cut <= 3; cut++) {
        problems = sound_mixer_frame(m, 10, 10, 0, cut, sum, NULL);
        problems = sound_mixer_frame(m, 10, 10, cut, 3, part, NULL);
        sound_add(sum, part, 1920);
        problems = sound_mixer_frame(m, 10, 10, 0, 3, frame, NULL);
        CHECK_BYTES(sum, frame, 1920 * 2 * sizeof *sum);
    }
    sound_mixer_destroy(&m);
    timeline_unref(&t);
}

// 1 kHz has 48 samples; -6 dB is 0.5012 of full scale.
static void test_tone(void)
{
    const char *clip = "\"kind\": \"pattern\", \"start\": 0, \"duration\": 1000, "
                       "\"pattern\": {\"kind\": \"bars\", \"tone\": {\"level\": -6}}";
    for (size_t r = 0; r < 4; r++) {
        struct timeline *t = timeline_of("25", &clip, 1);
        struct sound_mixer *m = sound_mixer_create(t, rates[r], &resolver, NULL);
        int64_t place = 0;
        int wrong = 0;
        for (int64_t n = 0; n < 100; n++) {
            problems = sound_mixer_frame(m, n, n, 0, 1, frame, NULL);
            int count = rate_sample_count(rates[r], n);
            for (int i = 0; i < count; i++, place++) {
                double expected = 0.501187233627272 * SOUND_FULL_SCALE *
                                  sin((double)(place % 48) / 48 * 2 * M_PI);
                wrong += fabs(frame[2 * i] - expected) > 1.5;
            }
        }
        CHECK(wrong, ==, 0);
        sound_mixer_destroy(&m);
        timeline_unref(&t);
    }
}

// The beep starts with the first sample of a white frame, lasts 960 samples, and there is one in
// each second, in every cadence; picture and sound of one timeline.
static void test_flash(void)
{
    static const char *const names[] = {"25", "30000/1001", "30", "60000/1001"};
    const char *clip = "\"kind\": \"pattern\", \"start\": 3, \"duration\": 1000, "
                       "\"pattern\": {\"kind\": \"flash\"}";
    for (size_t r = 0; r < 4; r++) {
        struct timeline *t = timeline_of(names[r], &clip, 1);
        struct sound_mixer *m = sound_mixer_create(t, rates[r], &resolver, NULL);
        struct source_config config = {.clip = &t->tracks[0].clips[0],
                                       .scale_x = 1,
                                       .scale_y = 1,
                                       .output_width = 64,
                                       .output_height = 36,
                                       .output_rate = rates[r]};
        struct source *source;
        CHECK_OK(source_open(&config, &source, NULL));
        int flashes = 0, wrong = 0;
        int64_t beep = -1; // samples since the last white frame's start
        for (int64_t n = 3; n < 303; n++) {
            struct layer layer;
            struct picture *picture;
            uint64_t content;
            timeline_evaluate(t, rates[r], 64, 36, n, &layer);
            CHECK_OK(source_picture(source, &layer.now, &picture, &content, NULL));
            if (picture->plane[0][0] == 235) {
                // Frame 3 + k is white when a whole second lies in (k - 1, k] frames' time.
                int64_t k = n - 3;
                int64_t before = muldiv_floor((k - 1) * rates[r].den, 1, rates[r].num);
                CHECK(k == 0 || muldiv_floor(k * rates[r].den, 1, rates[r].num) > before, ==, 1);
                beep = 0;
                flashes++;
            }
            picture_unref(&picture);
            problems = sound_mixer_frame(m, n, n + 17, 0, 1, frame, NULL);
            int count = rate_sample_count(rates[r], n + 17);
            for (int i = 0; i < count; i++, beep++) {
                double expected =
                    beep < 960 ? 0.1 * SOUND_FULL_SCALE * sin((double)(beep % 48) / 48 * 2 * M_PI)
                               : 0;
                wrong += fabs(frame[2 * i] - expected) > 1.5;
            }
        }
        CHECK(wrong, ==, 0);
        CHECK(flashes, ==, muldiv_floor(299 * rates[r].den, 1, rates[r].num) + 1);
        source_destroy(&source);
        sound_mixer_destroy(&m);
        timeline_unref(&t);
    }
}

int main(void)
{
    CHECK_TRUE(mkdtemp(folder));
    write_ramp("long", 2400000, -33);
    write_ramp("short", 1000, NAN);
    write_ramp("picture", 0, NAN);
    write_ramp("silent", 96000, -HUGE_VAL);
    write_ramp("faint", 96000, -69.5);
    test_continuity();
    test_gain_and_pan();
    test_loudness();
    test_speed_and_loop();
    test_tracks();
    test_tone();
    test_flash();
    static const char *const names[] = {"long", "short", "picture", "silent", "faint"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/%s.sound", folder, names[i]);
        unlink(path);
        snprintf(path, sizeof path, "%s/%s.json", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
    CHECK(picture_outstanding(), ==, 0);
    return check_end();
}
