// Clips for tests of live sources: each picture bears its number as in tests/farm/check_received.py
// (42 columns: white, black, 32 bits, CRC-8), each second begins with a beep of 20 ms beside quiet
// noise, which AAC codes as noise, and a quiet tone. Made by ffmpeg; included once per test.
#pragma once

#include "engine/frame/picture.h"
#include "tests/check.h"

#include <stdbool.h>

#define CLIP_WIDTH  336
#define CLIP_HEIGHT 192
#define CLIP_RATE   25
#define BLOCKS      42

static inline int crc8(uint32_t number)
{
    int crc = 0;
    for (int i = 3; i >= 0; i--) {
        crc ^= (int)(number >> 8 * i & 255);
        for (int bit = 0; bit < 8; bit++)
            crc = (crc << 1 ^ (crc & 0x80 ? 0x07 : 0)) & 0xFF;
    }
    return crc;
}

static inline bool block_of(uint32_t number, int i)
{
    uint64_t bits = UINT64_C(2) << 40 | (uint64_t)number << 8 | (uint64_t)crc8(number);
    return bits >> (BLOCKS - 1 - i) & 1;
}

// -1: cannot be read. Looks at the middle of each block, in the upper half.
static inline int64_t read_number(const struct picture *p)
{
    uint64_t bits = 0;
    for (int i = 0; i < BLOCKS; i++) {
        int light = 0, x = (2 * i + 1) * p->width / (2 * BLOCKS);
        for (int y = p->height / 8; y < p->height / 4; y++)
            light += p->plane[0][y * p->stride[0] + x];
        bits = bits << 1 | (light > 125 * (p->height / 4 - p->height / 8));
    }
    uint32_t number = (uint32_t)(bits >> 8);
    return bits >> 40 == 2 && (int)(bits & 255) == crc8(number) ? (int64_t)number : -1;
}

// Pictures first to first + count, and their sound; `codec`: ffmpeg's options for both.
static inline void make_clip(const char *path, int first, int count, const char *codec)
{
    static uint8_t frame[CLIP_WIDTH * CLIP_HEIGHT * 3 / 2];
    char command[1024];
    uint64_t seed = 7;
    snprintf(command, sizeof command,
             "exec ffmpeg -v error -y -f rawvideo -pix_fmt yuv420p -s %dx%d -r %d -i - -f lavfi -i "
             "\"aevalsrc=if(lt(mod(t\\,1)\\,0.02)\\,0.5*sin(2*PI*1000*t)\\,0.004*(random(0)-0.5)+0."
             "02*sin(2*PI*300*t)):"
             "s=48000:d=%g\" "
             "%s %s",
             CLIP_WIDTH, CLIP_HEIGHT, CLIP_RATE, (double)count / CLIP_RATE, codec, path);
    FILE *f = popen(command, "w");
    CHECK_TRUE(f);
    memset(frame, 128, sizeof frame);
    for (int n = first; f && n < first + count; n++) {
        for (int y = 0; y < CLIP_HEIGHT / 2; y++)
            for (int x = 0; x < CLIP_WIDTH; x++)
                frame[y * CLIP_WIDTH + x] =
                    block_of((uint32_t)n, x * BLOCKS / CLIP_WIDTH) ? 235 : 16;
        for (int i = CLIP_WIDTH * CLIP_HEIGHT / 2; i < CLIP_WIDTH * CLIP_HEIGHT; i++)
            frame[i] = (uint8_t)(100 + (i + 3 * n) % 64 + (int)(check_random(&seed) & 7));
        CHECK(fwrite(frame, 1, sizeof frame, f), ==, sizeof frame);
    }
    CHECK_OK(f ? pclose(f) : -1);
}
#define CLIP_H264                                                                                  \
    "-c:v libx264 -preset veryfast -g 25 -keyint_min 25 -sc_threshold 0 -bf 2 -c:a aac -b:a 96k "  \
    "-f mpegts "
