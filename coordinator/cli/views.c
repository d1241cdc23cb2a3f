#include "coordinator/cli/views.h"

#include "coordinator/cli/command.h"
#include "coordinator/cli/field.h"
#include "coordinator/cli/table.h"

#include <inttypes.h>
#include <string.h>

#define COLUMNS(titles) (int)(sizeof(titles) / sizeof *(titles)), titles

static void show(struct table *table, int indent, FILE *file)
{
    table_print(table, indent, file);
    table_destroy(&table);
}

static void add_mebibytes(struct table *table, int64_t bytes)
{
    table_add(table, "%.1f MiB", (double)bytes / 1048576);
}

void view_coordinators(const json_t *coordinators, int indent, FILE *file)
{
    static const char *const titles[] = {"COORDINATOR", "STATE", "API", "VERSION"};
    struct table *table = table_create(COLUMNS(titles));
    size_t i;
    const json_t *one;
    json_array_foreach(coordinators, i, one)
    {
        table_add(table, "%s", field_text(one, "name"));
        table_add(table, "%s", field_text(one, "state"));
        table_add(table, "%s", field_text(one, "api_url"));
        table_add(table, "%s", field_text(one, "version"));
    }
    show(table, indent, file);
}

void view_nodes(const json_t *nodes, int indent, FILE *file)
{
    static const char *const titles[] = {"NODE",         "ROLE",      "STATE",  "WORK",
                                         ">UNPROTECTED", ">SEEN AGO", ">CORES", ">IN USE",
                                         ">MEMORY",      "VERSION"};
    struct table *table = table_create(COLUMNS(titles));
    size_t i;
    const json_t *node;
    json_array_foreach(nodes, i, node)
    {
        table_add(table, "%s", field_text(node, "name"));
        table_add(table, "%s", field_text(node, "role"));
        table_add(table, "%s", field_text(node, "state"));
        bool busy = json_array_size(json_object_get(node, "stages")) > 0;
        bool drains = json_is_true(json_object_get(node, "draining"));
        bool up = !strcmp(field_text(node, "state"), "up");
        const char *given_up = field_text(node, "overload");
        table_add(table, "%s%s%s%s",
                  !up    ? "-"
                  : busy ? "busy"
                         : "idle",
                  drains ? ", draining" : "", *given_up ? ", gives up " : "", given_up);
        table_add(table, "%" PRId64, field_integer(node, "unprotected"));
        table_add(table, "%.1f s", field_number(node, "age_ms") / 1000);
        table_add(table, "%" PRId64, field_integer(node, "cores"));
        table_add(table, "%.2f", field_number(node, "cpu_load"));
        add_mebibytes(table, field_integer(node, "memory_bytes"));
        table_add(table, "%s", field_text(node, "version"));
    }
    show(table, indent, file);
}

static void add_revision(struct table *table, const json_t *channel)
{
    const json_t *revision = json_object_get(channel, "revision");
    if (json_is_object(revision))
        table_add(table, "%s@%" PRId64, field_text(channel, "timeline"),
                  field_integer(revision, "number"));
    else
        table_add(table, "%s", field_text(channel, "timeline"));
}

