// A looped video and its own sound: the beep stays on the flash, whichever of both is longer and
// however often it looped, and in facts of an older import too.
#include "engine/frame/sound.h"
#include "tests/engine/render/one_video.h"

// Black but for picture 0, silent but for the first 20 ms.
static void make(const char *name, const char *rate, const char *pictures, const char *sound)
{
    maker_run("ffmpeg -v error -f lavfi -i \"color=black:s=64x48:r=%s:d=%s,drawbox=color=white:t="
              "fill:enable='eq(n,0)'\" -f lavfi -i "
              "\"aevalsrc='if(lt(n,960),0.5*cos(2*PI*1000*n/48000),0)':s=48000:d=%s\" -c:v "
              "libx264 -pix_fmt yuv420p -bf 0 -c:a pcm_s16le %s",
              rate, pictures, sound, maker_path(name));
    one_video_import(name);
}

// Frames [from, from + count): white is every `period`th, and with the first of its samples, or the
// one after, a beep begins that lasts 960 samples; all else is black and silent.
static void check_loop(const char *name, const char *rate_text, int64_t from, int count, int period)
{
    static int32_t sound[SOUND_FRAME_MAX * SOUND_CHANNELS];
    struct rate rate;
    int failures = check_failures;
    CHECK_OK(rate_parse(rate_text, &rate));
    struct renderer *renderer = one_video_open(rate_text, 0, true);
    for (int64_t n = from; n < from + count; n++) {
        struct group_frame *group = NULL;
        struct picture *picture = NULL;
        struct render_report report;
        CHECK_OK(renderer_frame(renderer, n, n, NULL, &group, sound, &report));
        CHECK(report.problems, ==, 0);
        CHECK_OK(group_fold_over(NULL, group, &picture));
        bool white = picture->plane[0][24 * picture->stride[0] + 32] > 125;
        CHECK(white, ==, n % period == 0);
        picture_unref(&picture);
        group_frame_unref(&group);
        int samples = rate_sample_count(rate, n), first = samples, last = -1;
        for (int i = 0; i < samples; i++)
            if (abs(sound[2 * i]) > SOUND_FULL_SCALE / 100) {
                first = i < first ? i : first;
                last = i;
            }
        CHECK_TRUE(white ? first <= 1 && labs(last - first - 960) <= 12 : last < 0);
        if (check_failures != failures) {
            fprintf(stderr, "%s: frame %lld is %s and sounds from %d to %d\n", name, (long long)n,
                    white ? "white" : "black", first, last);
            break;
        }
    }
    renderer_destroy(&renderer);
}

// What an import wrote before it noted how long the pictures are.
static void forget_picture_duration(void)
{
    maker_run("sed -i 's/\"picture_duration\":\"[^\"]*\",//' %s.json", asset);
    CHECK(maker_run("! grep -q picture_duration %s.json", asset), ==, 0);
}

int main(void)
{
    maker_begin();
    make("longer.mov", "25", "1", "1.2");
    check_loop("longer sound", "25", 0, 130, 25);
    forget_picture_duration();
    check_loop("facts of an older import", "25", 0, 80, 25);
    make("shorter.mov", "25", "1", "0.7");
    check_loop("shorter sound", "25", 0, 130, 25);
    // 7 pictures are 11211.2 samples: an error of 0.2 samples in each loop would be 83 ms after
    // 20000.
    make("uneven.mov", "30000/1001", "0.2335", "0.3");
    check_loop("uneven loop", "30000/1001", 0, 30, 7);
    check_loop("uneven loop, late", "30000/1001", 140000, 30, 7);
    maker_end();
    return check_end();
}
