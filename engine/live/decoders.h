// The decoders of one camera, in a child process that can do nothing else
// (engine/live/decode_units.h, engine/base/jail.h): what strangers send is decoded there and
// nowhere else. One that crashes or does not get on (engine/base/hang.h) costs the child: all its
// decoders begin anew.
//
// Whatever they are given, it is the same for all who decode it: who is told -ERESTART gives the
// same units to a fresh decoder. A unit that two have crashed at, or one has hung at, is to blame;
// then what was to be decoded from there on is not there, for anybody.
// Thread: one.
#pragma once

#include "engine/frame/picture.h"
#include "engine/live/unit.h"

struct live_decoders;
// `source` is its name. The child is started when it is needed.
struct live_decoders *live_decoders_create(const char *source);
void live_decoders_destroy(struct live_decoders **decoders); // accepts NULL inside

// All of these also: -ERESTART, the child is another one: everything is to be opened and given
// anew; -EAGAIN while there is no child to be had, which passes.

// A fresh decoder of this number, below UNIT_DECODERS_MAX. -EINVAL: there is none for this format.
int live_decoders_open(struct live_decoders *decoders, int number, const struct unit_format *format,
                       struct diagnostic *reterr);
// Gives the body of unit `seq`, NULL for the end; what is made of it comes with its `tag`.
// Everything must have been pulled before. 0, or -EIO: it cannot be decoded.
int live_decoders_push(struct live_decoders *decoders, int number, uint64_t seq,
                       const uint8_t *bytes, size_t size, int64_t tag);
// 0; -ENODATA: push more, or the end; -EIO: this picture is not whole (its tag is told). Gives a
// reference.
int live_decoders_picture(struct live_decoders *decoders, int number, struct picture **ret,
                          int64_t *ret_tag);
struct live_sound {
    const int32_t *pairs; // as in engine/frame/sound.h; good until the next call. Of a child: it
                          // may go on changing them
    int count, rate;
};
// As above; without the reference.
int live_decoders_sound(struct live_decoders *decoders, int number, struct live_sound *ret,
                        int64_t *ret_tag);
// Whether this unit ends decoders.
bool live_decoders_blame(const struct live_decoders *decoders, uint64_t seq);

// The newest unit of each source that has ended decoders of this process, for reports. 0: none.
// Thread: any.
uint64_t live_decoders_newest_blamed(const char *source);
