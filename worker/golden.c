#include "worker/golden.h"

#include "engine/frame/sound.h"
#include "engine/render/render.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

#define GOLDEN_FRAMES 8

// Needs no files: patterns, shapes, rotation, scaling, every blend mode, a dissolve, an adjustment.
static const char golden_timeline[] =
    "{\"schema\":\"vistter.timeline/1\",\"name\":\"golden\","
    "\"format\":{\"width\":320,\"height\":180,\"rate\":\"30000/1001\"},\"background\":\"#203040\","
    "\"tracks\":["
    "{\"clips\":[{\"kind\":\"pattern\",\"start\":0,\"duration\":6,\"pattern\":{\"kind\":\"bars\","
    "\"tone\":{\"frequency\":1000,\"level\":-20}}},"
    "{\"kind\":\"pattern\",\"start\":2,\"duration\":30,\"transition\":4,\"pattern\":{\"kind\":"
    "\"ramp\"}}]},"
    "{\"clips\":[{\"kind\":\"pattern\",\"start\":0,\"duration\":32,\"pattern\":{\"kind\":\"grid\"},"
    "\"size\":[151,87],\"position\":{\"keyframes\":[{\"at\":0,\"value\":[90,60]},"
    "{\"at\":8,\"value\":[140.3,71.7]}]},\"rotation\":{\"keyframes\":[{\"at\":0,\"value\":0},"
    "{\"at\":8,\"value\":33,\"easing\":\"in-out\"}]},\"radius\":11,\"opacity\":0.8}]},"
    "{\"clips\":[{\"kind\":\"shape\",\"start\":0,\"duration\":32,\"blend\":\"multiply\",\"shape\":"
    "{\"kind\":\"ellipse\",\"size\":[120,80],\"fill\":\"#ff8040c0\"},\"position\":[220,60]}]},"
    "{\"clips\":[{\"kind\":\"adjust\",\"start\":0,\"duration\":32,\"brightness\":0.05,\"contrast\":"
    "1.2,"
    "\"saturation\":0.7}]},"
    "{\"clips\":[{\"kind\":\"shape\",\"start\":0,\"duration\":32,\"blend\":\"screen\",\"shape\":"
    "{\"kind\":\"rectangle\",\"size\":[100,50],\"radius\":9,\"fill\":\"#2060ff\",\"fill_to\":\"#"
    "20ff60\"},"
    "\"position\":[101,131],\"opacity\":0.6}]},"
    "{\"clips\":[{\"kind\":\"shape\",\"start\":0,\"duration\":32,\"blend\":\"add\",\"shape\":"
    "{\"kind\":\"polygon\",\"points\":[[0,40],[30,0],[60,40]],\"fill\":\"#403020\"},"
    "\"position\":[250,140]}]}]}";

static int render(struct renderer *renderer, EVP_MD_CTX *hash)
{
    static int32_t sound[SOUND_FRAME_MAX * SOUND_CHANNELS];
    struct rate rate = {30000, 1001};
    for (int64_t n = 0; n < GOLDEN_FRAMES; n++) {
        struct group_frame *group = NULL;
        struct picture *picture = NULL;
        struct render_report report;
        int error = renderer_frame(renderer, n, n, NULL, &group, sound, &report);
        if (!error)
            error = group_fold_over(NULL, group, &picture);
        if (!error) {
            uint64_t sums[2] = {picture_checksum(picture),
                                sound_checksum(sound, rate_sample_count(rate, n))};
            EVP_DigestUpdate(hash, sums, sizeof sums);
        }
        picture_unref(&picture);
        group_frame_unref(&group);
        if (error)
            return error;
    }
    return 0;
}

int golden_hash(uint8_t ret[32], struct diagnostic *reterr)
{
    struct timeline *timeline = NULL;
    struct renderer *renderer = NULL;
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    int error =
        timeline_parse(golden_timeline, strlen(golden_timeline), NULL, NULL, &timeline, reterr);
    if (!error) {
        struct render_config config = {
            .timeline = timeline,
            .width = timeline->width,
            .height = timeline->height,
            .rate = timeline->rate,
            .track_to = (int)timeline->track_count,
            .base = true,
            .sound = true,
        };
        error = renderer_create(&config, &renderer, reterr);
    }
    if (!error && (!hash || !EVP_DigestInit_ex(hash, EVP_sha256(), NULL)))
        error = -ENOMEM;
    if (!error)
        error = render(renderer, hash);
    if (!error && !EVP_DigestFinal_ex(hash, ret, NULL))
        error = -EIO;
    EVP_MD_CTX_free(hash);
    renderer_destroy(&renderer);
    timeline_unref(&timeline);
    return error;
}
