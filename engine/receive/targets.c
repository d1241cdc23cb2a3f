// Where a plan says that a group is fetched. Pure.
#include "engine/receive/links.h"
#include "proto/control.pb-c.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef Vistter__Control__V1__LinkPlan link_message;

static int refuse(struct diagnostic *reterr, const char *path, const char *text)
{
    return diagnostic_set(reterr, -EINVAL, "plan_invalid", path, "%s", text);
}

static int target_set(struct link_target *ret, const char *node, const char *address,
                      const link_message *link, struct diagnostic *reterr)
{
    if (!*address || strlen(address) >= sizeof ret->address)
        return refuse(reterr, "groups.provider_address", "a provider's address is missing");
    snprintf(ret->node, sizeof ret->node, "%s", node);
    snprintf(ret->address, sizeof ret->address, "%s", address);
    snprintf(ret->link_id, sizeof ret->link_id, "%s", link->link_id);
    memcpy(ret->key, link->key.data, LINK_KEY_BYTES);
    return 0;
}

int link_targets(const Vistter__Control__V1__GroupPlan *group, const char *node,
                 struct link_target *ret, struct diagnostic *reterr)
{
    const link_message *link = NULL;
    for (size_t i = 0; i < group->n_links && !link; i++)
        if (!strcmp(group->links[i]->consumer, node))
            link = group->links[i];
    if (!link)
        return diagnostic_set(reterr, -EINVAL, "plan_invalid", "groups.links",
                              "group %" PRIu32 " has no link to %s", group->group, node);
    if (link->key.len != LINK_KEY_BYTES)
        return refuse(reterr, "groups.links.key", "a link key has 32 bytes");
    if (strlen(link->link_id) >= sizeof ret->link_id)
        return refuse(reterr, "groups.links.link_id", "the link id is too long");
    int count = 0;
    int error = target_set(&ret[count++], group->provider, group->provider_address, link, reterr);
    for (size_t i = 0; i < group->n_standbys && count < TAKEOVER_PROVIDERS_MAX && !error; i++)
        error = target_set(&ret[count++], group->standbys[i]->node, group->standbys[i]->address,
                           link, reterr);
    return error ? error : count;
}

int links_await(const bool connected[], int count)
{
    bool any = count <= 1;
    for (int i = 1; i < count; i++)
        any = any || connected[i];
    return !connected[0] ? 0 : any ? -1 : 1;
}
