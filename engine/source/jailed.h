// The pictures of a file as picture_decoder_get (decode.h) gives them, decoded in a child process
// that can do nothing but that (nursery.h, engine/base/jail.h). A decoder that crashes, or does not
// get on (engine/base/hang.h), costs its child; that is noted (engine/base/crash_note.h), and the
// same picture is asked of another at once. What two have ended at is refused until it is
// forgotten.
//
// Pictures are not copied: they stand in memory that the child shares, read-only here. One that has
// been taken over may go on changing those; nothing that reads pictures takes sizes or places from
// samples.
// Thread: a decoder belongs to one thread.
#pragma once

#include "engine/frame/picture.h"
#include "engine/media/index.h"

struct jailed_decoder;
// As picture_decoder_open. -EPERM: refused, "asset_suspect".
int jailed_decoder_open(const char *path, struct jailed_decoder **ret, struct diagnostic *reterr);
void jailed_decoder_close(struct jailed_decoder **decoder);
// What is asked of it fails soon, however long it would take. Thread: any.
void jailed_decoder_stop(struct jailed_decoder *decoder);

// The first picture of a file. One at a time in a process: large stills take much memory while they
// are decoded. Thread: any.
int jailed_decode_still(const char *path, struct picture **ret, struct diagnostic *reterr);

const struct media_index *jailed_decoder_index(const struct jailed_decoder *decoder);
// As shown; constant.
void jailed_decoder_size(const struct jailed_decoder *decoder, int *ret_width, int *ret_height);
// -EIO: the material is broken here, or its decoder keeps being ended from outside.
int jailed_decoder_get(struct jailed_decoder *decoder, int64_t i, struct picture **ret,
                       struct diagnostic *reterr);
// Processor time of its children so far.
int64_t jailed_decoder_cpu_ns(const struct jailed_decoder *decoder);
