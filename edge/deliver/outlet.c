// One I/O thread, `deliver`, owns all sockets and children; other threads only touch the queues and
// the reports, under the hub's lock, and wake it through an eventfd. The lock is never held across
// a system call that could wait.
#include "edge/deliver/outlet.h"

#include "edge/deliver/child.h"
#include "edge/deliver/gop.h"
#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/thread.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#define OUTLETS_MAX      256
#define PROGRAMMES_MAX   32
#define QUEUE_ENTRIES    4096
#define QUEUE_BYTES      (32 << 20)
#define RESTART_FIRST_NS INT64_C(500000000)
#define RESTART_LAST_NS  INT64_C(10000000000)
#define HEALTHY_AFTER_NS INT64_C(30000000000)
#define STILL_NS         INT64_C(10000000000)
#define FINISH_NS        INT64_C(5000000000)
#define COLLECT_NS       INT64_C(1000000000)

struct entry {
    struct deliver_header header;
    struct packet *packet; // PACKET
    void *body;            // SETUP, SECOND (secret), PUBLISH
};

struct programme {
    struct deliver_setup *setup;
    bool cut;        // packets are dropped until the next key frame
    struct gop *gop; // what a child that is started anew begins with; NULL: previews begin later
};

struct outlet {
    // -- constant after create
    struct outlet_hub *hub;
    char label[48];
    // -- guarded by the hub's lock
    struct entry queue[QUEUE_ENTRIES];
    size_t head, count, bytes;
    struct programme programmes[PROGRAMMES_MAX];
    int programme_count;
    struct deliver_second second;
    struct deliver_publish publish;
    bool told_publish; // the child knows PUBLISH, and has been told
    bool stopping, paused;
    uint64_t dropped; // on this side
    uint32_t restarts;
    struct deliver_report report; // as the child said
    // -- the I/O thread
    struct child child;
    struct entry current; // being written
    bool writing;
    size_t written;
    bool stop_sent, started;
    uint64_t turns; // as last reported, and when they last rose:
    int64_t turned_ns;
    int64_t started_ns, restart_ns, back_off_ns, stop_ns;
    struct deliver_header in_header;
    struct deliver_report in_report;
    size_t in_bytes;
    struct outlet *next;
};

struct outlet_hub {
    // -- constant after create
    char program[PATH_MAX];
    int wake_fd;
    pthread_t thread;
    bool running;
    char family[CHILD_NAME_BYTES]; // of adoption, "": none
    // -- guarded by lock
    pthread_mutex_t lock;
    struct outlet *outlets;
    bool closing, leaving;
    // -- the I/O thread
    bool ending; // `closing`, as it has seen it
};

static void hub_wake(struct outlet_hub *hub)
{
    uint64_t one = 1;
    ssize_t written = write(hub->wake_fd, &one, sizeof one);
    (void)written; // full means that a wake is already pending
}

// ---- Queues (called with the lock held) --------------------------------------------------------

static void entry_release(struct entry *e)
{
    packet_unref(&e->packet);
    if (e->body)
        explicit_bzero(e->body, e->header.size);
    free(e->body);
    e->body = NULL;
}

static void queue_clear(struct outlet *o)
{
    while (o->count) {
        entry_release(&o->queue[o->head]);
        o->head = (o->head + 1) % QUEUE_ENTRIES;
        o->count--;
    }
    o->bytes = 0;
}

static void queue_add(struct outlet *o, const struct entry *e)
{
    o->queue[(o->head + o->count++) % QUEUE_ENTRIES] = *e;
    o->bytes += e->header.size;
}

static bool queue_take(struct outlet *o, struct entry *ret)
{
    if (!o->count)
        return false;
    *ret = o->queue[o->head];
    o->head = (o->head + 1) % QUEUE_ENTRIES;
    o->count--;
    o->bytes -= ret->header.size;
    return true;
}

