#include "coordinator/cli/command.h"
#include "coordinator/cli/field.h"
#include "coordinator/cli/views.h"

static void begin_part(const char *title, const json_t *items)
{
    printf("\n%s%s\n", title, json_array_size(items) ? "" : ": none");
}

static size_t count_parts(const json_t *owners, const char *part)
{
    size_t sum = 0, i;
    const json_t *owner;
    json_array_foreach(owners, i, owner)
    {
        sum += json_array_size(json_object_get(owner, part));
    }
    return sum;
}

static void show_status(json_t *state)
{
    const json_t *nodes = json_object_get(state, "nodes");
    const json_t *channels = json_object_get(state, "channels");
    fputs("database ", stdout);
    print_text(stdout, field_text(state, "database"));
    fputs(", version ", stdout);
    print_text(stdout, field_text(state, "version"));
    fputc('\n', stdout);
    begin_part("Coordinators", json_object_get(state, "coordinators"));
    view_coordinators(json_object_get(state, "coordinators"), 2, stdout);
    begin_part("Nodes", nodes);
    view_nodes(nodes, 2, stdout);
    begin_part("Channels", channels);
    view_channels(channels, 2, stdout);
    if (json_array_size(json_object_get(state, "sources")))
        puts("\nSources");
    view_sources(json_object_get(state, "sources"), 2, stdout);
    if (count_parts(nodes, "stages"))
        puts("\nStages, time per frame");
    view_stages(nodes, channels, 2, stdout);
    if (count_parts(channels, "destinations"))
        puts("\nDestinations");
    view_destinations(channels, 2, stdout);
    if (count_parts(nodes, "alarms"))
        puts("\nAlarms");
    view_alarms(nodes, channels, 2, stdout);
}

static int status_show(const struct command *command, int argc, char **argv)
{
    static const char *const segments[] = {"status", NULL};
    struct arguments a;
    int status;
    if (!arguments_parse(&a, command, argc, argv, NULL, 0, 0, &status))
        return status;
    status = arguments_show(&a, segments, show_status);
    arguments_finish(&a);
    return status;
}

const struct command status_commands[] = {
    {"status", NULL, "",
     "Shows coordinators, nodes, channels, sources, what each stage costs, destinations and alarms",
     NULL, status_show},
    {0},
};
