// Look-ahead true-peak limiter: what comes out nowhere exceeds the ceiling, also between samples,
// as far as four-fold oversampling sees it (ITU-R BS.1770-4, annex 2). Both channels together.
//
// The gain is a function of the sound from LIMITER_MEMORY samples before to LIMITER_DELAY samples
// after, in integers; so whoever was given so much before has the same bits, whenever it began.
//   r(t) = min(1, ceiling / peak(t))
//   m(t) = min of r over [t - hold, t + attack]
//   f(t) = m, averaged twice over half the attack: down before the peak is there
//   g(t) = min(f(t), mean of f over the release before t): up linearly after the hold
// Where g is 1 the samples are what came in. Sources: this is the usual minimum and box filter
// limiter with finite windows throughout.
//
// Thread: a limiter belongs to one.
#pragma once

#include <stdint.h>

#define LIMITER_ATTACK  240  // samples: 5 ms
#define LIMITER_HOLD    2400 // 50 ms
#define LIMITER_RELEASE 9600 // 200 ms
#define LIMITER_DELAY   (LIMITER_ATTACK + 6)
#define LIMITER_MEMORY  (LIMITER_HOLD + LIMITER_ATTACK + LIMITER_RELEASE + 6)
// -1.5 dBTP, half a decibel below what is promised: for what the oversampling does not see.
#define LIMITER_CEILING 7058136 // 10^(-1.5 / 20) * SOUND_FULL_SCALE

struct limiter;
struct limiter *limiter_create(int32_t ceiling);
void limiter_destroy(struct limiter **limiter);
// `count` stereo samples (sound.h); `src` NULL: silence. dst[i] is src[i - LIMITER_DELAY] of all
// that has been given since the start, before which there was silence. dst may be src.
void limiter_sound(struct limiter *limiter, int32_t *dst, const int32_t *src, int count);
void limiter_reset(struct limiter *limiter); // there was silence before
