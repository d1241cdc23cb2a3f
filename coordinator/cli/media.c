#include "engine/media/media.h"

#include "coordinator/cli/command.h"
#include "coordinator/cli/field.h"
#include "coordinator/cli/table.h"
#include "coordinator/cli/upload.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>

static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int import_file(struct arguments *a, const char *path, json_t *all)
{
    char sha256[65];
    struct diagnostic problem;
    bool sent;
    json_t *facts = NULL;
    upload_note(a->json, "reading", path);
    int error = media_hash_file(path, sha256, &problem);
    upload_note(a->json, "", "");
    if (error)
        return complain(&problem);
    struct upload upload = {
        .path = path, .name = name_of(path), .sha256 = sha256, .quiet = a->json};
    error = upload_media(a->client, &upload, &sent, &facts, &problem);
    if (error == -EREMOTEIO && !problem.path[0])
        snprintf(problem.path, sizeof problem.path, "%s", path); // which of several
    if (error)
        return complain(&problem);
    if (a->json) {
        json_array_append_new(all, facts);
        return CLI_OK;
    }
    json_decref(facts);
    print_text(stdout, name_of(path));
    printf("  %s%s\n", sha256, sent ? "" : "  (was there)");
    fflush(stdout);
    return CLI_OK;
}

static int media_import_files(const struct command *command, int argc, char **argv)
{
    struct arguments a;
    int status;
    if (!arguments_parse(&a, command, argc, argv, NULL, 1, INT_MAX, &status))
        return status;
    json_t *all = json_array();
    for (int i = 0; i < a.count && status != CLI_UNREACHABLE; i++) {
        int one = import_file(&a, a.items[i], all);
        status = one ? one : status;
    }
    if (a.json)
        print_json(all);
    json_decref(all);
    arguments_finish(&a);
    return status;
}

// Empty where there is no sound; a file of an older import has not been measured.
static void add_decibels(struct table *table, const json_t *media, const char *field)
{
    const json_t *loudness = json_object_get(media, "loudness");
    const json_t *value = json_object_get(loudness, field);
    if (json_is_number(value))
        table_add(table, "%.1f", json_number_value(value));
    else
        table_add(table, "%s",
                  json_is_object(loudness)               ? "silent"
                  : field_integer(media, "sample_count") ? "unknown"
                                                         : "");
}

static void add_media(struct table *table, const json_t *media)
{
    table_add(table, "%s", field_text(media, "name"));
    table_add(table, "%s", field_text(media, "container"));
    if (field_integer(media, "width"))
        table_add(table, "%" PRId64 "x%" PRId64, field_integer(media, "width"),
                  field_integer(media, "height"));
    else
        table_add(table, "%s", "");
    table_add(table, "%s", field_text(media, "picture_codec"));
    table_add(table, "%s", field_text(media, "sound_codec"));
    add_decibels(table, media, "integrated_lufs");
    add_decibels(table, media, "true_peak_dbtp");
    size_t crashes = json_array_size(json_object_get(media, "crashes"));
    table_add(table, "%s",
              json_is_true(json_object_get(media, "poisoned")) ? "poisoned"
              : crashes                                        ? "suspect"
                                                               : "");
    table_add(table, "%s", field_text(media, "sha256"));
}

static int media_list(const struct command *command, int argc, char **argv)
{
    static const char *const segments[] = {"media", NULL};
    static const char *const titles[] = {"NAME", "CONTAINER", "SIZE",  "PICTURE", "SOUND",
                                         "LUFS", "DBTP",      "STATE", "SHA256"};
    struct arguments a;
    struct client_reply reply;
    int status;
    if (!arguments_parse(&a, command, argc, argv, NULL, 0, 0, &status))
        return status;
    status = arguments_call(&a, "GET", segments, NULL, &reply);
    if (!status && a.json) {
        print_json(reply.json);
    } else if (!status) {
        struct table *table = table_create((int)(sizeof titles / sizeof *titles), titles);
        size_t i;
        const json_t *media;
        json_array_foreach(reply.json, i, media)
        {
            add_media(table, media);
        }
        table_print(table, 0, stdout);
        table_destroy(&table);
    }
    client_reply_finish(&reply);
    arguments_finish(&a);
    return status;
}

// By its name, or by its SHA-256. Fills `ret`; of several of one name, the one that has ended
// workers.
static int find_media(struct arguments *a, const char *name, char ret[65])
{
    static const char *const segments[] = {"media", NULL};
    struct client_reply reply;
    int status = arguments_call(a, "GET", segments, NULL, &reply);
    size_t i;
    const json_t *media;
    ret[0] = 0;
    json_array_foreach(status ? NULL : reply.json, i, media)
    {
        bool named =
            !strcmp(field_text(media, "name"), name) || !strcmp(field_text(media, "sha256"), name);
        if (named && (!ret[0] || json_array_size(json_object_get(media, "crashes"))))
            snprintf(ret, 65, "%s", field_text(media, "sha256"));
    }
    client_reply_finish(&reply);
    return !status && !ret[0] ? arguments_refuse(a, "no file in the store has this name or SHA-256")
                              : status;
}

static int media_clear(const struct command *command, int argc, char **argv)
{
    struct arguments a;
    char sha256[65];
    int status;
    if (!arguments_parse(&a, command, argc, argv, NULL, 1, 1, &status))
        return status;
    status = find_media(&a, a.items[0], sha256);
    const char *const segments[] = {"media", sha256, "crashes", NULL};
    if (!status)
        status =
            arguments_change(&a, "DELETE", segments, NULL, "workers may open %s again", a.items[0]);
    arguments_finish(&a);
    return status;
}

const struct command media_commands[] = {
    {"import", NULL, "FILE...", "Brings media files and fonts into the farm's store",
     "Prints each file's name and the SHA-256 of its bytes, by which timelines name it. What the\n"
     "store has already is not sent again. Warns of files that are damaged or slow to start. With\n"
     "--json: an array of facts, one a file.",
     media_import_files},
    {"media", "list", "", "Lists the media in the farm's store",
     "STATE is \"suspect\" for a file that has ended a worker while it decoded it, \"poisoned\" "
     "after\n"
     "the second: nobody opens it then, its clips show their fallbacks. --json says who and when.\n"
     "LUFS and DBTP are loudness and true peak of the whole sound (EBU R 128), by which a\n"
     "timeline's \"loudness\" levels it; \"unknown\": an older version has imported it, and it\n"
     "stays as it is.",
     media_list},
    {"media", "clear", "NAME|SHA256", "Lets workers open a file again that has ended some of them",
     "For false alarms. A mended file is another one: import it, and put it into the timeline.",
     media_clear},
    {0},
};
