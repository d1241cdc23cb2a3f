#include "coordinator/cli/command.h"
#include "coordinator/cli/views.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define REVISION_MAX INT64_C(1000000000)

static int channel_create(const struct command *command, int argc, char **argv)
{
    struct arguments a;
    int status;
    int64_t width = 0, height = 0, edges = 0;
    const char *rate = NULL, *redundancy = NULL;
    const struct option table[] = {
        {"width", OPTION_INTEGER, "PIXELS", "even width of the picture (1280)", &width, 16, 8192},
        {"height", OPTION_INTEGER, "PIXELS", "even height of the picture (720)", &height, 16, 8192},
        {"edges", OPTION_INTEGER, "N", "how many edges make it, 1 or 2 (2)", &edges, 1, 2},
        {"redundancy", OPTION_TEXT, "CLASS", "none, cold, warm or hot standbys (warm)", &redundancy,
         0, 0},
        {"rate", OPTION_TEXT, "RATE", "frames a second: 25, 29.97, 60000/1001 (30)", &rate, 0, 0},
        {0},
    };
    if (!arguments_parse(&a, command, argc, argv, table, 1, 1, &status))
        return status;
    const char *const segments[] = {"channels", NULL};
    json_t *body =
        json_pack("{s:s, s:s*, s:s*}", "name", a.items[0], "rate", rate, "redundancy", redundancy);
    if (width)
        json_object_set_new(body, "width", json_integer(width));
    if (height)
        json_object_set_new(body, "height", json_integer(height));
    if (edges)
        json_object_set_new(body, "edges", json_integer(edges));
    status = arguments_change(&a, "POST", segments, body, "channel %s created", a.items[0]);
    arguments_finish(&a);
    return status;
}

// `start` and `update` say alike which timeline a channel shows.
static int put_timeline(const struct command *command, int argc, char **argv, const char *method,
                        const char *leaf, const char *done)
{
    struct arguments a;
    int status;
    int64_t revision = 0;
    const struct option table[] = {
        {"revision", OPTION_INTEGER, "N", "an older revision than the newest", &revision, 1,
         REVISION_MAX},
        {0},
    };
    if (!arguments_parse(&a, command, argc, argv, table, 2, 2, &status))
        return status;
    const char *const segments[] = {"channels", a.items[0], leaf, NULL};
    json_t *body = json_pack("{s:s}", "timeline", a.items[1]);
    if (revision)
        json_object_set_new(body, "revision", json_integer(revision));
    status = arguments_change(&a, method, segments, body, "channel %s %s timeline %s", a.items[0],
                              done, a.items[1]);
    arguments_finish(&a);
    return status;
}

static int channel_start(const struct command *command, int argc, char **argv)
{
    return put_timeline(command, argc, argv, "POST", "start", "starts with");
}

static int channel_update(const struct command *command, int argc, char **argv)
{
    return put_timeline(command, argc, argv, "PUT", "timeline", "changes to");
}

static int channel_slate(const struct command *command, int argc, char **argv)
{
    struct arguments a;
    int status;
    bool none = false;
    const struct option table[] = {
        {"none", OPTION_SWITCH, NULL, "black and silence again", &none, 0, 0},
        {0},
    };
    if (!arguments_parse(&a, command, argc, argv, table, 1, 2, &status))
        return status;
    const char *const segments[] = {"channels", a.items[0], "slate", NULL};
    if (none == (a.count == 2))
        status = arguments_refuse(&a, "give either a timeline or --none");
    else if (none)
        status = arguments_change(&a, "DELETE", segments, NULL, "channel %s has no slate any more",
                                  a.items[0]);
    else
        status = arguments_change(&a, "PUT", segments, json_pack("{s:s}", "timeline", a.items[1]),
                                  "channel %s has the slate %s", a.items[0], a.items[1]);
    arguments_finish(&a);
    return status;
}

static int channel_redundancy(const struct command *command, int argc, char **argv)
{
    struct arguments a;
    int status;
    if (!arguments_parse(&a, command, argc, argv, NULL, 2, 2, &status))
        return status;
    const char *const segments[] = {"channels", a.items[0], "redundancy", NULL};
    status = arguments_change(&a, "PUT", segments, json_pack("{s:s}", "redundancy", a.items[1]),
                              "channel %s has redundancy %s", a.items[0], a.items[1]);
    arguments_finish(&a);
    return status;
}

