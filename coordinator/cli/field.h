// Fields of the server's JSON; what is missing or of another type reads as nothing.
//
// Thread: any.
#pragma once

#include <jansson.h>
#include <stdint.h>

const char *field_text(const json_t *object, const char *name); // "" without
int64_t field_integer(const json_t *object, const char *name);  // 0 without
double field_number(const json_t *object, const char *name);    // 0 without
