#include "engine/link/tile_kernels_simd.h"

const struct tile_kernels tile_kernels_avx2 = {"avx2", encode, decode};
