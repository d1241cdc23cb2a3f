// Recordings of two edges, with what may have happened to them, merged. What has to come out is
// what a third recorder, which nothing happened to, has: packet by packet, with its time, as ffmpeg
// lists them.
//
// Arguments: the paths of vistter-deliver and vistter.
#include "coordinator/cli/recording_source.h"
#include "tests/edge/delivery.h"

#include <jansson.h>
#include <signal.h>

#define GOP 60

static const char *vistter;

// ---- Recording ---------------------------------------------------------------------------------

static int index_of_gop(int gop)
{
    int at = key_after(0);
    while (gop--)
        at = key_after(at + 1);
    return at;
}

// Gives packets [from, to) as fast as they are taken, and waits until all are written.
static void record(struct outlet *o, int from, int to)
{
    struct deliver_report report;
    outlet_report(o, &report);
    uint64_t expected = report.bytes;
    for (int i = from; i < to; i++) {
        expected += packets[i]->size;
        outlet_push(o, 7, packets[i]);
    }
    wait_bytes(o, expected);
}

static struct outlet *open_recorder(struct outlet_hub *hub, const char *sub, int segment_seconds)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, sub);
    setup.segment_seconds = segment_seconds;
    struct outlet *o = open_outlet(hub, DELIVER_KIND_RECORDING, sub, path);
    wait_state(o, DELIVER_CONNECTING);
    return o;
}

static void wait_for(const char *condition)
{
    for (int i = 0; i < 500 && shell("%s", condition); i++)
        clock_sleep_until_ns(clock_monotonic_ns() + 20000000);
    CHECK_OK(shell("%s", condition));
}

// The whole programme, in one file that nothing happens to.
static void record_whole(struct outlet_hub *hub)
{
    struct outlet *o = open_recorder(hub, "whole", 900);
    record(o, 0, packet_count);
    outlet_destroy(&o);
    wait_for("ls whole/*.sha256 >/dev/null 2>&1");
}

// Edge A: killed in the middle of GOP 2, back with GOP 4.
static void record_a(struct outlet_hub *hub, int torn)
{
    struct outlet *o = open_recorder(hub, "a", 900);
    record(o, 0, torn);
    kill(outlet_child(o), SIGKILL);
    wait_for("ls a/*.recovered.mkv >/dev/null 2>&1");
    wait_state(o, DELIVER_CONNECTING);
    record(o, index_of_gop(4), packet_count);
    outlet_destroy(&o);
    wait_for("[ $(ls a/*.sha256 2>/dev/null | wc -l) = 2 ]");
}

// Edge B: begins with GOP 1, in segments of two GOPs; killed in the middle of GOP 5, and stays so.
static void record_b(struct outlet_hub *hub)
{
    struct outlet *o = open_recorder(hub, "b", 4);
    record(o, index_of_gop(1), index_of_gop(5) + 60);
    wait_for("[ $(ls b/*.sha256 2>/dev/null | wc -l) = 2 ]");
    kill(outlet_child(o), SIGKILL);
    outlet_destroy(&o);
    CHECK_OK(shell("[ $(ls b/*.mkv b/*.part | wc -l) = 3 ]"));
}

// ---- Merging -----------------------------------------------------------------------------------

// Lists each packet's time and checksum, by stream.
static void list_packets(const char *file, const char *list)
{
    CHECK_OK(shell("ffmpeg -v error -copyts -i %s -map 0 -c copy -f framehash - | awk -F', *' "
                   "'/^[01],/ {print $1, $3, $5, $6}' | sort -n -k 1,2 >%s",
                   file, list));
}

static int merge(const char *flags)
{
    return shell("%s recording merge --json %s >report 2>words", vistter, flags);
}

// Of the report: bound `which` of the only range in `list`; -1: there is none, -2: several.
static long long bound(const char *list, const char *which)
{
    char path[128];
    snprintf(path, sizeof path, "%s/report", folder);
    json_t *report = json_load_file(path, 0, NULL);
    const json_t *ranges = json_object_get(report, list);
    long long result = -2;
    if (json_array_size(ranges) == 1)
        result = json_integer_value(json_object_get(json_array_get(ranges, 0), which));
    else if (json_is_array(ranges) && !json_array_size(ranges))
        result = -1;
    json_decref(report);
    return result;
}

static bool has_words(const char *words)
{
    return !shell("grep -q '%s' words", words);
}

