// A decoder with a fault, for tests: loaded before libavcodec by LD_PRELOAD, it looks into each
// packet that a program decodes. One that holds DECODER_CRASH's bytes is written beyond the end of
// all memory, as a decoder with that fault would; at one that holds DECODER_HANG's it goes round in
// circles, at DECODER_BLOCK's it waits for good. Everything else goes on to libavcodec.
#include <dlfcn.h>
#include <libavcodec/avcodec.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static bool holds(const AVPacket *packet, const char *variable)
{
    const char *marker = getenv(variable);
    return marker && packet && packet->data &&
           memmem(packet->data, (size_t)packet->size, marker, strlen(marker));
}

// For who measures how long this lasts.
static void say_when(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    fprintf(stderr, "decoder_hangs since=%lld.%03ld\n", (long long)t.tv_sec, t.tv_nsec / 1000000);
}

int avcodec_send_packet(AVCodecContext *context, const AVPacket *packet)
{
    static int (*next)(AVCodecContext *, const AVPacket *);
    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "avcodec_send_packet");
    if (holds(packet, "DECODER_CRASH"))
        *(volatile char *)NULL = 1;
    bool hangs = holds(packet, "DECODER_HANG"), blocks = holds(packet, "DECODER_BLOCK");
    if (hangs || blocks)
        say_when();
    for (volatile bool forever = hangs; forever;)
        ;
    for (pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; *(volatile bool *)&blocks;)
        pthread_mutex_lock(&lock); // the second time it waits, by a call that decoders may make
    return next(context, packet);
}
