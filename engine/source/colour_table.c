#include "engine/source/colour.h"

#include "engine/base/thread.h"

#include <math.h>
#include <stdlib.h>

#define LUMA_NODES   65 // every 16 code values of 10 bit
#define CHROMA_NODES 33 // every 32

struct table {
    uint16_t node[LUMA_NODES][CHROMA_NODES][CHROMA_NODES][3]; // 8.8 bits: Y, Cb, Cr
};

// 2^x and log2 x from + - * / alone: libm's differ in the last bit between processors.
static double power_of_two(double x)
{
    double whole = floor(x), t = (x - whole) * 0.69314718055994530942, term = 1, sum = 1;
    for (int i = 1; i < 24; i++) {
        term = term * t / i;
        sum += term;
    }
    return ldexp(sum, (int)whole);
}

static double log_two(double x)
{
    int exponent;
    double m = frexp(x, &exponent), z = (m - 0.75) / (m + 0.75), square = z * z, sum = 0;
    for (int i = 41; i > 0; i -= 2)
        sum = sum * square + 1.0 / i;
    // log2 of 0.75 is added as a constant.
    return exponent + 2 * z * sum * 1.44269504088896340736 - 0.41503749927884381855;
}

static double power(double x, double exponent)
{
    return x > 0 ? power_of_two(exponent * log_two(x)) : 0;
}

// SMPTE ST 2084; light is relative to 10000 cd/m2.
#define PQ_M1 (2610.0 / 16384)
#define PQ_M2 (2523.0 / 4096 * 128)
#define PQ_C1 (3424.0 / 4096)
#define PQ_C2 (2413.0 / 4096 * 32)
#define PQ_C3 (2392.0 / 4096 * 32)

static double pq_to_light(double signal)
{
    double p = power(signal, 1 / PQ_M2), top = p - PQ_C1;
    return top > 0 ? power(top / (PQ_C2 - PQ_C3 * p), 1 / PQ_M1) : 0;
}

static double light_to_pq(double light)
{
    double p = power(light, PQ_M1);
    return power((PQ_C1 + PQ_C2 * p) / (1 + PQ_C3 * p), PQ_M2);
}

// ARIB STD-B67 inverse OETF; scene light 0..1.
static double hlg_to_light(double signal)
{
    if (signal <= 0.5)
        return signal * signal / 3;
    return (power_of_two((signal - 0.55991072952956) / 0.17883277 * 1.44269504088896340736) +
            0.28466892) /
           12;
}

// BT.2390-10, 5.4.1: from a peak of 1000 to a peak of 203 cd/m2; both relative to 10000.
static double tone_map(double light)
{
    double peak = light_to_pq(0.1), target = light_to_pq(0.0203) / peak;
    double e = light_to_pq(light) / peak, knee = 1.5 * target - 0.5;
    if (e > 1)
        e = 1;
    if (e >= knee) {
        double t = (e - knee) / (1 - knee), t2 = t * t, t3 = t2 * t;
        e = (2 * t3 - 3 * t2 + 1) * knee + (t3 - 2 * t2 + t) * (1 - knee) +
            (-2 * t3 + 3 * t2) * target;
    }
    return pq_to_light(e * peak);
}

static double limit(double value)
{
    return value < 0 ? 0 : value > 1 ? 1 : value;
}

// Signal -> light on the display, 1 = SDR white.
static void to_light(enum colour_gamut gamut, double rgb[3])
{
    if (gamut == GAMUT_WIDE) {
        for (int i = 0; i < 3; i++)
            rgb[i] = power(rgb[i], 2.4);
        return;
    }
    for (int i = 0; i < 3; i++)
        rgb[i] = gamut == GAMUT_PQ ? pq_to_light(rgb[i]) : hlg_to_light(rgb[i]);
    if (gamut == GAMUT_HLG) {
        double luma = 0.2627 * rgb[0] + 0.6780 * rgb[1] + 0.0593 * rgb[2];
        double gain = 0.1 * power(luma, 0.2); // 1000 cd/m2
        for (int i = 0; i < 3; i++)
            rgb[i] *= gain;
    }
    double largest = fmax(rgb[0], fmax(rgb[1], rgb[2]));
    double gain = largest > 0 ? tone_map(largest) / largest / 0.0203 : 0;
    for (int i = 0; i < 3; i++)
        rgb[i] *= gain;
}

