// The RTMP server of a worker: one nginx for all sources of the kind "rtmp" that it is home to,
// as a child, while there are any. Senders publish to rtmp://HOST/live/KEY; each source's gateway
// pulls rtmp://127.0.0.1:PORT/live/NAME.
//
// nginx has neither keys nor sources in its settings, so that a change of either starts nothing
// anew: it asks through a socket in a private folder whenever somebody comes, and twice a second
// whether who is there may stay (worker/rtmp_door.h). The answers come from the newest plan, so
// senders come and go while no coordinator is up. nginx ends with the worker, however that ends.
// Thread: main.
#pragma once

#include "engine/base/diagnostic.h"
#include "worker/rtmp_door.h"

struct rtmp;
// `listen` is where senders call. The folder is made when it is needed, and emptied afterwards.
// -EINVAL: `listen` is no such address.
int rtmp_create(const char *folder, const char *listen, struct rtmp **ret,
                struct diagnostic *reterr);
// The sources that it takes in from now on; copies what it needs.
void rtmp_follow(struct rtmp *rtmp, const struct door_key *keys, size_t count);
// Starts and ends the server, hears it, answers. Every 100 ms or so; does not wait.
void rtmp_step(struct rtmp *rtmp, int64_t now_ns);
// Whence a gateway pulls.
void rtmp_url(const struct rtmp *rtmp, const char *source, char *ret, size_t size);

struct rtmp_facts {
    const char *listen;
    const char *sender; // whence; "": nobody sends
    uint64_t connections, refusals;
    const char *refused, *refusal; // who was the last time, and why; "": nobody
    const char *error;             // why the server does not run; "": it does
};
// Valid until the next call of anything here.
struct rtmp_facts rtmp_facts(const struct rtmp *rtmp, const char *source);
void rtmp_destroy(struct rtmp **rtmp); // accepts NULL inside
