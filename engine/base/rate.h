// Exact time: rational frame rates, frame numbers, and the samples that belong to a frame.
//
// All arithmetic is in integers (128-bit inside), so 30000/1001 never drifts. Frame `n` of a
// channel starts `n * den / num` seconds after the channel's epoch; its sound is the samples
// [rate_first_sample(n), rate_first_sample(n + 1)) at 48 kHz: at 29.97 that is 8008 per 5 frames.
// Thread: any; pure functions.
#pragma once

#include <stdint.h>

#define SAMPLE_RATE_HZ 48000

// Frames per second, num / den, in lowest terms, both > 0.
struct rate {
    int32_t num, den;
};

// A rational number in lowest terms, den > 0. Used for seconds.
struct rational {
    int64_t num, den;
};

// Accepts "30", "30000/1001" and the customary decimals 23.976, 29.97, 59.94, 119.88 (with any
// further digits), which mean the /1001 rates. Between 1 and 240 frames a second. 0 or -EINVAL.
int rate_parse(const char *text, struct rate *ret);
// Writes "30" or "30000/1001"; `buffer` holds at least 24 bytes.
const char *rate_format(struct rate rate, char *buffer);

int64_t rate_frame_time_ns(struct rate rate, int64_t n); // floor(n * den * 1e9 / num)
int64_t rate_frame_at_ns(struct rate rate, int64_t ns);  // largest n with frame time <= ns
int64_t rate_first_sample(struct rate rate, int64_t n);  // floor(n * den * 48000 / num)
int rate_sample_count(struct rate rate, int64_t n);      // of frame n
// floor(a * b / c) without overflow; c > 0, result must fit.
int64_t muldiv_floor(int64_t a, int64_t b, int64_t c);

// Reduces; `den` must not be 0.
struct rational rational_make(int64_t num, int64_t den);
struct rational rational_add(struct rational a, struct rational b);
struct rational rational_mul(struct rational a, struct rational b);
int rational_compare(struct rational a, struct rational b); // -1, 0, 1
// floor(value * scale)
int64_t rational_floor(struct rational value, int64_t scale);