// Throws packets away, keeps what configures; afterwards each programme waits for a key frame.
static void queue_cut(struct outlet *o)
{
    size_t count = o->count;
    for (size_t i = 0; i < count; i++) {
        struct entry e;
        (void)queue_take(o, &e); // there are `count` of them
        if (e.packet) {
            o->dropped++;
            entry_release(&e);
        } else {
            queue_add(o, &e);
        }
    }
    for (int i = 0; i < o->programme_count; i++)
        o->programmes[i].cut = true;
}

static struct programme *find_programme(struct outlet *o, uint64_t id)
{
    for (int i = 0; i < o->programme_count; i++)
        if (o->programmes[i].setup->programme == id)
            return &o->programmes[i];
    return NULL;
}

static void queue_body(struct outlet *o, enum deliver_message_kind kind, uint64_t programme,
                       const void *body, size_t size)
{
    struct entry e = {
        .header = {.kind = (uint8_t)kind, .size = (uint32_t)size, .programme = programme},
        .body = base_alloc(size)};
    memcpy(e.body, body, size);
    if (o->count == QUEUE_ENTRIES)
        queue_cut(o);
    if (o->count < QUEUE_ENTRIES)
        queue_add(o, &e);
    else
        entry_release(&e);
}

static void queue_setup(struct outlet *o, const struct deliver_setup *setup)
{
    queue_body(o, DELIVER_SETUP, setup->programme, setup, sizeof *setup);
}

static void queue_packet(struct outlet *o, uint64_t programme, const struct packet *packet)
{
    queue_add(o, &(struct entry){.header = deliver_packet_header(programme, packet),
                                 .packet = packet_ref(packet)});
}

// What a child is told that follows another: all, and the GOP under way.
static void queue_anew(struct outlet *o, struct programme *p)
{
    queue_setup(o, p->setup);
    p->cut = !p->gop || !p->gop->count || o->count + GOP_PACKETS > QUEUE_ENTRIES;
    for (int i = 0; !p->cut && i < p->gop->count; i++)
        queue_packet(o, p->setup->programme, p->gop->packets[i]);
}

static void programme_finish(struct programme *p)
{
    gop_destroy(&p->gop);
    free(p->setup);
}

// ---- Other threads -----------------------------------------------------------------------------

struct outlet *outlet_create(struct outlet_hub *hub, const char *label)
{
    struct outlet *o = base_alloc(sizeof *o);
    o->hub = hub;
    snprintf(o->label, sizeof o->label, "%s", label);
    o->back_off_ns = RESTART_FIRST_NS;
    o->child.fd = -1;
    o->report.state = DELIVER_CONNECTING;
    o->publish.mode = PUBLISH_YES;
    pthread_mutex_lock(&hub->lock);
    o->next = hub->outlets;
    hub->outlets = o;
    pthread_mutex_unlock(&hub->lock);
    hub_wake(hub);
    return o;
}

void outlet_destroy(struct outlet **outlet)
{
    struct outlet *o = *outlet;
    if (!o)
        return;
    *outlet = NULL;
    struct outlet_hub *hub = o->hub;
    pthread_mutex_lock(&hub->lock);
    o->stopping = true; // the I/O thread frees it
    pthread_mutex_unlock(&hub->lock);
    hub_wake(hub);
}

void outlet_set_programme(struct outlet *o, const struct deliver_setup *setup)
{
    pthread_mutex_lock(&o->hub->lock);
    struct programme *p = find_programme(o, setup->programme);
    if (!p && o->programme_count < PROGRAMMES_MAX) {
        p = &o->programmes[o->programme_count++];
        *p = (struct programme){.setup = base_alloc(sizeof *setup)};
        if (setup->kind != DELIVER_KIND_PREVIEW)
            p->gop = base_alloc(sizeof *p->gop);
    }
    if (p && p->gop)
        gop_clear(p->gop);
    if (p) {
        *p->setup = *setup;
        p->cut = true;
        queue_setup(o, setup);
    }
    pthread_mutex_unlock(&o->hub->lock);
    hub_wake(o->hub);
}

