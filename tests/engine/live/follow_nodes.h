// A home and the folder of a copy, made anew for each test of logs that are followed. Included once
// per test.
#pragma once

#include "tests/engine/live/follow_parties.h"
#include "tests/engine/live/made_up.h"
#include "tests/engine/live/same.h"

static struct node node;
static char home[160], copy_root[128],
    copy[160];   // folders of "cam1"'s log, and what the copy is in
static bool srt; // else over a Unix socket

static inline void fresh_nodes(const char *name)
{
    node = (struct node){0};
    snprintf(node.root, sizeof node.root, "%s/%s-%s", folder, name, srt ? "srt" : "unix");
    snprintf(copy_root, sizeof copy_root, "%.100s-copy", node.root);
    CHECK_OK(mkdir(node.root, 0755));
    CHECK_OK(mkdir(copy_root, 0755));
    snprintf(home, sizeof home, "%s/cam1", node.root);
    snprintf(copy, sizeof copy, "%s/cam1", copy_root);
    snprintf(path, sizeof path, "%s", home);
}

static inline struct live_log *create_in(const char *where)
{
    snprintf(path, sizeof path, "%s", where);
    return create(LIVE_LOG_LIMITS);
}

static inline void append_pictures(struct live_log *log, int from, int to)
{
    for (int i = from; i < to; i++)
        CHECK_OK(append_picture(log, i, 25, (size_t)(1 + i * 397 % 20000)));
}
