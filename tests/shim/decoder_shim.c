// A decoder with a fault, for tests: loaded before libavcodec by LD_PRELOAD, it looks into each
// packet that a program decodes. One that holds DECODER_CRASH's bytes is written beyond the end of
// all memory, as a decoder with that fault would; one that holds DECODER_HANG's is never done with.
// Everything else goes on to libavcodec.
#include <dlfcn.h>
#include <libavcodec/avcodec.h>
#include <stdlib.h>
#include <string.h>

static int holds(const AVPacket *packet, const char *variable)
{
    const char *marker = getenv(variable);
    return marker && packet && packet->data &&
           memmem(packet->data, (size_t)packet->size, marker, strlen(marker));
}

int avcodec_send_packet(AVCodecContext *context, const AVPacket *packet)
{
    static int (*next)(AVCodecContext *, const AVPacket *);
    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "avcodec_send_packet");
    if (holds(packet, "DECODER_CRASH"))
        *(volatile char *)NULL = 1;
    for (volatile int forever = holds(packet, "DECODER_HANG"); forever;)
        ;
    return next(context, packet);
}
