// Outlets: the edge's side of its delivery processes.
//
// Each destination, each recording and the preview is a child process `vistter-deliver`, so that a
// platform that stalls or a library that hangs or crashes costs the others nothing. One I/O thread
// feeds all children over sockets that never block. Each outlet has a queue bounded in packets and
// bytes; when it is full everything up to the next key frame is dropped and counted. A child that
// ends, or whose sink makes no progress for ten seconds, is ended and started again, after 0.5 s at
// first and up to 10 s when it keeps failing; never before the process before it is gone, which for
// one that waits for a broken disk may be never. It begins with the GOP under way. A publisher with
// a second source outlives its edge and is adopted by the outlet of the same label when the edge is
// back. Of outlets with the same label the oldest runs.
//
// Thread: all functions any; none blocks, except outlet_hub_destroy.
#pragma once

#include "edge/deliver/message.h"
#include "engine/base/diagnostic.h"

struct outlet_hub;
// `program`: path of vistter-deliver; NULL: beside the running program. `folder`: the edge's own,
// by which it finds the publishers that have outlived it; NULL: it looks for none.
int outlet_hub_create(const char *program, const char *folder, struct outlet_hub **ret,
                      struct diagnostic *reterr);
// Before everything is destroyed because the edge ends: nothing more is pushed, and publishers that
// have a second source are left to themselves instead of stopped.
void outlet_hub_leave(struct outlet_hub *hub);
// Stops all outlets, waits up to five seconds for their children to finish, then ends them.
void outlet_hub_destroy(struct outlet_hub **hub);

struct outlet;
// `label` names the outlet in the log and the child's process title: "rtmp-3". Never a secret.
struct outlet *outlet_create(struct outlet_hub *hub, const char *label);
// The child is told to finish; it has five seconds, without anybody waiting.
void outlet_destroy(struct outlet **outlet);
// Adds a programme, or replaces what is known of it; kept for children started later.
void outlet_set_programme(struct outlet *outlet, const struct deliver_setup *setup);
void outlet_clear_programme(struct outlet *outlet, uint64_t programme);
// Where the destination's process finds the same packets when this edge fails (splice.h). Kept for
// children started later.
void outlet_set_second(struct outlet *outlet, const struct deliver_second *second);
// Whether the destination's process may connect. Kept for children started later; before the first
// call it may.
void outlet_set_publish(struct outlet *outlet, const struct deliver_publish *publish);
// While paused it takes no packets, and lets go of those that wait; that counts nowhere. Each
// programme goes on with a key frame, and what comes before that counts as dropped.
void outlet_pause(struct outlet *outlet, bool paused);
// Borrowed packet; a reference is queued. Never blocks.
void outlet_push(struct outlet *outlet, uint64_t programme, const struct packet *packet);

// `dropped` counts packets on both sides, `reconnects` the child's own and new children.
void outlet_report(struct outlet *outlet, struct deliver_report *ret);
int outlet_child(struct outlet *outlet); // process id of the child, 0 when there is none
