// Clips are opened before they are seen: a second, and as much earlier as their slowest start takes
// by the facts of the import. What is open by then can do without its file.
#include "tests/engine/render/one_video.h"

#include <unistd.h>

// Renders frame 0, takes the file away, and renders the frame in which the clip comes, after
// `start` frames at 25 a second. Returns whether it was there.
static bool opened_ahead(int start)
{
    char away[PATH_MAX + 8];
    struct render_report report = {0};
    struct renderer *renderer = one_video_open("25", start, false);
    snprintf(away, sizeof away, "%s.away", asset);
    for (int i = 0; i < 2; i++) {
        struct group_frame *group = NULL;
        CHECK_OK(renderer_frame(renderer, i * start, i * start, NULL, &group, NULL, &report));
        group_frame_unref(&group);
        if (i == 0)
            CHECK_OK(rename(asset, away));
    }
    CHECK_OK(rename(away, asset));
    renderer_destroy(&renderer);
    return report.problems == 0;
}

static void slowest_start(const char *ms)
{
    maker_run("sed -i 's/\"slowest_ms\":[0-9.]*/\"slowest_ms\":%s/' %s.json", ms, asset);
}

int main(void)
{
    maker_begin();
    maker_run("ffmpeg -v error -f lavfi -i testsrc2=s=64x48:r=25:d=9 -c:v libx264 %s",
              maker_path("v.mp4"));
    one_video_import("v.mp4");
    slowest_start("0.0");
    CHECK_TRUE(opened_ahead(25));
    CHECK_TRUE(!opened_ahead(26));
    slowest_start("3000.0");
    CHECK_TRUE(opened_ahead(100));
    CHECK_TRUE(!opened_ahead(101));
    slowest_start("60000.0"); // no more than 10 s
    CHECK_TRUE(opened_ahead(250));
    CHECK_TRUE(!opened_ahead(251));
    CHECK(picture_outstanding(), ==, 0);
    maker_end();
    return check_end();
}
