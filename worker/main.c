// vistter-worker: renders groups of channels. See worker.h for the thread map.
#include "engine/base/crew.h"
#include "engine/base/log.h"
#include "engine/base/settings.h"
#include "engine/frame/picture.h"
#include "engine/source/nursery.h"
#include "worker/worker.h"

#include <inttypes.h>
#include <libavutil/log.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct worker_settings s = {0};
    int64_t cache_mib, latency_ms;
    const char *log_level;
    char host[65] = "worker";
    gethostname(host, sizeof host - 1);
    const struct setting table[] = {
        {"name", SETTING_TEXT, "NAME", host, 0, 0, "own name, unique in the cluster", &s.name},
        {"coordinators", SETTING_TEXT, "HOST:PORT,...", "127.0.0.1:7700", 0, 0,
         "control addresses of the coordinators", &s.coordinators},
        {"cluster-key", SETTING_TEXT, "FILE", "/etc/vistter/cluster.key", 0, 0,
         "key file that all nodes of the cluster share", &s.cluster_key},
        {"frame-listen", SETTING_TEXT, "HOST:PORT", "127.0.0.1:0", 0, 0,
         "where frames are served (SRT, UDP); port 0: any, which after a restart nobody knows "
         "without "
         "a coordinator",
         &s.frame_listen},
        {"frame-address", SETTING_TEXT, "HOST:PORT", "", 0, 0,
         "the same as others reach it, when it differs", &s.frame_address},
        {"frame-latency", SETTING_INTEGER, "ms", "120", 20, 2000,
         "SRT latency of links to other workers; at least four round trips", &latency_ms},
        {"srt-only", SETTING_SWITCH, "", NULL, 0, 0,
         "send frames over SRT to this host too, instead of sharing memory", &s.srt_only},
        {"cache", SETTING_TEXT, "FOLDER", "/var/cache/vistter", 0, 0, "folder for fetched media",
         &s.cache},
        {"cache-size", SETTING_INTEGER, "MiB", "20480", 64, 1 << 30, "largest size of that folder",
         &cache_mib},
        {"rtmp-listen", SETTING_TEXT, "HOST:PORT", "0.0.0.0:1935", 0, 0,
         "where encoders send sources of the kind rtmp to; listened at while there are any",
         &s.rtmp_listen},
        {"state-folder", SETTING_TEXT, "FOLDER", "/var/lib/vistter/worker", 0, 0,
         "where the newest desired state is kept, sealed", &s.state_folder},
        {"log-level", SETTING_TEXT, "LEVEL", "info", 0, 0, "error, warning, info or debug",
         &log_level},
        {0},
    };
    struct diagnostic problem;
    char text[1024];
    int error = settings_load(table, "vistter-worker [--config FILE] [flags]",
                              "Renders layer groups of channels and serves their frames.", argc,
                              argv, NULL, NULL, &problem);
    if (!error && log_set_level_name(log_level))
        error = diagnostic_set(&problem, -1, "setting_value", "log-level", "unknown level '%s'",
                               log_level);
    if (error) {
        fprintf(stderr, "vistter-worker: %s\n", diagnostic_format(&problem, text, sizeof text));
        return 2;
    }
    s.cache_bytes = cache_mib << 20;
    s.frame_latency_ms = (int)latency_ms;
    sigset_t stop;
    sigemptyset(&stop);
    sigaddset(&stop, SIGINT);
    sigaddset(&stop, SIGTERM);
    sigprocmask(SIG_BLOCK, &stop, NULL);
    signal(SIGPIPE, SIG_IGN);
    av_log_set_level(AV_LOG_QUIET); // what a user must know comes as an alarm
    // Link keys are in memory.
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    int stop_fd = signalfd(-1, &stop, SFD_CLOEXEC);
    struct worker *worker;
    if (worker_create(&s, &worker, &problem)) {
        fprintf(stderr, "vistter-worker: %s\n", diagnostic_format(&problem, text, sizeof text));
        return 1;
    }
    crew_start_all();
    worker_run(worker, stop_fd);
    worker_destroy(&worker);
    nursery_close();
    crew_end();
    close(stop_fd);
    log_info("stopped", "pictures_outstanding=%" PRId64, picture_outstanding());
    return 0;
}
