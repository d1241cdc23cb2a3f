#include "worker/render/consumers.h"

#include "engine/base/clock.h"

// Less credit than this says nothing about being late.
#define CREDIT_MIN 16

struct consumer *consumers_find(struct consumers *cs, const struct frame_peer *peer)
{
    for (int i = 0; i < CONSUMERS_MAX; i++)
        if (cs->list[i].peer == peer)
            return &cs->list[i];
    return NULL;
}

void consumer_clear(struct consumer *c)
{
    loans_abandon(&c->loans);
    *c = (struct consumer){0};
}

void consumers_clear(struct consumers *cs)
{
    for (int i = 0; i < CONSUMERS_MAX; i++)
        consumer_clear(&cs->list[i]);
}

static bool is_listed(const struct consumer *c, int64_t frame)
{
    for (int i = 0; i < c->again_count; i++)
        if (c->again[i].frame == frame)
            return true;
    return false;
}

// Notes what is to be sent once more, and forgets what was, after the time an answer takes.
static void note_missing(const struct consumers *cs, struct consumer *c,
                         const struct frame_want *want)
{
    int64_t now = clock_monotonic_ns();
    int kept = 0;
    for (int i = 0; i < c->again_count; i++) {
        const struct again *a = &c->again[i];
        if (a->frame >= want->from && (!a->sent_ns || now - a->sent_ns < cs->repeat_ns))
            c->again[kept++] = *a;
    }
    c->again_count = kept;
    for (int i = 0; i < want->missing_count; i++)
        if (want->missing[i] >= want->from && !is_listed(c, want->missing[i]) &&
            c->again_count < FRAME_WANT_MISSING_MAX)
            c->again[c->again_count++] = (struct again){.frame = want->missing[i]};
}

void consumers_note(struct consumers *cs, struct frame_peer *peer, const struct frame_want *want)
{
    struct consumer *c = consumers_find(cs, peer);
    if (!c)
        c = consumers_find(cs, NULL);
    if (!c)
        return;
    if (c->peer != peer || c->start != want->start)
        *c = (struct consumer){.peer = peer,
                               .start = want->start,
                               .next = want->from,
                               .first = want->from,
                               .key = want->from,
                               .loans = c->loans}; // of a free slot: none
    bool shares = cs->host && want->host == cs->host;
    if (c->shares && !shares) // it could not read them
        c->next = c->first = want->from;
    c->shares = shares;
    loans_end(&c->loans, want->keep);
    c->spare = want->spare;
    c->from = want->from;
    c->credit = want->credit;
    if (c->next < want->from)
        c->next = want->from;
    note_missing(cs, c, want);
}

bool consumers_all_share(const struct consumers *cs)
{
    bool any = false;
    for (int i = 0; i < CONSUMERS_MAX; i++) {
        if (cs->list[i].peer && !cs->list[i].shares)
            return false;
        any = any || cs->list[i].peer;
    }
    return any;
}

double consumers_share(const struct consumers *cs, bool begun)
{
    double share = 1;
    for (int i = 0; i < CONSUMERS_MAX; i++) {
        const struct consumer *c = &cs->list[i];
        int64_t ahead = c->credit - c->from;
        if (!c->peer || c->spare || ahead < CREDIT_MIN || (begun && c->next == c->first))
            continue;
        double its = (double)(c->next - c->from) / (double)ahead;
        share = its < share ? its : share;
    }
    return share;
}

bool consumers_wait(const struct consumers *cs)
{
    return consumers_share(cs, false) < 0.5;
}

static bool is_sample(const struct consumer *c)
{
    return c->spare && c->credit == c->from + 1;
}

bool consumers_spare(const struct consumers *cs, bool *ret_any)
{
    bool any = false, may = false;
    for (int i = 0; i < CONSUMERS_MAX; i++) {
        const struct consumer *c = &cs->list[i];
        bool copies = c->peer && c->spare && !is_sample(c);
        any = any || copies;
        may = may || (copies && c->next < c->credit);
    }
    *ret_any = any;
    return may;
}

void consumers_skip_spare(struct consumers *cs, bool samples_only)
{
    for (int i = 0; i < CONSUMERS_MAX; i++) {
        struct consumer *c = &cs->list[i];
        if (c->peer && c->spare && c->next < c->credit && (is_sample(c) || !samples_only))
            c->next = c->first = c->credit;
    }
}

int64_t consumers_stand_at(const struct consumers *cs, bool skipped)
{
    int64_t at = -1;
    for (int i = 0; i < CONSUMERS_MAX; i++) {
        const struct consumer *c = &cs->list[i];
        if (c->peer && c->spare && skipped && !is_sample(c)) {
            at = c->next > at ? c->next : at;
            continue;
        }
        if (c->peer && c->credit > c->from + 1) // one frame is a sample
            return -1;
        if (c->peer && c->credit == c->from && c->from > at)
            at = c->from;
    }
    return at;
}

void consumers_rewind(struct consumers *cs, int64_t frame)
{
    for (int i = 0; i < CONSUMERS_MAX; i++) {
        struct consumer *c = &cs->list[i];
        int kept = 0;
        for (int k = 0; k < c->again_count; k++)
            if (c->again[k].frame < frame)
                c->again[kept++] = c->again[k];
        c->again_count = kept;
        if (c->next > frame)
            c->next = frame;
        if (c->first > frame)
            c->first = frame;
        if (c->key >= frame)
            c->key = -1;
    }
}
