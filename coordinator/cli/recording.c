#include "coordinator/cli/recording.h"

#include "coordinator/cli/command.h"
#include "coordinator/cli/recording_merge.h"
#include "engine/base/settings.h"
#include "engine/base/thread.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <libavutil/log.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct job {
    const char *output, *channel;
    bool allow_gaps, json;
    struct recording_source **sources;
    int source_count;
    bool complained;
};

// ---- What is to be merged ----------------------------------------------------------------------

static bool ends_with(const char *text, const char *tail)
{
    size_t length = strlen(text), size = strlen(tail);
    return length > size && !strcmp(text + length - size, tail);
}

static void say(const struct job *job, const struct diagnostic *d)
{
    char text[1024];
    if (job->json)
        print_problem(d);
    fputs("vistter recording merge: ", stderr);
    print_text(stderr, diagnostic_format(d, text, sizeof text));
    fputc('\n', stderr);
}

// `found`: in a folder, where what is being recorded, or was torn before anything was in it, is
// nothing to stop at.
static int add_file(struct job *job, const char *path, bool found, struct diagnostic *reterr)
{
    struct recording_source *source;
    struct stat status;
    if (found && !stat(path, &status) && !status.st_size)
        return 0;
    int error = recording_source_create(path, &source, reterr);
    if (found && (error == -EBUSY || error == -ENODATA)) {
        fprintf(stderr, "vistter recording merge: left out: ");
        print_text(stderr, path);
        fprintf(stderr, " %s\n", reterr->text);
        return 0;
    }
    if (error)
        return error;
    if (job->channel && strcmp(job->channel, source->about.channel) != 0) {
        recording_source_destroy(&source);
        return 0;
    }
    if (source->doubtful) {
        fprintf(stderr, "vistter recording merge: ");
        print_text(stderr, path);
        fprintf(stderr, " does not have its checksum: it was damaged or changed, and is used only "
                        "where no other has the frames\n");
    }
    job->sources = realloc(job->sources, (size_t)(job->source_count + 1) * sizeof *job->sources);
    if (!job->sources)
        abort();
    job->sources[job->source_count++] = source;
    return 0;
}

static int add_folder(struct job *job, DIR *dir, const char *folder, struct diagnostic *reterr)
{
    struct dirent *entry;
    int error = 0;
    while (!error && (entry = readdir(dir))) {
        char path[PATH_MAX];
        if ((ends_with(entry->d_name, ".mkv") || ends_with(entry->d_name, ".mkv.part")) &&
            snprintf(path, sizeof path, "%s/%s", folder, entry->d_name) < (int)sizeof path)
            error = add_file(job, path, true, reterr);
    }
    return error;
}

static int add_argument(struct job *job, const char *path, struct diagnostic *reterr)
{
    DIR *dir = opendir(path);
    if (!dir && errno != ENOTDIR)
        return diagnostic_set(reterr, -errno, "recording_file", path, "%s", strerror(errno));
    int error = dir ? add_folder(job, dir, path, reterr) : add_file(job, path, false, reterr);
    if (dir)
        closedir(dir);
    return error;
}

static int by_first_frame(const void *a, const void *b)
{
    const struct recording_source *x = *(struct recording_source *const *)a;
    const struct recording_source *y = *(struct recording_source *const *)b;
    if (x->about.first_frame != y->about.first_frame)
        return x->about.first_frame < y->about.first_frame ? -1 : 1;
    return strcmp(x->path, y->path);
}

static int collect(struct job *job, char **paths, int count, struct diagnostic *reterr)
{
    int error = 0;
    for (int i = 0; i < count && !error; i++)
        error = add_argument(job, paths[i], reterr);
    if (!error && !job->source_count)
        error = diagnostic_set(reterr, -ENODATA, "recording_empty", paths[0],
                               job->channel ? "there is no recording of that channel"
                                            : "there is no recording");
    if (!error)
        qsort(job->sources, (size_t)job->source_count, sizeof *job->sources, by_first_frame);
    return error;
}

// ---- What came out -----------------------------------------------------------------------------

