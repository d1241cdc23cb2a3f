// vistter-import: the jailed part of an import.
//
//   vistter-import --probe FILE
//   vistter-import FILE STORE
//
// Prints lines: "progress N" (0..1000), at the end "facts JSON" or "error ERRNO CODE\tPATH\tTEXT".
// Status 0 in both cases; anything else means that it died.
#include "engine/media/import.h"

#include "engine/import/start_cost.h"

#include <libavutil/cpu.h>
#include <libavutil/log.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define MEMORY_BYTES_MAX ((rlim_t)4 << 30)
#define CPU_PROBE_S      120
#define CPU_IMPORT_S     14400
#define FILE_BYTES_MAX   ((rlim_t)1 << 40)

static void limit(int resource, rlim_t value)
{
    struct rlimit limits;
    if (getrlimit(resource, &limits))
        return;
    if (limits.rlim_max != RLIM_INFINITY && limits.rlim_max < value)
        value = limits.rlim_max;
    limits.rlim_cur = limits.rlim_max = value;
    (void)setrlimit(resource, &limits); // a limit that cannot be set is one that is set already
}

static void limit_process(bool probe)
{
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) // they map terabytes
    limit(RLIMIT_AS, MEMORY_BYTES_MAX);
#endif
    limit(RLIMIT_CPU, probe ? CPU_PROBE_S : CPU_IMPORT_S);
    limit(RLIMIT_FSIZE, FILE_BYTES_MAX);
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_NOFILE, 64);
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); // an import is of no use without its caller
}

static void print_progress(void *opaque, int permille)
{
    (void)opaque;
    printf("progress %d\n", permille);
    fflush(stdout);
}

static void print_error(int error, const struct diagnostic *d)
{
    printf("error %d %s\t%s\t%s\n", error, d->code[0] ? d->code : "media_failed", d->path,
           d->text[0] ? d->text : strerror(-error));
}

int main(int argc, char **argv)
{
    bool probe = argc == 3 && !strcmp(argv[1], "--probe");
    if (argc != 3) {
        fprintf(stderr, "usage: vistter-import --probe FILE | vistter-import FILE STORE\n");
        return EXIT_FAILURE;
    }
    limit_process(probe);
    signal(SIGPIPE, SIG_DFL);
    av_log_set_level(AV_LOG_QUIET);
    // Sound is made by floating point; without this its bits would depend on the processor.
    av_force_cpu_flags(0);
    static const struct import_callbacks callbacks = {.progress = print_progress,
                                                      .indexed = start_cost_measure};
    struct media_info info;
    struct diagnostic problem = {0};
    int error = probe ? import_probe(argv[2], &info, &problem)
                      : import_file(argv[1], argv[2], &info, &callbacks, &problem);
    if (error < 0) {
        print_error(error, &problem);
        return EXIT_SUCCESS;
    }
    char *text = media_info_format(&info);
    if (!text)
        return EXIT_FAILURE;
    printf("facts %s\n", text);
    free(text);
    return EXIT_SUCCESS;
}
