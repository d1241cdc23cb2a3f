#include "engine/link/srt_parts.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/thread.h"
#include "engine/link/bytes.h"

#define PARTIALS_MAX 4

struct partial {
    uint8_t *bytes; // NULL: unused
    uint8_t *have;  // one bit per part
    uint64_t age;   // order of arrival of the first part
    size_t last_size;
    uint32_t number;
    int parts, missing;
};

struct part_joiner {
    size_t parts_max;
    uint64_t ages, incomplete;
    // The newest complete message: late copies of its parts must not begin it anew.
    uint32_t done_number;
    bool done_any;
    struct partial partials[PARTIALS_MAX];
};

int part_count(size_t size)
{
    return (int)((size + PART_DATA_MAX - 1) / PART_DATA_MAX);
}

size_t part_write(uint8_t out[PART_BYTES_MAX], uint32_t number, int part, const uint8_t *message,
                  size_t size)
{
    size_t from = (size_t)part * PART_DATA_MAX;
    size_t count = size - from < PART_DATA_MAX ? size - from : PART_DATA_MAX;
    put_u32(out, number);
    put_u16(out + 4, (uint16_t)part);
    put_u16(out + 6, (uint16_t)part_count(size));
    memcpy(out + PART_HEADER_BYTES, message + from, count);
    return PART_HEADER_BYTES + count;
}

struct part_joiner *part_joiner_create(size_t message_bytes_max)
{
    struct part_joiner *joiner = base_alloc(sizeof *joiner);
    joiner->parts_max = (size_t)part_count(message_bytes_max);
    return joiner;
}

static void partial_finish(struct partial *p)
{
    free(p->bytes);
    free(p->have);
    *p = (struct partial){0};
}

void part_joiner_destroy(struct part_joiner **joiner)
{
    struct part_joiner *j = *joiner;
    if (!j)
        return;
    *joiner = NULL;
    for (int i = 0; i < PARTIALS_MAX; i++)
        partial_finish(&j->partials[i]);
    free(j);
}

uint64_t part_joiner_incomplete(const struct part_joiner *joiner)
{
    return joiner->incomplete;
}

static struct partial *partial_find(struct part_joiner *j, uint32_t number)
{
    for (int i = 0; i < PARTIALS_MAX; i++)
        if (j->partials[i].bytes && j->partials[i].number == number)
            return &j->partials[i];
    return NULL;
}

// Memory is only reserved here: pages that no part was written to cost nothing.
static struct partial *partial_begin(struct part_joiner *j, uint32_t number, int parts)
{
    struct partial *p = &j->partials[0];
    for (int i = 1; i < PARTIALS_MAX; i++)
        if (p->bytes && (!j->partials[i].bytes || j->partials[i].age < p->age))
            p = &j->partials[i];
    if (p->bytes)
        j->incomplete++;
    partial_finish(p);
    uint8_t *bytes = malloc((size_t)parts * PART_DATA_MAX);
    uint8_t *have = calloc((size_t)(parts + 7) / 8, 1);
    if (!bytes || !have) {
        free(bytes);
        free(have);
        return NULL;
    }
    *p = (struct partial){
        .bytes = bytes,
        .have = have,
        .age = ++j->ages,
        .number = number,
        .parts = parts,
        .missing = parts,
    };
    return p;
}

int part_joiner_add(struct part_joiner *j, const uint8_t *bytes, size_t size, uint8_t **ret,
                    size_t *ret_size)
{
    if (size <= PART_HEADER_BYTES || size > PART_BYTES_MAX)
        return -EPROTO;
    uint32_t number = get_u32(bytes);
    int part = get_u16(bytes + 4), parts = get_u16(bytes + 6);
    if (part >= parts || (size_t)parts > j->parts_max ||
        (part < parts - 1 && size != PART_BYTES_MAX))
        return -EPROTO;
    if (j->done_any && number == j->done_number)
        return 0;
    struct partial *p = partial_find(j, number);
    if (!p)
        p = partial_begin(j, number, parts);
    if (!p)
        return -ENOMEM;
    if (p->parts != parts)
        return -EPROTO;
    if (p->have[part / 8] >> part % 8 & 1)
        return 0;
    p->have[part / 8] |= (uint8_t)(1 << part % 8);
    memcpy(p->bytes + (size_t)part * PART_DATA_MAX, bytes + PART_HEADER_BYTES,
           size - PART_HEADER_BYTES);
    if (part == parts - 1)
        p->last_size = size - PART_HEADER_BYTES;
    if (--p->missing)
        return 0;
    *ret = p->bytes;
    *ret_size = (size_t)(parts - 1) * PART_DATA_MAX + p->last_size;
    p->bytes = NULL;
    partial_finish(p);
    j->done_any = true;
    j->done_number = number;
    return 1;
}
