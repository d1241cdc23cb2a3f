#include "coordinator/cli/field.h"

const char *field_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

int64_t field_integer(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

double field_number(const json_t *object, const char *name)
{
    return json_number_value(json_object_get(object, name));
}
