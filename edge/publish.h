// Who may publish to an address that takes one publisher at a time, of two edges that make the same
// output. The leading coordinator says so in its states: for each output who feeds the first
// addresses of its destinations, and who the second ones, with a number that rises at each change.
//
// Who is named holds a lease while the leader hears it: the leader says which report it has heard
// last, and the lease lasts CONTROL_LEASE_NS from when that report was sent. The leader names
// another only when the holder has shown that it knows, or has been silent for longer than that. So
// there are never two leases, whatever is lost, late or stands still.
//
// Without a lease whoever was named goes on: for a channel to go dark is worse than a publisher
// that is refused, and while no leader is heard nobody else can be named. It opens a new connection
// at once only while it reaches the other edge, which would say if it had been named; an edge that
// reaches nobody keeps what it has, and tries again a minute after that has ended.
//
// Pure: no clock, no thread. What was named is remembered with the state, the lease is not.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PUBLISH_GRANTS_MAX 512
#define PUBLISH_SENT_MAX   128
#define PUBLISH_NODE_BYTES 65

// Which of two is the newer: that of the later leader, then the higher number.
struct publish_id {
    uint64_t leader, epoch; // epoch 0: nothing was said
};
// Whether `a` is newer than `b`.
static inline bool publish_newer(struct publish_id a, struct publish_id b)
{
    return a.leader != b.leader ? a.leader > b.leader : a.epoch > b.epoch;
}

enum publish_mode {
    PUBLISH_NO,   // another does, or nobody for the moment: the connection is reset
    PUBLISH_WAIT, // what is connected stays; nothing is opened
    PUBLISH_KEEP, // the same, but a minute after a connection has ended another is opened
    PUBLISH_YES,
};

struct publish_grant {
    uint64_t channel;
    uint32_t output;
    struct publish_id id;
    char holders[2][PUBLISH_NODE_BYTES]; // of the first and of the second addresses; "": nobody
    bool taken[2];                       // the other edge has shown a newer one
};

struct publish {
    const char *node;
    int64_t start_ns;
    bool heard;          // a leader has renewed since the start
    int64_t lease_ns;    // since when it lasts; of grants of leader `leader`
    uint64_t leader;     // 0: nobody has renewed
    uint64_t instance;   // of our reports
    uint64_t told, seen; // leader of the newest state; as publish_sent has seen it
    int64_t seen_ns;     // since then
    struct {
        uint64_t sequence;
        int64_t at_ns;
    } sent[PUBLISH_SENT_MAX]; // by sequence, a ring
    int grant_count;
    struct publish_grant grants[PUBLISH_GRANTS_MAX];
};

struct Vistter__Control__V1__DesiredState;
struct Vistter__Control__V1__Publisher;
// Borrows the name. Zero-initialised before.
void publish_start(struct publish *publish, const char *node, int64_t now_ns);
// What a state that is followed from now on says. What it says nothing of stays as it was.
void publish_take(struct publish *publish,
                  const struct Vistter__Control__V1__DesiredState *message);
// A report is on its way; `at_ns`: before it was sent. Forgets what leaders before have said when
// one that is followed says nothing for long, as an older version does: then plans count.
void publish_sent(struct publish *publish, uint64_t instance, uint64_t sequence, int64_t at_ns);
// The leader has heard such a report; the message is of the state that is followed.
void publish_renew(struct publish *publish, uint64_t leader, uint64_t instance, uint64_t sequence);

// NULL: nothing has been said.
const struct publish_grant *publish_find(const struct publish *publish, uint64_t channel,
                                         uint32_t output);
// Whether this edge holds the lease of an output's first or second addresses.
bool publish_holds(const struct publish *publish, const struct publish_grant *grant, int which,
                   int64_t now_ns);
// What is to be done at such an address. `planned`: by this edge according to the plan, which is
// what counts while nothing was said; `other`: another edge makes the same; `reached`: it is heard.
enum publish_mode publish_mode(const struct publish *publish, const struct publish_grant *grant,
                               int which, bool planned, bool other, bool reached, int64_t now_ns);
// The other edge has a newer grant for these addresses.
void publish_taken(struct publish *publish, uint64_t channel, uint32_t output, int which);
// For a report: fills `ret` and `list` (PUBLISH_GRANTS_MAX); borrows the names.
size_t publish_report(const struct publish *publish, struct Vistter__Control__V1__Publisher *ret,
                      struct Vistter__Control__V1__Publisher **list);
