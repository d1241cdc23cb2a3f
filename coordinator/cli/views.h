// How parts of the coordinator's state look as text; shared by `status` and the commands that show
// one part alone. Each prints nothing when there is nothing to show.
//
// Thread: one.
#pragma once

#include <jansson.h>
#include <stdio.h>

void view_coordinators(const json_t *coordinators, int indent, FILE *file);
void view_nodes(const json_t *nodes, int indent, FILE *file);
void view_channels(const json_t *channels, int indent, FILE *file);
// One line a stage: median and 99th percentile of the milliseconds a frame took. Channels that are
// not in `channels` show as their number.
void view_stages(const json_t *nodes, const json_t *channels, int indent, FILE *file);
void view_alarms(const json_t *nodes, const json_t *channels, int indent, FILE *file);
void view_outputs(const json_t *outputs, int indent, FILE *file);
void view_destinations(const json_t *channels, int indent, FILE *file);
void view_sources(const json_t *sources, int indent, FILE *file);
// One source, and how to call it where it listens.
void view_source(json_t *source, FILE *file);
// Where encoders send a source of the kind "rtmp" to.
void view_rtmp(const json_t *source, FILE *file);
// One channel with all its parts.
void view_channel(json_t *channel, FILE *file);
