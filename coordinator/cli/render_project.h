// What `vistter render` works on: a timeline file and the local files it names, imported into a
// cache folder so that they have the same parts (index, 48 kHz sound) as in the farm, and so that
// no file is decoded here that has not been through an import. A file that cannot be imported
// resolves to the import's problem: its clips show their fallback. Thread: one.
#pragma once

#include "engine/source/source.h"

struct render_project;
// `cache`: folder for imported media, made if missing. Relative "file:" URIs are relative to the
// timeline's folder. `on_import` (may be NULL) is told which file is being imported and how far,
// `on_warning` of each file that cannot be imported, or that is damaged, once.
int render_project_open(const char *path, const char *cache,
                        void (*on_import)(const char *file, int permille),
                        void (*on_warning)(const struct diagnostic *warning),
                        struct render_project **ret, struct diagnostic *reterr);
void render_project_close(struct render_project **project);
// Its optional tracks are not shown. Before the timeline is used.
void render_project_leave_optional(struct render_project *project);
const struct timeline *render_project_timeline(const struct render_project *project);
struct asset_resolver render_project_resolver(struct render_project *project);
