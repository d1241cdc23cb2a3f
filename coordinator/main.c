// vistter-coordinator: timelines, channels and plans; the API and the page. See coordinator.h for
// the thread map.
#include "coordinator/coordinator.h"
#include "engine/base/log.h"
#include "engine/base/settings.h"

#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct coordinator_settings s = {0};
    const char *log_level;
    char host[65] = "coordinator";
    gethostname(host, sizeof host - 1);
    const struct setting table[] = {
        {"name", SETTING_TEXT, "NAME", host, 0, 0, "own name, unique among coordinators", &s.name},
        {"database", SETTING_TEXT, "CONNINFO", "dbname=vistter", 0, 0,
         "PostgreSQL, as a libpq connection string", &s.database},
        {"migrations", SETTING_TEXT, "FOLDER", "/usr/share/vistter/migrations", 0, 0,
         "SQL files that bring the database up to date", &s.migrations},
        {"http-listen", SETTING_TEXT, "HOST:PORT", "127.0.0.1:8080", 0, 0,
         "where the page and the API are served", &s.http_listen},
        {"http-names", SETTING_TEXT, "NAME,NAME", "", 0, 0,
         "further names under which people reach this host by HTTP", &s.http_names},
        {"api-url", SETTING_TEXT, "URL", "", 0, 0,
         "the API as other coordinators reach it; http://HOST:PORT of http-listen by default",
         &s.api_url},
        {"control-listen", SETTING_TEXT, "HOST:PORT", "127.0.0.1:7700", 0, 0, "where nodes dial in",
         &s.control_listen},
        {"media", SETTING_TEXT, "FOLDER", "/var/lib/vistter/media", 0, 0,
         "folder of the media store", &s.media},
        {"media-url", SETTING_TEXT, "URL", "http://127.0.0.1:8080/api/v1/media", 0, 0,
         "the media store as nodes reach it", &s.media_url},
        {"upload-max", SETTING_INTEGER, "MiB", "65536", 1, 1 << 24, "largest file to be imported",
         &s.upload_bytes_max},
        {"cluster-key", SETTING_TEXT, "FILE", "/etc/vistter/cluster.key", 0, 0,
         "key file that all nodes of the cluster share", &s.cluster_key},
        {"secret-key", SETTING_TEXT, "FILE", "/etc/vistter/secret.key", 0, 0,
         "key file that seals stream keys in the database", &s.secret_key},
        {"cuts", SETTING_TEXT, "T,T", "", 0, 0,
         "cut the z-order of all channels at these tracks, instead of where it pays (same bits)",
         &s.cuts},
        {"migrate", SETTING_SWITCH, NULL, NULL, 0, 0, "apply the migrations and end",
         &s.migrate_only},
        {"log-level", SETTING_TEXT, "LEVEL", "info", 0, 0, "error, warning, info or debug",
         &log_level},
        {0},
    };
    struct diagnostic problem;
    char text[1024];
    int error = settings_load(table, "vistter-coordinator [--config FILE] [flags]",
                              "Keeps timelines and channels, plans the farm, serves the API.", argc,
                              argv, NULL, NULL, &problem);
    if (!error && log_set_level_name(log_level))
        error = diagnostic_set(&problem, -1, "setting_value", "log-level", "unknown level '%s'",
                               log_level);
    if (error) {
        fprintf(stderr, "vistter-coordinator: %s\n",
                diagnostic_format(&problem, text, sizeof text));
        return 2;
    }
    s.upload_bytes_max <<= 20;
    // Blocked before any thread starts, libraries' threads included: only stop_fd hears them.
    sigset_t stop;
    sigemptyset(&stop);
    sigaddset(&stop, SIGINT);
    sigaddset(&stop, SIGTERM);
    sigprocmask(SIG_BLOCK, &stop, NULL);
    signal(SIGPIPE, SIG_IGN);
    int stop_fd = signalfd(-1, &stop, SFD_CLOEXEC);
    struct coordinator *coordinator = NULL;
    if (s.migrate_only) {
        error = coordinator_migrate(&s, &problem);
    } else {
        error = coordinator_create(&s, &coordinator, &problem);
        if (!error) {
            log_info("coordinator_ready", "http=%s control=%s", s.http_listen, s.control_listen);
            error = coordinator_run(coordinator, stop_fd, &problem);
        }
        coordinator_destroy(&coordinator);
    }
    close(stop_fd);
    if (error)
        fprintf(stderr, "vistter-coordinator: %s\n",
                diagnostic_format(&problem, text, sizeof text));
    log_info("stopped", "name=%s", s.name);
    return error ? 1 : 0;
}
