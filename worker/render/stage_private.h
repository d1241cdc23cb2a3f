// A stage from the inside: shared by what serves its consumers and all else. Private to stage.c and
// stage_*.c; threads and locks as stated at the fields.
#pragma once

#include "engine/base/cost.h"
#include "engine/base/diagnostic.h"
#include "engine/base/liveness.h"
#include "engine/base/overload.h"
#include "engine/base/rate.h"
#include "worker/render/beneath.h"
#include "worker/render/coder.h"
#include "worker/render/consumers.h"
#include "worker/render/ring.h"
#include "worker/render/stage.h"

#include <pthread.h>

struct poisoned {
    char content[72], name[128];
    int64_t picture;
    bool hung;
};

struct stage {
    // -- constant after create
    uint64_t channel;
    uint32_t plan_epoch, group;
    int width, height, track_from, track_to;
    bool base;
    struct beneath *beneath;   // NULL: nothing beneath is needed
    struct diagnostic refused; // code not empty: why the plan cannot be done
    struct rate rate;
    uint8_t revision[32];
    struct media_cache *cache;
    struct stage_times *times;
    size_t poisoned_count;
    struct poisoned *poisoned;
    bool without_optional;          // the plan shows no optional tracks
    bool third;                     // whom takers ask last: it opens nothing before
    int64_t warm_frame, warm_local; // where the plan will probably take effect
    char *live_folder;              // NULL: none
    int64_t epoch_ns;
    pthread_t thread;
    bool started; // else it is refused
    struct cost render_cost, code_cost;
    // -- guarded by lock
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool closing, committed, woken; // woken: something to look at, since last looked
    bool busy;                      // not waiting
    uint64_t turns;                 // how often it has looked
    int64_t start_frame;            // channel frame of the timeline's frame 0; known once committed
    struct take_log *told;          // the newest that stage_live has been given
    struct consumers consumers;
    struct stage_status status;
    // -- whoever calls stage_hung
    struct liveness mark;
    // -- stage thread
    struct prepared *prepared;
    struct renderer *renderer;
    struct take_log *log; // what is in the ring is made of; changed with the lock held
    struct takes *live;
    struct ring ring;
    struct coder *coder;
    int32_t *sound;
    bool waits_beneath;    // the last try had to wait for another worker
    bool waits_log;        // or for the log of a live source
    int64_t log_waited_ns; // when it last did
    int64_t log_wait_ns;   // since when; 0: it does not wait
    bool log_told;         // that it has been long
    bool uncertain;        // the last frame may be another elsewhere
    int64_t position;      // where the renderer was last
    int64_t followed_ns;   // when it last was where it has to be
    int64_t copied_ns;     // when it last had no spare copies to leave out
};

// Called with the lock held.
void stage_wake(struct stage *stage);
// Called with the lock held. Does not wait when something has come since `woken` was cleared. Stage
// thread.
void stage_wait(struct stage *s, int64_t timeout_ns);
// The following: stage thread, without the lock.
void stage_set_lacks(struct stage *s, const char text[512]);
// What the frame under way lacks of a log; NULL: nothing. When that has lasted, it is told.
void stage_note_log(struct stage *s, const struct diagnostic *lacks);
// What cameras see where the plan takes effect is not known yet; that their logs are here can be,
// and is waited for. -EAGAIN: closing.
int stage_await_logs(struct stage *s);
// Sends what is here and asked for. Returns whether a peer's queue was full, so that the caller
// comes back soon. Stage thread, with the lock held.
bool stage_serve(struct stage *stage);
// Takes up what stage_live was told, from the first frame on that this changes. Whether there was
// anything. Stage thread, with the lock held, which is let go meanwhile.
bool stage_take_live(struct stage *stage);
// The frame to render next, or -1: what somebody may have and has not got, up to the highest credit
// of those. Stage thread, with the lock held.
int64_t stage_next(struct stage *stage, int64_t *ret_credit);
