// The worker: renders the groups that the plans give it, on credit, and serves their frames.
//
// Thread map
//   main          owns the set of stages; starts and ends them as desired state says; reports;
//                 gives signs of life while all stages move
//   reaper        owns stages that have ended, which main hands over, until they are joined
//   control       (engine/link) receives desired state, hands the newest to main
//   log-server    (engine/live) sends logs of live sources to workers that follow them
//   frame server  (engine/link) listener and one thread per consumer; passes WANTs to stages
//   render-C-G    one per stage: prepares, renders, codes, queues to its consumers' peers
//   link's own    (engine/link) one per provider of what lies beneath a group of ours
//   links-end     (engine/receive) owns released links until their clients are joined
//   decode        one per such group: decodes what comes from beneath for its renderer
//   video decode  one per open video clip, below its stage's renderer
//   link's own    (engine/live) one per live source that is followed: appends to its copy
//   state         (engine/link) writes the remembered state
//   crew          (engine/base) one fewer than processors, at most 7: take rows of large pictures
//                 off the renderer that asks first
//   media fetch   (engine/link) downloads
// Locks: worker.lock guards the list of stages and the link keys; a stage's own lock is taken
// inside it, never the other way round.
#pragma once

#include "engine/base/diagnostic.h"

#include <stdbool.h>
#include <stdint.h>

struct worker_settings {
    const char *name, *coordinators, *cluster_key, *frame_listen, *frame_address, *cache,
        *state_folder, *rtmp_listen;
    int64_t cache_bytes;
    int frame_latency_ms;
    bool srt_only; // frames are shared with nobody on this host
};

struct worker;
int worker_create(const struct worker_settings *settings, struct worker **ret,
                  struct diagnostic *reterr);
// Runs until `stop_fd` becomes readable.
void worker_run(struct worker *worker, int stop_fd);
void worker_destroy(struct worker **worker);
