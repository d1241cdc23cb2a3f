#include "worker/rtmp_door.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

// The server asks twice a second; a sender that it does not name any more is gone.
#define GONE_NS INT64_C(3000000000)

static void set_key(char *target, const char *key)
{
    memset(target, 0, DOOR_KEY_MAX + 1);
    memcpy(target, key, strnlen(key, DOOR_KEY_MAX));
}

static struct door_source *find(struct door *d, const char *name)
{
    for (int i = 0; i < d->source_count; i++)
        if (!strcmp(d->sources[i].name, name))
            return &d->sources[i];
    return NULL;
}

const struct door_source *door_find(const struct door *d, const char *name)
{
    return find((struct door *)(uintptr_t)d, name);
}

void door_follow(struct door *d, const struct door_key *keys, size_t count)
{
    for (int i = 0; i < d->source_count; i++)
        d->sources[i].kept = false;
    for (size_t i = 0; i < count; i++) {
        struct door_source *s = find(d, keys[i].source);
        if (!s && d->source_count == DOOR_SOURCES_MAX)
            continue; // SOURCES_MAX is no more
        if (!s) {
            s = &d->sources[d->source_count++];
            *s = (struct door_source){0};
            snprintf(s->name, sizeof s->name, "%s", keys[i].source);
        } else if (strcmp(s->key, keys[i].key) != 0) {
            memcpy(s->old_key, s->key, sizeof s->old_key);
        }
        set_key(s->key, keys[i].key);
        s->kept = true;
    }
    int kept = 0;
    for (int i = 0; i < d->source_count; i++)
        if (d->sources[i].kept)
            d->sources[kept++] = d->sources[i];
    explicit_bzero(&d->sources[kept], (size_t)(d->source_count - kept) * sizeof d->sources[0]);
    d->source_count = kept;
}

void door_reset(struct door *d)
{
    for (int i = 0; i < d->source_count; i++)
        d->sources[i].client = d->sources[i].heir = 0;
    d->player_count = 0;
}

// All are looked at, each whole: how long it takes tells nothing about a key.
static struct door_source *find_key(struct door *d, const char *given, bool old)
{
    char key[DOOR_KEY_MAX + 1];
    struct door_source *found = NULL;
    set_key(key, given);
    for (int i = 0; i < d->source_count; i++) {
        struct door_source *s = &d->sources[i];
        const char *own = old ? s->old_key : s->key;
        if (!CRYPTO_memcmp(own, key, sizeof key) && *own)
            found = s;
    }
    explicit_bzero(key, sizeof key);
    return found;
}

// Whose sender that is, or will be.
static struct door_source *source_of(struct door *d, uint64_t client)
{
    for (int i = 0; i < d->source_count; i++)
        if (d->sources[i].client == client || d->sources[i].heir == client)
            return &d->sources[i];
    return NULL;
}

void door_expire(struct door *d, int64_t now_ns)
{
    for (int i = 0; i < d->source_count; i++)
        if (now_ns - d->sources[i].seen_ns > GONE_NS)
            d->sources[i].client = 0;
}

static int player_index(const struct door *d, uint64_t client)
{
    int i = 0;
    while (i < d->player_count && d->players[i] != client)
        i++;
    return i < d->player_count ? i : -1;
}

static void note_refusal(struct door_refusal *r, const char *address, const char *why,
                         int64_t now_ns)
{
    r->count++;
    r->why = why;
    snprintf(r->address, sizeof r->address, "%s", address);
    r->at_ns = now_ns;
}

static enum door_answer publish(struct door *d, const struct door_call *call, bool again,
                                int64_t now_ns, const struct door_source **ret_source)
{
    struct door_source *s = find_key(d, call->name, false), *before;
    if (!s) {
        before = find_key(d, call->name, true);
        note_refusal(before ? &before->refusal : &d->refusal, call->address,
                     before ? "the key is an old one" : "no source has this key", now_ns);
        return DOOR_NO;
    }
    // One connection is one sender, or looks on.
    if ((!again && source_of(d, call->client)) || player_index(d, call->client) >= 0)
        return DOOR_NO;
    if (again && s->heir != call->client)
        return DOOR_NO; // yet another has come, or this one has gone
    if (s->client) {
        if (!again && strcmp(s->address, call->address) != 0)
            note_refusal(&s->refusal, s->address, "another sender took its place", now_ns);
        s->heir = call->client;
        return DOOR_LATER;
    }
    s->client = call->client;
    s->heir = 0;
    s->seen_ns = now_ns;
    s->connections++;
    memcpy(s->address, call->address, sizeof s->address);
    *ret_source = s;
    return DOOR_YES;
}

static enum door_answer play(struct door *d, const struct door_call *call)
{
    bool local = !strcmp(call->address, "127.0.0.1") || !strcmp(call->address, "::ffff:127.0.0.1");
    if (!local || source_of(d, call->client) ||
        d->player_count == (int)(sizeof d->players / sizeof d->players[0]))
        return DOOR_NO;
    if (player_index(d, call->client) < 0)
        d->players[d->player_count++] = call->client;
    return DOOR_YES;
}

// Who plays has no key, but was let in as one who plays. The server asks about a sender that waits,
// too.
static enum door_answer update(struct door *d, const struct door_call *call, int64_t now_ns)
{
    if (player_index(d, call->client) >= 0)
        return DOOR_YES;
    struct door_source *s = source_of(d, call->client);
    if (!s || find_key(d, call->name, false) != s || (s->heir && s->heir != call->client))
        return DOOR_NO;
    if (s->client == call->client)
        s->seen_ns = now_ns;
    return DOOR_YES;
}

enum door_answer door_ask(struct door *d, const struct door_call *call, bool again, int64_t now_ns,
                          const struct door_source **ret_source)
{
    *ret_source = NULL;
    if (!call->client)
        return DOOR_NO;
    struct door_source *s;
    int player;
    switch (call->hook) {
    case DOOR_PUBLISH:
        return publish(d, call, again, now_ns, ret_source);
    case DOOR_PLAY:
        return play(d, call);
    case DOOR_UPDATE:
        return update(d, call, now_ns);
    case DOOR_PUBLISH_DONE:
        if ((s = source_of(d, call->client)))
            *(s->client == call->client ? &s->client : &s->heir) = 0;
        return DOOR_YES;
    case DOOR_PLAY_DONE:
        if ((player = player_index(d, call->client)) >= 0)
            d->players[player] = d->players[--d->player_count];
        return DOOR_YES;
    }
    return DOOR_NO;
}
