#include "tests/relay/line.h"

#include <stdlib.h>
#include <string.h>

#define PACKETS_MAX 32768

struct line_queue {
    uint64_t random, order;
    size_t count, free_count;
    struct line_packet *packets; // PACKETS_MAX, and one more that has just left
    struct line_packet *heap[PACKETS_MAX];
    struct line_packet *free[PACKETS_MAX + 1];
    struct line_packet *left;
};

struct line_queue *line_queue_create(uint64_t seed)
{
    struct line_queue *q = calloc(1, sizeof *q);
    if (!q || !(q->packets = malloc((PACKETS_MAX + 1) * sizeof *q->packets))) {
        free(q);
        return NULL;
    }
    q->random = seed ? seed : 1;
    for (size_t i = 0; i <= PACKETS_MAX; i++)
        q->free[q->free_count++] = &q->packets[i];
    q->left = q->free[--q->free_count];
    return q;
}

void line_queue_destroy(struct line_queue **queue)
{
    if (*queue)
        free((*queue)->packets);
    free(*queue);
    *queue = NULL;
}

static double chance(struct line_queue *q)
{
    q->random ^= q->random >> 12;
    q->random ^= q->random << 25;
    q->random ^= q->random >> 27;
    return (double)(q->random * UINT64_C(2685821657736338717) >> 11) / (double)(UINT64_C(1) << 53);
}

static bool before(const struct line_packet *a, const struct line_packet *b)
{
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->order < b->order;
}

static void add(struct line_queue *q, struct line_packet *packet)
{
    size_t at = q->count++;
    for (; at && before(packet, q->heap[(at - 1) / 2]); at = (at - 1) / 2)
        q->heap[at] = q->heap[(at - 1) / 2];
    q->heap[at] = packet;
}

static struct line_packet *take(struct line_queue *q)
{
    struct line_packet *first = q->heap[0], *last = q->heap[--q->count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= q->count)
            break;
        if (child + 1 < q->count && before(q->heap[child + 1], q->heap[child]))
            child++;
        if (!before(q->heap[child], last))
            break;
        q->heap[at] = q->heap[child];
        at = child;
    }
    q->heap[at] = last;
    return first;
}

void line_enter(struct line_queue *q, const struct line *line, int to, const uint8_t *bytes,
                size_t size, int64_t now_ns)
{
    if (size > LINE_PACKET_MAX || chance(q) < line->loss)
        return;
    int copies = 1 + (chance(q) < line->repeat);
    for (int i = 0; i < copies && q->free_count; i++) {
        struct line_packet *packet = q->free[--q->free_count];
        packet->due_ns = now_ns + line->delay_ns + (int64_t)(chance(q) * (double)line->jitter_ns);
        packet->order = q->order++;
        packet->to = to;
        packet->size = size;
        memcpy(packet->bytes, bytes, size);
        add(q, packet);
    }
}

const struct line_packet *line_leave(struct line_queue *q, int64_t now_ns)
{
    if (!q->count || q->heap[0]->due_ns > now_ns)
        return NULL;
    q->free[q->free_count++] = q->left;
    return q->left = take(q);
}

bool line_wait_ns(const struct line_queue *q, int64_t now_ns, int64_t *ret)
{
    if (q->count)
        *ret = q->heap[0]->due_ns > now_ns ? q->heap[0]->due_ns - now_ns : 0;
    return q->count > 0;
}
