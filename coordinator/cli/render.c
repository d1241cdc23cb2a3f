#include "coordinator/cli/render.h"

#include "coordinator/cli/command.h"

#include "coordinator/cli/render_live.h"
#include "coordinator/cli/render_output.h"
#include "coordinator/cli/render_project.h"
#include "engine/base/clock.h"
#include "engine/base/crew.h"
#include "engine/base/settings.h"
#include "engine/base/thread.h"
#include "engine/compose/blend.h"
#include "engine/frame/sound.h"
#include "engine/link/tile_codec.h"
#include "engine/render/render.h"
#include "engine/source/decode_order.h"
#include "engine/source/nursery.h"

#include <errno.h>
#include <inttypes.h>
#include <libavutil/cpu.h>
#include <libavutil/log.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct options {
    const char *output, *hash, *frames, *rate, *cuts, *cache, *live, *logs;
    int64_t width, height, threads, crf, start, epoch;
    bool json, quiet, plain, coded, strict, without_optional;
};

// One z-range and, when frames go through the link's codec, the key frame its differences refer to.
struct part {
    struct renderer *renderer;
    struct group_frame *key;
    bool needs_beneath;
};

struct job {
    struct options options;
    struct render_project *project;
    const struct timeline *timeline;
    struct render_config config;
    int64_t from, to; // half open
    int part_count;
    struct part parts[TIMELINE_TRACKS_MAX];
    struct render_output *output;
    int problems;
    struct diagnostic first_problem;
    int64_t first_problem_frame;
    int64_t started_ns, shown_ns;
};

static atomic_bool interrupted;

static void on_signal(int number)
{
    (void)number;
    atomic_store(&interrupted, true);
}

static bool show_progress(const struct job *job)
{
    return !job->options.quiet && !job->options.json && isatty(STDERR_FILENO);
}

static void on_import(const char *file, int permille)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[Kimporting %s %d%%", file, permille / 10);
}

static void on_warning(const struct diagnostic *warning)
{
    char text[1024];
    fprintf(stderr, "%svistter render: warning: %s\n", isatty(STDERR_FILENO) ? "\r\033[K" : "",
            diagnostic_format(warning, text, sizeof text));
}

static void progress(struct job *job, int64_t done, bool last)
{
    int64_t now = clock_monotonic_ns();
    if (!show_progress(job) || (!last && now - job->shown_ns < 200000000))
        return;
    job->shown_ns = now;
    int64_t total = job->to - job->from;
    double seconds = (double)(now - job->started_ns) / 1e9;
    double speed = seconds > 0 ? (double)done / seconds : 0;
    int left = speed > 0 ? (int)((double)(total - done) / speed + 0.5) : 0;
    int filled = total ? (int)(done * 30 / total) : 30;
    static const char bar[] = "##############################";
    fprintf(
        stderr, "\r\033[K[%.*s%*s] %" PRId64 "/%" PRId64 " frames  %.1f frames/s  %d:%02d left%s",
        filled, bar, 30 - filled, "", done, total, speed, left / 60, left % 60, last ? "\n" : "");
}

static int parse_frames(struct job *job, struct diagnostic *reterr)
{
    const struct timeline *t = job->timeline;
    // Whatever begins before the end is a frame: the quotient is rounded up.
    int64_t end_of_timeline = -muldiv_floor(-t->duration * t->rate.den, job->config.rate.num,
                                            (int64_t)t->rate.num * job->config.rate.den);
    job->to = end_of_timeline;
    if (!job->options.frames)
        return 0;
    char *end;
    errno = 0;
    job->from = strtoll(job->options.frames, &end, 10);
    if (end == job->options.frames || strncmp(end, "..", 2) || errno)
        goto refuse;
    const char *second = end + 2;
    job->to = strtoll(second, &end, 10);
    if (end == second || *end || errno || job->from < 0 || job->to <= job->from ||
        job->to > INT64_C(1000000000000))
        goto refuse;
    if (!t->loop && job->to > end_of_timeline)
        return diagnostic_set(reterr, -EINVAL, "frames", "--frames",
                              "'%s' goes past the end: the timeline has %" PRId64
                              " frames at this rate and does not loop",
                              job->options.frames, end_of_timeline);
    return 0;
refuse:
    return diagnostic_set(reterr, -EINVAL, "frames", "--frames",
                          "'%s' is not a range A..B with 0 <= A < B (B not included)",
                          job->options.frames);
}

