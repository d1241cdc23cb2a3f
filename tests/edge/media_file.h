// Reads a media file back with FFmpeg's libraries, as a player would.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define MEDIA_EVENTS_MAX 64

struct media_file {
    int video_packets, audio_packets, video_frames, keys;
    bool dts_rises; // strictly, per stream
    int decode_errors;
    double first_video, last_video; // seconds
    double step_min, step_max;      // between pictures in order of display
    int flash_count, beep_count;
    double flashes[MEDIA_EVENTS_MAX], beeps[MEDIA_EVENTS_MAX]; // seconds
    int longest_silence_packets; // missing audio packets in the largest gap
};

// 0 or a negative errno when the file cannot be opened.
int media_file_read(const char *path, struct media_file *ret);
// Largest distance in milliseconds between a flash and the beep nearest to it; 1e9 without any.
double media_file_offset_ms(const struct media_file *file);