static int channel_edges(const struct command *command, int argc, char **argv)
{
    struct arguments a;
    int status;
    if (!arguments_parse(&a, command, argc, argv, NULL, 2, 2, &status))
        return status;
    const char *const segments[] = {"channels", a.items[0], "edges", NULL};
    bool two = !strcmp(a.items[1], "2");
    if (!two && strcmp(a.items[1], "1"))
        status = arguments_refuse(&a, "one or two edges make a channel, not '%s'", a.items[1]);
    else
        status = arguments_change(&a, "PUT", segments, json_pack("{s:i}", "edges", two ? 2 : 1),
                                  "channel %s is made by %s", a.items[0],
                                  two ? "two edges, where there are two" : "one edge");
    arguments_finish(&a);
    return status;
}

// --transition: a kind, or the JSON of a transition as timelines have it. NULL: it is neither.
static json_t *take_transition(const char *text, int64_t frames)
{
    if (*text == '{')
        return json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    return json_pack("{s:s, s:I}", "kind", text, "duration", (json_int_t)frames);
}

static int channel_take(const struct command *command, int argc, char **argv)
{
    struct arguments a;
    struct client_reply reply;
    int status;
    int64_t frames = 25;
    const char *transition = NULL;
    bool manual = false;
    const struct option table[] = {
        {"transition", OPTION_TEXT, "KIND",
         "dissolve, add, dip, slide, push or zoom, or {\"kind\": ...} as in a timeline (a cut)",
         &transition, 0, 0},
        {"frames", OPTION_INTEGER, "N", "how long the transition takes (25)", &frames, 0, 100000},
        {"manual", OPTION_SWITCH, NULL, "the transition goes by `channel fade`", &manual, 0, 0},
        {0},
    };
    if (!arguments_parse(&a, command, argc, argv, table, 2, 3, &status))
        return status;
    const char *const segments[] = {"channels", a.items[0], "takes", NULL};
    json_t *how = transition ? take_transition(transition, frames) : NULL;
    json_t *body = json_pack("{s:s, s:s?, s:o*}", "track", a.items[1], "clip",
                             a.count > 2 ? a.items[2] : NULL, "transition", how);
    if (manual)
        json_object_set_new(body, "manual", json_true());
    if (!body || (transition && !how)) {
        status = arguments_refuse(&a, transition && !how ? "--transition is not valid JSON"
                                                         : "an argument is not valid UTF-8");
    } else if (!(status = arguments_call(&a, "POST", segments, body, &reply))) {
        if (a.json)
            print_json(reply.json);
        else
            printf("%s: %s from frame %" JSON_INTEGER_FORMAT " on\n", a.items[1],
                   a.count > 2 ? a.items[2] : "nothing",
                   json_integer_value(json_object_get(reply.json, "at_frame")));
        client_reply_finish(&reply);
    } else {
        client_reply_finish(&reply);
    }
    json_decref(body);
    arguments_finish(&a);
    return status;
}

static int channel_fade(const struct command *command, int argc, char **argv)
{
    struct arguments a;
    int status;
    if (!arguments_parse(&a, command, argc, argv, NULL, 3, 3, &status))
        return status;
    const char *const segments[] = {"channels", a.items[0], "takes", NULL};
    char *end;
    double fader = strtod(a.items[2], &end);
    if (end == a.items[2] || *end)
        status = arguments_refuse(&a, "the fader stands at 0 to 1, not at '%s'", a.items[2]);
    else
        status = arguments_change(&a, "POST", segments,
                                  json_pack("{s:s, s:f}", "track", a.items[1], "fader", fader),
                                  "%s: fader at %s", a.items[1], a.items[2]);
    arguments_finish(&a);
    return status;
}

