// The sound part: alignment with the pictures, levels of the mix-down, length, and the same bits
// whatever the processor.
#include "tests/engine/media/maker.h"

#include <errno.h>
#include <math.h>

static float *load(const struct media_info *info)
{
    char path[512];
    struct sound_file *file;
    snprintf(path, sizeof path, "%s/%s.sound", maker_path("store"), info->sha256);
    float *pairs = calloc((size_t)info->sample_count + 1, 2 * sizeof(float));
    CHECK_OK(sound_file_open(path, &file, NULL));
    CHECK(sound_file_sample_count(file), ==, info->sample_count);
    sound_file_read(file, 0, (int)info->sample_count, pairs);
    sound_file_close(&file);
    return pairs;
}

// First sample that is louder than `level`; -1: none.
static int64_t onset(const float *pairs, int64_t count, float level)
{
    for (int64_t i = 0; i < count; i++)
        if (fabsf(pairs[2 * i]) > level)
            return i;
    return -1;
}

// A click at a known time after the first picture must come out at that sample.
static void test_alignment(void)
{
    // Name, codec and container, shift of sound against pictures in milliseconds, tolerance.
    static const struct {
        const char *name, *codec;
        int shift_ms, tolerance;
    } cases[] = {
        {"pcm.mov", "pcm_s16le", 0, 0},
        {"pcm_late.mov", "pcm_s16le", 500, 1},
        {"flac.mkv", "flac", 0, 0},
        {"flac_late.mkv", "flac", 250, 48}, // Matroska's clock has milliseconds
        {"flac_early.mkv", "flac", -250, 48},
        {"aac.mp4", "aac", 0, 16}, // priming is cut; the codec smears the click
        {"opus.mp4", "libopus", 0, 48},
        {"mp2.ts", "mp2", 0, 600}, // the codec's delay of 481 samples is stated nowhere
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct media_info info;
        struct diagnostic problem = {0};
        double shift = cases[i].shift_ms / 1000.0;
        maker_run("ffmpeg -v error -f lavfi -i testsrc2=s=128x96:r=25:d=3 -itsoffset %.3f -f lavfi "
                  "-i \"aevalsrc='if(gte(n,48000)*lt(n,48960),0.5*sin(2*PI*1000*(n-48000)/48000),"
                  "0)':s=48000:d=3\" -map 0 -map 1 -ac 2 -af pan=stereo\\|c0=c0\\|c1=c0 -c:v "
                  "libx264 -bf 0 -c:a %s %s %s",
                  shift, cases[i].codec,
                  cases[i].shift_ms < 0 ? "-avoid_negative_ts make_zero" : "",
                  maker_path(cases[i].name));
        int failures = check_failures;
        CHECK_OK(maker_import(cases[i].name, &info, &problem));
        float *pairs = load(&info);
        int64_t at = onset(pairs, info.sample_count, 0.1f);
        // The sine passes 0.1 at its second sample: asin(0.2) / (2 pi 1000) s is 1.5 samples.
        int64_t expected = 48000 + 48 * cases[i].shift_ms + 2;
        CHECK(llabs(at - expected), <=, cases[i].tolerance);
        if (check_failures != failures)
            fprintf(stderr, "%s: click at %lld, not %lld %s\n", cases[i].name, (long long)at,
                    (long long)expected, problem.text);
        free(pairs);
    }
}

static double level(const float *pairs, int64_t count, int side)
{
    double sum = 0;
    for (int64_t i = count / 4; i < count * 3 / 4; i++)
        sum += (double)pairs[2 * i + side] * pairs[2 * i + side];
    return sqrt(sum / (double)(count / 2));
}