// Writes "from to" of each run of frames from `first` to before `end` that are not among the first
// `given` packets into the file "lacking", and each one's time in milliseconds into "gone".
static void list_lacking(int given, int64_t first, int64_t end)
{
    char path[128];
    snprintf(path, sizeof path, "%s/lacking", folder);
    FILE *ranges = fopen(path, "w");
    snprintf(path, sizeof path, "%s/gone", folder);
    FILE *times = fopen(path, "w");
    // 48 ms, which are less than two frames, before the first picture is decoded.
    int64_t zero = packets[index_of_gop(0)]->dts - 2, from = -1;
    for (int64_t n = first; n <= end; n++) {
        bool there = n == end;
        for (int i = 0; i < given; i++)
            there = there || (packets[i]->stream == PACKET_VIDEO && packets[i]->pts == n);
        if (!there)
            fprintf(times, "%lld\n", (rate_frame_time_ns(rate, n - zero) + 500000LL) / 1000000);
        if (!there && from < 0)
            from = n;
        if (there && from >= 0)
            fprintf(ranges, "%lld %lld\n", (long long)from, n - 1LL);
        from = there ? -1 : from;
    }
    fclose(ranges);
    fclose(times);
}

static void test_joined(void)
{
    CHECK_OK(merge("-o joined.mkv a b"));
    list_packets("whole/*.mkv", "whole.list");
    list_packets("joined.mkv", "joined.list");
    CHECK_OK(
        shell("[ $(grep -c ^0 whole.list) = %d ] && cmp whole.list joined.list", SECONDS * 30));
    CHECK(bound("missing", "from"), ==, -1);
    CHECK(bound("silent", "from"), ==, -1);
    CHECK(bound("different", "from"), ==, -1);
    CHECK(bound("files", "frames"), ==, SECONDS * 30);
    CHECK(bound("files", "from"), ==, packets[index_of_gop(0)]->pts);
    char path[128];
    snprintf(path, sizeof path, "%s/joined.mkv", folder);
    check_good("joined", path, SECONDS * 30);
    // It is a recording itself; files given twice are one.
    CHECK_OK(merge("-o again.mkv joined.mkv joined.mkv a"));
    list_packets("again.mkv", "again.list");
    CHECK_OK(shell("cmp whole.list again.list"));
    CHECK(merge("-o joined.mkv joined.mkv"), ==, 1);
    CHECK_TRUE(has_words("is one of the recordings"));
    // Players find their way by cues (RFC 9559: element 0x1C53BB6B).
    CHECK_OK(shell("LC_ALL=C grep -qaP '\\x1C\\x53\\xBB\\x6B' joined.mkv"));
}

// Without the segment that only B had, what A lacks of GOP 2, and all of GOP 3, is named.
static void test_gap(int torn)
{
    int64_t first = packets[index_of_gop(0)]->pts, next = first + 3 * GOP;
    list_lacking(torn, first, next);
    CHECK_OK(shell("mkdir c && cp b/demo-%lld-*.mkv c/", (long long)next));
    CHECK(merge("-o gap.mkv a c"), ==, 1);
    CHECK_OK(shell("jq -r '.missing[] | \"\\(.from) \\(.to)\"' report | cmp - lacking"));
    CHECK(bound("silent", "from"), >=, next - GOP);
    CHECK(bound("silent", "to"), <=, next);
    CHECK_TRUE(has_words("in no recording"));
    CHECK_OK(merge("-o gap.mkv --allow-gaps a c"));
    list_packets("gap.mkv", "gap.list");
    CHECK_OK(shell("[ $(wc -l <gone) -gt 20 ] && awk 'NR == FNR {gone[$1]; next} "
                   "$1 == 0 && !($2 in gone)' gone whole.list >expected && "
                   "grep ^0 gap.list | cmp - expected"));
    // Sound that is there is where it belongs.
    CHECK_OK(shell("[ -z \"$(grep ^1 gap.list | grep -vxFf whole.list)\" ]"));
}

