// The file that a merge writes: Matroska with cues, complete or not at all. Thread: one.
#pragma once

#include "coordinator/cli/recording_source.h"

struct recording_writer;
// Writes to `path`, first under another name, with the streams that `like` has; frame `about->zero`
// stands at time 0.
int recording_writer_create(const char *path, const struct recording *about,
                            const struct recording_source *like, struct recording_writer **ret,
                            struct diagnostic *reterr);
// Whether the source's packets fit in: the same size, the same parameters of both codecs.
bool recording_writer_fits(const struct recording_writer *writer,
                           const struct recording_source *source);
// A borrowed packet; `dts` in frames, never above `frame`.
int recording_writer_picture(struct recording_writer *writer, const AVPacket *packet, int64_t frame,
                             int64_t dts, struct diagnostic *reterr);
int recording_writer_sound(struct recording_writer *writer, const AVPacket *packet, int64_t number,
                           struct diagnostic *reterr);
// Completes and names it.
int recording_writer_close(struct recording_writer **writer, struct diagnostic *reterr);
void recording_writer_abort(struct recording_writer **writer); // leaves nothing behind
