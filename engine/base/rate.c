#include "engine/base/rate.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef __int128 wide;

static wide wide_gcd(wide a, wide b)
{
    a = a < 0 ? -a : a;
    while (b) {
        wide rest = a % b;
        a = b;
        b = rest;
    }
    return a ? a : 1;
}

static int64_t wide_floor(wide a, wide b)
{
    assert(b > 0);
    wide q = a / b;
    return (int64_t)(a % b < 0 ? q - 1 : q);
}

int64_t muldiv_floor(int64_t a, int64_t b, int64_t c)
{
    return wide_floor((wide)a * b, c);
}

int rate_parse(const char *text, struct rate *ret)
{
    char *end;
    errno = 0;
    long num = strtol(text, &end, 10);
    long den = 1;
    if (end == text || errno || num < 1)
        return -EINVAL;
    if (*end == '/') {
        const char *rest = end + 1;
        den = strtol(rest, &end, 10);
        if (end == rest)
            return -EINVAL;
    } else if (*end == '.') {
        static const struct {
            const char *prefix;
            long nominal;
        } ntsc[] = {{"23.97", 24}, {"29.97", 30}, {"47.95", 48}, {"59.94", 60}, {"119.88", 120}};
        size_t i;
        for (i = 0; i < sizeof ntsc / sizeof ntsc[0]; i++)
            if (!strncmp(text, ntsc[i].prefix, strlen(ntsc[i].prefix)))
                break;
        const char *rest = end + 1;
        end = (char *)rest + strspn(rest, "0123456789");
        if (i < sizeof ntsc / sizeof ntsc[0]) {
            num = ntsc[i].nominal * 1000;
            den = 1001;
        } else if (rest == end || strspn(rest, "0") != (size_t)(end - rest)) {
            return -EINVAL;
        }
    }
    if (*end || errno || den < 1 || num > 1000000000 || den > 1000000000 || num < den ||
        num > 240 * den)
        return -EINVAL;
    long gcd = (long)wide_gcd(num, den);
    *ret = (struct rate){(int32_t)(num / gcd), (int32_t)(den / gcd)};
    return 0;
}

const char *rate_format(struct rate rate, char *buffer)
{
    if (rate.den == 1)
        sprintf(buffer, "%d", rate.num);
    else
        sprintf(buffer, "%d/%d", rate.num, rate.den);
    return buffer;
}

int64_t rate_frame_time_ns(struct rate rate, int64_t n)
{
    return wide_floor((wide)n * rate.den * 1000000000, rate.num);
}

int64_t rate_frame_at_ns(struct rate rate, int64_t ns)
{
    // Frame n's time is floor(n * p) with p the exact period, and floor(n * p) <= ns is the same
    // as n * p < ns + 1.
    wide limit = ((wide)ns + 1) * rate.num;
    wide period = (wide)rate.den * 1000000000;
    return wide_floor(limit - 1, (int64_t)period);
}

int64_t rate_first_sample(struct rate rate, int64_t n)
{
    return wide_floor((wide)n * rate.den * SAMPLE_RATE_HZ, rate.num);
}

int rate_sample_count(struct rate rate, int64_t n)
{
    return (int)(rate_first_sample(rate, n + 1) - rate_first_sample(rate, n));
}

static struct rational wide_rational(wide num, wide den)
{
    assert(den != 0);
    if (den < 0) {
        num = -num;
        den = -den;
    }
    wide gcd = wide_gcd(num, den);
    return (struct rational){(int64_t)(num / gcd), (int64_t)(den / gcd)};
}

struct rational rational_make(int64_t num, int64_t den)
{
    return wide_rational(num, den);
}

struct rational rational_add(struct rational a, struct rational b)
{
    return wide_rational((wide)a.num * b.den + (wide)b.num * a.den, (wide)a.den * b.den);
}

struct rational rational_mul(struct rational a, struct rational b)
{
    return wide_rational((wide)a.num * b.num, (wide)a.den * b.den);
}

int rational_compare(struct rational a, struct rational b)
{
    wide left = (wide)a.num * b.den, right = (wide)b.num * a.den;
    return left < right ? -1 : left > right;
}

int64_t rational_floor(struct rational value, int64_t scale)
{
    return wide_floor((wide)value.num * scale, value.den);
}
