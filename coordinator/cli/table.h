// Text in aligned columns.
//
// Thread: one.
#pragma once

#include <stdio.h>

struct table;

// One title a column; a title that begins with '>' has its column aligned to the right.
struct table *table_create(int columns, const char *const *titles);
void table_destroy(struct table **table);

// Fills the next cell, from left to right, row after row. An empty text shows as '-'. Control
// characters become '?': what a server sends must not steer a terminal.
void table_add(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));

// Each line begins with `indent` blanks. A table without rows prints nothing.
void table_print(const struct table *table, int indent, FILE *file);
