// The simulated farm from the inside: shared by its store, network and clock, and by its nodes.
// Private to simulation.c and simulation_nodes.c.
#pragma once

#include "tests/coordinator/control/simulation.h"

bool chance(struct sim *sim, int per_mille);
// A message on its way to (`up`: from) a node; it is copied.
void packet_add(struct sim *sim, int node, bool up, const uint8_t *bytes, size_t size);
const struct sim_row *row_find(const struct sim *sim, uint64_t channel, uint32_t epoch);
// Whether the plan names the node there.
bool makes_output(const Vistter__Control__V1__OutputPlan *output, const char *node);
bool gives_group(const Vistter__Control__V1__GroupPlan *group, const char *node);
// Node `index` takes what it is told, and says how far it is.
void state_take(struct sim *sim, int index, const farm_state_message *state);
void node_report(struct sim *sim, int index);
