#include "edge/deliver/message.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

unsigned deliver_address(const char *family, const char *label, struct sockaddr_un *ret)
{
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    int length = snprintf(ret->sun_path + 1, sizeof ret->sun_path - 1, "vistter-deliver/%s/%s",
                          family, label);
    return (unsigned)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
}

struct deliver_header deliver_packet_header(uint64_t programme, const struct packet *packet)
{
    return (struct deliver_header){.kind = DELIVER_PACKET,
                                   .size = (uint32_t)packet->size,
                                   .stream = (uint8_t)packet->stream,
                                   .key = packet->key,
                                   .programme = programme,
                                   .pts = packet->pts,
                                   .dts = packet->dts,
                                   .duration = packet->duration};
}

int deliver_header_check(const struct deliver_header *h)
{
    switch (h->kind) {
    case DELIVER_SETUP:
        return h->size == sizeof(struct deliver_setup) ? 0 : -EPROTO;
    case DELIVER_STATE:
        return h->size == sizeof(struct deliver_report) || h->size == DELIVER_REPORT_BYTES_MIN
                   ? 0
                   : -EPROTO;
    case DELIVER_PACKET:
        return h->size <= PACKET_BYTES_MAX && h->stream <= PACKET_AUDIO ? 0 : -EPROTO;
    case DELIVER_SECOND:
        return h->size == sizeof(struct deliver_second) ? 0 : -EPROTO;
    case DELIVER_PUBLISH:
        return h->size == sizeof(struct deliver_publish) ? 0 : -EPROTO;
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

bool deliver_setup_equal(const struct deliver_setup *a, const struct deliver_setup *b)
{
    return a->kind == b->kind && a->programme == b->programme && !strcmp(a->name, b->name) &&
           !strcmp(a->url, b->url) && a->width == b->width && a->height == b->height &&
           a->rate.num == b->rate.num && a->rate.den == b->rate.den &&
           a->video_bitrate == b->video_bitrate && a->audio_bitrate == b->audio_bitrate &&
           a->segment_seconds == b->segment_seconds && a->viewers_max == b->viewers_max &&
           a->video_extradata_size == b->video_extradata_size &&
           a->audio_extradata_size == b->audio_extradata_size &&
           !memcmp(a->video_extradata, b->video_extradata, a->video_extradata_size) &&
           !memcmp(a->audio_extradata, b->audio_extradata, a->audio_extradata_size);
}

int deliver_second_check(const struct deliver_second *s)
{
    bool texts = memchr(s->address, 0, sizeof s->address) &&
                 memchr(s->consumer, 0, sizeof s->consumer) &&
                 memchr(s->link_id, 0, sizeof s->link_id);
    return texts && s->latency_ms >= 0 ? 0 : -EPROTO;
}

int deliver_publish_check(const struct deliver_publish *p)
{
    return p->mode >= PUBLISH_NO && p->mode <= PUBLISH_YES ? 0 : -EPROTO;
}

bool deliver_second_equal(const struct deliver_second *a, const struct deliver_second *b)
{
    return a->there == b->there && !strcmp(a->address, b->address) &&
           !strcmp(a->consumer, b->consumer) && !strcmp(a->link_id, b->link_id) &&
           !memcmp(a->key, b->key, sizeof a->key) && a->channel == b->channel &&
           a->group == b->group && a->latency_ms == b->latency_ms;
}
