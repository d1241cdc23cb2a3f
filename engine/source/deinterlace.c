#include "engine/source/deinterlace.h"

#include "engine/base/thread.h"

#include <errno.h>
#include <libavfilter/avfilter.h>
#include <libavfilter/buffersink.h>
#include <libavfilter/buffersrc.h>
#include <stdio.h>
#include <stdlib.h>

struct deinterlacer {
    AVFilterGraph *graph; // NULL: made by the next push
    AVFilterContext *in, *out;
    int width, height, format;
    bool ended; // before any frame came
};

struct deinterlacer *deinterlacer_create(void)
{
    return base_alloc(sizeof(struct deinterlacer));
}

void deinterlacer_destroy(struct deinterlacer **deinterlacer)
{
    if (!*deinterlacer)
        return;
    avfilter_graph_free(&(*deinterlacer)->graph);
    free(*deinterlacer);
    *deinterlacer = NULL;
}

void deinterlacer_reset(struct deinterlacer *d)
{
    avfilter_graph_free(&d->graph);
    d->ended = false;
}

static int make_graph(struct deinterlacer *d, const AVFrame *frame)
{
    char source[160];
    AVFilterContext *yadif = NULL;
    avfilter_graph_free(&d->graph);
    d->graph = avfilter_graph_alloc();
    if (!d->graph)
        return -ENOMEM;
    d->graph->nb_threads = 1;
    snprintf(source, sizeof source, "width=%d:height=%d:pix_fmt=%d:time_base=1/1:sar=1/1",
             frame->width, frame->height, frame->format);
    if (avfilter_graph_create_filter(&d->in, avfilter_get_by_name("buffer"), "in", source, NULL,
                                     d->graph) < 0 ||
        avfilter_graph_create_filter(&yadif, avfilter_get_by_name("yadif"), "yadif",
                                     "mode=send_frame:parity=auto:deint=interlaced", NULL,
                                     d->graph) < 0 ||
        avfilter_graph_create_filter(&d->out, avfilter_get_by_name("buffersink"), "out", NULL, NULL,
                                     d->graph) < 0 ||
        avfilter_link(d->in, 0, yadif, 0) < 0 || avfilter_link(yadif, 0, d->out, 0) < 0 ||
        avfilter_graph_config(d->graph, NULL) < 0) {
        avfilter_graph_free(&d->graph);
        return -EINVAL;
    }
    d->width = frame->width;
    d->height = frame->height;
    d->format = frame->format;
    return 0;
}

int deinterlacer_push(struct deinterlacer *d, AVFrame *frame)
{
    if (!frame) {
        d->ended = true;
        return d->graph && av_buffersrc_add_frame(d->in, NULL) < 0 ? -EIO : 0;
    }
    if (!d->graph || frame->width != d->width || frame->height != d->height ||
        frame->format != d->format) {
        int error = make_graph(d, frame);
        if (error < 0)
            return error;
    }
    return av_buffersrc_add_frame(d->in, frame) < 0 ? -EIO : 0;
}

int deinterlacer_pull(struct deinterlacer *d, AVFrame *ret)
{
    if (!d->graph)
        return d->ended ? -ENODATA : -EAGAIN;
    int error = av_buffersink_get_frame(d->out, ret);
    if (error == AVERROR(EAGAIN))
        return d->ended ? -ENODATA : -EAGAIN;
    if (error < 0)
        return error == AVERROR_EOF ? -ENODATA : -EIO;
    // yadif halves the time base.
    AVRational base = av_buffersink_get_time_base(d->out);
    ret->pts = av_rescale_q(ret->pts, base, (AVRational){1, 1});
    return 0;
}
