#include "worker/render/beneath.h"

#include "engine/base/thread.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

// Frames on their way: enough that latency and coding of the link do not slow the stage down.
#define LEAD_FRAMES 16
#define BYTES_MAX   ((size_t)128 << 20)

struct beneath {
    // -- constant after create
    struct links *links;
    struct intake_config config;
    struct link *link[INTAKE_GROUPS_MAX][TAKEOVER_PROVIDERS_MAX];
    bool standby; // of the group above
    void (*arrived)(void *opaque);
    void *opaque;
    // -- the stage's thread
    struct intake *intake; // NULL until a frame is asked for
    struct take_log *live;
};

typedef Vistter__Control__V1__GroupPlan group_plan;

static int acquire(struct beneath *b, const group_plan *group, const char *node,
                   struct diagnostic *reterr)
{
    struct link_target targets[TAKEOVER_PROVIDERS_MAX];
    struct intake_group *to = &b->config.groups[b->config.group_count];
    int count = link_targets(group, node, targets, reterr), error = count < 0 ? count : 0;
    // A standby is asked when others have failed: what it can make itself needs nobody.
    for (int k = 1; b->standby && k < count; k++)
        if (!strcmp(targets[k].node, node)) {
            struct link_target first = targets[0];
            targets[0] = targets[k];
            targets[k] = first;
        }
    for (int k = 0; k < count && !error; k++)
        error = links_acquire(b->links, &targets[k], &b->link[b->config.group_count][k], reterr);
    explicit_bzero(targets, sizeof targets);
    to->group = group->group;
    to->providers = count;
    return error;
}

static void want(void *opaque, int index, int provider, const struct frame_want *wish)
{
    struct beneath *b = opaque;
    link_want(b->link[index][provider], wish);
}

static enum link_life life_of(void *opaque, int index, int provider)
{
    struct beneath *b = opaque;
    return link_life(b->link[index][provider]);
}

static void decoded(void *opaque)
{
    struct beneath *b = opaque;
    b->arrived(b->opaque);
}

int beneath_create(const struct beneath_config *config, struct beneath **ret,
                   struct diagnostic *reterr)
{
    const Vistter__Control__V1__ChannelPlan *p = config->plan;
    size_t first = config->group;
    while (first > 0) {
        first--;
        if (p->groups[first]->from_base || p->groups[first]->needs_beneath)
            break;
    }
    if (config->group - first > INTAKE_GROUPS_MAX || first == config->group)
        return diagnostic_set(reterr, -EINVAL, "plan_beneath", "groups",
                              "there is no opaque group beneath an adjust track");
    struct beneath *b = base_alloc(sizeof *b);
    b->links = config->links;
    b->standby = strcmp(p->groups[config->group]->provider, config->node) != 0;
    b->arrived = config->arrived;
    b->opaque = config->opaque;
    b->config = (struct intake_config){
        .channel = p->channel,
        .plan_epoch = p->plan_epoch,
        .rate = {(int32_t)p->rate_num, (int32_t)p->rate_den},
        .lead_frames = LEAD_FRAMES,
        .bytes_max = BYTES_MAX,
        .latency_ms = links_latency_ms(config->links),
        .want = want,
        .life = life_of,
        .decoded = decoded,
        .opaque = b,
    };
    memcpy(b->config.revision, p->revision.data, sizeof b->config.revision);
    const group_plan *own = p->groups[config->group]; // those beneath have its size
    int width = (int)(own->width ? own->width : p->width);
    int height = (int)(own->height ? own->height : p->height);
    for (size_t i = first; i < config->group; i++) {
        b->config.groups[b->config.group_count].width = width;
        b->config.groups[b->config.group_count].height = height;
        int error = acquire(b, p->groups[i], config->node, reterr);
        b->config.group_count++;
        if (error) {
            beneath_destroy(&b);
            return error;
        }
    }
    *ret = b;
    return 0;
}

void beneath_live(struct beneath *b, const struct take_log *log)
{
    take_log_unref(&b->live);
    b->live = take_log_ref(log);
    if (b->intake)
        intake_live(b->intake, log);
}

static void close_intake(struct beneath *b)
{
    if (b->intake)
        links_remove_intake(b->links, b->intake);
    intake_destroy(&b->intake);
}

void beneath_destroy(struct beneath **beneath)
{
    struct beneath *b = *beneath;
    if (!b)
        return;
    *beneath = NULL;
    close_intake(b);
    for (int i = 0; i < b->config.group_count; i++)
        for (int k = 0; k < TAKEOVER_PROVIDERS_MAX; k++)
            links_release(b->links, &b->link[i][k]);
    take_log_unref(&b->live);
    free(b);
}

const char *beneath_waits_for(const struct beneath *b)
{
    for (int i = 0; i < b->config.group_count; i++) {
        bool connected[TAKEOVER_PROVIDERS_MAX];
        int count = b->config.groups[i].providers;
        for (int k = 0; k < count; k++)
            connected[k] = link_connected(b->link[i][k]);
        int awaited = links_await(connected, count);
        if (awaited >= 0)
            return link_address(b->link[i][awaited]);
    }
    return NULL;
}

// Makes `n` the frame wanted next, and what follows below `end`. A stage that is asked for earlier
// frames again starts anew.
static int seek(struct beneath *b, int64_t n, int64_t end)
{
    if (b->intake && n < intake_cursor(b->intake))
        close_intake(b);
    if (b->intake) {
        intake_set_end(b->intake, end);
        intake_advance(b->intake, n);
        return 0;
    }
    b->config.cursor = n;
    b->config.end = end;
    int error = intake_create(&b->config, &b->intake);
    if (!error)
        intake_live(b->intake, b->live);
    if (!error && (error = links_add_intake(b->links, b->intake)))
        intake_destroy(&b->intake);
    return error;
}

int beneath_picture(struct beneath *b, int64_t n, int64_t end, struct picture **ret)
{
    int error = seek(b, n, end);
    if (error)
        return error;
    if (!intake_ready(b->intake, n))
        return -EAGAIN;
    struct intake_frame frames[INTAKE_GROUPS_MAX];
    const struct group_frame *groups[INTAKE_GROUPS_MAX];
    intake_take(b->intake, n, frames);
    for (int i = 0; i < b->config.group_count; i++)
        groups[i] = frames[i].frame;
    error = group_fold_all(NULL, groups, b->config.group_count, ret);
    intake_release(frames, b->config.group_count);
    assert(error || *ret); // the lowest group is opaque
    return error;
}