void outlet_set_second(struct outlet *o, const struct deliver_second *second)
{
    pthread_mutex_lock(&o->hub->lock);
    o->second = *second;
    queue_body(o, DELIVER_SECOND, second->channel, second, sizeof *second);
    pthread_mutex_unlock(&o->hub->lock);
    hub_wake(o->hub);
}

void outlet_set_publish(struct outlet *o, const struct deliver_publish *publish)
{
    pthread_mutex_lock(&o->hub->lock);
    o->publish = *publish;
    queue_body(o, DELIVER_PUBLISH, 0, publish, sizeof *publish);
    pthread_mutex_unlock(&o->hub->lock);
    hub_wake(o->hub);
}

void outlet_clear_programme(struct outlet *o, uint64_t programme)
{
    pthread_mutex_lock(&o->hub->lock);
    struct programme *p = find_programme(o, programme);
    if (p) {
        programme_finish(p);
        *p = o->programmes[--o->programme_count];
        struct entry e = {.header = {.kind = DELIVER_CLEAR, .programme = programme}};
        if (o->count == QUEUE_ENTRIES)
            queue_cut(o);
        if (o->count < QUEUE_ENTRIES)
            queue_add(o, &e);
    }
    pthread_mutex_unlock(&o->hub->lock);
    hub_wake(o->hub);
}

void outlet_pause(struct outlet *o, bool paused)
{
    pthread_mutex_lock(&o->hub->lock);
    uint64_t dropped = o->dropped;
    if (paused && !o->paused)
        queue_cut(o);
    o->dropped = dropped;
    o->paused = paused;
    pthread_mutex_unlock(&o->hub->lock);
}

void outlet_push(struct outlet *o, uint64_t programme, const struct packet *packet)
{
    bool key = packet->stream == PACKET_VIDEO && packet->key;
    pthread_mutex_lock(&o->hub->lock);
    struct programme *p = o->hub->leaving || o->paused ? NULL : find_programme(o, programme);
    if (p && (o->count == QUEUE_ENTRIES || o->bytes + packet->size > QUEUE_BYTES))
        queue_cut(o);
    if (p && key && o->count < QUEUE_ENTRIES)
        p->cut = false;
    if (p && p->gop)
        gop_add(p->gop, packet);
    if (p && p->cut)
        o->dropped += o->report.state == DELIVER_LIVE; // before the first key there is no loss
    else if (p)
        queue_packet(o, programme, packet);
    pthread_mutex_unlock(&o->hub->lock);
    hub_wake(o->hub);
}

void outlet_report(struct outlet *o, struct deliver_report *ret)
{
    pthread_mutex_lock(&o->hub->lock);
    *ret = o->report;
    ret->dropped += o->dropped;
    ret->reconnects += o->restarts;
    pthread_mutex_unlock(&o->hub->lock);
}

int outlet_child(struct outlet *o)
{
    pthread_mutex_lock(&o->hub->lock);
    int pid = o->child.fd >= 0 ? o->child.pid : 0;
    pthread_mutex_unlock(&o->hub->lock);
    return pid;
}

// ---- I/O thread --------------------------------------------------------------------------------

static void start_child(struct outlet *o, int64_t now)
{
    struct child child;
    bool adopted = !child_adopt(o->hub->family, o->label, &child);
    int result = adopted ? 0 : child_start(o->hub->program, o->hub->family, o->label, &child);
    o->started_ns = o->turned_ns = now;
    o->turns = 0;
    if (result) {
        log_error("deliver_start", "outlet=%s error=%s", o->label, strerror(-result));
        o->restart_ns = now + RESTART_LAST_NS;
        return;
    }
    pthread_mutex_lock(&o->hub->lock);
    o->child = child;
    o->told_publish = !adopted; // of an adopted one its first report says so
    if (o->started) {           // the first child finds everything in the queue
        queue_clear(o);
        queue_body(o, DELIVER_PUBLISH, 0, &o->publish, sizeof o->publish); // before it connects
        if (o->second.there) // before packets, which are spliced with what comes from there
            queue_body(o, DELIVER_SECOND, o->second.channel, &o->second, sizeof o->second);
        for (int i = 0; i < o->programme_count; i++)
            queue_anew(o, &o->programmes[i]);
    }
    o->started = true;
    pthread_mutex_unlock(&o->hub->lock);
    o->writing = o->stop_sent = false;
    o->in_bytes = 0;
    log_info(adopted ? "deliver_adopted" : "deliver_start", "outlet=%s pid=%d", o->label,
             child.pid);
}

