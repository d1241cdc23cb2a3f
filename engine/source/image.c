#include "engine/base/thread.h"
#include "engine/source/asset.h"
#include "engine/source/jailed.h"

#include <limits.h>
#include <stdlib.h>

struct image {
    struct picture *picture;
};

static int image_open(const struct source_config *config, void **ret, int *ret_width,
                      int *ret_height, struct diagnostic *reterr)
{
    char path[PATH_MAX];
    struct picture *picture;
    int error = asset_resolve(config, path, reterr);
    if (error >= 0)
        error = jailed_decode_still(path, &picture, reterr);
    if (error < 0)
        return error;
    struct image *image = base_alloc(sizeof *image);
    image->picture = picture;
    *ret_width = picture->width;
    *ret_height = picture->height;
    *ret = image;
    return 0;
}

static int image_picture(void *state, const struct clip_instant *at, struct picture **ret,
                         uint64_t *ret_content, struct diagnostic *reterr)
{
    struct image *image = state;
    (void)at, (void)reterr;
    *ret = picture_ref(image->picture);
    *ret_content = 1;
    return 0;
}

static void image_destroy(void *state)
{
    struct image *image = state;
    picture_unref(&image->picture);
    free(image);
}

const struct source_ops source_image_ops = {image_open, image_picture, NULL, NULL, image_destroy};
