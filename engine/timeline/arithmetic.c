#include "engine/timeline/arithmetic.h"

#include "engine/timeline/timeline.h"

#include <math.h>

static wide gcd_of(wide a, wide b)
{
    a = a < 0 ? -a : a;
    while (b) {
        wide rest = a % b;
        a = b;
        b = rest;
    }
    return a ? a : 1;
}

struct rational rational_fit(wide num, wide den)
{
    wide gcd = gcd_of(num, den);
    num /= gcd;
    den /= gcd;
    while (num > INT64_MAX || num < INT64_MIN || den > INT64_MAX) {
        num /= 2;
        den /= 2;
    }
    return (struct rational){(int64_t)num, (int64_t)(den ? den : 1)};
}

struct rational rational_difference(struct rational a, struct rational b)
{
    // Both products are in 0..2^126, so their difference fits.
    return rational_fit((wide)a.num * b.den - (wide)b.num * a.den, (wide)a.den * b.den);
}

struct rational rational_sum(struct rational a, struct rational b)
{
    return rational_fit((wide)a.num * b.den + (wide)b.num * a.den, (wide)a.den * b.den);
}

struct rational rational_product(struct rational a, struct rational b)
{
    return rational_fit((wide)a.num * b.num, (wide)a.den * b.den);
}

double rational_double(struct rational value)
{
    return (double)value.num / (double)value.den;
}

double decibel_to_gain(double db)
{
    if (!(db > -96))
        return 0;
    if (db > 240)
        db = 240;
    // 10^(db/20) = 2^whole * 2^rest with |rest| <= 1/2; 2^rest is the exponential series, whose
    // term 16 is below 2^-60 there.
    const double log2_10_by_20 = 0.16609640474436813, ln_2 = 0.69314718055994531;
    double exponent = db * log2_10_by_20;
    int whole = (int)(exponent < 0 ? exponent - 0.5 : exponent + 0.5);
    double x = (exponent - whole) * ln_2, sum = 1;
    for (int i = 16; i >= 1; i--)
        sum = 1 + sum * x / i;
    for (; whole > 0; whole--)
        sum *= 2;
    for (; whole < 0; whole++)
        sum *= 0.5;
    return sum;
}

// Series of sin(x) / x and cos(x) in x^2; |x| <= pi/4, so term 9 is below 2^-60.
static void series_sin_cos(double x, double *ret_sin, double *ret_cos)
{
    double square = x * x, sine = 1, cosine = 1;
    for (int i = 18; i >= 2; i -= 2) {
        cosine = 1 - square / ((i - 1) * i) * cosine;
        sine = 1 - square / (i * (i + 1)) * sine;
    }
    *ret_sin = x * sine;
    *ret_cos = cosine;
}

void degrees_sin_cos(double degrees, double *ret_sin, double *ret_cos)
{
    // fmod and the subtraction of a quarter turn are exact by IEEE 754, so multiples of 90 give
    // exactly 0 and +-1.
    double turn = fmod(degrees, 360);
    if (!(turn > -360 && turn < 360))
        turn = 0;
    int quarter = (int)(turn / 90 + (turn < 0 ? -0.5 : 0.5));
    double sine, cosine;
    series_sin_cos((turn - 90.0 * quarter) * 0.017453292519943295, &sine, &cosine);
    switch (quarter & 3) {
    case 0:
        *ret_sin = sine, *ret_cos = cosine;
        break;
    case 1:
        *ret_sin = cosine, *ret_cos = -sine;
        break;
    case 2:
        *ret_sin = -sine, *ret_cos = -cosine;
        break;
    default:
        *ret_sin = -cosine, *ret_cos = sine;
    }
}
