// Checks for tests: print both operands and go on counting; `check_end` gives the exit status.
#pragma once

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Atomic int check_failures, check_count; // callbacks on other threads check too

#define CHECK(a, op, b)                                                                            \
    do {                                                                                           \
        long long check_a = (long long)(a), check_b = (long long)(b);                              \
        check_count++;                                                                             \
        if (!(check_a op check_b)) {                                                               \
            check_failures++;                                                                      \
            fprintf(stderr, "%s:%d: %s %s %s: %lld against %lld\n", __FILE__, __LINE__, #a, #op,   \
                    #b, check_a, check_b);                                                         \
        }                                                                                          \
    } while (0)

#define CHECK_OK(call)           CHECK(call, ==, 0)
#define CHECK_ERROR(call, error) CHECK(call, ==, error)
#define CHECK_TRUE(condition)    CHECK(!!(condition), ==, 1)

#define CHECK_TEXT(a, b)                                                                           \
    do {                                                                                           \
        const char *check_a = (a), *check_b = (b);                                                 \
        check_count++;                                                                             \
        if (!check_a || strcmp(check_a, check_b)) {                                                \
            check_failures++;                                                                      \
            fprintf(stderr, "%s:%d: %s is \"%s\", not \"%s\"\n", __FILE__, __LINE__, #a,           \
                    check_a ? check_a : "(null)", check_b);                                        \
        }                                                                                          \
    } while (0)

#define CHECK_BYTES(a, b, n)                                                                       \
    do {                                                                                           \
        const uint8_t *check_a = (const uint8_t *)(a), *check_b = (const uint8_t *)(b);            \
        size_t check_n = (size_t)(n), check_i = 0;                                                 \
        check_count++;                                                                             \
        while (check_i < check_n && check_a[check_i] == check_b[check_i])                          \
            check_i++;                                                                             \
        if (check_i < check_n) {                                                                   \
            check_failures++;                                                                      \
            fprintf(stderr, "%s:%d: %s and %s differ at byte %zu of %zu: %02x against %02x\n",     \
                    __FILE__, __LINE__, #a, #b, check_i, check_n, check_a[check_i],                \
                    check_b[check_i]);                                                             \
        }                                                                                          \
    } while (0)

static inline int check_end(void)
{
    fprintf(stderr, "%d checks, %d failed\n", check_count, check_failures);
    return check_failures ? EXIT_FAILURE : EXIT_SUCCESS;
}

// Seeded random numbers for tests (xorshift64*); print the seed, take it from argv[1].
static inline uint64_t check_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}
