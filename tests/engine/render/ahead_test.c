// Clips are opened before they are seen: a second, and as much earlier as their slowest start takes
// by the facts of the import. What is open by then can do without its file.
#include "engine/render/render.h"
#include "tests/engine/media/maker.h"

#include <limits.h>
#include <unistd.h>

static char asset[PATH_MAX];

static int resolve(void *opaque, const char *uri, char *path, struct diagnostic *reterr)
{
    (void)opaque, (void)uri, (void)reterr;
    snprintf(path, PATH_MAX, "%s", asset);
    return 0;
}

// Renders frame 0, takes the file away, and renders the frame in which the clip comes, after
// `start` frames at 25 a second. Returns whether it was there.
static bool opened_ahead(int start)
{
    char json[1024], away[PATH_MAX + 8];
    struct timeline *timeline = NULL;
    struct renderer *renderer = NULL;
    struct render_report report = {0};
    struct diagnostic why = {0};
    int length = snprintf(
        json, sizeof json,
        "{\"schema\":\"vistter.timeline/1\",\"format\":{\"width\":64,\"height\":48,\"rate\":\"25\"}"
        ",\"assets\":{\"v\":\"file:v\"},\"tracks\":[{\"clips\":[{\"kind\":\"video\",\"asset\":\"v\""
        ",\"start\":%d,\"duration\":200}]}]}",
        start);
    CHECK_OK(timeline_parse(json, (size_t)length, NULL, NULL, &timeline, &why));
    struct render_config config = {.timeline = timeline,
                                   .width = 64,
                                   .height = 48,
                                   .rate = timeline->rate,
                                   .track_to = 1,
                                   .base = true,
                                   .resolver = {resolve, NULL}};
    CHECK_OK(renderer_create(&config, &renderer, &why));
    timeline_unref(&timeline);
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
    struct media_info info;
    struct diagnostic problem = {0};
    maker_begin();
    maker_run("ffmpeg -v error -f lavfi -i testsrc2=s=64x48:r=25:d=9 -c:v libx264 %s",
              maker_path("v.mp4"));
    CHECK_OK(maker_import("v.mp4", &info, &problem));
    snprintf(asset, sizeof asset, "%s/%s", maker_path("store"), info.sha256);
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
