// A renderer of 64x48 whose one clip is a video that has just been imported.
#pragma once

#include "engine/render/render.h"
#include "tests/engine/media/maker.h"

#include <limits.h>

static char asset[PATH_MAX]; // where it stands

static inline int one_video_resolve(void *opaque, const char *uri, char *path,
                                    struct diagnostic *reterr)
{
    (void)opaque, (void)uri, (void)reterr;
    snprintf(path, PATH_MAX, "%s", asset);
    return 0;
}

// Imports a file of the maker's: it is the asset from now on.
static inline void one_video_import(const char *name)
{
    struct media_info info;
    struct diagnostic problem = {0};
    CHECK_OK(maker_import(name, &info, &problem));
    snprintf(asset, sizeof asset, "%s/%s", maker_path("store"), info.sha256);
}

// The clip loops and begins with frame `start`.
static inline struct renderer *one_video_open(const char *rate, int start, bool sound)
{
    char json[1024];
    struct timeline *timeline = NULL;
    struct renderer *renderer = NULL;
    struct diagnostic why = {0};
    int length = snprintf(
        json, sizeof json,
        "{\"schema\":\"vistter.timeline/1\",\"format\":{\"width\":64,\"height\":48,\"rate\":\"%s\"}"
        ",\"assets\":{\"v\":\"file:v\"},\"tracks\":[{\"clips\":[{\"kind\":\"video\",\"asset\":\"v\""
        ",\"start\":%d,\"duration\":10000000,\"loop\":true}]}]}",
        rate, start);
    CHECK_OK(timeline_parse(json, (size_t)length, NULL, NULL, &timeline, &why));
    struct render_config config = {.timeline = timeline,
                                   .width = 64,
                                   .height = 48,
                                   .rate = timeline->rate,
                                   .track_to = 1,
                                   .base = true,
                                   .sound = sound,
                                   .resolver = {one_video_resolve, NULL}};
    CHECK_OK(renderer_create(&config, &renderer, &why));
    timeline_unref(&timeline);
    return renderer;
}