static int channel_stop(const struct command *command, int argc, char **argv)
{
    struct arguments a;
    int status;
    if (!arguments_parse(&a, command, argc, argv, NULL, 1, 1, &status))
        return status;
    const char *const segments[] = {"channels", a.items[0], "stop", NULL};
    status = arguments_change(&a, "POST", segments, json_object(), "channel %s stops", a.items[0]);
    arguments_finish(&a);
    return status;
}

static int channel_delete(const struct command *command, int argc, char **argv)
{
    struct arguments a;
    int status;
    if (!arguments_parse(&a, command, argc, argv, NULL, 1, 1, &status))
        return status;
    const char *const segments[] = {"channels", a.items[0], NULL};
    status = arguments_change(&a, "DELETE", segments, NULL, "channel %s deleted", a.items[0]);
    arguments_finish(&a);
    return status;
}

static void show_channel(json_t *answer)
{
    view_channel(answer, stdout);
}

static int channel_status(const struct command *command, int argc, char **argv)
{
    struct arguments a;
    int status;
    if (!arguments_parse(&a, command, argc, argv, NULL, 1, 1, &status))
        return status;
    const char *const segments[] = {"channels", a.items[0], NULL};
    status = arguments_show(&a, segments, show_channel);
    arguments_finish(&a);
    return status;
}

static void show_channels(json_t *answer)
{
    view_channels(answer, 0, stdout);
}

static int channel_list(const struct command *command, int argc, char **argv)
{
    static const char *const segments[] = {"channels", NULL};
    struct arguments a;
    int status;
    if (!arguments_parse(&a, command, argc, argv, NULL, 0, 0, &status))
        return status;
    status = arguments_show(&a, segments, show_channels);
    arguments_finish(&a);
    return status;
}

const struct command channel_commands[] = {
    {"channel", "create",
     "NAME [--width PIXELS] [--height PIXELS] [--rate RATE] [--edges N] [--redundancy CLASS]",
     "Makes a channel, which stays off air until it is started", NULL, channel_create},
    {"channel", "start", "NAME TIMELINE [--revision N]", "Puts a channel on air with a timeline",
     NULL, channel_start},
    {"channel", "update", "NAME TIMELINE [--revision N]",
     "Changes what a channel on air shows, at the next frame at which all nodes are ready", NULL,
     channel_update},
    {"channel", "slate", "NAME TIMELINE | NAME --none",
     "Says what to show when the programme is missing",
     "The slate is a timeline: its first picture is shown, and its sound is heard, again and "
     "again,\n"
     "when the bottom of the programme's picture has been missing for half a second.",
     channel_slate},
    {"channel", "edges", "NAME 1|2", "Says how many edges make a channel",
     "With two, which is what a channel begins with, either may die: each feeds one of a\n"
     "platform's two addresses, and both record.",
     channel_edges},
    {"channel", "redundancy", "NAME none|cold|warm|hot",
     "Says what stands by for a channel's workers",
     "warm, which is what a channel begins with: for each group of layers another worker keeps "
     "its\n"
     "decoders near what is on air, and is there within half a second of being asked. cold: it "
     "opens\n"
     "its files when it is asked, which costs nothing until then. hot: it makes every frame too, "
     "and "
     "the\n"
     "edge takes the copy that comes first. none: nobody stands by.",
     channel_redundancy},
    {"channel", "take", "NAME TRACK [CLIP] [--transition KIND] [--frames N] [--manual]",
     "Puts a clip of a live track on air, or takes off what is there",
     "Live tracks are those that the timeline marks so; `channel status` shows their clips. The "
     "clip\n"
     "stands until the next take of its track. Without CLIP nothing does, and what lies beneath is "
     "seen.",
     channel_take},
    {"channel", "fade", "NAME TRACK POSITION", "Moves the fader of a transition by hand, 0 to 1",
     "Of one that `channel take --manual` has begun. It is over at 1.", channel_fade},
    {"channel", "stop", "NAME", "Takes a channel off air", NULL, channel_stop},
    {"channel", "status", "NAME", "Shows one channel with its groups and destinations", NULL,
     channel_status},
    {"channel", "list", "", "Lists the channels", NULL, channel_list},
    {"channel", "delete", "NAME", "Deletes a channel that is off air", NULL, channel_delete},
    {0},
};
