#include "engine/base/hang.h"

#include <stdatomic.h>

// Number, kind and pixels, from the top.
#define KIND_BIT   32
#define NUMBER_BIT 34

void hang_step_begin(hang_board *board, enum hang_kind kind, int64_t pixels)
{
    if (!board)
        return;
    uint64_t number = (atomic_load_explicit(board, memory_order_relaxed) >> NUMBER_BIT) + 1;
    uint64_t size = pixels < 0 ? 0 : pixels > UINT32_MAX ? UINT32_MAX : (uint64_t)pixels;
    atomic_store_explicit(board, number << NUMBER_BIT | (uint64_t)kind << KIND_BIT | size,
                          memory_order_relaxed);
}

struct hang_step hang_step_read(const hang_board *board)
{
    uint64_t packed = atomic_load_explicit(board, memory_order_relaxed);
    uint64_t kind = packed >> KIND_BIT & 3; // as written by whom nobody trusts
    return (struct hang_step){
        .number = packed >> NUMBER_BIT,
        .kind = kind > HANG_DECODES ? HANG_DECODES : (enum hang_kind)kind,
        .pixels = (uint32_t)packed,
    };
}

static int64_t at_most(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

bool hang_look(struct hang_watch *w, const struct hang_step *step, const struct hang_sight *sight,
               int64_t now_ns)
{
    static const int64_t limits[] = {
        [HANG_STARTS] = INT64_C(5000000000),
        [HANG_READS] = INT64_C(2000000000),
        [HANG_DECODES] = INT64_C(250000000),
    };
    int64_t used_ns = sight->cpu_ns - w->cpu_ns, since_ns = now_ns - w->looked_ns;
    int64_t size_ns = step->pixels * HANG_PIXEL_NS;
    if (!w->looked_ns || w->number != step->number) {
        *w = (struct hang_watch){.number = step->number};
    } else {
        bool still = sight->asleep && used_ns < since_ns / 100;
        w->used_ns += at_most(used_ns, HANG_LOOK_NS);
        w->still_ns = still ? w->still_ns + at_most(since_ns, HANG_LOOK_NS) : 0;
    }
    w->looked_ns = now_ns;
    w->cpu_ns = sight->cpu_ns;
    return w->used_ns >= limits[step->kind] + size_ns ||
           (step->kind == HANG_DECODES && w->still_ns >= HANG_STILL_NS + size_ns);
}