static void make_node(enum colour_gamut gamut, double y, double cb, double cr, uint16_t ret[3])
{
    // BT.2087: BT.2020 to BT.709, linear light.
    static const double to709[3][3] = {
        {1.6605, -0.5876, -0.0728}, {-0.1246, 1.1329, -0.0083}, {-0.0182, -0.1006, 1.1187}};
    double rgb[3], out[3];
    rgb[0] = limit(y + 1.4746 * cr);
    rgb[1] = limit(y - 0.16455312684366 * cb - 0.57135312684366 * cr);
    rgb[2] = limit(y + 1.8814 * cb);
    to_light(gamut, rgb);
    for (int i = 0; i < 3; i++)
        out[i] = power(limit(to709[i][0] * rgb[0] + to709[i][1] * rgb[1] + to709[i][2] * rgb[2]),
                       1 / 2.4);
    double luma = 0.2126 * out[0] + 0.7152 * out[1] + 0.0722 * out[2];
    double value[3] = {16 + 219 * luma, 128 + 224 * (out[2] - luma) / 1.8556,
                       128 + 224 * (out[0] - luma) / 1.5748};
    for (int i = 0; i < 3; i++)
        ret[i] = (uint16_t)floor(value[i] * 256 + 0.5);
}

static struct table *tables[4];
static uint8_t *linear_table;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

const uint8_t *colour_linear_table(void)
{
    pthread_mutex_lock(&lock);
    if (!linear_table) {
        linear_table = base_alloc(65536);
        for (int i = 0; i < 65536; i++) {
            double light = i / 65535.0;
            double code =
                light <= 0.0031308 ? 12.92 * light : 1.055 * power(light, 1 / 2.4) - 0.055;
            linear_table[i] = (uint8_t)floor(255 * code + 0.5);
        }
    }
    const uint8_t *table = linear_table;
    pthread_mutex_unlock(&lock);
    return table;
}

static struct table *table_make(enum colour_gamut gamut)
{
    struct table *table = base_alloc(sizeof *table);
    for (int y = 0; y < LUMA_NODES; y++)
        for (int cb = 0; cb < CHROMA_NODES; cb++)
            for (int cr = 0; cr < CHROMA_NODES; cr++)
                make_node(gamut, (y * 16 - 64) / 876.0, (cb * 32 - 512) / 896.0,
                          (cr * 32 - 512) / 896.0, table->node[y][cb][cr]);
    return table;
}

// Made once and kept: it is the same for every source.
static const struct table *table_get(enum colour_gamut gamut)
{
    pthread_mutex_lock(&lock);
    if (!tables[gamut])
        tables[gamut] = table_make(gamut);
    const struct table *table = tables[gamut];
    pthread_mutex_unlock(&lock);
    return table;
}

void colour_table_prepare(enum colour_gamut gamut)
{
    if (gamut != GAMUT_STANDARD)
        (void)table_get(gamut);
}

static uint8_t look_up(const struct table *t, int y, int cb, int cr, int channel)
{
    uint32_t sum = 0;
    uint32_t fy = (uint32_t)y & 15, fb = (uint32_t)cb & 31, fr = (uint32_t)cr & 31;
    for (int i = 0; i < 8; i++) {
        uint32_t weight = (i & 4 ? fy : 16 - fy) * (i & 2 ? fb : 32 - fb) * (i & 1 ? fr : 32 - fr);
        sum += weight *
               t->node[(y >> 4) + (i >> 2)][(cb >> 5) + (i >> 1 & 1)][(cr >> 5) + (i & 1)][channel];
    }
    uint32_t value = (sum + (1u << 21)) >> 22;
    return value > 255 ? 255 : (uint8_t)value;
}

static int sample(const uint8_t *row, int x)
{
    int value = row[2 * x] | row[2 * x + 1] << 8;
    return value > 1023 ? 1023 : value;
}

void colour_table_apply(struct picture *dst, enum colour_gamut gamut, const uint8_t *const src[3],
                        const int stride[3])
{
    const struct table *t = table_get(gamut);
    for (int y = 0; y < dst->height / 2; y++) {
        const uint8_t *u = src[1] + (ptrdiff_t)y * stride[1],
                      *v = src[2] + (ptrdiff_t)y * stride[2];
        for (int x = 0; x < dst->width / 2; x++) {
            int cb = sample(u, x), cr = sample(v, x), mean = 2;
            for (int i = 0; i < 4; i++) {
                int row = 2 * y + (i >> 1), column = 2 * x + (i & 1);
                int luma = sample(src[0] + (ptrdiff_t)row * stride[0], column);
                mean += luma;
                dst->plane[0][row * dst->stride[0] + column] = look_up(t, luma, cb, cr, 0);
            }
            dst->plane[1][y * dst->stride[1] + x] = look_up(t, mean >> 2, cb, cr, 1);
            dst->plane[2][y * dst->stride[2] + x] = look_up(t, mean >> 2, cb, cr, 2);
        }
    }
}
