// Nodes by name and channels by id: every report and every step asks for them.
#include "coordinator/control/farm_private.h"

#include <string.h>

static size_t name_place(const char *name)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325); // FNV-1a
    for (; *name; name++)
        h = (h ^ (uint8_t)*name) * UINT64_C(0x100000001b3);
    return (h ^ h >> 32) % FARM_TABLE_SIZE;
}

static size_t id_place(uint64_t id)
{
    return (id * UINT64_C(0x9e3779b97f4a7c15) >> 40) % FARM_TABLE_SIZE;
}

struct node *farm_node(const struct farm *farm, const char *name)
{
    struct node *node;
    for (size_t i = name_place(name); (node = farm->node_table[i]); i = (i + 1) % FARM_TABLE_SIZE)
        if (!strcmp(node->name, name))
            return node;
    return NULL;
}

void farm_node_enter(struct farm *farm, struct node *node)
{
    size_t i = name_place(node->name);
    while (farm->node_table[i])
        i = (i + 1) % FARM_TABLE_SIZE;
    farm->node_table[i] = node;
}

struct channel *farm_channel_find(const struct farm *farm, uint64_t id)
{
    struct channel *channel;
    for (size_t i = id_place(id); (channel = farm->channel_table[i]); i = (i + 1) % FARM_TABLE_SIZE)
        if (channel->id == id)
            return channel;
    return NULL;
}

void farm_channels_enter(struct farm *farm)
{
    memset(farm->channel_table, 0, sizeof farm->channel_table);
    for (int k = 0; k < farm->channel_count; k++) {
        size_t i = id_place(farm->channels[k]->id);
        while (farm->channel_table[i])
            i = (i + 1) % FARM_TABLE_SIZE;
        farm->channel_table[i] = farm->channels[k];
    }
}
