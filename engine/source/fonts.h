// Font sets: the only fonts that text may use, from files named by content; the host's fonts and
// fontconfig rules are never consulted, so every node breaks lines alike.
// Thread: create once; a set may be used by several renderers, each call locks inside.
#pragma once

#include "engine/base/diagnostic.h"

#include <stddef.h>

struct font_set;
// `paths` are font files. -EINVAL names the file that is not a font.
int font_set_create(const char *const *paths, size_t count, struct font_set **ret,
                    struct diagnostic *reterr);
void font_set_destroy(struct font_set **fonts);
// Whether text in `font` (a Pango description such as "Noto Sans Bold") is set in a family of the
// set; other families are shown by one of the set's. -ENOENT with a diagnostic that lists these.
int font_set_check(struct font_set *fonts, const char *font, struct diagnostic *reterr);
