// How loud 48 kHz stereo is as a whole: EBU R 128, by ITU-R BS.1770-4, measured by libebur128.
// Floating point and libm: measured once, at import, rounded, and kept in the asset's facts, which
// every node reads; nothing on the way of a frame measures.
// Thread: a meter belongs to one thread.
#pragma once

#include <stdint.h>

struct loudness_meter;
int loudness_meter_create(struct loudness_meter **ret); // -ENOMEM
void loudness_meter_destroy(struct loudness_meter **meter);
// The next `count` stereo pairs, 1 = full scale. What is no number, or beyond 120 dB over full
// scale, counts as silence. Memory: 320 bytes a second of sound. -ENOMEM.
int loudness_meter_add(struct loudness_meter *meter, const float *pairs, int64_t count);
// As `count` pairs of zeros, but in no more time than a second of them takes.
int loudness_meter_add_silence(struct loudness_meter *meter, int64_t count);

// Integrated loudness (gated) in LUFS and the true peak (four times oversampled) in dBTP, both
// rounded to 0.01. -HUGE_VAL: nothing is above the absolute gate of -70 LUFS, or it is shorter than
// the gate's 0.4 s; no sample is above LOUDNESS_NOTHING. Ends the measurement.
#define LOUDNESS_NOTHING (-200) // dB
void loudness_meter_finish(struct loudness_meter *meter, double *ret_lufs, double *ret_dbtp);