// A source whose name is wrong would be waited for in vain.
static int check_logs(const struct job *job, struct diagnostic *reterr)
{
    const struct options *o = &job->options;
    const char *names[TIMELINE_SOURCES_MAX];
    size_t count = timeline_sources(job->timeline, names, TIMELINE_SOURCES_MAX);
    if (count && (!o->logs || !o->epoch))
        return diagnostic_set(reterr, -EINVAL, "live_folder", "--logs, --epoch",
                              "are needed: the timeline shows the live source \"%s\"", names[0]);
    for (size_t i = 0; i < count; i++) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/%s", o->logs, names[i]);
        if (access(path, R_OK | X_OK))
            return diagnostic_set(reterr, -errno, "live_folder", "--logs",
                                  "there is no log of the live source \"%s\" in %s: %s", names[i],
                                  o->logs, strerror(errno));
    }
    return 0;
}

static int configure(struct job *job, struct diagnostic *reterr)
{
    const struct timeline *t = job->timeline;
    const struct options *o = &job->options;
    job->config = (struct render_config){
        .timeline = t,
        .width = (int)(o->width ? o->width : t->width),
        .height = (int)(o->height ? o->height : t->height),
        .rate = t->rate,
        .sound = true,
        .resolver = render_project_resolver(job->project),
        .patient = true,
        .live_folder = o->logs,
        .epoch_ns = o->epoch,
        .plain = o->plain,
    };
    if (job->config.width % 2 || job->config.height % 2)
        return diagnostic_set(reterr, -EINVAL, "size", "--width, --height", "%dx%d is not even",
                              job->config.width, job->config.height);
    if (o->rate && rate_parse(o->rate, &job->config.rate))
        return diagnostic_set(reterr, -EINVAL, "rate", "--rate",
                              "'%s' is not a frame rate such as 25, 29.97 or 60000/1001", o->rate);
    int error = check_logs(job, reterr);
    return error ? error : parse_frames(job, reterr);
}

static int add_part(struct job *job, int from, int to, struct diagnostic *reterr)
{
    struct render_config config = job->config;
    config.track_from = from;
    config.track_to = to;
    config.base = from == 0;
    struct part *part = &job->parts[job->part_count];
    part->needs_beneath = !config.base && renderer_needs_beneath(job->timeline, from, to);
    int error = renderer_create(&config, &part->renderer, reterr);
    if (!error)
        job->part_count++;
    return error;
}

// Cuts the z-order as the farm's planner would, at the tracks given.
static int make_parts(struct job *job, struct diagnostic *reterr)
{
    int tracks = (int)job->timeline->track_count, from = 0;
    const char *cursor = job->options.cuts ? job->options.cuts : "";
    while (*cursor) {
        char *end;
        long cut = strtol(cursor, &end, 10);
        if (end == cursor || (*end && *end != ',') || cut <= from || cut >= tracks)
            return diagnostic_set(reterr, -EINVAL, "cuts", "--cuts",
                                  "'%s' is not a rising list of tracks between 1 and %d",
                                  job->options.cuts, tracks - 1);
        int error = add_part(job, from, (int)cut, reterr);
        if (error)
            return error;
        from = (int)cut;
        cursor = *end ? end + 1 : end;
    }
    return add_part(job, from, tracks, reterr);
}

// Sends a group frame through the link's codec, as a difference to the last key where there is one.
static int recode(struct part *part, struct group_frame **group)
{
    uint8_t *bytes;
    size_t size;
    int error = group_encode(*group, part->key, &bytes, &size);
    if (error)
        return error;
    struct group_frame *decoded;
    error = group_decode(bytes, size, (*group)->width, (*group)->height, part->key, &decoded);
    free(bytes);
    if (error)
        return error;
    group_frame_unref(group);
    *group = decoded;
    if (!part->key)
        part->key = group_frame_ref(decoded);
    return 0;
}

static void note_problem(struct job *job, const struct render_report *report, int64_t frame)
{
    if (!report->problems)
        return;
    if (!job->problems) {
        job->first_problem = report->first;
        job->first_problem_frame = frame;
    }
    job->problems++;
}

static int render_frame(struct job *job, int64_t n, struct diagnostic *reterr)
{
    static int32_t sum[SOUND_FRAME_MAX * SOUND_CHANNELS], stem[SOUND_FRAME_MAX * SOUND_CHANNELS];
    int64_t channel_frame = job->options.start + n;
    int samples = rate_sample_count(job->config.rate, channel_frame);
    memset(sum, 0, (size_t)samples * SOUND_CHANNELS * sizeof *sum);
    struct picture *picture = NULL;
    int error = 0;
    for (int i = 0; i < job->part_count && !error; i++) {
        struct part *part = &job->parts[i];
        struct group_frame *group = NULL;
        struct render_report report;
        error = renderer_frame(part->renderer, n, channel_frame,
                               part->needs_beneath ? picture : NULL, &group, stem, &report);
        if (error == -EAGAIN) {
            picture_unref(&picture);
            return diagnostic_set(reterr, error, report.first.code, report.first.path,
                                  "frame %" PRId64 ": %s", n, report.first.text);
        }
        if (!error && job->options.coded)
            error = recode(part, &group);
        struct picture *above = NULL;
        if (!error)
            error = group_fold_over(picture, group, &above);
        if (!error) {
            note_problem(job, &report, n);
            sound_add(sum, stem, samples);
            picture_unref(&picture);
            picture = above;
        }
        group_frame_unref(&group);
    }
    if (error)
        diagnostic_set(reterr, error, "render_failed", "", "frame %" PRId64 ": %s", n,
                       strerror(-error));
    else
        error = render_output_frame(job->output, channel_frame, picture, sum, samples, reterr);
    picture_unref(&picture);
    return error;
}

