#include "edge/deliver/message.h"

#include <errno.h>
#include <string.h>

int deliver_header_check(const struct deliver_header *h)
{
    switch (h->kind) {
    case DELIVER_SETUP:
        return h->size == sizeof(struct deliver_setup) ? 0 : -EPROTO;
    case DELIVER_STATE:
        return h->size == sizeof(struct deliver_report) ? 0 : -EPROTO;
    case DELIVER_PACKET:
        return h->size <= PACKET_BYTES_MAX && h->stream <= PACKET_AUDIO ? 0 : -EPROTO;
    case DELIVER_CLEAR:
    case DELIVER_STOP:
        return h->size == 0 ? 0 : -EPROTO;
    default:
        return -EPROTO;
    }
}

int deliver_setup_check(struct deliver_setup *s)
{
    if (!memchr(s->name, 0, sizeof s->name) || !memchr(s->url, 0, sizeof s->url))
        return -EPROTO;
    if (s->video_extradata_size > sizeof s->video_extradata ||
        s->audio_extradata_size > sizeof s->audio_extradata)
        return -EPROTO;
    if (s->rate.num <= 0 || s->rate.den <= 0 || s->width <= 0 || s->height <= 0)
        return -EPROTO;
    return s->kind >= DELIVER_KIND_RTMP && s->kind <= DELIVER_KIND_PREVIEW ? 0 : -EPROTO;
}
