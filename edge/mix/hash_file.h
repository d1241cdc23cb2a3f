// Writes one line per frame of the final mix: "<frame> <picture checksum> <sound checksum>\n", the
// checksums in 16 hex digits. A thread of its own computes and writes; when it cannot keep up
// frames are left out and counted, the mix never waits. Thread: hash_file_push one; the rest any.
#pragma once

#include "edge/mix/programme.h"
#include "engine/base/diagnostic.h"

struct hash_file;
int hash_file_create(const char *path, struct hash_file **ret,
                     struct diagnostic *reterr); // appends
void hash_file_destroy(struct hash_file **file); // writes what is queued
void hash_file_push(struct hash_file *file, const struct programme_frame *frame);
uint64_t hash_file_dropped(struct hash_file *file);
