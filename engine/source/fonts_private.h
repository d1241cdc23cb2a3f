// The Pango side of a font set. Private to engine/source.
#pragma once

#include "engine/source/fonts.h"

#include <pango/pangocairo.h>

// Locks the set for layout and drawing; Pango's font maps are not thread-safe.
PangoContext *font_set_lock(struct font_set *fonts);
void font_set_unlock(struct font_set *fonts);
