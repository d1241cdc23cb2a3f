// Joins recordings of one channel by frame number: each GOP and each packet of sound once, from
// whichever recording has it whole. Nothing is encoded, and no file is read into memory whole.
// Thread: one.
#pragma once

#include "coordinator/cli/recording_source.h"

// Inclusive frames.
struct recording_range {
    int64_t from, to;
};

struct recording_ranges {
    struct recording_range *items;
    int count, room;
};

struct recording_part {
    char *path;
    int64_t from, to; // first and last frame
    int64_t frames;   // that it has
};

struct recording_merge {
    // -- in; sorted by first frame
    struct recording_source **sources;
    int source_count;
    const char *output; // where parameters change "NAME-2.mkv" and so on follow "NAME.mkv"
    // -- out
    struct recording_part *parts; // files written
    int part_count;
    struct recording_ranges missing;   // in no recording
    struct recording_ranges silent;    // without sound, though the picture may be there
    struct recording_ranges different; // both had these whole, with other bytes
    struct recording_ranges doubtful;  // only a file with a wrong checksum had these
};

// -EINVAL when the sources are not of one channel.
int recording_merge(struct recording_merge *merge, struct diagnostic *reterr);
void recording_merge_finish(struct recording_merge *merge); // frees what came out