static void test_mix_down(void)
{
    // Constant levels of each channel; BS.775: centre and surround at -3 dB, no LFE.
    struct media_info info;
    maker_run(
        "ffmpeg -v error -f lavfi -i \"aevalsrc=0.1|0.2|0.04|0.5|0.08|0.16:c=5.1:s=48000:d=1\""
        " -c:a pcm_f32le %s",
        maker_path("surround.wav"));
    CHECK_OK(maker_import("surround.wav", &info, NULL));
    float *pairs = load(&info);
    CHECK(info.sample_count, ==, 48000);
    double half = sqrt(0.5);
    CHECK_TRUE(fabs(pairs[48000] - (0.1 + half * (0.04 + 0.08))) < 1e-6);
    CHECK_TRUE(fabs(pairs[48001] - (0.2 + half * (0.04 + 0.16))) < 1e-6);
    free(pairs);
    maker_run("ffmpeg -v error -f lavfi -i \"aevalsrc=0.25:s=48000:d=1\" -c:a pcm_f32le %s",
              maker_path("mono.wav"));
    CHECK_OK(maker_import("mono.wav", &info, NULL));
    pairs = load(&info);
    CHECK_TRUE(pairs[48000] == 0.25f && pairs[48001] == 0.25f);
    free(pairs);
    // Exactly as it is when nothing has to be converted.
    maker_run("ffmpeg -v error -f lavfi -i \"aevalsrc=0.5*sin(n)|0.25*cos(n):s=48000:d=1\" -c:a "
              "pcm_f32le %s && ffmpeg -v error -i %s -f f32le %s",
              maker_path("stereo.wav"), maker_path("stereo.wav"), maker_path("stereo.raw"));
    CHECK_OK(maker_import("stereo.wav", &info, NULL));
    pairs = load(&info);
    float *raw = calloc(96000, sizeof *raw);
    FILE *f = fopen(maker_path("stereo.raw"), "rb");
    CHECK(fread(raw, sizeof *raw, 96000, f), ==, 96000);
    fclose(f);
    CHECK_BYTES(pairs, raw, 96000 * sizeof *raw);
    free(raw);
    free(pairs);
}

// Each channel alone at 0.1: its share on both sides. `layout` empty: channels without names, which
// FFmpeg's aevalsrc cannot make; a WAV file of the plain kind has none.
static void check_layout(const char *layout, int count, const double (*gains)[2])
{
    int failures = check_failures;
    for (int channel = 0; channel < count; channel++) {
        struct media_info info;
        struct diagnostic problem = {0};
        maker_run("rm -f %s", maker_path("layout.wav"));
        if (*layout) {
            char levels[256] = "";
            for (int i = 0; i < count; i++)
                snprintf(levels + strlen(levels), sizeof levels - strlen(levels), "%s%s",
                         i ? "|" : "", i == channel ? "0.1" : "0");
            maker_run("ffmpeg -v error -f lavfi -i \"aevalsrc=%s:c=%s:s=48000:d=0.1\" -c:a "
                      "pcm_f32le %s",
                      levels, layout, maker_path("layout.wav"));
        } else {
            uint8_t header[44] = "RIFF....WAVEfmt \x10\0\0\0\3\0";
            static float samples[4800 * 16];
            uint32_t size = (uint32_t)(4800 * count) * 4, riff = size + 36;
            uint32_t rate = 48000, bytes = rate * (uint32_t)count * 4;
            uint16_t channels = (uint16_t)count, block = (uint16_t)(4 * count), bits = 32;
            memcpy(header + 4, &riff, 4);
            memcpy(header + 22, &channels, 2);
            memcpy(header + 24, &rate, 4);
            memcpy(header + 28, &bytes, 4);
            memcpy(header + 32, &block, 2);
            memcpy(header + 34, &bits, 2);
            memcpy(header + 36, "data", 4);
            memcpy(header + 40, &size, 4);
            for (int i = 0; i < 4800 * count; i++)
                samples[i] = i % count == channel ? 0.1f : 0;
            FILE *f = fopen(maker_path("layout.wav"), "wb");
            CHECK(fwrite(header, 1, 44, f), ==, 44);
            CHECK(fwrite(samples, 4, (size_t)(4800 * count), f), ==, 4800 * count);
            fclose(f);
        }
        CHECK_OK(maker_import("layout.wav", &info, &problem));
        CHECK(info.sample_count, ==, 4800);
        float *pairs = load(&info);
        for (int side = 0; side < 2; side++)
            CHECK_TRUE(fabs(pairs[4800 + side] - 0.1 * gains[channel][side]) < 1e-7);
        if (check_failures != failures) {
            fprintf(stderr, "%d channels %s, channel %d: %g %g, not %g %g %s\n", count, layout,
                    channel, pairs[4800] * 10, pairs[4801] * 10, gains[channel][0],
                    gains[channel][1], problem.text);
            failures = check_failures;
        }
        free(pairs);
    }
}