static void lose_child(struct outlet *o, int64_t now, const char *why)
{
    pthread_mutex_lock(&o->hub->lock);
    child_kill(&o->child);
    bool expected = o->stopping;
    if (!expected) {
        o->restarts++;
        o->report.state = DELIVER_WAITING;
        snprintf(o->report.error, sizeof o->report.error, "delivery process %s", why);
        snprintf(o->report.alarm, sizeof o->report.alarm, "delivery_lost");
    }
    pthread_mutex_unlock(&o->hub->lock);
    if (o->writing)
        entry_release(&o->current);
    o->writing = false;
    if (now - o->started_ns > HEALTHY_AFTER_NS)
        o->back_off_ns = RESTART_FIRST_NS;
    o->restart_ns = now + o->back_off_ns;
    o->back_off_ns = o->back_off_ns * 2 > RESTART_LAST_NS ? RESTART_LAST_NS : o->back_off_ns * 2;
    if (!expected)
        log_error("deliver_lost", "outlet=%s why=\"%s\"", o->label, why);
}

static bool collect_child(struct outlet *o)
{
    int status;
    pthread_mutex_lock(&o->hub->lock);
    bool gone = !child_collect(&o->child, &status);
    bool expected = o->stopping;
    pthread_mutex_unlock(&o->hub->lock);
    if (gone && status && !expected)
        log_info("deliver_status", "outlet=%s status=%d", o->label, status);
    return gone;
}

// The edge ends, not the destination: a publisher that has another source goes on by itself. Called
// with the lock held.
static bool is_left(const struct outlet *o)
{
    return o->hub->leaving && o->second.there;
}

// Takes the next message to write. Called without the lock.
static bool next_entry(struct outlet *o)
{
    pthread_mutex_lock(&o->hub->lock);
    bool got = queue_take(o, &o->current);
    while (got && o->current.header.kind == DELIVER_PUBLISH && !o->told_publish) {
        entry_release(&o->current);
        got = queue_take(o, &o->current);
    }
    bool stop = !got && o->stopping && !o->stop_sent && !is_left(o);
    pthread_mutex_unlock(&o->hub->lock);
    if (stop) {
        o->current = (struct entry){.header = {.kind = DELIVER_STOP}};
        o->stop_sent = got = true;
    }
    o->written = 0;
    return got;
}

// Writes until the socket is full or the queue empty. -EAGAIN: full; other errors: the child is
// gone.
static int write_child(struct outlet *o)
{
    for (;;) {
        if (!o->writing && !(o->writing = next_entry(o)))
            return 0;
        struct entry *e = &o->current;
        const uint8_t *body = e->packet ? e->packet->data : e->body;
        size_t total = sizeof e->header + e->header.size;
        while (o->written < total) {
            struct iovec parts[2];
            int count = 0;
            size_t skip = o->written;
            if (skip < sizeof e->header)
                parts[count++] =
                    (struct iovec){(uint8_t *)&e->header + skip, sizeof e->header - skip};
            skip = skip < sizeof e->header ? 0 : skip - sizeof e->header;
            if (skip < e->header.size)
                parts[count++] =
                    (struct iovec){(void *)(uintptr_t)(body + skip), e->header.size - skip};
            ssize_t n = child_write(&o->child, parts, count);
            if (n < 0)
                return (int)n;
            o->written += (size_t)n;
        }
        entry_release(e);
        o->writing = false;
    }
}

