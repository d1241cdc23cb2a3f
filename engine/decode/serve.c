#include "engine/decode/serve.h"

#include "engine/base/jail.h"
#include "engine/source/decode.h"

#include <errno.h>
#include <libavutil/cpu.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

bool serve_send(int fd, const void *bytes, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = write(fd, (const char *)bytes + done, size - done);
        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

static int open_jailed(const struct decode_order *order, const int fds[DECODE_FDS],
                       struct picture_decoder **ret, struct diagnostic *reterr)
{
    void *board =
        mmap(NULL, DECODE_BOARD_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fds[DECODE_MEMORY], 0);
    int error = board == MAP_FAILED ? -errno : jail_enter(SERVE_MEMORY_BYTES_MAX);
    if (error < 0)
        return diagnostic_set(reterr, error, "decoder_jail", order->path,
                              "is not decoded, since this system cannot lock its decoder up: %s",
                              strerror(-error));
    struct decoder_files files = {order->path, fds[DECODE_MEDIA], fds[DECODE_INDEX], board};
    return picture_decoder_open_files(&files, order->threads, ret, reterr);
}

// The answer to the order itself.
static bool tell_opening(const struct decode_order *order, const int fds[DECODE_FDS],
                         struct picture_decoder **ret)
{
    struct decode_reply reply = {0};
    uint8_t *index = NULL;
    size_t index_bytes = 0;
    reply.error = open_jailed(order, fds, ret, &reply.problem);
    if (reply.error >= 0 && fds[DECODE_INDEX] < 0)
        reply.error = index_pack(picture_decoder_index(*ret), &index, &index_bytes);
    if (reply.error >= 0) {
        picture_decoder_size(*ret, &reply.width, &reply.height);
        reply.index_bytes = (int64_t)index_bytes;
    }
    bool told = serve_send(fds[DECODE_CHANNEL], &reply, sizeof reply) &&
                serve_send(fds[DECODE_CHANNEL], index, index_bytes);
    free(index);
    return told && reply.error >= 0;
}

static int fill_slot(uint8_t *slot, struct picture_decoder *d, int64_t i,
                     enum picture_format *ret_format, struct diagnostic *reterr)
{
    struct picture *made, into = {0};
    int error = picture_decoder_get(d, i, &made, reterr);
    if (error < 0)
        return error;
    into.format = *ret_format = made->format;
    into.width = made->width;
    into.height = made->height;
    decode_slot_planes(slot, made->width, made->height, into.plane, into.stride);
    picture_copy(&into, made);
    picture_unref(&made);
    return 0;
}

void serve(const struct decode_order *order, const int fds[DECODE_FDS])
{
    struct picture_decoder *d;
    struct decode_request request;
    int channel = fds[DECODE_CHANNEL], width, height;
    uint8_t *slots = NULL;
    av_force_cpu_flags(order->cpu_flags);
    if (!tell_opening(order, fds, &d))
        return;
    picture_decoder_size(d, &width, &height);
    size_t slot_bytes = decode_slot_bytes(width, height);
    while (read(channel, &request, sizeof request) == sizeof request) {
        struct decode_reply reply = {.width = width, .height = height};
        if (!slots) { // not sooner: who asks has made room for them
            void *memory =
                mmap(NULL, slot_bytes * (size_t)decode_slot_count(width, height),
                     PROT_READ | PROT_WRITE, MAP_SHARED, fds[DECODE_MEMORY], DECODE_BOARD_BYTES);
            slots = memory == MAP_FAILED ? NULL : memory;
        }
        reply.error = slots ? fill_slot(slots + slot_bytes * (size_t)request.slot, d,
                                        request.picture, &reply.format, &reply.problem)
                            : -ENOMEM;
        if (!serve_send(channel, &reply, sizeof reply))
            return;
    }
}
