// Recording when things go wrong: a recorder that is killed, a disk that no longer answers and,
// with
// --disk, a disk that others fill up (on a tmpfs of its own; skipped where that cannot be mounted).
//
// Arguments: the path of vistter-deliver, and that of sync_error.c's library or --disk.
#include "tests/edge/delivery.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

// sha256sum(1) agrees with the checksum beside the file.
static void check_sum(const char *path)
{
    char command[1200], sum[600];
    snprintf(sum, sizeof sum, "%s.sha256", path);
    for (int i = 0; i < 500 && access(sum, R_OK); i++) // it comes just after the file
        clock_sleep_until_ns(clock_monotonic_ns() + 10000000);
    snprintf(command, sizeof command, "cd '%.*s' && sha256sum --quiet --strict -c '%s.sha256'",
             (int)(strrchr(path, '/') - path), path, path);
    CHECK_OK(system(command));
}

// kill -9 in the middle of a segment: what is on disk plays; the next process recovers it and goes
// on with a new segment, which begins with the GOP under way.
static void test_killed_recorder(struct outlet_hub *hub)
{
    char rec[128], path[512];
    snprintf(rec, sizeof rec, "%s/killed", folder);
    struct outlet *o = open_outlet(hub, DELIVER_KIND_RECORDING, "recording-killed", rec);
    wait_state(o, DELIVER_CONNECTING);
    int half = packet_count / 2, rest = half;
    while (!(packets[rest]->stream == PACKET_VIDEO && packets[rest]->key)) // of the GOP under way
        rest--;
    play(&o, 1, 0, half);
    struct deliver_report report;
    for (int i = 0; i < 300; i++) { // until its own report says that it has all
        outlet_report(o, &report);
        uint64_t expected = 0;
        for (int k = 0; k < half; k++)
            expected += packets[k]->size;
        if (report.bytes + 1000 >= expected)
            break;
        clock_sleep_until_ns(clock_monotonic_ns() + 10000000);
    }
    kill(outlet_child(o), SIGKILL);
    CHECK_TRUE(find_file("killed", ".part", path, sizeof path));
    struct media_file m;
    CHECK_OK(media_file_read(path, &m));
    fprintf(stderr, "killed: %d of %d pictures\n", m.video_frames, pictures_between(0, half));
    CHECK(m.video_frames, >=, pictures_between(0, half) - 2);
    for (int i = 0; i < 500 && !find_file("killed", ".recovered.mkv", path, sizeof path); i++)
        clock_sleep_until_ns(clock_monotonic_ns() + 10000000);
    play(&o, 1, half, packet_count);
    outlet_destroy(&o);
    for (int i = 0; i < 500 && find_file("killed", ".part", path, sizeof path); i++)
        clock_sleep_until_ns(clock_monotonic_ns() + 10000000);
    CHECK_TRUE(!find_file("killed", ".part", path, sizeof path));
    CHECK_TRUE(find_file("killed", ".recovered.mkv", path, sizeof path));
    CHECK_OK(media_file_read(path, &m));
    CHECK(m.video_frames, >=, pictures_between(0, half) - 2);
    CHECK(m.decode_errors, ==, 0);
    check_sum(path);
    unlink(path);
    CHECK_TRUE(find_file("killed", ".mkv", path, sizeof path));
    check_good("after the kill", path, pictures_between(rest, packet_count));
    check_sum(path);
}

// The number of the thread `name` of process `pid`; 0: none.
static int find_thread(int pid, const char *name)
{
    char path[64], comm[32];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *dir = opendir(path);
    struct dirent *entry;
    int found = 0;
    while (dir && (entry = readdir(dir)) && !found) {
        snprintf(path, sizeof path, "/proc/%d/task/%.20s/comm", pid, entry->d_name);
        FILE *f = fopen(path, "r");
        if (f && fgets(comm, sizeof comm, f) && !strncmp(comm, name, strlen(name)))
            found = atoi(entry->d_name);
        if (f)
            fclose(f);
    }
    if (dir)
        closedir(dir);
    return found;
}

// Starts a process that holds thread `tid` still, as a disk that no longer answers would: also
// against SIGKILL, since the traced thread's end is kept for the tracer. 0: not allowed here.
static pid_t hold_thread(int tid)
{
    int ready[2];
    char byte = 0;
    CHECK_OK(pipe(ready));
    pid_t pid = fork();
    if (!pid) {
        bool held = !ptrace(PTRACE_SEIZE, tid, NULL, NULL) &&
                    !ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) && waitpid(tid, NULL, __WALL) == tid;
        if (held && write(ready[1], "h", 1) == 1)
            pause();
        _exit(1);
    }
    close(ready[1]);
    bool held = read(ready[0], &byte, 1) == 1;
    close(ready[0]);
    if (!held)
        waitpid(pid, NULL, 0);
    return held ? pid : 0;
}

