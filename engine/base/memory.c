#include "engine/base/memory.h"

#include <malloc.h>

#define ARENAS        2
#define MAPPED_BYTES  (512 << 10) // from this size on a block is mapped by itself
#define TRIMMED_BYTES (4 << 20)   // so much at the end of the heap is given back

void memory_setup(void)
{
    (void)mallopt(M_ARENA_MAX, ARENAS);
    (void)mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES);
    (void)mallopt(M_TRIM_THRESHOLD, TRIMMED_BYTES);
}