void view_channels(const json_t *channels, int indent, FILE *file)
{
    static const char *const titles[] = {"CHANNEL",  "FORMAT",  "STATE", "TIMELINE",
                                         ">FRAME",   ">FRAMES", ">LATE", ">CONCEALED",
                                         ">SKIPPED", ">SLACK",  "NOTE"};
    struct table *table = table_create(COLUMNS(titles));
    size_t i;
    const json_t *channel;
    json_array_foreach(channels, i, channel)
    {
        const json_t *counters = json_object_get(channel, "counters");
        table_add(table, "%s", field_text(channel, "name"));
        table_add(table, "%" PRId64 "x%" PRId64 " %s", field_integer(channel, "width"),
                  field_integer(channel, "height"), field_text(channel, "rate"));
        table_add(table, "%s", field_text(channel, "state"));
        add_revision(table, channel);
        table_add(table, "%" PRId64, field_integer(counters, "cursor"));
        table_add(table, "%" PRId64, field_integer(counters, "frames"));
        table_add(table, "%" PRId64, field_integer(counters, "late"));
        table_add(table, "%" PRId64, field_integer(counters, "concealed"));
        table_add(table, "%" PRId64, field_integer(counters, "skipped"));
        table_add(table, "%" PRId64, field_integer(counters, "slack_frames"));
        const char *text = field_text(channel, "text");
        bool without = json_is_true(json_object_get(channel, "without_optional"));
        table_add(table, "%s%s%s", without ? "without optional tracks" : "",
                  without && *text ? ", " : "", text);
    }
    show(table, indent, file);
}

static void add_channel_name(struct table *table, const json_t *channels, int64_t id)
{
    size_t i;
    const json_t *channel;
    json_array_foreach(channels, i, channel)
    {
        if (field_integer(channel, "id") == id) {
            table_add(table, "%s", field_text(channel, "name"));
            return;
        }
    }
    table_add(table, "%" PRId64, id);
}

void view_stages(const json_t *nodes, const json_t *channels, int indent, FILE *file)
{
    static const char *const titles[] = {"CHANNEL", ">GROUP", "STAGE",  "NODE",
                                         ">MEDIAN", ">P99",   ">FRAME", ">SENT"};
    struct table *table = table_create(COLUMNS(titles));
    size_t i, k;
    const json_t *node, *stage;
    json_array_foreach(nodes, i, node)
    {
        json_array_foreach(json_object_get(node, "stages"), k, stage)
        {
            add_channel_name(table, channels, field_integer(stage, "channel"));
            table_add(table, "%" PRId64, field_integer(stage, "group"));
            table_add(table, "%s", field_text(stage, "kind"));
            table_add(table, "%s", field_text(node, "name"));
            table_add(table, "%.2f ms", field_number(stage, "median_ms"));
            table_add(table, "%.2f ms", field_number(stage, "p99_ms"));
            table_add(table, "%" PRId64, field_integer(stage, "frame"));
            add_mebibytes(table, field_integer(stage, "bytes"));
        }
    }
    show(table, indent, file);
}

void view_alarms(const json_t *nodes, const json_t *channels, int indent, FILE *file)
{
    static const char *const titles[] = {"NODE", "CHANNEL", "ALARM", ">COUNT", "TEXT"};
    struct table *table = table_create(COLUMNS(titles));
    size_t i, k;
    const json_t *node, *alarm;
    json_array_foreach(nodes, i, node)
    {
        json_array_foreach(json_object_get(node, "alarms"), k, alarm)
        {
            int64_t channel = field_integer(alarm, "channel");
            table_add(table, "%s", field_text(node, "name"));
            if (channel)
                add_channel_name(table, channels, channel);
            else
                table_add(table, "%s", "");
            table_add(table, "%s", field_text(alarm, "code"));
            table_add(table, "%" PRId64, field_integer(alarm, "count"));
            table_add(table, "%s", field_text(alarm, "text"));
        }
    }
    show(table, indent, file);
}

// One of a destination's two ways.
static void add_delivery(struct table *table, const json_t *channel, const json_t *destination,
                         const json_t *delivery, const char *which)
{
    table_add(table, "%s", field_text(channel, "name"));
    table_add(table, "%s%s", field_text(destination, "name"), which);
    table_add(table, "%s", field_text(destination, "kind"));
    table_add(table, "%s", field_text(delivery, "state"));
    add_mebibytes(table, field_integer(delivery, "bytes"));
    table_add(table, "%" PRId64, field_integer(delivery, "dropped"));
    table_add(table, "%" PRId64, field_integer(delivery, "reconnects"));
    table_add(table, "%s", field_text(delivery, "url"));
    table_add(table, "%s", field_text(delivery, "error"));
}