// A recorder stands still in its disk while its process goes on to report, and does not end when it
// is killed. It is found out, others start and record beside it, and it comes back when the disk
// does.
static void test_hung_disk(struct outlet_hub *hub)
{
    char rec[128], path[512];
    snprintf(rec, sizeof rec, "%s/hung", folder);
    struct outlet *o = open_outlet(hub, DELIVER_KIND_RECORDING, "recording-hung", rec);
    int gop = key_after(key_after(0) + 1);
    play(&o, 1, 0, gop);
    wait_bytes(o, 1);
    int child = outlet_child(o);
    pid_t holder = hold_thread(find_thread(child, "sink"));
    if (!holder) {
        fprintf(stderr, "skipped: a hung recorder (this user may not trace)\n");
        outlet_destroy(&o);
        return;
    }
    wait_state(o, DELIVER_WAITING);
    struct deliver_report report;
    outlet_report(o, &report);
    CHECK_TEXT(report.error, "delivery process hung");
    CHECK_TEXT(report.alarm, "delivery_lost");
    snprintf(rec, sizeof rec, "%s/beside", folder);
    struct outlet *beside = open_outlet(hub, DELIVER_KIND_RECORDING, "recording-beside", rec);
    play(&beside, 1, 0, gop);
    wait_bytes(beside, 1);
    outlet_destroy(&beside);
    for (int i = 0; i < 500 && !find_file("beside", ".mkv", path, sizeof path); i++)
        clock_sleep_until_ns(clock_monotonic_ns() + 10000000);
    CHECK_TRUE(find_file("beside", ".mkv", path, sizeof path));
    check_good("beside a hung one", path, pictures_between(0, gop));
    CHECK(outlet_child(o), ==, 0); // no second one while the first is still there
    CHECK_OK(kill(child, 0));
    kill(holder, SIGKILL);
    waitpid(holder, NULL, 0);
    wait_state(o, DELIVER_CONNECTING);
    CHECK(kill(child, 0), ==, -1);
    play(&o, 1, gop, key_after(gop + 1));
    wait_state(o, DELIVER_LIVE);
    outlet_report(o, &report);
    CHECK_TEXT(report.alarm, "");
    CHECK(report.reconnects, ==, 1);
    outlet_destroy(&o);
}

