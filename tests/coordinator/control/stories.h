// What stories of the farm's step logic ask of the simulated farm. Included once per test.
#pragma once

#include "engine/link/control_link.h"
#include "tests/coordinator/control/simulation.h"

#include <errno.h>

#define SECOND INT64_C(1000000000)

static struct sim sim;

static inline enum farm_channel_state state_of(uint64_t channel, char *ret_text, size_t size)
{
    struct farm_snapshot *s = farm_snapshot_create(sim.farm, sim.now);
    enum farm_channel_state state = FARM_CHANNEL_STOPPED;
    for (int i = 0; i < s->channel_count; i++) {
        if (s->channels[i].channel != channel)
            continue;
        state = s->channels[i].state;
        if (ret_text)
            snprintf(ret_text, size, "%s", s->channels[i].text);
    }
    farm_snapshot_destroy(&s);
    return state;
}

static inline uint64_t proposed(void)
{
    struct farm_snapshot *s = farm_snapshot_create(sim.farm, sim.now);
    uint64_t count = s->plans_proposed;
    farm_snapshot_destroy(&s);
    return count;
}

// Whether the newest row of a channel names a node as provider or edge, or else as standby.
static inline bool newest_part(int channel, const char *name, bool standby)
{
    bool has = false;
    for (int i = 0; i < sim.row_count; i++) {
        if (sim.rows[i].channel != (uint64_t)channel + 1)
            continue;
        channel_plan_message *plan =
            vistter__control__v1__channel_plan__unpack(NULL, sim.rows[i].size, sim.rows[i].bytes);
        has = !standby && !strcmp(plan->outputs[0]->edge, name);
        for (size_t g = 0; g < plan->n_groups; g++) {
            const Vistter__Control__V1__GroupPlan *group = plan->groups[g];
            has |= !standby && !strcmp(group->provider, name);
            for (size_t k = 0; standby && k < group->n_standbys; k++)
                has |= !strcmp(group->standbys[k]->node, name);
        }
        vistter__control__v1__channel_plan__free_unpacked(plan, NULL);
    }
    return has;
}

static inline bool newest_uses(int channel, const char *name)
{
    return newest_part(channel, name, false);
}

static inline bool newest_has(int channel, const char *name)
{
    return newest_part(channel, name, false) || newest_part(channel, name, true);
}

static inline int used_worker(int channel)
{
    for (int i = 0; i < SIM_EDGE; i++)
        if (newest_uses(channel, sim.nodes[i].name))
            return i;
    return -1;
}

// Runs stories; the seed is the program's only argument.
static inline int run_stories(int argc, char **argv, void (*const *stories)(uint64_t seed))
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : UINT64_C(0x2545f4914f6cdd1d);
    fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
    for (int i = 0; stories[i]; i++)
        stories[i](seed);
    fprintf(stderr, "%d checks in the simulation, %d failed\n", sim_checks(), sim_failures());
    return check_end() == EXIT_SUCCESS && sim_failures() == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