void view_destinations(const json_t *channels, int indent, FILE *file)
{
    static const char *const titles[] = {"CHANNEL",  "DESTINATION", "KIND",    "STATE", ">SENT",
                                         ">DROPPED", ">RECONNECTS", "ADDRESS", "ERROR"};
    struct table *table = table_create(COLUMNS(titles));
    size_t i, k;
    const json_t *channel, *destination;
    json_array_foreach(channels, i, channel)
    {
        json_array_foreach(json_object_get(channel, "destinations"), k, destination)
        {
            const json_t *backup = json_object_get(destination, "backup");
            add_delivery(table, channel, destination, destination, "");
            if (*field_text(backup, "url") || strcmp(field_text(backup, "state"), "stopped"))
                add_delivery(table, channel, destination, backup, " (backup)");
        }
    }
    show(table, indent, file);
}

void view_outputs(const json_t *outputs, int indent, FILE *file)
{
    static const char *const titles[] = {"OUTPUT", "FORMAT", "TRACKS", "EDGE", "BACKUP EDGE"};
    struct table *table = table_create(COLUMNS(titles));
    size_t i;
    const json_t *output;
    json_array_foreach(outputs, i, output)
    {
        int64_t tracks = field_integer(output, "tracks");
        table_add(table, "%s", field_text(output, "name"));
        table_add(table, "%" PRId64 "x%" PRId64, field_integer(output, "width"),
                  field_integer(output, "height"));
        if (tracks)
            table_add(table, "lowest %" PRId64, tracks);
        else
            table_add(table, "%s", "all");
        table_add(table, "%s", field_text(output, "edge"));
        table_add(table, "%s", field_text(output, "backup_edge"));
    }
    show(table, indent, file);
}

static bool has(const json_t *object, const char *name)
{
    return json_is_true(json_object_get(object, name));
}

void view_sources(const json_t *sources, int indent, FILE *file)
{
    static const char *const titles[] = {"SOURCE",   "STATE",      "INPUT",  "LISTENS AT", "CALLS",
                                         ">LATENCY", "PASSPHRASE", "WORKER", "TAKEN IN BY"};
    struct table *table = table_create(COLUMNS(titles));
    size_t i;
    const json_t *source;
    json_array_foreach(sources, i, source)
    {
        const json_t *input = json_object_get(source, "input");
        const char *url = field_text(input, "url"), *listen = field_text(input, "listen");
        int64_t latency_ms = field_integer(input, "latency_ms");
        const json_t *status = json_object_get(source, "status");
        table_add(table, "%s", field_text(source, "name"));
        table_add(table, "%s", field_text(status, "state"));
        table_add(table, "%s", json_is_object(input) ? field_text(input, "kind") : "unreadable");
        table_add(table, "%s",
                  *listen ? listen : field_text(json_object_get(status, "rtmp"), "listen"));
        table_add(table, "%s", *url ? url : field_text(input, "address"));
        if (latency_ms)
            table_add(table, "%" PRId64 " ms", latency_ms);
        else
            table_add(table, "%s", "");
        table_add(table, "%s", has(input, "has_passphrase") ? "yes" : "no");
        table_add(table, "%s", field_text(source, "worker"));
        table_add(table, "%s", field_text(source, "home"));
    }
    show(table, indent, file);
}

// "a, b (not ready)"
static const char *standbys_text(const json_t *standbys, char *ret, size_t size)
{
    size_t i, length = 0;
    const json_t *standby;
    ret[0] = 0;
    json_array_foreach(standbys, i, standby)
    {
        bool ready = json_is_true(json_object_get(standby, "ready"));
        int r = snprintf(ret + length, size - length, "%s%s%s", i ? ", " : "",
                         field_text(standby, "worker"), ready ? "" : " (not ready)");
        length += r > 0 ? (size_t)r : 0;
        length = length < size ? length : size - 1;
    }
    return ret;
}

