// A node's desired state on disk: sealed, in two generations, written by a thread of its own, so
// that the node goes on with it after a restart when no coordinator answers.
//
// A file is the packed message in the control link's envelope, under a key of its own that is
// derived from the cluster's (HKDF-SHA256). The tag is its checksum: a torn or changed file, or one
// of another node, does not open, and the generation before it is there. It holds stream keys and
// link keys, so whoever takes the disk without the cluster's key has none of them.
//
//   "<folder>/<node>.state", "<folder>/<node>.state.previous"
//
// Thread: one, besides the writer inside.
#pragma once

#include "engine/link/control_link.h"

#define STATE_FILE_GENERATIONS 2

struct state_file;
// Makes `folder` (mode 0700) and what is above it. The errors name it.
int state_file_create(const char *folder, const char *node,
                      const uint8_t cluster_key[CLUSTER_KEY_BYTES], struct state_file **ret,
                      struct diagnostic *reterr);
void state_file_destroy(struct state_file **file); // when what is waiting has been written
// Copies the message; the writer takes the newest. Never waits for the disk.
void state_file_write(struct state_file *file, const uint8_t *bytes, size_t size);
int state_file_error(struct state_file *file); // of the newest attempt to write: 0 or negative
// `generation` 0 is the newest. Gives bytes that the caller frees. -ENOENT, -EBADMSG when it does
// not open, or another negative errno. Before the first write.
int state_file_read(struct state_file *file, int generation, uint8_t **ret, size_t *ret_size);
// Gives what was remembered to `take`, the newest first, until it takes one (0). -ENOENT: nothing
// is there; otherwise the last error. (state_resume.c)
int state_file_resume(struct state_file *file,
                      int (*take)(void *opaque, const uint8_t *bytes, size_t size), void *opaque);
