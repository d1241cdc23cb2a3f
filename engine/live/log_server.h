// Live logs for other nodes, at their home: sends what stands in a folder of logs to the followers
// (log_follower.h) that call this node's frame server, and each new unit as soon as it is written.
//
// A follower says which unit it has last. Where the log has the same one, it gets what follows it;
// else, also where that has been removed already, it is told to begin anew and gets all that there
// is. Of what it has not confirmed no more than LOG_WINDOW_BYTES and a unit is on its way.
// Thread map: one thread, "log-server", which reads and sends; calls only leave it a note.
#pragma once

#include "engine/link/frame_link.h"

#define LOG_WINDOW_BYTES (4 << 20)

struct log_server;
// `root`: folder of logs, each in a folder with its source's name; it may come later.
int log_server_create(const char *root, struct log_server **ret, struct diagnostic *reterr);
// For the frame server's on_log_want and on_gone. Never block; peers that follow nothing are let
// pass. Thread: any.
void log_server_want(struct log_server *server, struct frame_peer *peer,
                     const struct frame_log_want *want);
void log_server_gone(struct log_server *server, struct frame_peer *peer);
int log_server_followers(struct log_server *server); // how many there are. Thread: any
// After the frame server has been destroyed. Accepts NULL inside.
void log_server_destroy(struct log_server **server);
