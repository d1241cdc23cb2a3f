#include "coordinator/cli/command.h"
#include "coordinator/cli/views.h"

#include <string.h>

static void show_nodes(json_t *answer)
{
    view_nodes(answer, 0, stdout);
}

static int node_list(const struct command *command, int argc, char **argv)
{
    static const char *const segments[] = {"nodes", NULL};
    struct arguments a;
    int status;
    if (!arguments_parse(&a, command, argc, argv, NULL, 0, 0, &status))
        return status;
    status = arguments_show(&a, segments, show_nodes);
    arguments_finish(&a);
    return status;
}

static int node_drain(const struct command *command, int argc, char **argv)
{
    struct arguments a;
    int status;
    if (!arguments_parse(&a, command, argc, argv, NULL, 1, 1, &status))
        return status;
    const char *const segments[] = {"nodes", a.items[0], "drain", NULL};
    bool drain = !strcmp(command->name, "drain");
    status = arguments_change(&a, drain ? "PUT" : "DELETE", segments, drain ? json_object() : NULL,
                              drain ? "%s drains: it may be stopped once `vistter node list` says "
                                      "that it is idle"
                                    : "%s may have work again",
                              a.items[0]);
    arguments_finish(&a);
    return status;
}

const struct command node_commands[] = {
    {"node", "list", "", "Lists the workers and edges that the coordinator knows",
     "IN USE is the number of processor cores that the program keeps busy; WORK whether it has "
     "any.",
     node_list},
    {"node", "drain", "NAME", "Gives a node's work to others, and gives it none",
     "So that it may be stopped: a worker without a lost frame; an edge whose addresses the other\n"
     "takes, each with a new connection. It stays so until it is resumed.",
     node_drain},
    {"node", "resume", "NAME", "A node that was drained may have work again", NULL, node_drain},
    {0},
};
