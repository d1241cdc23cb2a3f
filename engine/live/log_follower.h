// A copy of a live log that another node is home to, kept up by itself over a frame link: calls the
// home's frame server (log_server.h) again and again, and appends the units that come. Who reads
// the folder sees what readers at home see, a little later.
// Thread map: the frame client's thread receives and appends; it has this one link to wait for.
#pragma once

#include "engine/link/frame_message.h"
#include "engine/live/log.h"

struct log_follower;
struct log_follower_config {
    const char *source, *root; // the copy is root/source; `root` exists
    // The link (frame_link.h). Two followers never share one: a second call ends the first.
    const char *address, *consumer, *link_id;
    uint8_t key[LINK_KEY_BYTES];
    int latency_ms; // SRT's: about so much later than at home a unit can be read, between hosts
};
struct log_follower_stats {
    uint64_t seq;                  // of the newest unit; 0: none
    int64_t done_ns[UNIT_STREAMS]; // as live_log_done_ns
    bool connected;
    bool agreed; // the home has said that what is here is what it has too. Before, it may be other
    uint64_t units, bytes; // appended
    uint64_t lost;         // times that units did not arrive, or could not be written
    uint64_t anew;         // times that the copy was other than the log, and began anew
    // Of them: what the copy had, the home's log says otherwise. It went on with another home
    // meanwhile, and who read it up to there (farm time, of the newest) has shown what nobody else
    // did.
    uint64_t forks;
    int64_t fork_ns;
    int error; // of the last attempt to write; 0: it went well
};
// Goes on with what is in the folder. -EBUSY: a gateway still writes there, try again later; others
// as live_log_copy, -EINVAL also for names of sources or links that cannot be.
int log_follower_create(const struct log_follower_config *config, struct log_follower **ret,
                        struct diagnostic *reterr);
// Thread: any.
void log_follower_stats(struct log_follower *follower, struct log_follower_stats *ret);
// Asks it to end, and lets go of the folder: a gateway may go on there. Does not wait: -EAGAIN
// while a unit is being written, then to be called again. Thread: that of create.
int log_follower_stop(struct log_follower *follower);
// Whether a stopped one's thread has ended: it may be looking up the home's name, which takes
// seconds. From then on destroying it does not wait. Thread: any.
bool log_follower_ended(const struct log_follower *follower);
// Stops it, and joins its thread.
void log_follower_destroy(struct log_follower **follower);
