// How long a group takes from nothing to its first frame: start_bench TIMELINE CACHE STARTS. Opens
// the timeline as `vistter render` does (imported into CACHE), then, for STARTS frames spread over
// it, makes a renderer and its frame: cold, with CACHE's files out of the page cache, and warm.
// Prints one JSON object: wall milliseconds, median and 99th percentile.
#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <unistd.h>

#include "coordinator/cli/render_project.h"
#include "engine/base/clock.h"
#include "engine/render/render.h"
#include "tests/bench/bench.h"

#define STARTS_MAX 1000

static void drop_pages(const char *folder)
{
    DIR *dir = opendir(folder);
    if (!dir)
        die(folder);
    for (struct dirent *entry; (entry = readdir(dir));) {
        int fd = openat(dirfd(dir), entry->d_name, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
            (void)fdatasync(fd); // what is not yet written stays
            (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
            close(fd);
        }
    }
    closedir(dir);
}

static double start(const struct render_config *config, int64_t frame)
{
    struct renderer *renderer = NULL;
    struct group_frame *group = NULL;
    struct render_report report;
    int64_t from = clock_monotonic_ns();
    if (renderer_create(config, &renderer, NULL) ||
        renderer_frame(renderer, frame, frame, NULL, &group, NULL, &report) || report.problems)
        die("the timeline does not render");
    double ms = (double)(clock_monotonic_ns() - from) / 1e6;
    group_frame_unref(&group);
    renderer_destroy(&renderer);
    return ms;
}

int main(int argc, char **argv)
{
    int starts = argc == 4 ? atoi(argv[3]) : 0;
    if (starts < 1 || starts > STARTS_MAX)
        die("TIMELINE CACHE STARTS");
    struct render_project *project = NULL;
    if (render_project_open(argv[1], argv[2], NULL, NULL, &project, NULL))
        die("the timeline does not open");
    const struct timeline *t = render_project_timeline(project);
    struct render_config config = {.timeline = t,
                                   .width = t->width,
                                   .height = t->height,
                                   .rate = t->rate,
                                   .track_to = (int)t->track_count,
                                   .base = true,
                                   .resolver = render_project_resolver(project),
                                   .patient = true};
    double cold[STARTS_MAX], warm[STARTS_MAX];
    for (int i = 0; i < starts; i++) {
        int64_t frame = (2 * i + 1) * t->duration / (2 * starts);
        drop_pages(argv[2]);
        cold[i] = start(&config, frame);
        warm[i] = start(&config, frame);
    }
    int last = (int)ceil(0.99 * starts) - 1;
    double cold_median = median(cold, starts), warm_median = median(warm, starts);
    printf("{\"cold\":%.2f,\"cold_p99\":%.2f,\"warm\":%.2f,\"warm_p99\":%.2f}\n", cold_median,
           cold[last], warm_median, warm[last]);
    render_project_close(&project);
    return EXIT_SUCCESS;
}
