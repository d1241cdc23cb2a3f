#include "engine/link/srt_socket.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/link/srt_parts.h"

#define BUFFER_BYTES     (32 << 20)
#define FLIGHT_PACKETS   32768 // more than BUFFER_BYTES of full parts
#define UDP_BUFFER_BYTES (8 << 20)
#define REORDER_PACKETS  32
#define PEER_IDLE_MS     2000
#define CONNECT_MS       3000

// ---- The library ----------------------------------------------------------------------------

static pthread_mutex_t library_lock = PTHREAD_MUTEX_INITIALIZER;
static int library_references;
static struct log_limit library_limit; // guarded by library_log_lock
static pthread_mutex_t library_log_lock = PTHREAD_MUTEX_INITIALIZER;

// libsrt can complain thousands of times a second.
static void on_log(void *opaque, int level, const char *file, int line, const char *area,
                   const char *message)
{
    (void)opaque;
    (void)file;
    (void)line;
    pthread_mutex_lock(&library_log_lock);
    uint64_t count = log_limit(&library_limit, clock_monotonic_ns(), INT64_C(1000000000));
    pthread_mutex_unlock(&library_log_lock);
    if (count)
        log_debug("srt", "level=%d area=%s count=%llu text=\"%.*s\"", level, area,
                  (unsigned long long)count, (int)strcspn(message, "\n\""), message);
}

int srt_library_ref(struct diagnostic *reterr)
{
    int error = 0;
    pthread_mutex_lock(&library_lock);
    if (library_references == 0 && srt_startup() < 0)
        error = diagnostic_set(reterr, -EIO, "srt_startup", "", "libsrt does not start: %s",
                               srt_getlasterror_str());
    if (!error && library_references++ == 0) {
        srt_setloghandler(NULL, on_log);
        srt_setlogflags(SRT_LOGF_DISABLE_TIME | SRT_LOGF_DISABLE_EOL | SRT_LOGF_DISABLE_SEVERITY);
        srt_setloglevel(LOG_ERR);
    }
    pthread_mutex_unlock(&library_lock);
    return error;
}

void srt_library_unref(void)
{
    pthread_mutex_lock(&library_lock);
    if (--library_references == 0)
        srt_cleanup();
    pthread_mutex_unlock(&library_lock);
}

// ---- Addresses and sockets ------------------------------------------------------------------

// Cuts "host:port" or "[host]:port" into its parts.
static int split(const char *text, char *host, size_t host_size, char *port, size_t port_size)
{
    const char *colon = strrchr(text, ':');
    if (!colon || strlen(colon + 1) >= port_size || !colon[1])
        return -EINVAL;
    const char *from = text, *to = colon;
    if (*from == '[') {
        from++;
        if (to == from || *--to != ']')
            return -EINVAL;
    }
    if ((size_t)(to - from) >= host_size)
        return -EINVAL;
    memcpy(host, from, (size_t)(to - from));
    host[to - from] = 0;
    strcpy(port, colon + 1);
    return 0;
}

int srt_address_resolve(const char *text, bool passive, struct srt_address *ret,
                        struct diagnostic *reterr)
{
    char host[256], port[8];
    if (split(text, host, sizeof host, port, sizeof port))
        return diagnostic_set(reterr, -EINVAL, "address", "",
                              "\"%s\" is not an address; write host:port", text);
    bool any = passive && (!host[0] || !strcmp(host, "*"));
    struct addrinfo hints = {
        .ai_family = any ? AF_INET : AF_UNSPEC,
        .ai_socktype = SOCK_DGRAM,
        .ai_flags = AI_NUMERICSERV | (passive ? AI_PASSIVE : 0),
    };
    struct addrinfo *list = NULL;
    int error = getaddrinfo(any ? NULL : host, port, &hints, &list);
    if (error || !list)
        return diagnostic_set(reterr, -ENOENT, "address_unknown", "",
                              "\"%s\" cannot be resolved: %s", text, gai_strerror(error));
    *ret = (struct srt_address){.size = (int)list->ai_addrlen};
    memcpy(&ret->storage, list->ai_addr, list->ai_addrlen);
    freeaddrinfo(list);
    return 0;
}

SRTSOCKET srt_socket_create(int latency_ms)
{
    SRTSOCKET s = srt_create_socket();
    if (s == SRT_INVALID_SOCK)
        return s;
    const struct {
        SRT_SOCKOPT option;
        int value;
    } options[] = {
        {SRTO_TRANSTYPE, SRTT_LIVE},         {SRTO_PAYLOADSIZE, PART_BYTES_MAX},
        {SRTO_FC, FLIGHT_PACKETS}, // before the buffers, which it limits
        {SRTO_SNDBUF, BUFFER_BYTES},         {SRTO_RCVBUF, BUFFER_BYTES},
        {SRTO_UDP_SNDBUF, UDP_BUFFER_BYTES}, {SRTO_UDP_RCVBUF, UDP_BUFFER_BYTES},
        {SRTO_LATENCY, latency_ms},          {SRTO_LOSSMAXTTL, REORDER_PACKETS},
        {SRTO_PEERIDLETIMEO, PEER_IDLE_MS},  {SRTO_CONNTIMEO, CONNECT_MS},
        {SRTO_MINVERSION, 0x010300}, // older ones send no stream id
    };
    bool failed = false;
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        failed = failed || srt_setsockflag(s, options[i].option, &options[i].value, sizeof(int));
    bool no = false, yes = true;
    struct linger linger = {0};
    failed = failed || srt_setsockflag(s, SRTO_TLPKTDROP, &yes, sizeof yes) ||
             srt_setsockflag(s, SRTO_SNDSYN, &no, sizeof no) ||
             srt_setsockflag(s, SRTO_RCVSYN, &no, sizeof no) ||
             srt_setsockflag(s, SRTO_LINGER, &linger, sizeof linger);
    if (failed) {
        srt_close(s);
        return SRT_INVALID_SOCK;
    }
    return s;
}
