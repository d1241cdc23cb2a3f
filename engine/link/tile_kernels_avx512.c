#include "engine/link/tile_kernels_simd.h"

const struct tile_kernels tile_kernels_avx512 = {"avx512", encode, decode};
