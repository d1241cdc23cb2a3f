// Exact positions and the few functions that would otherwise need libm.
//
// Positions are rationals of 64-bit terms; products are 128 bits wide inside. For every pair of
// customary rates all results are exact. Terms that would not fit (rates with huge coprime terms)
// are halved together until they do, which is the same on every machine.
// Thread: any; pure functions.
#pragma once

#include "engine/base/rate.h"

#include <stdint.h>

typedef __int128 wide;

// num / den in lowest terms; den > 0.
struct rational rational_fit(wide num, wide den);
// a - b for a, b >= 0.
struct rational rational_difference(struct rational a, struct rational b);
// a + b for a, b >= 0, halved into range if need be (rational_add would be cut off).
struct rational rational_sum(struct rational a, struct rational b);
// a * b for terms of b below 2^50.
struct rational rational_product(struct rational a, struct rational b);
double rational_double(struct rational value);
