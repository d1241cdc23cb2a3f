#include "engine/source/source.h"

#include "engine/base/thread.h"

#include <errno.h>
#include <stdlib.h>

struct source {
    const struct source_ops *ops;
    void *state;
    int width, height;
};

static const struct source_ops *ops_of(enum clip_kind kind)
{
    switch (kind) {
    case CLIP_TEXT:
        return &source_text_ops;
    case CLIP_SHAPE:
        return &source_shape_ops;
    case CLIP_PATTERN:
        return &source_pattern_ops;
    case CLIP_VIDEO:
        return &source_video_ops;
    case CLIP_IMAGE:
        return &source_image_ops;
    case CLIP_SEQUENCE:
        return &source_sequence_ops;
    case CLIP_AUDIO:
    case CLIP_TIMELINE:
    case CLIP_ADJUST:
    case CLIP_CAMERA:
        break;
    }
    return NULL;
}

int source_open(const struct source_config *config, struct source **ret, struct diagnostic *reterr)
{
    const struct source_ops *ops = ops_of(config->clip->kind);
    if (!ops)
        return diagnostic_set(reterr, -EINVAL, "source_kind", config->clip->id,
                              "clips of this kind have no picture of their own");
    struct source *source = base_alloc(sizeof *source);
    source->ops = ops;
    int error = ops->open(config, &source->state, &source->width, &source->height, reterr);
    if (error < 0) {
        free(source);
        return error;
    }
    *ret = source;
    return 0;
}

void source_destroy(struct source **source)
{
    struct source *s = *source;
    if (!s)
        return;
    *source = NULL;
    s->ops->destroy(s->state);
    free(s);
}

void source_size(const struct source *source, int *ret_width, int *ret_height)
{
    *ret_width = source->width;
    *ret_height = source->height;
}

int source_picture(struct source *source, const struct clip_instant *at, struct picture **ret,
                   uint64_t *ret_content, struct diagnostic *reterr)
{
    return source->ops->picture(source->state, at, ret, ret_content, reterr);
}

void source_prepare(struct source *source, const struct clip_instant *at)
{
    if (source->ops->prepare)
        source->ops->prepare(source->state, at);
}

void source_follow(struct source *source, const struct clip_instant *at)
{
    if (source->ops->follow)
        source->ops->follow(source->state, at);
}
