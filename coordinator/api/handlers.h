// The endpoints, one file a family. Each function answers and returns the status code.
#pragma once

#include "coordinator/api/request.h"

int handle_status(struct request *r);
int handle_nodes(struct request *r);
int handle_channels(struct request *r); // list, create
int handle_channel(struct request *r);  // get, delete
int handle_channel_start(struct request *r);
int handle_channel_stop(struct request *r);
int handle_channel_timeline(struct request *r);
int handle_channel_redundancy(struct request *r);
int handle_channel_edges(struct request *r);
int handle_channel_events(struct request *r);
int handle_channel_takes(struct request *r);
int handle_node_drain(struct request *r);    // put, delete
int handle_channel_slate(struct request *r); // put, delete
int handle_outputs(struct request *r);       // list, add
int handle_output(struct request *r);        // remove
int handle_destinations(struct request *r);  // list, add
int handle_destination(struct request *r);   // remove
int handle_sources(struct request *r);
int handle_source(struct request *r); // get, put, delete
int handle_timelines(struct request *r);
int handle_timeline(struct request *r); // get, put
int handle_timeline_check(struct request *r);
int handle_media_list(struct request *r);
int handle_media(struct request *r);         // get, head, put
int handle_media_crashes(struct request *r); // delete

// Members of a body. False after a refusal has been sent, with its status.
// An optional whole number within bounds; an absent one leaves `value` as it is.
bool take_integer(struct request *r, const json_t *body, const char *name, int64_t min, int64_t max,
                  int64_t *value, int *ret_status);
// A text that must fit `size`; an absent one, where allowed, leaves `value` as it is.
bool take_text(struct request *r, const json_t *body, const char *name, bool required, char *value,
               size_t size, int *ret_status);
// Body {"timeline", "revision"?}: fills timeline, revision and number, checked as nodes will check
// them. 0, or the status of the refusal sent.
int take_revision(struct request *r, struct store_change *ret);
int answer_channel(struct request *r, int status, const char *name);

// A time since 1970 as RFC 3339 has it, in UTC.
json_t *time_json(int64_t ms);
// JSON of the whole state, as GET /status and the WebSocket send it. NULL when out of memory.
json_t *status_json(struct coordinator *coordinator);
// All channels, and one, as JSON from the store and the farm; NULL with a diagnostic.
json_t *channels_json(struct coordinator *coordinator, struct diagnostic *reterr);
json_t *channel_json(struct coordinator *coordinator, const char *name, struct diagnostic *reterr);
// All sources of a view.
json_t *sources_json(const struct coordinator_view *view, const struct farm_snapshot *snapshot);
