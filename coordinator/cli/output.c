#include "coordinator/cli/command.h"
#include "coordinator/cli/views.h"

#include <inttypes.h>

static int output_add(const struct command *command, int argc, char **argv)
{
    struct arguments a;
    int status;
    const char *name = NULL;
    int64_t width = 0, height = 0, tracks = 0;
    const struct option table[] = {
        {"name", OPTION_TEXT, "NAME", "what it is called in this channel", &name, 0, 0},
        {"width", OPTION_INTEGER, "PIXELS", "even width (the channel's)", &width, 16, 8192},
        {"height", OPTION_INTEGER, "PIXELS", "even height (the channel's)", &height, 16, 8192},
        {"tracks", OPTION_INTEGER, "N", "only the lowest N tracks, picture and sound (all)",
         &tracks, 1, 64},
        {0},
    };
    if (!arguments_parse(&a, command, argc, argv, table, 1, 1, &status))
        return status;
    const char *const segments[] = {"channels", a.items[0], "outputs", NULL};
    if (!name) {
        status = arguments_refuse(&a, "--name is needed");
    } else {
        json_t *body = json_pack("{s:s}", "name", name);
        if (width)
            json_object_set_new(body, "width", json_integer(width));
        if (height)
            json_object_set_new(body, "height", json_integer(height));
        if (tracks)
            json_object_set_new(body, "tracks", json_integer(tracks));
        status =
            arguments_change(&a, "POST", segments, body, "output %s added to %s", name, a.items[0]);
    }
    arguments_finish(&a);
    return status;
}

static void show_outputs(json_t *answer)
{
    view_outputs(answer, 0, stdout);
}

static int output_list(const struct command *command, int argc, char **argv)
{
    struct arguments a;
    int status;
    if (!arguments_parse(&a, command, argc, argv, NULL, 1, 1, &status))
        return status;
    const char *const segments[] = {"channels", a.items[0], "outputs", NULL};
    status = arguments_show(&a, segments, show_outputs);
    arguments_finish(&a);
    return status;
}

static int output_remove(const struct command *command, int argc, char **argv)
{
    struct arguments a;
    int status;
    if (!arguments_parse(&a, command, argc, argv, NULL, 2, 2, &status))
        return status;
    const char *const segments[] = {"channels", a.items[0], "outputs", a.items[1], NULL};
    status =
        arguments_change(&a, "DELETE", segments, NULL,
                         "output %s and its destinations removed from %s", a.items[1], a.items[0]);
    arguments_finish(&a);
    return status;
}

const struct command output_commands[] = {
    {"output", "add", "CHANNEL --name NAME [--width PIXELS] [--height PIXELS] [--tracks N]",
     "Makes a further picture of a channel's timeline",
     "Beside its programme a channel may have outputs of other sizes, which are rendered on "
     "workers\n"
     "of their own where there are some, and clean feeds, which end below the graphics.",
     output_add},
    {"output", "list", "CHANNEL", "Lists a channel's outputs beside its programme", NULL,
     output_list},
    {"output", "remove", "CHANNEL NAME", "Ends an output and what it is sent to", NULL,
     output_remove},
    {0},
};