static void view_groups(const json_t *channel, int indent, FILE *file)
{
    char standbys[256];
    static const char *const titles[] = {">GROUP",   "FORMAT", "TRACKS",    "WORKER", "ALIVE",
                                         "STANDBYS", "ACTIVE", ">TAKEOVER", ">SLACK", "PROTECTED"};
    struct table *table = table_create(COLUMNS(titles));
    size_t i;
    const json_t *group;
    json_array_foreach(json_object_get(channel, "groups"), i, group)
    {
        table_add(table, "%" PRId64, field_integer(group, "group"));
        table_add(table, "%" PRId64 "x%" PRId64, field_integer(group, "width"),
                  field_integer(group, "height"));
        table_add(table, "%" PRId64 "..%" PRId64, field_integer(group, "track_from"),
                  field_integer(group, "track_to"));
        table_add(table, "%s", field_text(group, "provider"));
        table_add(table, "%s", json_is_true(json_object_get(group, "alive")) ? "yes" : "no");
        table_add(table, "%s",
                  standbys_text(json_object_get(group, "standbys"), standbys, sizeof standbys));
        table_add(table, "%s", field_text(group, "active"));
        table_add(table, "%" PRId64 " ms", field_integer(group, "takeover_ms"));
        table_add(table, "%" PRId64 " ms", field_integer(group, "slack_ms"));
        bool protected = json_is_true(json_object_get(group, "protected"));
        table_add(table, "%s%s", protected ? "yes" : "no: ", field_text(group, "unprotected"));
    }
    show(table, indent, file);
}

static void view_line(const char *name, const char *text, FILE *file)
{
    if (!*text)
        return;
    fprintf(file, "  %s ", name);
    print_text(file, text);
    fputc('\n', file);
}

// What each live track shows, and what else it could.
static void view_live(const json_t *tracks, FILE *file)
{
    size_t i, k;
    const json_t *track, *clip;
    json_array_foreach(tracks, i, track)
    {
        const char *shown = field_text(track, "clip");
        fputs("  live track ", file);
        print_text(file, field_text(track, "track"));
        fputs(*shown ? " shows " : " shows nothing", file);
        print_text(file, shown);
        json_array_foreach(json_object_get(track, "clips"), k, clip)
        {
            fputs(k ? ", " : "; clips: ", file);
            print_text(file, json_string_value(clip));
        }
        fputc('\n', file);
    }
}

// Where encoders send it to. Its worker says the port, once it takes it in.
void view_rtmp(const json_t *source, FILE *file)
{
    const json_t *rtmp = json_object_get(json_object_get(source, "status"), "rtmp");
    const char *port = strrchr(field_text(rtmp, "listen"), ':');
    char url[128];
    snprintf(url, sizeof url, "rtmp://HOST%s/live", port ? port : ":PORT");
    view_line("encoders send to", url, file);
}

static void view_source_status(const json_t *source, FILE *file)
{
    const json_t *status = json_object_get(source, "status"), *video, *sound, *srt, *rtmp,
                 *follower;
    size_t i;
    view_line("error", field_text(source, "error"), file);
    view_line("status", field_text(status, "text"), file);
    if ((video = json_object_get(status, "video")))
        fprintf(file, "  video %s, %" PRId64 "x%" PRId64 ", %.2f a second\n",
                field_text(video, "codec"), field_integer(video, "width"),
                field_integer(video, "height"), field_number(video, "rate"));
    if ((sound = json_object_get(status, "sound")))
        fprintf(file, "  sound %s, %" PRId64 " Hz, %" PRId64 " channels\n",
                field_text(sound, "codec"), field_integer(sound, "rate"),
                field_integer(sound, "channels"));
    if ((srt = json_object_get(status, "srt"))) {
        fprintf(file,
                "  srt round trip %.1f ms, of %" PRId64 " packets %" PRId64 " lost, %" PRId64
                " not mended\n",
                field_number(srt, "rtt_ms"), field_integer(srt, "received"),
                field_integer(srt, "lost"), field_integer(srt, "dropped"));
        view_line("refused last, since", field_text(srt, "refusal"), file);
    }
    if ((rtmp = json_object_get(status, "rtmp"))) {
        view_line("sent from", field_text(rtmp, "sender"), file);
        char refusal[256];
        snprintf(refusal, sizeof refusal, "%s: %s", field_text(rtmp, "refused"),
                 field_text(rtmp, "refusal"));
        if (*field_text(rtmp, "refusal"))
            view_line("refused last", refusal, file);
    }
    json_array_foreach(json_object_get(source, "followers"), i, follower)
        fprintf(file, "  copied by %s%s%s\n", field_text(follower, "worker"),
                *field_text(follower, "error") ? ": " : "", field_text(follower, "error"));
}

