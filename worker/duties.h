// What a worker has to do: its stages and the keys of its links, as the newest desired state has
// them. Pure but for the stages that it starts and ends (render/stage.h); worker.c holds the lock.
//
// Thread: main changes it, under the worker's lock; others read stages and keys under that lock.
#pragma once

#include "worker/render/stage.h"

#define DUTIES_STAGES_MAX 256
#define DUTIES_LINKS_MAX  1024
#define DUTIES_NAME_SIZE  65

struct duties_key {
    char consumer[DUTIES_NAME_SIZE], link_id[DUTIES_NAME_SIZE];
    uint8_t key[LINK_KEY_BYTES];
};

struct duties {
    uint64_t epoch, version; // of the newest state; for main only
    int stage_count, key_count;
    struct stage *stages[DUTIES_STAGES_MAX];
    struct duties_key keys[DUTIES_LINKS_MAX];
};

// Neither older than what it follows already nor the same.
bool duties_news(const struct duties *duties, const Vistter__Control__V1__DesiredState *state);
// Ends what the state does not name, starts what it names, as provider or standby, and tells stages
// what is committed. `stage`: for new ones, `node` this worker; `plan` and `group` are filled in.
// Stages that have been closed go into `ret_ended` (DUTIES_STAGES_MAX), for the caller to destroy;
// returns how many.
int duties_follow(struct duties *duties, const Vistter__Control__V1__DesiredState *state,
                  const struct stage_config *stage, struct stage **ret_ended);
// The key of a link that it serves. False: there is no such link.
bool duties_link_key(const struct duties *duties, const char *consumer, const char *link_id,
                     uint8_t ret_key[LINK_KEY_BYTES]);
