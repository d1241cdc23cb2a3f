#include "engine/base/watchdog.h"

#include "engine/base/log.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void tell(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!path || (*path != '/' && *path != '@') || strlen(path) >= sizeof address.sun_path)
        return;
    size_t length = strlen(path);
    memcpy(address.sun_path, path, length);
    if (*path == '@')
        address.sun_path[0] = 0; // an abstract name
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    // A supervisor that does not read holds nobody up.
    (void)sendto(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT,
                 (const struct sockaddr *)&address,
                 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
    close(fd);
}

void watchdog_init(struct watchdog *w)
{
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    bool ours = usec && (!pid || strtoll(pid, NULL, 10) == getpid());
    long long patience_us = ours ? strtoll(usec, NULL, 10) : 0;
    bool sane = patience_us > 0 && patience_us < INT64_MAX / 1000;
    *w = (struct watchdog){.every_ns = sane ? patience_us * 1000 / 4 : 0};
}

void watchdog_ready(void)
{
    tell("READY=1");
}

void watchdog_stopping(void)
{
    tell("STOPPING=1");
}

void watchdog_tend(struct watchdog *w, const char *hung, int64_t now_ns)
{
    if (hung && !w->hung)
        log_error("hung", "part=\"%s\"", hung);
    w->hung = hung;
    if (!w->every_ns || hung || now_ns < w->next_ns)
        return;
    tell("WATCHDOG=1");
    w->next_ns = now_ns + w->every_ns;
}
