// Peers of the delivery tests: processes on loopback. Included once per test, after delivery.h.
#pragma once

#include <arpa/inet.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define MODULE "/usr/lib/nginx/modules/ngx_rtmp_module.so"

static inline pid_t spawn(const char *command)
{
    pid_t pid = fork();
    if (!pid) {
        execl("/bin/sh", "sh", "-c", command, NULL);
        _exit(127);
    }
    return pid;
}

static inline int free_port(int *ret_fd)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    CHECK_OK(bind(fd, (struct sockaddr *)&address, size));
    CHECK_OK(listen(fd, 8));
    getsockname(fd, (struct sockaddr *)&address, &size);
    if (ret_fd)
        *ret_fd = fd;
    else
        close(fd);
    return ntohs(address.sin_port);
}

static inline bool can_connect(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    bool connected = !connect(fd, (struct sockaddr *)&address, sizeof address);
    close(fd);
    return connected;
}

// An nginx of our own in the foreground, one process, which records what it receives.
// `rules` are further lines of its application.
static inline pid_t start_nginx(int port, const char *name, const char *rules)
{
    char path[128], command[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    mkdir(path, 0755);
    snprintf(path, sizeof path, "%s/%s/nginx.conf", folder, name);
    FILE *f = fopen(path, "w");
    fprintf(f,
            "load_module %s;\ndaemon off;\nmaster_process off;\npid %s/%s/pid;\nerror_log "
            "%s/%s/error.log;\nevents {}\nrtmp { server { listen 127.0.0.1:%d; chunk_size 4096; "
            "application live { live on; record all; record_path %s/%s; %s } } }\n",
            MODULE, folder, name, folder, name, port, folder, name, rules);
    fclose(f);
    snprintf(command, sizeof command, "exec nginx -p %s/%s -c %s 2>%s/%s/stderr", folder, name,
             path, folder, name);
    pid_t pid = spawn(command);
    for (int i = 0; i < 500 && !can_connect(port); i++)
        clock_sleep_until_ns(clock_monotonic_ns() + 10000000);
    CHECK_TRUE(can_connect(port));
    return pid;
}

static inline void stop_process(pid_t pid)
{
    kill(pid, SIGCONT);
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
}