// fdatasync fails once: what it covered may be lost, so the segment is left as it is, for the next
// start to recover, and a new one begins; a recorder beside it notices nothing.
static void test_sync_error(struct outlet_hub *hub, const char *shim)
{
    char rec[128], now[160], path[512];
    snprintf(rec, sizeof rec, "%s/eio", folder);
    snprintf(now, sizeof now, "%s/now", rec);
    setenv("LD_PRELOAD", shim, 1);
    setenv("ASAN_OPTIONS", "verify_asan_link_order=0", 1);
    struct outlet *o[2];
    o[0] = open_outlet(hub, DELIVER_KIND_RECORDING, "recording-eio", rec);
    wait_state(o[0], DELIVER_CONNECTING);
    for (int i = 0; i < 500 && !outlet_child(o[0]); i++)
        clock_sleep_until_ns(clock_monotonic_ns() + 10000000);
    unsetenv("LD_PRELOAD");
    unsetenv("ASAN_OPTIONS");
    snprintf(rec, sizeof rec, "%s/good", folder);
    o[1] = open_outlet(hub, DELIVER_KIND_RECORDING, "recording-good", rec);
    int gop = key_after(key_after(0) + 1), failed = gop, next;
    play(o, 2, 0, gop);
    wait_state(o[0], DELIVER_LIVE);
    close(open(now, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    struct deliver_report report;
    for (outlet_report(o[0], &report); failed < packet_count && !*report.alarm; failed++) {
        play(o, 2, failed, failed + 1);
        outlet_report(o[0], &report);
        if (packets[failed]->stream == PACKET_VIDEO)
            clock_sleep_until_ns(clock_monotonic_ns() + 1000000000 / 30 / SPEED);
    }
    CHECK(report.state, ==, DELIVER_WAITING);
    CHECK_TEXT(report.alarm, "recording_failed");
    CHECK_TEXT(report.error, "recording cannot be written: Input/output error");
    unlink(now);
    next = key_after(failed);
    CHECK(next, <, packet_count);
    play(o, 2, failed, packet_count);
    outlet_report(o[0], &report);
    CHECK(report.state, ==, DELIVER_LIVE);
    CHECK_TEXT(report.alarm, "");
    CHECK(report.dropped, ==, 0);
    for (int i = 0; i < 2; i++)
        outlet_destroy(&o[i]);
    for (int i = 0; i < 500 && !(find_file("eio", ".sha256", path, sizeof path) &&
                                 find_file("good", ".sha256", path, sizeof path));
         i++)
        clock_sleep_until_ns(clock_monotonic_ns() + 10000000);
    CHECK_TRUE(find_file("eio", ".mkv", path, sizeof path));
    check_good("after EIO", path, pictures_between(next, packet_count));
    CHECK_TRUE(find_file("eio", ".part", path, sizeof path));
    struct media_file m;
    CHECK_OK(media_file_read(path, &m));
    fprintf(stderr, "EIO: %d of %d pictures are in what was left\n", m.video_frames,
            pictures_between(0, failed));
    CHECK(m.video_frames, >=, pictures_between(0, gop));
    CHECK_TRUE(find_file("good", ".mkv", path, sizeof path));
    check_good("beside EIO", path, SECONDS * 30);
}

// Fills the disk up, but for `rest` bytes, at one blow.
static void fill_disk(const char *file, int64_t rest)
{
    struct statvfs disk;
    CHECK_OK(statvfs(folder, &disk));
    int fd = open(file, O_WRONLY | O_CREAT, 0600);
    CHECK_OK(posix_fallocate(fd, 0, (int64_t)(disk.f_bavail * disk.f_frsize) - rest));
    close(fd);
}

static void wait_alarm(struct outlet *o, const char *alarm)
{
    struct deliver_report report;
    for (int i = 0; i < 3000; i++) {
        outlet_report(o, &report);
        if (!strcmp(report.alarm, alarm))
            return;
        clock_sleep_until_ns(clock_monotonic_ns() + 10000000);
    }
    CHECK_TEXT(report.alarm, alarm);
}

// The stream has 928 kbit/s: 30 minutes of it are 209 MB, 10 minutes 70 MB, 5 minutes 35 MB.
static void test_disk(struct outlet_hub *hub)
{
    char rec[128], filler[128], path[512];
    snprintf(rec, sizeof rec, "%s/small", folder);
    snprintf(filler, sizeof filler, "%s/filler", folder);
    struct outlet *o = open_outlet(hub, DELIVER_KIND_RECORDING, "recording-small", rec);
    int gop = key_after(key_after(0) + 1), third = key_after(gop + 1);
    play(&o, 1, 0, gop);
    wait_state(o, DELIVER_LIVE);
    wait_alarm(o, "disk_low"); // 100 MB are enough for a quarter of an hour
    struct deliver_report report;
    outlet_report(o, &report);
    CHECK(report.state, ==, DELIVER_LIVE);
    CHECK_TRUE(strstr(report.error, "the disk is full in 1")); // 13 or 14 minutes

    // Not a byte is left: what is recorded until that is found out goes where room was reserved.
    fill_disk(filler, 0);
    play(&o, 1, gop, third);
    wait_alarm(o, "disk_full");
    outlet_report(o, &report);
    CHECK(report.state, ==, DELIVER_WAITING);
    CHECK(report.dropped, ==, 0);
    for (int i = 0; i < 500 && !find_file("small", ".mkv.sha256", path, sizeof path); i++)
        clock_sleep_until_ns(clock_monotonic_ns() + 10000000);
    CHECK_TRUE(find_file("small", ".mkv", path, sizeof path));
    check_sum(path);
    struct media_file m;
    CHECK_OK(media_file_read(path, &m));
    CHECK(m.decode_errors, ==, 0);
    CHECK(m.video_frames, >, pictures_between(0, gop));
    fprintf(stderr, "full: %d of %d pictures\n", m.video_frames, pictures_between(0, third));
    struct stat file;
    CHECK_OK(stat(path, &file)); // stat(2): blocks of 512 bytes; nothing stays reserved
    CHECK(file.st_blocks * 512, <, file.st_size + 65536);
    unlink(path);

    // There is room again.
    unlink(filler);
    for (int i = 0; i < 30 && report.state != DELIVER_LIVE; i++) {
        play(&o, 1, 0, gop);
        outlet_report(o, &report);
    }
    CHECK(report.state, ==, DELIVER_LIVE);
    outlet_destroy(&o);
}

static int run_disk(const char *program)
{
    struct outlet_hub *hub = delivery_begin(program);
    if (mount("tmpfs", folder, "tmpfs", 0, "size=100m")) {
        fprintf(stderr, "skipped: a tmpfs cannot be mounted: %s\n", strerror(errno));
        (void)delivery_end(&hub); // nothing was checked
        return 77;
    }
    test_disk(hub);
    outlet_hub_destroy(&hub);
    CHECK_OK(umount2(folder, MNT_DETACH));
    return delivery_end(&hub);
}

int main(int argc, char **argv)
{
    if (argc < 2 || system("command -v ffmpeg >/dev/null"))
        return 77;
    if (argc > 2 && !strcmp(argv[2], "--disk"))
        return run_disk(argv[1]);
    struct outlet_hub *hub = delivery_begin(argv[1]);
    test_killed_recorder(hub);
    test_hung_disk(hub);
    if (argc > 2)
        test_sync_error(hub, argv[2]);
    return delivery_end(&hub);
}
