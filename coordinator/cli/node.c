#include "coordinator/cli/command.h"
#include "coordinator/cli/views.h"

static int node_list(const struct command *command, int argc, char **argv)
{
    static const char *const segments[] = {"nodes", NULL};
    struct arguments a;
    struct client_reply reply;
    int status;
    if (!arguments_parse(&a, command, argc, argv, NULL, 0, 0, &status))
        return status;
    status = arguments_call(&a, "GET", segments, NULL, &reply);
    if (!status && a.json)
        print_json(reply.json);
    else if (!status)
        view_nodes(reply.json, 0, stdout);
    client_reply_finish(&reply);
    arguments_finish(&a);
    return status;
}

const struct command node_commands[] = {
    {"node", "list", "", "Lists the workers and edges that the coordinator knows",
     "IN USE is the number of processor cores that the program keeps busy.", node_list},
    {0},
};