void view_source(json_t *source, FILE *file)
{
    const json_t *input = json_object_get(source, "input");
    json_t *one = json_pack("[O]", source);
    view_sources(one, 0, file);
    json_decref(one);
    if (!json_is_object(input))
        fputs("  its input does not open with the coordinator's secret key, or a newer version has "
              "saved it: save it again\n",
              file);
    if (!strcmp(field_text(input, "kind"), "srt-listen")) {
        const char *listen = field_text(input, "listen"), *port = strrchr(listen, ':');
        const char *user = field_text(input, "user");
        char url[512];
        snprintf(url, sizeof url, "srt://HOST%s?streamid=#!::r=%s,m=publish%s%s%s",
                 port ? port : "", field_text(input, "resource"), *user ? ",u=" : "", user,
                 has(input, "has_passphrase") ? "&passphrase=..." : "");
        view_line("senders call", url, file);
    }
    if (!strcmp(field_text(input, "kind"), "rtmp"))
        view_rtmp(source, file);
    view_source_status(source, file);
    view_line("saved", field_text(source, "changed_at"), file);
}

void view_channel(json_t *channel, FILE *file)
{
    const json_t *counters = json_object_get(channel, "counters");
    json_t *one = json_pack("[O]", channel);
    view_channels(one, 0, file);
    view_line("edge", field_text(channel, "edge"), file);
    view_line("backup edge", field_text(channel, "backup_edge"), file);
    view_line("preview", field_text(channel, "preview_url"), file);
    if (field_integer(counters, "frames"))
        fprintf(file, "  mix %.2f ms median, %.2f ms p99\n",
                field_number(counters, "mix_median_ms"), field_number(counters, "mix_p99_ms"));
    view_line("redundancy", field_text(channel, "redundancy"), file);
    const json_t *purity = json_object_get(channel, "purity");
    if (field_integer(purity, "sampled"))
        fprintf(file, "  %" PRId64 " frames made twice and compared, %" PRId64 " differed\n",
                field_integer(purity, "sampled"), field_integer(purity, "mismatched"));
    if (field_integer(purity, "copies"))
        fprintf(file, "  %" PRId64 " frames came twice under this plan\n",
                field_integer(purity, "copies"));
    const json_t *gops = json_object_get(channel, "gops");
    if (field_integer(gops, "compared"))
        fprintf(file,
                "  %" PRId64 " GOPs of both edges compared, %" PRId64 " differed, %" PRId64
                " of them as the ledger explains\n",
                field_integer(gops, "compared"),
                field_integer(gops, "mismatched") + field_integer(gops, "explained"),
                field_integer(gops, "explained"));
    const json_t *slate = json_object_get(channel, "slate");
    if (json_is_object(slate))
        view_line("slate", field_text(slate, "timeline"), file);
    if (json_array_size(json_object_get(channel, "outputs")))
        view_outputs(json_object_get(channel, "outputs"), 2, file);
    view_live(json_object_get(channel, "live"), file);
    view_groups(channel, 2, file);
    view_destinations(one, 2, file);
    json_decref(one);
}
