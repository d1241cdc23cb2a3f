#include "engine/link/stored_frame.h"

#include <errno.h>
#include <string.h>

// Plane `i` of a stored picture of this size.
struct stored_plane {
    size_t at;
    ptrdiff_t stride;
    int width, height;
};

static struct stored_plane plane_of(int width, int height, int i)
{
    struct stored_plane plane = {0};
    size_t end = 0;
    for (int k = 0; k <= i; k++) {
        plane.at = end;
        plane.width = k ? width / 2 : width;
        plane.height = k ? height / 2 : height;
        plane.stride = (plane.width + STORED_ALIGN - 1) / STORED_ALIGN * STORED_ALIGN;
        end += (size_t)plane.stride * (size_t)plane.height;
    }
    return plane;
}

size_t stored_frame_picture_bytes(int width, int height)
{
    struct stored_plane last = plane_of(width, height, 2);
    return last.at + (size_t)last.stride * (size_t)last.height;
}

void stored_frame_write(const struct group_frame *group, uint8_t *bytes)
{
    const struct picture *p = group->level[0].picture;
    for (int i = 0; i < 3; i++) {
        struct stored_plane plane = plane_of(p->width, p->height, i);
        for (int row = 0; row < plane.height; row++)
            memcpy(bytes + plane.at + row * plane.stride, p->plane[i] + row * p->stride[i],
                   (size_t)plane.width);
    }
}

static void body_release(void *opaque)
{
    struct frame_body *body = opaque;
    frame_body_unref(&body);
}

int stored_frame_read(struct frame_body *body, int width, int height, struct group_frame **ret)
{
    if (body->size < stored_frame_picture_bytes(width, height))
        return -EPROTO;
    uint8_t *plane[4] = {0};
    ptrdiff_t stride[4] = {0};
    for (int i = 0; i < 3; i++) {
        struct stored_plane p = plane_of(width, height, i);
        plane[i] =
            (uint8_t *)(uintptr_t)body->bytes + p.at; // only read: a picture received is const
        stride[i] = p.stride;
    }
    struct picture *picture = picture_wrap(PICTURE_OPAQUE, width, height, plane, stride,
                                           body_release, frame_body_ref(body));
    struct group_frame *group = group_frame_create(width, height);
    int error = group_frame_push(group, &picture);
    picture_unref(&picture);
    if (error) {
        group_frame_unref(&group);
        return error;
    }
    group->opaque = true;
    memset(group->level[0].kind, TILE_OPAQUE, (size_t)(group->tiles_x * group->tiles_y));
    *ret = group;
    return 0;
}
