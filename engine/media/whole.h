// What a file's own structure says, read before FFmpeg decodes anything.
// Thread: any; pure functions of the file's bytes, read with pread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum wholeness {
    FILE_UNKNOWN, // its format says nothing about where it ends
    FILE_WHOLE,
    FILE_CUT, // it ends before it should
};

// JPEG, GIF, QOI and OpenEXR pictures, MP4 and QuickTime, Matroska and WebM, AVI, WAV and AIFF; of
// transport streams only that one ends inside of a packet.
enum wholeness file_wholeness(int fd, int64_t size);

// The size that a PNG, JPEG or BMP header states. False for anything else.
bool file_picture_size(int fd, int64_t size, int64_t *ret_width, int64_t *ret_height);
