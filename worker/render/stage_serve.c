// What a stage's consumers are sent, and what is rendered for them next.
#include "worker/render/stage_private.h"

#include "engine/base/clock.h"
#include "engine/base/log.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

static int send_frame(struct stage *s, struct frame_peer *peer, int64_t frame, bool shares,
                      uint32_t start)
{
    const struct coded_frame *coded = ring_get(&s->ring, frame);
    assert(coded);
    struct frame_header header = {
        .kind = FRAME_MESSAGE_PICTURE,
        .channel = s->channel,
        .group = s->group,
        .plan_epoch = s->plan_epoch,
        .frame = frame,
        .base_frame = coded->base,
        .width = s->width,
        .height = s->height,
    };
    takes_revision(s->log, frame, s->revision, header.revision);
    if (!coded->block)
        return frame_peer_send(peer, &header, coded->payload, coded->size);
    if (shares)
        return frame_peer_send_block(peer, &header, &coded->block->name, start);
    const uint8_t *payload;
    size_t size;
    int error = coder_recode(s->coder, frame, coded->block, &payload, &size);
    return error ? error : frame_peer_send(peer, &header, payload, size);
}

// A frame asked for again that is here, or -1. One that is not is made again, with what follows.
static int64_t next_again(struct stage *s, struct consumer *c)
{
    for (int i = 0; i < c->again_count; i++) {
        int64_t frame = c->again[i].frame;
        if (c->again[i].sent_ns)
            continue;
        if (frame < c->next && ring_get(&s->ring, frame))
            return frame;
        if (frame < c->next)
            c->next = c->first = frame;
        c->again[i--] = c->again[--c->again_count]; // it comes with the others
    }
    return -1;
}

// The frame that a consumer gets next, or -1. Called with the lock held.
static int64_t next_to_send(struct stage *s, struct consumer *c)
{
    int64_t frame = next_again(s, c);
    if (frame >= 0 || c->next >= c->credit)
        return frame;
    const struct coded_frame *coded = ring_get(&s->ring, c->next);
    if (!coded)
        return -1;
    // The key that this frame refers to may lie below what the consumer asked for first.
    return coded->base < c->first && coded->base != c->key ? coded->base : c->next;
}

// Called with the lock held.
static void note_sent(struct consumer *c, int64_t frame)
{
    if (frame == c->next) {
        c->next++;
        return;
    }
    for (int i = 0; i < c->again_count; i++) {
        if (c->again[i].frame == frame && !c->again[i].sent_ns) {
            c->again[i].sent_ns = clock_monotonic_ns();
            return;
        }
    }
    c->key = frame;
}

// Sends one frame to a consumer, with the lock held, which is let go meanwhile: sending seals, and
// wants and reports need not wait for that. -ENODATA: there is nothing to send.
static int serve_one(struct stage *s, struct consumer *c)
{
    int64_t frame = next_to_send(s, c);
    if (frame < 0)
        return -ENODATA;
    if (c->spare && ring_get(&s->ring, frame)->uncertain) {
        note_sent(c, frame); // who makes the same for it may have what is shown here by fallback
        return 0;
    }
    struct frame_peer *peer = frame_peer_ref(c->peer);
    uint32_t start = c->start;
    bool shares = c->shares;
    struct block *block = ring_get(&s->ring, frame)->block;
    pthread_mutex_unlock(&s->lock);
    int error = send_frame(s, peer, frame, shares, start);
    pthread_mutex_lock(&s->lock);
    if (!error && block && shares && c->peer == peer)
        loans_add(&c->loans, frame, block);
    else if (!error && block && shares)
        block_abandon(block); // it was told, and is gone
    if (!error && c->peer == peer && c->start == start) {
        const struct coded_frame *coded = ring_get(&s->ring, frame);
        s->status.bytes += coded->block && shares ? 0 : coded->size; // shared is not sent
        note_sent(c, frame);
    }
    frame_peer_unref(&peer);
    return error;
}

bool stage_serve(struct stage *s)
{
    bool full = false;
    for (int i = 0; i < CONSUMERS_MAX; i++) {
        int error = 0;
        while (!error && s->consumers.list[i].peer)
            error = serve_one(s, &s->consumers.list[i]);
        full = full || error == -EAGAIN;
    }
    return full;
}

int64_t stage_next(struct stage *s, int64_t *ret_credit)
{
    int64_t lowest = -1, credit = -1, from = -1;
    for (int i = 0; i < CONSUMERS_MAX; i++) {
        const struct consumer *c = &s->consumers.list[i];
        if (!c->peer)
            continue;
        if (from < 0 || c->from < from)
            from = c->from;
        if (c->next >= c->credit)
            continue;
        if (lowest < 0 || c->next < lowest)
            lowest = c->next;
        if (c->credit > credit)
            credit = c->credit;
    }
    if (from >= 0)
        ring_forget(&s->ring, from);
    if (lowest < 0 || !s->committed)
        return -1;
    *ret_credit = credit;
    // A consumer behind or far ahead of the ring: start over there.
    if (lowest < s->ring.first || lowest > ring_end(&s->ring)) {
        ring_clear(&s->ring, lowest);
        coder_restart(s->coder);
    }
    int64_t end = ring_end(&s->ring);
    return ring_full(&s->ring) || end >= credit ? -1 : end;
}
