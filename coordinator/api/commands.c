#include "coordinator/api/commands.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int command_take(struct coordinator *coordinator, const char *channel, const json_t *take,
                 struct farm_took *ret, struct diagnostic *reterr)
{
    char *text = json_dumps(take, JSON_COMPACT);
    if (!text)
        return diagnostic_set(reterr, -ENOMEM, "out_of_memory", "", "no memory for a take");
    int error = coordinator_take(coordinator, channel, text, ret, reterr);
    free(text);
    if (!error)
        coordinator_announce_take(coordinator, channel, take, ret);
    return error;
}

static json_t *refused(const struct diagnostic *why)
{
    return json_pack("{s:s, s:s, s:s, s:s}", "type", "refused", "code", why->code, "path",
                     why->path, "detail", why->text);
}

static json_t *answer(struct coordinator *coordinator, json_t *command)
{
    struct diagnostic why = {0};
    struct farm_took took;
    const char *type = json_string_value(json_object_get(command, "type"));
    json_t *channel = json_incref(json_object_get(command, "channel"));
    json_t *ret = NULL;
    if (!type || strcmp(type, "take") != 0) {
        diagnostic_set(&why, -EINVAL, "command", "type", "there is one type of command: \"take\"");
    } else if (!json_is_string(channel)) {
        diagnostic_set(&why, -EINVAL, "command", "channel", "must be the name of a channel");
    } else {
        static const char *const own[] = {"type", "id", "channel"};
        for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
            json_object_del(command, own[i]);
        if (!command_take(coordinator, json_string_value(channel), command, &took, &why))
            ret = json_pack("{s:s, s:I, s:I}", "type", "taken", "sequence",
                            (json_int_t)took.sequence, "at_frame", (json_int_t)took.at_frame);
    }
    json_decref(channel);
    return ret ? ret : refused(&why);
}

char *command_answer(struct coordinator *coordinator, const char *text, size_t size)
{
    struct diagnostic why = {0};
    json_error_t error;
    json_t *command = text ? json_loadb(text, size, JSON_REJECT_DUPLICATES, &error) : NULL, *ret;
    json_t *id = json_incref(json_object_get(command, "id"));
    if (json_is_object(command)) {
        ret = answer(coordinator, command);
    } else {
        diagnostic_set(&why, -EINVAL, "command", "",
                       text ? "a command is a JSON object" : "a command has at most %d bytes",
                       COMMAND_MAX);
        ret = refused(&why);
    }
    if (id)
        json_object_set(ret, "id", id);
    char *bytes = ret ? json_dumps(ret, JSON_COMPACT) : NULL;
    json_decref(ret);
    json_decref(id);
    json_decref(command);
    return bytes;
}