// A byte of one recording is another: without a checksum nobody can say which is right, with one
// the other is taken.
static void test_damage(void)
{
    CHECK_OK(shell("cp whole/*.mkv a-flipped.mkv && size=$(stat -c %%s a-flipped.mkv) && "
                   "printf '\\377\\1\\377\\1' | dd of=a-flipped.mkv bs=1 seek=$((size / 2)) "
                   "conv=notrunc status=none"));
    CHECK_OK(merge("-o either.mkv a-flipped.mkv whole"));
    CHECK(bound("different", "from"), >=, packets[index_of_gop(0)]->pts);
    CHECK(bound("different", "from"), ==, bound("different", "to"));
    CHECK_TRUE(has_words("not the same in all recordings"));
    CHECK_OK(shell("cp whole/*.sha256 a-flipped.mkv.sha256"));
    CHECK_OK(merge("-o right.mkv a-flipped.mkv whole"));
    CHECK_TRUE(has_words("does not have its checksum"));
    list_packets("right.mkv", "right.list");
    CHECK_OK(shell("cmp whole.list right.list"));
    CHECK(merge("-o alone.mkv a-flipped.mkv"), ==, 1);
    CHECK(bound("doubtful", "to"), ==, packets[index_of_gop(0)]->pts + SECONDS * 30 - 1);
    // A file that was cut short gives what it has; the picture that others refer to comes before
    // them, so there is a hole before its end.
    CHECK_OK(shell("cp whole/*.mkv short.mkv && "
                   "truncate -s $(($(stat -c %%s short.mkv) * 6 / 10)) short.mkv"));
    CHECK(merge("-o rest.mkv short.mkv"), ==, 1);
    CHECK(bound("missing", "to"), ==, bound("files", "to") - 1);
    list_packets("rest.mkv", "rest.list");
    CHECK_OK(shell("[ $(grep -c ^0 rest.list) -gt %d ] && ! grep -vxFf whole.list rest.list",
                   SECONDS * 10));
}

static void test_refusals(void)
{
    CHECK_OK(shell(": >empty.mkv && echo hello >text.mkv && head -c 200 whole/*.mkv >torn.mkv && "
                   "ffmpeg -v error -f lavfi -i testsrc=d=0.2 foreign.mkv"));
    CHECK(merge("-o no.mkv empty.mkv"), ==, 1);
    CHECK_TRUE(has_words("empty.mkv: is no recording"));
    CHECK(merge("-o no.mkv text.mkv"), ==, 1);
    CHECK(merge("-o no.mkv torn.mkv whole"), ==, 1);
    CHECK_TRUE(has_words("torn.mkv: is no"));
    CHECK(merge("-o no.mkv whole foreign.mkv"), ==, 1);
    CHECK_TRUE(has_words("foreign.mkv: is not a recording of a channel"));
    CHECK(merge("-o no.mkv nowhere"), ==, 1);
    CHECK_TRUE(has_words("nowhere: No such file"));
    CHECK(merge("-o /nowhere/no.mkv whole"), ==, 1);
    CHECK_TRUE(has_words("/nowhere/no.mkv: cannot be written"));
    CHECK(merge("whole"), ==, 2);
    CHECK_OK(shell("mkdir other && sed s/demo/nemo/ whole/*.mkv >other/nemo.mkv"));
    CHECK(merge("-o no.mkv whole other"), ==, 1);
    CHECK_TRUE(has_words("is of channel"));
    CHECK_OK(merge("-o no.mkv --channel demo whole other"));
    CHECK(merge("-o no.mkv --channel third whole other"), ==, 1);
    CHECK_TRUE(has_words("no recording of that channel"));
    CHECK_OK(shell("[ -e no.mkv ] && ! ls *.merging 2>/dev/null"));
}

// ---- A torn GOP --------------------------------------------------------------------------------

static int64_t end_after_cut(const int64_t *frames, int count, int64_t end)
{
    static struct recording_gop g;
    g = (struct recording_gop){.first = frames[0], .count = count};
    memcpy(g.frames, frames, (size_t)count * sizeof *frames);
    recording_gop_cut(&g, end);
    CHECK(g.end - g.first, >=, g.count);
    return g.end;
}

static void test_cut(void)
{
    static const int64_t order[] = {0, 4, 2, 1, 3, 8, 6, 5, 7};
    CHECK(end_after_cut(order, 9, 9), ==, 9);
    CHECK(end_after_cut(order, 9, 5), ==, 5);
    CHECK(end_after_cut(order, 9, 7), ==, 5); // 6 and 5 refer to 8
    CHECK(end_after_cut(order, 9, 3), ==, 1);
}

int main(int argc, char **argv)
{
    if (argc < 3 || system("command -v ffmpeg >/dev/null"))
        return 77;
    vistter = argv[2];
    test_cut();
    struct outlet_hub *hub = delivery_begin(argv[1]);
    int torn = index_of_gop(2) + 70;
    record_whole(hub);
    record_a(hub, torn);
    record_b(hub);
    test_joined();
    test_gap(torn);
    test_damage();
    test_refusals();
    return delivery_end(&hub);
}