// Called with the lock held. -EPIPE: one of the version before, which would publish where it must
// not.
static int tell_publish(struct outlet *o, size_t report_size)
{
    if (report_size == DELIVER_REPORT_BYTES_MIN)
        return o->publish.mode == PUBLISH_NO ? -EPIPE : 0;
    if (!o->told_publish) {
        o->told_publish = true;
        queue_body(o, DELIVER_PUBLISH, 0, &o->publish, sizeof o->publish);
    }
    return 0;
}

static int take_report(struct outlet *o, int64_t now)
{
    struct deliver_report *report = &o->in_report;
    if (report->turns != o->turns)
        o->turned_ns = now;
    o->turns = report->turns;
    report->error[sizeof report->error - 1] = 0;
    report->alarm[sizeof report->alarm - 1] = 0;
    pthread_mutex_lock(&o->hub->lock);
    o->report = *report;
    int result = tell_publish(o, o->in_header.size);
    pthread_mutex_unlock(&o->hub->lock);
    return result;
}

static int read_child(struct outlet *o, int64_t now)
{
    int result = 0;
    while (!result) {
        size_t head = sizeof o->in_header;
        bool in_head = o->in_bytes < head;
        uint8_t *target = in_head ? (uint8_t *)&o->in_header + o->in_bytes
                                  : (uint8_t *)&o->in_report + (o->in_bytes - head);
        size_t want = in_head ? head - o->in_bytes : head + o->in_header.size - o->in_bytes;
        ssize_t n = read(o->child.fd, target, want);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        if (n == 0)
            return -EPIPE;
        o->in_bytes += (size_t)n;
        if (o->in_bytes == head) {
            o->in_report = (struct deliver_report){0};
            if (deliver_header_check(&o->in_header) || o->in_header.kind != DELIVER_STATE)
                return -EPROTO;
        } else if (o->in_bytes > head && o->in_bytes == head + o->in_header.size) {
            o->in_bytes = 0;
            result = take_report(o, now);
        }
    }
    return result;
}

static void serve_child(struct outlet *o, int64_t now, short events)
{
    int result = events & (POLLIN | POLLHUP | POLLERR) ? read_child(o, now) : 0;
    if (!result && (result = write_child(o)) == -EAGAIN)
        result = 0;
    if (result)
        lose_child(o, now, result == -EPROTO ? "spoke nonsense" : "ended");
    else if (now - o->turned_ns > STILL_NS)
        lose_child(o, now, "hung");
}

// A platform takes one publisher at a time, and two recorders would share a folder.
static bool has_predecessor(const struct outlet *o)
{
    for (const struct outlet *older = o->next; older; older = older->next)
        if (!strcmp(older->label, o->label))
            return true;
    return false;
}

static bool has_programme(struct outlet *o)
{
    pthread_mutex_lock(&o->hub->lock);
    bool has = o->programme_count > 0;
    pthread_mutex_unlock(&o->hub->lock);
    return has;
}

static bool leave_child(struct outlet *o)
{
    pthread_mutex_lock(&o->hub->lock);
    bool leave = is_left(o) && o->child.fd >= 0;
    if (leave)
        child_leave(&o->child);
    pthread_mutex_unlock(&o->hub->lock);
    if (leave && o->writing)
        entry_release(&o->current);
    return leave;
}

// Returns false when the outlet is finished and can be freed.
static bool tend_outlet(struct outlet *o, int64_t now, bool stopping, short events)
{
    if (stopping && !o->stop_ns)
        o->stop_ns = now + FINISH_NS;
    if (stopping && leave_child(o))
        return false;
    if (o->child.fd >= 0)
        serve_child(o, now, events);
    if (stopping && o->child.fd >= 0 && now >= o->stop_ns)
        lose_child(o, now, "did not finish");
    if (o->child.fd >= 0)
        return true;
    // One that cannot be collected keeps its outlet: another would hang beside it.
    if (o->child.pid && !collect_child(o))
        return !o->hub->ending || now < o->stop_ns + COLLECT_NS;
    if (stopping)
        return false;
    if (now >= o->restart_ns && has_programme(o) && !has_predecessor(o))
        start_child(o, now);
    return true;
}

