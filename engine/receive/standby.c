#include "engine/receive/standby.h"

#include <stdlib.h>

void standby_pair_finish(struct standby_pair *pair)
{
    group_frame_unref(&pair->own);
    free(pair->own_stem);
    frame_body_unref(&pair->body);
    *pair = (struct standby_pair){.frame = -1};
}

int64_t standby_sampled(uint64_t channel, uint32_t group, int64_t from)
{
    // Far apart for channels and groups that are neighbours: their samples do not come together.
    int64_t residue = (int64_t)((channel * 7 + group) * 113 % STANDBY_SAMPLE_FRAMES);
    int64_t n = from - from % STANDBY_SAMPLE_FRAMES + residue;
    return n < from ? n + STANDBY_SAMPLE_FRAMES : n;
}

void standby_init(struct standby *s, uint64_t channel, uint32_t group, uint32_t plan_epoch,
                  bool warm, int64_t cursor, atomic_uint *starts)
{
    *s = (struct standby){.channel = channel,
                          .group = group,
                          .plan_epoch = plan_epoch,
                          .warm = warm,
                          .starts = starts,
                          .next = standby_sampled(channel, group, cursor)};
    standby_changed(s);
}

void standby_finish(struct standby *s)
{
    standby_pair_finish(&s->pair);
}

void standby_changed(struct standby *s)
{
    standby_pair_finish(&s->pair);
    s->start = atomic_fetch_add(s->starts, 1) + 1;
    s->asked = s->tells = false;
    s->told = -1;
}

// Begins to sample when a frame's turn has come, and gives up what cannot be compared any more.
// True: another frame is asked for.
static bool sample(struct standby *s, const struct standby_view *view)
{
    bool over = view->cursor > s->pair.frame && !(s->pair.body && s->pair.own);
    if (s->pair.frame >= 0 && (!view->calm || over)) {
        standby_pair_finish(&s->pair);
        s->asked = false;
    }
    if (s->next >= view->frontier)
        return false;
    int64_t n = s->next;
    s->next = standby_sampled(s->channel, s->group, view->frontier);
    // In time to be compared before it is mixed.
    bool early = n - view->cursor > (view->frontier - view->cursor) / 2;
    if (s->pair.frame >= 0 || !view->calm || !early)
        return false;
    s->pair.frame = n;
    s->asked = true;
    s->start = atomic_fetch_add(s->starts, 1) + 1;
    return true;
}

bool standby_want(struct standby *s, const struct standby_view *view, int64_t now_ns,
                  struct frame_want *ret)
{
    *ret =
        (struct frame_want){.channel = s->channel, .group = s->group, .plan_epoch = s->plan_epoch};
    if (!view->alive)
        return false;
    bool asks = sample(s, view);
    ret->start = s->start;
    if (asks || s->asked) {
        ret->from = s->pair.frame;
        ret->credit = ret->from + 1;
        ret->spare = true;
        s->told = -1;
        s->tells = true;
        return asks;
    }
    if (s->warm) {
        if (view->frontier == s->told || (s->told >= 0 && now_ns - s->told_ns < STANDBY_TELL_NS))
            return false;
        ret->from = ret->credit = s->told = view->frontier;
        s->told_ns = now_ns;
        s->tells = true;
        return true;
    }
    if (!s->tells || s->pair.frame >= 0)
        return false;
    ret->from = ret->credit = view->cursor;
    ret->ended = true;
    s->tells = false;
    return true;
}

bool standby_put(struct standby *s, const struct frame_header *header, struct frame_body *body,
                 int provider)
{
    if (!s->asked || header->frame != s->pair.frame)
        return false;
    s->asked = false;
    if (header->base_frame == header->frame) {
        s->pair.body = body;
        s->pair.provider = provider;
        return true;
    }
    frame_body_unref(&body); // others take frames from it: what this is a difference to is theirs
    standby_pair_finish(&s->pair);
    return true;
}

bool standby_copy(struct standby *s, const struct frame_header *header, struct frame_body *body,
                  int provider)
{
    if (s->pair.frame >= 0 || header->base_frame != header->frame)
        return false;
    s->pair.frame = header->frame;
    s->pair.body = body;
    s->pair.provider = provider;
    return true;
}

void standby_expire(struct standby *s, int64_t cursor)
{
    if (s->pair.frame >= 0 && s->pair.frame < cursor && !(s->pair.body && s->pair.own))
        standby_pair_finish(&s->pair);
}

bool standby_needs(const struct standby *s, int64_t n)
{
    return s->pair.frame == n && !s->pair.own;
}

void standby_own(struct standby *s, struct group_frame *frame, int32_t *stem)
{
    s->pair.own = frame;
    s->pair.own_stem = stem;
}

bool standby_take(struct standby *s, struct standby_pair *ret)
{
    if (!s->pair.body || !s->pair.own)
        return false;
    *ret = s->pair;
    s->pair = (struct standby_pair){.frame = -1};
    return true;
}
