// tun_relay SEED NAMESPACE=ADDRESS...
//
// A network between hosts that are network namespaces (/run/netns/NAMESPACE), each with one IPv4
// address: gives each a device "net0" (up and addressed by whoever starts this) and passes packets
// from each to each. Reads lines from standard input, "FROM TO DELAY_MS JITTER_MS REPEAT_PERCENT",
// which say how from now on; "*" is every host. Prints "ready", and "done" after each line; ends
// when standard input ends.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "tests/relay/line.h"

#define HOSTS_MAX        16
#define IPV4_MIN         20
#define IPV4_DESTINATION 16

struct host {
    const char *name;
    uint32_t address; // as on the network
    int device;
};

struct relay {
    struct host hosts[HOSTS_MAX];
    int count;
    struct line lines[HOSTS_MAX][HOSTS_MAX]; // from, to
    struct line_queue *queue;
};

// The device belongs to the namespace in which it is made; its descriptor is good anywhere.
static int device_open(const char *namespace)
{
    char path[256];
    snprintf(path, sizeof path, "/run/netns/%s", namespace);
    int there = open(path, O_RDONLY | O_CLOEXEC);
    if (there < 0 || setns(there, CLONE_NEWNET))
        return -1;
    close(there);
    int device = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    struct ifreq request = {.ifr_name = "net0", .ifr_flags = IFF_TUN | IFF_NO_PI};
    if (device >= 0 && ioctl(device, TUNSETIFF, &request)) {
        close(device);
        return -1;
    }
    return device;
}

static bool host_add(struct relay *r, char *word)
{
    char *address = strchr(word, '=');
    struct in_addr parsed;
    if (!address || r->count == HOSTS_MAX ||
        (*address = 0, inet_pton(AF_INET, address + 1, &parsed) != 1))
        return false;
    struct host *h = &r->hosts[r->count++];
    *h = (struct host){word, parsed.s_addr, device_open(word)};
    return h->device >= 0;
}

static void take(struct relay *r, int from)
{
    uint8_t bytes[LINE_PACKET_MAX];
    ssize_t size;
    while ((size = read(r->hosts[from].device, bytes, sizeof bytes)) > 0) {
        uint32_t destination;
        if (size < IPV4_MIN || bytes[0] >> 4 != 4)
            continue;
        memcpy(&destination, bytes + IPV4_DESTINATION, sizeof destination);
        for (int to = 0; to < r->count; to++)
            if (r->hosts[to].address == destination)
                line_enter(r->queue, &r->lines[from][to], to, bytes, (size_t)size,
                           clock_monotonic_ns());
    }
}

static bool is_meant(const char *word, const struct host *host)
{
    return !strcmp(word, "*") || !strcmp(word, host->name);
}

static void obey(struct relay *r, const char *text)
{
    char from[64], to[64];
    double delay, jitter, repeat;
    if (sscanf(text, "%63s %63s %lf %lf %lf", from, to, &delay, &jitter, &repeat) != 5)
        return;
    for (int i = 0; i < r->count; i++)
        for (int k = 0; k < r->count; k++)
            if (is_meant(from, &r->hosts[i]) && is_meant(to, &r->hosts[k]))
                r->lines[i][k] = (struct line){.repeat = repeat / 100,
                                               .delay_ns = (int64_t)(delay * 1e6),
                                               .jitter_ns = (int64_t)(jitter * 1e6)};
    puts("done");
    fflush(stdout);
}

static void run(struct relay *r)
{
    for (;;) {
        struct pollfd fds[HOSTS_MAX + 1] = {{.fd = STDIN_FILENO, .events = POLLIN}};
        for (int i = 0; i < r->count; i++)
            fds[1 + i] = (struct pollfd){.fd = r->hosts[i].device, .events = POLLIN};
        int64_t left = 0;
        bool waits = line_wait_ns(r->queue, clock_monotonic_ns(), &left);
        struct timespec timeout = {.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
        if (ppoll(fds, (nfds_t)(1 + r->count), waits ? &timeout : NULL, NULL) < 0 && errno != EINTR)
            return;
        if (fds[0].revents) {
            char text[4096];
            ssize_t size = read(STDIN_FILENO, text, sizeof text - 1);
            if (size <= 0)
                return;
            text[size] = 0;
            char *rest = NULL;
            for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
                obey(r, line);
        }
        for (int i = 0; i < r->count; i++)
            if (fds[1 + i].revents)
                take(r, i);
        const struct line_packet *p;
        while ((p = line_leave(r->queue, clock_monotonic_ns())))
            (void)!write(r->hosts[p->to].device, p->bytes, p->size); // a full queue loses it
    }
}

int main(int argc, char **argv)
{
    struct relay r = {.queue = argc > 2 ? line_queue_create(strtoull(argv[1], NULL, 0)) : NULL};
    if (!r.queue) {
        fprintf(stderr, "usage: tun_relay SEED NAMESPACE=ADDRESS...\n");
        return EXIT_FAILURE;
    }
    for (int i = 2; i < argc; i++)
        if (!host_add(&r, argv[i])) {
            fprintf(stderr, "tun_relay: %s: no such host can be had: %s\n", argv[i],
                    strerror(errno));
            return EXIT_FAILURE;
        }
    puts("ready");
    fflush(stdout);
    run(&r);
    line_queue_destroy(&r.queue);
    return EXIT_SUCCESS;
}
