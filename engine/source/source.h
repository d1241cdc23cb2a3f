// Sources: what a clip shows, before it is placed. One source serves one clip (or nested use) in
// one renderer.
//
// A source gives pictures at the clip's natural size, already in the farm's pixel layout
// (picture.h), and names their content: equal `content` from the same source means equal bits, so
// callers cache what they make of them.
// Thread: a source belongs to its renderer's thread; video sources decode ahead in their own.
#pragma once

#include "engine/frame/picture.h"
#include "engine/source/fonts.h"
#include "engine/timeline/timeline.h"

// Resolves an asset URI of a timeline to a readable local file, fetched and verified. Fills `path`
// (PATH_MAX bytes). 0, -ENOENT, -EAGAIN (being fetched) or another negative errno.
struct asset_resolver {
    int (*resolve)(void *opaque, const char *uri, char *path, struct diagnostic *reterr);
    void *opaque;
};

struct source_config {
    const struct timeline *timeline;
    const struct clip *clip; // kinds VIDEO, IMAGE, SEQUENCE, TEXT, SHAPE, PATTERN
    // Output pixels per timeline pixel: text and shapes are drawn at the output's resolution.
    double scale_x, scale_y;
    int output_width, output_height; // patterns fill this
    struct rate output_rate;
    struct asset_resolver resolver;
    bool patient;           // see render_config
    struct font_set *fonts; // for text; may be NULL when the timeline has no text
    // Value of a text field `{{name}}`, NULL if unknown; may itself be NULL.
    const char *(*field)(void *opaque, const char *name);
    void *field_opaque;
};

struct source;

// -ENOENT, -EINVAL (not decodable), -ENOMEM ... with a diagnostic that names the asset.
int source_open(const struct source_config *config, struct source **ret, struct diagnostic *reterr);
void source_destroy(struct source **source);

// Natural size in output pixels after rotation metadata and pixel aspect. That of each picture
// counts (a text whose fields change has another); this one is known before the first.
void source_size(const struct source *source, int *ret_width, int *ret_height);

// The picture at an instant. `*ret_content` identifies its bits (see above). Gives a reference.
// Past the end of a source that does not loop it is the last picture. A negative errno when the
// material is broken at this place.
int source_picture(struct source *source, const struct clip_instant *at, struct picture **ret,
                   uint64_t *ret_content, struct diagnostic *reterr);
// The next picture asked for will be that of `at`; what takes time to get there begins now. Does
// not wait.
void source_prepare(struct source *source, const struct clip_instant *at);
// Pictures will be asked for from about `at` on, nobody knows when: moves there as far as needed
// for the first of them to take no more than SOURCE_FOLLOW_NS of decoding. Called again and again
// with a rising `at`. Does not wait.
#define SOURCE_FOLLOW_NS INT64_C(300000000)
void source_follow(struct source *source, const struct clip_instant *at);

// Each kind implements this; source_open chooses by clip kind.
struct source_ops {
    int (*open)(const struct source_config *config, void **ret_state, int *ret_width,
                int *ret_height, struct diagnostic *reterr);
    int (*picture)(void *state, const struct clip_instant *at, struct picture **ret,
                   uint64_t *ret_content, struct diagnostic *reterr);
    void (*prepare)(void *state, const struct clip_instant *at); // NULL: nothing takes time
    void (*follow)(void *state, const struct clip_instant *at);  // NULL: nothing takes time
    void (*destroy)(void *state);
};
extern const struct source_ops source_video_ops, source_image_ops, source_sequence_ops,
    source_text_ops, source_shape_ops, source_pattern_ops;