// ITU-R BS.775-3, table 2, and what import.h adds to it.
static void test_layouts(void)
{
    const double s = sqrt(0.5);
    const double quad[][2] = {{1, 0}, {0, 1}, {s, 0}, {0, s}};
    const double four[][2] = {{1, 0}, {0, 1}, {s, s}, {0.5, 0.5}};
    const double five[][2] = {{1, 0}, {0, 1}, {s, s}, {0, 0}, {s, 0}, {0, s}};
    const double seven[][2] = {{1, 0}, {0, 1}, {s, s}, {0, 0}, {s, 0}, {0, s}, {s, 0}, {0, s}};
    // FL FR FC LFE BL BR TFL TFR TBL TBR
    const double ten[][2] = {{1, 0}, {0, 1}, {s, s}, {0, 0}, {s, 0},
                             {0, s}, {s, 0}, {0, s}, {s, 0}, {0, s}};
    const double first_two[16][2] = {{1, 0}, {0, 1}};
    check_layout("quad", 4, quad);
    check_layout("4.0", 4, four);
    check_layout("5.1", 6, five);
    check_layout("5.1(side)", 6, five);
    check_layout("7.1", 8, seven);
    check_layout("FL+FR+FC+LFE+BL+BR+TFL+TFR+TBL+TBR", 10, ten);
    check_layout("", 4, four);
    check_layout("", 6, five);
    check_layout("", 8, seven);
    check_layout("", 9, first_two);
    check_layout("", 10, first_two);
    check_layout("", 12, first_two);
    check_layout("", 16, first_two);
}

// Every rate gives as many samples as its time says, without drift, and the level stays.
static void test_rates(void)
{
    static const int rates[] = {8000, 11025, 22050, 32000, 44100, 48000, 88200, 96000};
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        struct media_info info;
        char name[32];
        snprintf(name, sizeof name, "rate%d.wav", rates[i]);
        maker_run("ffmpeg -v error -f lavfi -i \"aevalsrc=0.5*sin(2*PI*440*n/%d)|0.5*sin(2*PI*440*"
                  "n/%d):s=%d:d=20\" -c:a pcm_s24le %s",
                  rates[i], rates[i], rates[i], maker_path(name));
        CHECK_OK(maker_import(name, &info, NULL));
        CHECK(llabs(info.sample_count - 20 * 48000), <=, 1);
        float *pairs = load(&info);
        CHECK_TRUE(fabs(level(pairs, info.sample_count, 0) - 0.5 * sqrt(0.5)) < 0.001);
        // At 15 s the sine has done 6600 whole periods.
        double worst = 0;
        for (int k = 0; k < 480; k++)
            worst = fmax(
                worst, fabs(pairs[2 * (15 * 48000 + k)] - 0.5 * sin(2 * M_PI * 440 * k / 48000.0)));
        CHECK_TRUE(worst < 0.002);
        if (worst >= 0.002)
            fprintf(stderr, "%d Hz: off by %g\n", rates[i], worst);
        free(pairs);
    }
}