static int run(struct job *job, struct diagnostic *reterr)
{
    struct takes *live = NULL;
    int error = configure(job, reterr);
    if (!error)
        error = make_parts(job, reterr);
    if (!error && job->options.live)
        error = render_live_load(job->options.live, job->timeline, job->config.rate,
                                 job->options.start, &live, reterr);
    for (int i = 0; i < job->part_count && live; i++)
        renderer_live(job->parts[i].renderer, live);
    takes_unref(&live);
    if (error)
        return error;
    struct render_output_config output = {
        .path = job->options.output,
        .hash_path = job->options.hash,
        .width = job->config.width,
        .height = job->config.height,
        .rate = job->config.rate,
        .threads = (int)job->options.threads,
        .crf = (int)job->options.crf,
    };
    error = render_output_open(&output, &job->output, reterr);
    job->started_ns = clock_monotonic_ns();
    for (int64_t n = job->from; n < job->to && !error; n++) {
        error = render_frame(job, n, reterr);
        if (atomic_load(&interrupted) && !error)
            error = diagnostic_set(reterr, -EINTR, "interrupted", "", "interrupted");
        progress(job, n + 1 - job->from, n + 1 == job->to && !error);
    }
    if (error) {
        if (show_progress(job))
            fputc('\n', stderr);
        render_output_abort(&job->output);
        return error;
    }
    return render_output_close(&job->output, reterr);
}

static void report_end(const struct job *job)
{
    double seconds = (double)(clock_monotonic_ns() - job->started_ns) / 1e9;
    int64_t frames = job->to - job->from;
    char text[1024];
    if (job->options.json) {
        printf("{\"frames\": %" PRId64 ", \"seconds\": %.3f, \"frames_per_second\": %.2f, "
               "\"frames_with_fallback\": %d, \"kernels\": \"%s\", \"decoder_threads\": %d}\n",
               frames, seconds, seconds > 0 ? (double)frames / seconds : 0, job->problems,
               compose_cpu_name(), decode_threads(NULL));
        return;
    }
    fprintf(stderr, "vistter render: %" PRId64 " frames in %.1f s (%s), %d with a fallback\n",
            frames, seconds, compose_cpu_name(), job->problems);
    if (job->problems)
        fprintf(stderr, "vistter render: the first is frame %" PRId64 ": %s\n",
                job->first_problem_frame,
                diagnostic_format(&job->first_problem, text, sizeof text));
}

// Switches for tests of purity: our kernels, FFmpeg's CPU-specific code as another processor would
// have it, and the decoders' threads. A word that is not understood would test nothing.
static int apply_switches(struct diagnostic *reterr)
{
    const char *kernels = getenv("VISTTER_CPU"), *capabilities = getenv("VISTTER_AV_CPU");
    unsigned flags = 0;
    if (kernels && !compose_cpu_known(kernels))
        return diagnostic_set(reterr, -EINVAL, "switch", "VISTTER_CPU",
                              "is '%.40s'; must be c, avx2 or avx512", kernels);
    if (capabilities && av_parse_cpu_caps(&flags, capabilities) < 0)
        return diagnostic_set(reterr, -EINVAL, "switch", "VISTTER_AV_CPU",
                              "is '%.40s'; must be flags of FFmpeg such as 0, sse2, sse4.2 or avx",
                              capabilities);
    if (capabilities) // what this processor lacks would crash
        av_force_cpu_flags((int)flags & av_get_cpu_flags());
    int threads = decode_threads(reterr);
    return threads < 0 ? threads : 0;
}

static void finish(struct job *job)
{
    for (int i = 0; i < job->part_count; i++) {
        renderer_destroy(&job->parts[i].renderer);
        group_frame_unref(&job->parts[i].key);
    }
    render_project_close(&job->project);
}

static const char *default_cache(char *buffer, size_t size)
{
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (base && *base)
        snprintf(buffer, size, "%s/vistter", base);
    else
        snprintf(buffer, size, "%s/.cache/vistter", home ? home : "/var/cache");
    return buffer;
}