static void outlet_free(struct outlet *o)
{
    queue_clear(o);
    for (int i = 0; i < o->programme_count; i++)
        programme_finish(&o->programmes[i]);
    explicit_bzero(&o->second, sizeof o->second);
    free(o);
}

static void unlink_outlet(struct outlet_hub *hub, struct outlet *o)
{
    pthread_mutex_lock(&hub->lock);
    for (struct outlet **at = &hub->outlets; *at; at = &(*at)->next) {
        if (*at == o) {
            *at = o->next;
            break;
        }
    }
    pthread_mutex_unlock(&hub->lock);
    outlet_free(o);
}

// Fills `polls` and `outlets`; returns how many outlets, or -1 when all is done.
static int collect(struct outlet_hub *hub, struct pollfd *polls, struct outlet **outlets,
                   bool *stopping)
{
    int count = 0;
    pthread_mutex_lock(&hub->lock);
    for (struct outlet *o = hub->outlets; o && count < OUTLETS_MAX; o = o->next) {
        outlets[count] = o;
        stopping[count] = o->stopping = o->stopping || hub->closing;
        short out = o->writing || o->count || (o->stopping && !o->stop_sent) ? POLLOUT : 0;
        polls[1 + count++] = (struct pollfd){.fd = o->child.fd, .events = (short)(POLLIN | out)};
    }
    hub->ending = hub->closing;
    bool done = hub->ending && !count;
    pthread_mutex_unlock(&hub->lock);
    return done ? -1 : count;
}

static void *run(void *opaque)
{
    struct outlet_hub *hub = opaque;
    struct pollfd polls[1 + OUTLETS_MAX];
    struct outlet *outlets[OUTLETS_MAX];
    bool stopping[OUTLETS_MAX];
    int count;
    while ((count = collect(hub, polls, outlets, stopping)) >= 0) {
        polls[0] = (struct pollfd){.fd = hub->wake_fd, .events = POLLIN};
        int ready = poll(polls, (nfds_t)count + 1, 100);
        uint64_t drain;
        if (ready > 0 && polls[0].revents) {
            ssize_t n = read(hub->wake_fd, &drain, sizeof drain);
            (void)n; // only empties the counter
        }
        int64_t now = clock_monotonic_ns();
        for (int i = 0; i < count; i++)
            if (!tend_outlet(outlets[i], now, stopping[i], ready > 0 ? polls[1 + i].revents : 0))
                unlink_outlet(hub, outlets[i]);
    }
    return NULL;
}

int outlet_hub_create(const char *program, const char *folder, struct outlet_hub **ret,
                      struct diagnostic *reterr)
{
    struct outlet_hub *hub = base_alloc(sizeof *hub);
    if (folder)
        child_family(folder, hub->family);
    pthread_mutex_init(&hub->lock, NULL);
    hub->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int result = hub->wake_fd < 0 ? -errno : child_program(program, hub->program);
    if (!result)
        result = thread_start(&hub->thread, "deliver", run, hub);
    if (result) {
        outlet_hub_destroy(&hub);
        return diagnostic_set(reterr, result, "deliver_program", program ? program : "",
                              "the delivery program vistter-deliver cannot be started: %s",
                              strerror(-result));
    }
    hub->running = true;
    *ret = hub;
    return 0;
}

void outlet_hub_leave(struct outlet_hub *hub)
{
    pthread_mutex_lock(&hub->lock);
    hub->leaving = true;
    pthread_mutex_unlock(&hub->lock);
}

void outlet_hub_destroy(struct outlet_hub **hub)
{
    struct outlet_hub *h = *hub;
    if (!h)
        return;
    *hub = NULL;
    pthread_mutex_lock(&h->lock);
    h->closing = true;
    pthread_mutex_unlock(&h->lock);
    if (h->running) {
        hub_wake(h);
        thread_join(h->thread);
    }
    if (h->wake_fd >= 0)
        close(h->wake_fd);
    pthread_mutex_destroy(&h->lock);
    free(h);
}