// Missing packets in the middle: what follows keeps its time.
static void test_gap(void)
{
    struct media_info info;
    maker_run("ffmpeg -v error -f lavfi -i testsrc2=s=128x96:r=25:d=4 -f lavfi -i "
              "\"aevalsrc='if(gte(n,144000),0.5,0.01)':s=48000:d=4\" -af "
              "\"aselect='not(between(t,1,2))'\" -c:v libx264 -bf 0 -c:a flac %s",
              maker_path("gap.mkv"));
    CHECK_OK(maker_import("gap.mkv", &info, NULL));
    float *pairs = load(&info);
    int64_t at = onset(pairs, info.sample_count, 0.3f);
    CHECK(llabs(at - 144000), <=, 96);
    CHECK_TRUE(pairs[2 * 72000] == 0); // in the gap
    free(pairs);
}

// What facts say of a sine of 1 kHz, by EBU Tech 3341: its level on both sides is its loudness, and
// on one side 3 dB more than it.
static void check_loudness(const char *name, const char *make, double lufs, double dbtp)
{
    struct media_info info, parsed;
    maker_run("ffmpeg -v error -f lavfi -i \"aevalsrc=%s\" -c:a pcm_f32le %s", make,
              maker_path(name));
    CHECK_OK(maker_import(name, &info, NULL));
    CHECK_TRUE(info.loudness_known);
    CHECK_TRUE(lufs == info.loudness_lufs || fabs(info.loudness_lufs - lufs) <= 0.1);
    CHECK_TRUE(dbtp == info.true_peak_dbtp || fabs(info.true_peak_dbtp - dbtp) <= 0.4);
    char *json = media_info_format(&info);
    CHECK_OK(media_info_parse(json, &parsed, NULL));
    CHECK_TRUE(parsed.loudness_known && parsed.loudness_lufs == info.loudness_lufs &&
               parsed.true_peak_dbtp == info.true_peak_dbtp);
    free(json);
}

static void test_loudness(void)
{
    struct media_info info;
    struct diagnostic problem = {0};
#define TONE "0.0707946*sin(2*PI*1000*t)" // -23 dBFS
    check_loudness("one.wav", TONE ":s=48000:d=20", -23, -23);
    check_loudness("both.wav", TONE "|" TONE ":s=44100:d=20", -23, -23);
    check_loudness("left.wav", TONE "|0:s=48000:d=20", -26.01, -23);
    check_loudness("centre.wav", "0|0|" TONE "|0|0|0:c=5.1:s=48000:d=20", -26.01, -26.01);
    check_loudness("short.wav", TONE ":s=48000:d=0.3", -HUGE_VAL, -23);
    check_loudness("nothing.wav", "0:s=48000:d=2", -HUGE_VAL, -HUGE_VAL);
    // Facts of an older import do not have it; numbers that cannot be are refused.
    CHECK_OK(maker_import("one.wav", &info, NULL));
    char *json = media_info_format(&info), *field = strstr(json, "\"loudness\"");
    memcpy(field, "\"loudxxxx\"", 10);
    CHECK_OK(media_info_parse(json, &info, NULL));
    CHECK_TRUE(!info.loudness_known);
    memcpy(field, "\"loudness\"", 10);
    memcpy(strstr(json, "integrated"), "intxgrated", 10);
    CHECK_ERROR(media_info_parse(json, &info, &problem), -EINVAL);
    CHECK_TEXT(problem.path, "loudness");
    free(json);
}

// A small file whose times jump twice by 35 minutes would fill the disk with zeros.
static void test_huge_gaps(void)
{
    struct media_info info;
    struct diagnostic problem = {0};
    maker_run("ffmpeg -v error -f lavfi -i sine=r=48000:d=3 -af \"asetpts='PTS+if(gte(T,1),2100,0)/"
              "TB+if(gte(T,2),2100,0)/TB'\" -c:a flac %s",
              maker_path("gaps.mkv"));
    CHECK_ERROR(maker_import("gaps.mkv", &info, &problem), -EOVERFLOW);
    CHECK_TEXT(problem.code, "media_gaps");
    CHECK_TRUE(strstr(problem.text, "more than 3600 s"));
}

int main(void)
{
    maker_begin();
    test_alignment();
    test_mix_down();
    test_layouts();
    test_rates();
    test_gap();
    test_huge_gaps();
    test_loudness();
    maker_end();
    return check_end();
}
