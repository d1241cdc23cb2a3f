// What decoders have ended on (farm.h, "The poison rule").
#include "coordinator/control/farm_private.h"
#include "engine/base/log.h"
#include "engine/base/thread.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct crash *crash_find(struct farm *farm, const char *node, uint64_t id)
{
    for (int i = 0; i < farm->crash_count; i++)
        if (farm->crashes[i].id == id && !strcmp(farm->crashes[i].node, node))
            return &farm->crashes[i];
    return NULL;
}

static bool reports(const farm_report_message *report, uint64_t id)
{
    for (size_t i = 0; i < report->n_crashes; i++)
        if (report->crashes[i]->id == id)
            return true;
    return false;
}

static bool is_content(const char *text)
{
    return strlen(text) == FARM_CONTENT_BYTES - 1 &&
           strspn(text, "0123456789abcdef") == FARM_CONTENT_BYTES - 1;
}

// Poisoned for so long that it stands in all plans: its worker need not remember it.
static bool is_settled(const struct crash *c, int64_t now_ns)
{
    return c->stored && c->verdict == FARM_POISONED && now_ns - c->heard_ns >= FARM_SUSPECT_NS;
}

// What the oldest nodes that are gone have told makes room; where there are none, the oldest that
// is settled, once its worker has heard that it is to forget it.
static bool make_room(struct farm *farm, int64_t now_ns)
{
    struct crash *gone = NULL, *settled = NULL;
    if (farm->crash_count < FARM_CRASHES_MAX)
        return true;
    for (struct crash *c = farm->crashes; c < farm->crashes + farm->crash_count; c++) {
        const struct node *node = farm_node(farm, c->node);
        // What is written before what is not, then the oldest.
        bool first =
            !gone || (c->stored != gone->stored ? c->stored : c->heard_ns < gone->heard_ns);
        if ((!node || !node->alive) && first)
            gone = c;
        if (is_settled(c, now_ns) && (!settled || c->heard_ns < settled->heard_ns))
            settled = c;
    }
    if (gone)
        *gone = farm->crashes[--farm->crash_count];
    else if (settled)
        settled->dropped = true;
    return gone;
}

static void crash_add(struct farm *farm, const char *node,
                      const Vistter__Control__V1__CrashReport *report, int64_t now_ns)
{
    if (!is_content(report->content) || !make_room(farm, now_ns))
        return; // it tells again
    struct crash *c = &farm->crashes[farm->crash_count++];
    *c = (struct crash){
        .id = report->id, .picture = report->picture, .signal = report->signal, .heard_ns = now_ns};
    snprintf(c->node, sizeof c->node, "%s", node);
    snprintf(c->content, sizeof c->content, "%s", report->content);
    log_warning("asset_suspect", "node=%s content=%s picture=%lld signal=%u", node, c->content,
                (long long)c->picture, c->signal);
}

void farm_crashes_take(struct farm *farm, const farm_report_message *report, int64_t now_ns)
{
    for (int i = farm->crash_count - 1; i >= 0; i--)
        if (!strcmp(farm->crashes[i].node, report->node) && !reports(report, farm->crashes[i].id))
            farm->crashes[i] = farm->crashes[--farm->crash_count]; // it has forgotten
    for (size_t i = 0; i < report->n_crashes; i++)
        if (!crash_find(farm, report->node, report->crashes[i]->id))
            crash_add(farm, report->node, report->crashes[i], now_ns);
}

// ---- Verdicts ---------------------------------------------------------------------------------

static void node_tell(struct farm *farm, const char *name)
{
    struct node *node = farm_node(farm, name);
    if (node)
        node->generation = 0;
}

static void judge(struct farm *farm, const char *content, enum farm_verdict verdict)
{
    for (int i = 0; i < farm->crash_count; i++) {
        struct crash *c = &farm->crashes[i];
        if (strcmp(c->content, content) != 0 || c->verdict == FARM_CLEARED)
            continue;
        c->verdict = verdict;
        node_tell(farm, c->node);
    }
}

void farm_crashed(struct farm *farm, const char *node, uint64_t id, int result,
                  enum farm_verdict verdict)
{
    struct crash *c = crash_find(farm, node, id);
    if (!c)
        return;
    c->waits_on_store = false;
    if (result < 0)
        return;
    c->stored = true;
    if (verdict == FARM_POISONED)
        judge(farm, c->content, verdict);
    else
        c->verdict = verdict;
    node_tell(farm, c->node);
}

void farm_clear_asset(struct farm *farm, const char *content)
{
    judge(farm, content, FARM_CLEARED);
}

// Its worker may forget it: it has been called a false alarm, nobody else has ended on it, or plans
// say all there is to say.
static bool may_retry(const struct crash *c, int64_t now_ns)
{
    return c->stored && (c->verdict == FARM_CLEARED || c->dropped ||
                         (c->verdict == FARM_SUSPECT && now_ns - c->heard_ns >= FARM_SUSPECT_NS));
}

size_t farm_retry_list(const struct farm *farm, const char *node, int64_t now_ns, uint64_t *ret)
{
    size_t count = 0;
    for (int i = 0; i < farm->crash_count; i++)
        if (!strcmp(farm->crashes[i].node, node) && may_retry(&farm->crashes[i], now_ns))
            ret[count++] = farm->crashes[i].id;
    return count;
}

void farm_crashes_step(struct farm *farm, int64_t now_ns, const struct farm_outputs *outputs)
{
    for (int i = 0; i < farm->crash_count; i++) {
        struct crash *c = &farm->crashes[i];
        bool lapsed = may_retry(c, now_ns);
        if (lapsed && !c->lapsed)
            node_tell(farm, c->node);
        c->lapsed = lapsed;
        if (c->stored || c->waits_on_store || outputs->fenced || !outputs->crash ||
            now_ns < c->store_ns)
            continue;
        c->waits_on_store = true;
        c->store_ns = now_ns + FARM_STORE_NS;
        struct farm_crash crash = {.id = c->id, .picture = c->picture, .signal = c->signal};
        snprintf(crash.node, sizeof crash.node, "%s", c->node);
        snprintf(crash.content, sizeof crash.content, "%s", c->content);
        outputs->crash(outputs->opaque, &crash);
    }
}

// ---- What it means for channels ---------------------------------------------------------------

bool channel_awaits_word(const struct farm *farm, const struct channel *channel, int64_t now_ns)
{
    const char *name, *address;
    for (int i = 0; channel->current && (name = plan_node(channel->current, i, &address)); i++) {
        const struct node *node = farm_node(farm, name);
        if (node && !node->alive && now_ns - node->report_ns < FARM_WORD_NS &&
            node->report->role == VISTTER__CONTROL__V1__NODE_ROLE__NODE_ROLE_WORKER)
            return true;
    }
    return false;
}