static void tell(const struct recording_ranges *ranges, const char *what)
{
    for (int i = 0; i < ranges->count; i++) {
        const struct recording_range *r = &ranges->items[i];
        if (r->from == r->to)
            fprintf(stderr, "vistter recording merge: frame %" PRId64 " %s\n", r->from, what);
        else
            fprintf(stderr, "vistter recording merge: frames %" PRId64 " to %" PRId64 " %s\n",
                    r->from, r->to, what);
    }
}

static json_t *ranges_json(const struct recording_ranges *ranges)
{
    json_t *list = json_array();
    for (int i = 0; i < ranges->count; i++)
        json_array_append_new(list,
                              json_pack("{s:I, s:I}", "from", (json_int_t)ranges->items[i].from,
                                        "to", (json_int_t)ranges->items[i].to));
    return list;
}

static void report(const struct job *job, const struct recording_merge *m)
{
    json_t *files = json_array();
    for (int i = 0; i < m->part_count; i++) {
        const struct recording_part *p = &m->parts[i];
        json_array_append_new(files, json_pack("{s:s, s:I, s:I, s:I}", "path", p->path, "from",
                                               (json_int_t)p->from, "to", (json_int_t)p->to,
                                               "frames", (json_int_t)p->frames));
        if (!job->json)
            printf("%s: frames %" PRId64 " to %" PRId64 ", %" PRId64 " of them\n", p->path, p->from,
                   p->to, p->frames);
    }
    json_t *all =
        json_pack("{s:o, s:o, s:o, s:o, s:o}", "files", files, "missing", ranges_json(&m->missing),
                  "silent", ranges_json(&m->silent), "different", ranges_json(&m->different),
                  "doubtful", ranges_json(&m->doubtful));
    if (job->json && all)
        print_json(all);
    json_decref(all);
    tell(&m->missing, "in no recording");
    tell(&m->silent, "without sound in all recordings");
    tell(&m->different, "not the same in all recordings; taken from one");
    tell(&m->doubtful, "only in a file that does not have its checksum");
}

static int run(struct job *job, char **paths, int count)
{
    struct diagnostic problem;
    struct recording_merge merge = {.output = job->output};
    int status = CLI_REFUSED;
    int error = collect(job, paths, count, &problem);
    if (!error) {
        merge.sources = job->sources;
        merge.source_count = job->source_count;
        error = recording_merge(&merge, &problem);
    }
    if (error) {
        say(job, &problem);
    } else {
        report(job, &merge);
        bool gaps = merge.missing.count || merge.silent.count || merge.doubtful.count;
        status = gaps && !job->allow_gaps ? CLI_REFUSED : CLI_OK;
    }
    recording_merge_finish(&merge);
    for (int i = 0; i < job->source_count; i++)
        recording_source_destroy(&job->sources[i]);
    free(job->sources);
    return status;
}

int cli_recording_merge(int argc, char **argv)
{
    struct job job = {0};
    const struct setting table[] = {
        {"output", SETTING_TEXT, "FILE", NULL, 0, 0,
         "write the merged recording here (.mkv); -o for short", &job.output},
        {"channel", SETTING_TEXT, "NAME", NULL, 0, 0,
         "only recordings of this channel, or of CHANNEL-OUTPUT", &job.channel},
        {"allow-gaps", SETTING_SWITCH, NULL, NULL, 0, 0,
         "exit with 0 although frames or sound are in no recording", &job.allow_gaps},
        {"json", SETTING_SWITCH, NULL, NULL, 0, 0, "print what was found as JSON", &job.json},
        {0},
    };
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "-o"))
            argv[i] = "--output";
    char **paths;
    int count;
    struct diagnostic problem;
    int error = settings_load(
        table, "vistter recording merge -o OUT.mkv FILE|FOLDER...",
        "Joins the recordings of a channel that both edges made, segments and what was recovered, "
        "by frame number:\nnothing is encoded, each frame comes once, and frames that no recording "
        "has are named.",
        argc, argv, &paths, &count, &problem);
    if (!error && (!count || !job.output))
        error = diagnostic_set(&problem, -EINVAL, "usage", "",
                               "give -o FILE and recordings, or folders with recordings");
    if (error) {
        say(&job, &problem);
        return CLI_USAGE;
    }
    av_log_set_level(AV_LOG_QUIET); // what is wrong is said here, once
    return run(&job, paths, count);
}
