#include "engine/base/hang.h"
#include "engine/base/jail.h"
#include "engine/decode/serve.h"
#include "engine/live/decode_units.h"
#include "engine/live/decoder.h"

#include <errno.h>
#include <libavutil/cpu.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct {
    hang_board *board;
    uint8_t *area, *slots; // slots: NULL, not mapped yet
    int memory;
    struct {
        struct live_decoder *decoder; // NULL: not open
        bool sound;
        int64_t pixels;
    } number[UNIT_DECODERS_MAX];
} all;

static int open_number(const struct unit_request *request, struct diagnostic *reterr)
{
    struct unit_format format;
    memcpy(&format, all.area, sizeof format);
    live_decoder_destroy(&all.number[request->number].decoder);
    all.number[request->number].sound = format.sample_rate > 0;
    all.number[request->number].pixels = (int64_t)format.width * format.height;
    hang_step_begin(all.board, HANG_STARTS, all.number[request->number].pixels);
    return live_decoder_create(&format, &all.number[request->number].decoder, reterr);
}

static int slot_fill(const struct unit_request *request, struct picture *made,
                     struct unit_reply *reply)
{
    struct picture into = {.width = made->width, .height = made->height};
    into.format = made->format;
    reply->format = made->format;
    reply->width = made->width;
    reply->height = made->height;
    if (decode_slot_bytes(made->width, made->height) > (size_t)request->slot_bytes)
        return -ENOSPC;
    if (!all.slots) {
        void *memory = mmap(NULL, (size_t)request->slot_bytes * (size_t)request->slot_count,
                            PROT_READ | PROT_WRITE, MAP_SHARED, all.memory, UNIT_SLOTS_AT);
        if (memory == MAP_FAILED)
            return -ENOMEM;
        all.slots = memory;
    }
    decode_slot_planes(all.slots + (ptrdiff_t)request->slot_bytes * request->slot, made->width,
                       made->height, into.plane, into.stride);
    picture_copy(&into, made);
    return 0;
}

static int pull(const struct unit_request *request, struct unit_reply *reply)
{
    struct live_decoder *decoder = all.number[request->number].decoder;
    struct picture *made = NULL;
    struct live_sound sound;
    hang_step_begin(all.board, HANG_DECODES, all.number[request->number].pixels);
    int error = all.number[request->number].sound
                    ? live_decoder_sound(decoder, &sound, &reply->tag)
                    : live_decoder_picture(decoder, &made, &reply->tag);
    if (!error && made) {
        all.number[request->number].pixels = (int64_t)made->width * made->height;
        error = slot_fill(request, made, reply);
        picture_unref(&made);
    } else if (!error) {
        reply->count = sound.count;
        reply->rate = sound.rate;
        memcpy(all.area, sound.pairs, (size_t)sound.count * 2 * sizeof *sound.pairs);
    }
    if (error != -EAGAIN && error != -ENODATA)
        reply->more = live_decoder_more(decoder);
    return error == -ENODATA ? -EAGAIN : error;
}

static int push(const struct unit_request *request, struct unit_reply *reply)
{
    hang_step_begin(all.board, HANG_DECODES, all.number[request->number].pixels);
    // What cannot be decoded gives nothing; what did not fit gives what came before it.
    (void)live_decoder_push(all.number[request->number].decoder,
                            request->size < 0 ? NULL : all.area,
                            request->size < 0 ? 0 : (size_t)request->size, request->tag);
    return pull(request, reply);
}

static int handle(const struct unit_request *request, struct unit_reply *reply)
{
    if (request->what == UNIT_OPEN)
        return open_number(request, &reply->problem);
    if (!all.number[request->number].decoder)
        return -EINVAL;
    return request->what == UNIT_PUSH ? push(request, reply) : pull(request, reply);
}

void serve_units(const struct decode_order *order, const int fds[DECODE_FDS])
{
    struct unit_request request;
    uint8_t *memory =
        mmap(NULL, UNIT_SLOTS_AT, PROT_READ | PROT_WRITE, MAP_SHARED, fds[DECODE_MEMORY], 0);
    if (memory == MAP_FAILED)
        return;
    all.board = (hang_board *)(void *)memory;
    all.area = memory + DECODE_BOARD_BYTES;
    all.memory = fds[DECODE_MEMORY];
    av_force_cpu_flags(order->cpu_flags);
    int jailed = jail_enter(SERVE_MEMORY_BYTES_MAX);
    while (read(fds[DECODE_CHANNEL], &request, sizeof request) == sizeof request) {
        struct unit_reply reply = {.tag = UNIT_NO_TIME};
        if (jailed < 0)
            reply.error =
                diagnostic_set(&reply.problem, jailed, "decoder_jail", order->path,
                               "is not decoded, since this system cannot lock its decoder up: %s",
                               strerror(-jailed));
        else
            reply.error = handle(&request, &reply);
        if (!serve_send(fds[DECODE_CHANNEL], &reply, sizeof reply))
            return;
    }
}
