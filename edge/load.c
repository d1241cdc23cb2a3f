#include "edge/load.h"

#include "edge/deliver/outlet.h"
#include "engine/base/log.h"

#include <stdio.h>

#define WAITING_BEHIND (RENDITION_WAITING_MAX / 3) // half a second at 30 frames a second
#define WAITING_ROOM   (RENDITION_WAITING_MAX / 9)
#define LATE_BEHIND_NS INT64_C(100000000)
#define LATE_ROOM_NS   INT64_C(20000000)

enum load_sign load_of(const struct channel_pressure *p)
{
    if (p->waiting >= WAITING_BEHIND || p->undecoded || p->late_ns >= LATE_BEHIND_NS)
        return LOAD_BEHIND;
    return p->waiting <= WAITING_ROOM && p->late_ns <= LATE_ROOM_NS ? LOAD_ROOM : LOAD_NEITHER;
}

void load_init(struct load *load, struct outlet *preview)
{
    *load = (struct load){
        .overload.has =
            {[OVERLOAD_PREVIEWS] = true, [OVERLOAD_SAMPLES] = true, [OVERLOAD_COPIES] = true},
        .preview = preview,
    };
}

static void look_at(struct load *load, struct channel *channel, enum load_sign *sign)
{
    struct channel_pressure p;
    channel_pressure(channel, &p);
    enum load_sign its = load_of(&p);
    *sign = its > *sign ? its : *sign;
    struct channel_pressure *w = &load->worst;
    w->waiting = p.waiting > w->waiting ? p.waiting : w->waiting;
    w->undecoded += p.undecoded;
    w->late_ns = p.late_ns > w->late_ns ? p.late_ns : w->late_ns;
}

void load_tend(struct load *load, struct channel *const *channels, int count, int64_t now)
{
    enum load_sign sign = LOAD_ROOM;
    enum overload_level before = load->overload.level;
    load->worst = (struct channel_pressure){0};
    for (int i = 0; i < count; i++)
        look_at(load, channels[i], &sign);
    enum overload_level level =
        overload_step(&load->overload, sign == LOAD_BEHIND, sign == LOAD_ROOM, now);
    for (int i = 0; i < count; i++)
        channel_give_up(channels[i], level);
    if (load->preview)
        outlet_pause(load->preview, level >= OVERLOAD_PREVIEWS);
    if (level > before)
        log_warning("overloaded", "gives_up=%s waiting=%llu undecoded=%llu late_ms=%lld",
                    overload_name(level), (unsigned long long)load->worst.waiting,
                    (unsigned long long)load->worst.undecoded,
                    (long long)(load->worst.late_ns / 1000000));
    else if (level < before)
        log_info("takes_up", "what=%s", overload_name(before));
}

void load_text(const struct load *load, char *ret, size_t size)
{
    ret[0] = 0;
    if (load->overload.level)
        overload_text(&load->overload, "this edge does not keep up with encoding and mixing", ret,
                      size);
}