int cli_render(int argc, char **argv)
{
    struct job job = {0};
    struct options *o = &job.options;
    char cache[PATH_MAX];
    const struct setting table[] = {
        {"output", SETTING_TEXT, "FILE", NULL, 0, 0,
         "write video and sound here (.mp4, .mkv, .mov); -o for short", &o->output},
        {"hash", SETTING_TEXT, "FILE", NULL, 0, 0,
         "write '<frame> <picture checksum> <sound checksum>' a line; - is standard output",
         &o->hash},
        {"frames", SETTING_TEXT, "A..B", NULL, 0, 0, "only frames A up to, not including, B",
         &o->frames},
        {"start", SETTING_INTEGER, "FRAME", "0", 0, INT64_C(1) << 40,
         "channel frame at which the timeline starts: numbers the checksums, decides the cadence "
         "of sound",
         &o->start},
        {"width", SETTING_INTEGER, "PIXELS", "0", 0, 8192, "another width than the timeline's",
         &o->width},
        {"height", SETTING_INTEGER, "PIXELS", "0", 0, 8192, "another height than the timeline's",
         &o->height},
        {"rate", SETTING_TEXT, "RATE", NULL, 0, 0, "another frame rate: 25, 29.97, 60000/1001",
         &o->rate},
        {"crf", SETTING_INTEGER, "Q", "18", 0, 51, "quality of the video, lower is better",
         &o->crf},
        {"threads", SETTING_INTEGER, "N", "0", 0, 64, "threads of the encoder, 0: one a processor",
         &o->threads},
        {"cache", SETTING_TEXT, "FOLDER", default_cache(cache, sizeof cache), 0, 0,
         "folder for imported media", &o->cache},
        {"live", SETTING_TEXT, "FILE", NULL, 0, 0,
         "takes on live tracks: [{\"at_frame\": 50, \"track\": \"programme\", \"clip\": \"wide\"}, "
         "...]",
         &o->live},
        {"logs", SETTING_TEXT, "FOLDER", NULL, 0, 0,
         "logs of the live sources that cameras show, each in a folder of its name", &o->logs},
        {"epoch", SETTING_INTEGER, "NS", "0", 0, INT64_MAX,
         "when the channel's frame 0 was, for cameras: nanoseconds since 1970", &o->epoch},
        {"cuts", SETTING_TEXT, "T,T", NULL, 0, 0,
         "cut the z-order at these tracks, as a farm does (same bits)", &o->cuts},
        {"coded", SETTING_SWITCH, NULL, NULL, 0, 0,
         "send groups through the links' codec (same bits)", &o->coded},
        {"plain", SETTING_SWITCH, NULL, NULL, 0, 0,
         "reuse nothing between frames, share nothing out (same bits)", &o->plain},
        {"without-optional", SETTING_SWITCH, NULL, NULL, 0, 0,
         "as a farm shows it whose workers do not keep up: no optional tracks, but their sound",
         &o->without_optional},
        {"strict", SETTING_SWITCH, NULL, NULL, 0, 0,
         "exit with 1 when a frame shows a fallback or lacks a sound", &o->strict},
        {"quiet", SETTING_SWITCH, NULL, NULL, 0, 0, "no progress bar", &o->quiet},
        {"json", SETTING_SWITCH, NULL, NULL, 0, 0, "print a summary as JSON", &o->json},
        {0},
    };
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "-o"))
            argv[i] = "--output";
    char **files;
    int count;
    struct diagnostic problem;
    char text[1024];
    int error = settings_load(table, "vistter render TIMELINE.json -o FILE.mp4 [--frames A..B]",
                              "Renders a timeline offline, without any server.", argc, argv, &files,
                              &count, &problem);
    if (!error && (count != 1 || (!o->output && !o->hash)))
        error = diagnostic_set(&problem, -EINVAL, "usage", "",
                               "give one timeline file, and -o FILE or --hash FILE");
    if (!error)
        error = apply_switches(&problem);
    if (error) {
        fprintf(stderr, "vistter render: %s\n", diagnostic_format(&problem, text, sizeof text));
        return 2;
    }
    av_log_set_level(AV_LOG_QUIET); // what goes wrong is reported in our own words
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    error = render_project_open(files[0], o->cache, o->quiet || o->json ? NULL : on_import,
                                on_warning, &job.project, &problem);
    if (!error) {
        if (o->without_optional)
            render_project_leave_optional(job.project);
        job.timeline = render_project_timeline(job.project);
        if (!o->plain)
            crew_start_all();
        error = run(&job, &problem);
    }
    if (error && o->json)
        print_problem(&problem);
    int status = error ? complain(&problem) : 0;
    if (!error)
        report_end(&job);
    if (!error && o->strict && job.problems)
        status = CLI_REFUSED;
    finish(&job);
    crew_end();
    nursery_close();
    return status;
}
