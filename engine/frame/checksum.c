#include "engine/frame/checksum.h"

#include <string.h>

#define K1 UINT64_C(0x9e3779b97f4a7c15)
#define K2 UINT64_C(0xd6e8feb86659fd93)
#define K3 UINT64_C(0xa0761d6478bd642f)

static uint64_t mix(uint64_t sum, uint64_t word)
{
    sum ^= word * K1;
    return ((sum << 27) | (sum >> 37)) * K2 + K3;
}

uint64_t checksum_begin(void)
{
    return K3;
}

uint64_t checksum_add(uint64_t sum, const void *bytes, size_t size)
{
    const uint8_t *p = bytes;
    uint64_t word;
    size_t left = size;
    for (; left >= 8; left -= 8, p += 8) {
        memcpy(&word, p, 8);
        sum = mix(sum, word);
    }
    word = 0;
    memcpy(&word, p, left);
    sum = mix(sum, word);
    return mix(sum, size);
}
