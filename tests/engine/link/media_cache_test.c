// Media cache against a real HTTP server (nginx on loopback): fetch, resume, verify, evict.
#include "engine/link/media_cache.h"

#include "engine/base/clock.h"
#include "tests/check.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <openssl/sha.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define FILES      6
#define FILE_BYTES 1000000
#define PATIENCE   20000 // milliseconds before a test gives up

extern char **environ;

static char root[64]; // temporary folder: nginx's and the caches'
static char base[64]; // "http://127.0.0.1:PORT"
static char names[FILES][80];
static uint8_t contents[FILES][FILE_BYTES];
static pid_t nginx;

// ---- The server -------------------------------------------------------------------------------

static void file_write(const char *folder, const char *name, const void *bytes, size_t size)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", root, folder);
    mkdir(path, 0755);
    snprintf(path, sizeof path, "%s/%s/%s", root, folder, name);
    FILE *file = fopen(path, "we");
    CHECK_TRUE(file && fwrite(bytes, 1, size, file) == size);
    if (file)
        fclose(file);
}

static void contents_make(uint64_t seed)
{
    for (int i = 0; i < FILES; i++) {
        uint8_t digest[SHA256_DIGEST_LENGTH];
        for (size_t k = 0; k < FILE_BYTES; k++)
            contents[i][k] = (uint8_t)check_random(&seed);
        SHA256(contents[i], FILE_BYTES, digest);
        for (int k = 0; k < SHA256_DIGEST_LENGTH; k++)
            snprintf(names[i] + 2 * k, 3, "%02x", digest[k]);
        file_write("store", names[i], contents[i], FILE_BYTES);
        file_write("wrong", names[i], contents[(i + 1) % FILES], FILE_BYTES);
    }
}

static int port_free(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    CHECK_OK(bind(fd, (struct sockaddr *)&at, sizeof at));
    CHECK_OK(getsockname(fd, (struct sockaddr *)&at, &size));
    close(fd);
    return ntohs(at.sin_port);
}

static void config_write(int port)
{
    char path[128];
    snprintf(path, sizeof path, "%s/nginx.conf", root);
    FILE *f = fopen(path, "we");
    fprintf(f,
            "daemon off; master_process off; pid %s/pid; error_log %s/error.log;\n%s"
            "events {}\n"
            "http { access_log off; keepalive_timeout 5;\n"
            "client_body_temp_path %s/t1; proxy_temp_path %s/t2; fastcgi_temp_path %s/t3;\n"
            "uwsgi_temp_path %s/t4; scgi_temp_path %s/t5;\n"
            "server { listen 127.0.0.1:%d;\n"
            "location /store/ { alias %s/store/; }\n"
            "location /slow/ { alias %s/store/; limit_rate 200k; limit_rate_after 200k; }\n"
            "location /noranges/ { alias %s/store/; max_ranges 0; }\n"
            "location /wrong/ { alias %s/wrong/; }\n"
            "location /broken/ { return 503; }\n"
            "location /parts/ { alias %s/parts/; add_header X-Content-SHA256 %s; }\n"
            "location /unsigned/ { alias %s/parts/; }\n"
            "} }\n",
            root, root, geteuid() ? "" : "user root;\n", root, root, root, root, root, port, root,
            root, root, root, root, names[0], root);
    fclose(f);
}

// False: there is no nginx here.
static bool server_start(void)
{
    char path[128], folder[72];
    int port = port_free();
    config_write(port);
    snprintf(base, sizeof base, "http://127.0.0.1:%d", port);
    snprintf(path, sizeof path, "%s/nginx.conf", root);
    snprintf(folder, sizeof folder, "%s/", root);
    char *argv[] = {"nginx", "-p", folder, "-c", path, NULL};
    setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
    if (posix_spawnp(&nginx, "nginx", NULL, NULL, argv, environ))
        return false;
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (int64_t end_ns = clock_monotonic_ns() + INT64_C(20000000000);
         clock_monotonic_ns() < end_ns && waitpid(nginx, NULL, WNOHANG) == 0;) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int r = connect(fd, (struct sockaddr *)&at, sizeof at);
        close(fd);
        if (r == 0)
            return true;
        clock_sleep_until_ns(clock_monotonic_ns() + 10000000); // it has no way to say it is up
    }
    return false;
}

// ---- Caches -----------------------------------------------------------------------------------

static struct media_cache *cache_open(const char *folder, int64_t bytes_max, const char *origin)
{
    char path[128], url[600] = "";
    snprintf(path, sizeof path, "%s/%s", root, folder);
    struct media_cache_config config = {path, bytes_max};
    struct media_cache *cache = NULL;
    CHECK_OK(media_cache_create(&config, &cache, NULL));
    char list[128], *save = NULL;
    snprintf(list, sizeof list, "%s", origin);
    for (char *o = strtok_r(list, ",", &save); o; o = strtok_r(NULL, ",", &save)) {
        size_t n = strlen(url);
        snprintf(url + n, sizeof url - n, "%s%s/%s", n ? "," : "", base, o);
    }
    if (*url)
        media_cache_set_origin(cache, url);
    return cache;
}

static bool holds(const char *path, const uint8_t *bytes, size_t size)
{
    static uint8_t read_back[FILE_BYTES + 1];
    FILE *file = fopen(path, "re");
    size_t n = file ? fread(read_back, 1, sizeof read_back, file) : 0;
    if (file)
        fclose(file);
    return n == size && !memcmp(read_back, bytes, size);
}

static int64_t folder_bytes(const char *folder)
{
    char path[512];
    int64_t sum = 0;
    snprintf(path, sizeof path, "%s/%s", root, folder);
    DIR *dir = opendir(path);
    for (const struct dirent *file; dir && (file = readdir(dir));) {
        struct stat status;
        snprintf(path, sizeof path, "%s/%s/%s", root, folder, file->d_name);
        if (lstat(path, &status) == 0 && S_ISREG(status.st_mode))
            sum += status.st_size;
    }
    closedir(dir);
    return sum;
}

static struct media_cache_stats stats_of(struct media_cache *cache)
{
    struct media_cache_stats stats;
    media_cache_stats(cache, &stats);
    return stats;
}

// ---- Tests ------------------------------------------------------------------------------------

static void test_fetch(void)
{
    char path[PATH_MAX];
    struct diagnostic why;
    struct media_cache *cache = cache_open("fetch", 100 << 20, "store");
    CHECK_ERROR(media_cache_get(cache, names[0], 0, path, &why), -EAGAIN); // not asked for
    CHECK(stats_of(cache).fetched_bytes, ==, 0);
    CHECK_OK(media_cache_get(cache, names[0], PATIENCE, path, &why));
    CHECK_TRUE(holds(path, contents[0], FILE_BYTES));
    CHECK_OK(media_cache_get(cache, names[0], 0, path, &why));
    CHECK(stats_of(cache).fetched_bytes, ==, FILE_BYTES); // once
    // A pin asks without waiting.
    media_cache_pin(cache, names[1]);
    int64_t end_ns = clock_monotonic_ns() + INT64_C(1000000) * PATIENCE;
    while (media_cache_get(cache, names[1], 0, path, NULL) && clock_monotonic_ns() < end_ns)
        clock_sleep_until_ns(clock_monotonic_ns() + 5000000); // pins have no answer to wait for
    CHECK_TRUE(holds(path, contents[1], FILE_BYTES));
    // Somebody removed it by hand.
    CHECK_OK(unlink(path));
    CHECK_OK(media_cache_get(cache, names[1], PATIENCE, path, &why));
    CHECK_TRUE(holds(path, contents[1], FILE_BYTES));
    CHECK(stats_of(cache).files, ==, 2);
    CHECK(stats_of(cache).bytes, ==, folder_bytes("fetch"));
    media_cache_destroy(&cache);
    // The next run of the program finds them.
    cache = cache_open("fetch", 100 << 20, "");
    CHECK_OK(media_cache_get(cache, names[0], 0, path, &why));
    CHECK_ERROR(media_cache_get(cache, names[2], 50, path, &why), -EAGAIN);
    CHECK_TEXT(why.code, "media_origin"); // nobody has said where media are
    media_cache_destroy(&cache);
}

static void test_names(void)
{
    char path[PATH_MAX], name[128];
    struct diagnostic why;
    struct media_cache *cache = cache_open("names", 100 << 20, "store");
    static const char *const bad[] = {"", "../../etc/passwd", "abc", ".index"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_ERROR(media_cache_get(cache, bad[i], PATIENCE, path, &why), -EINVAL);
    snprintf(name, sizeof name, "%s.exe", names[0]);
    CHECK_ERROR(media_cache_get(cache, name, PATIENCE, path, &why), -EINVAL);
    snprintf(name, sizeof name, "%s/x", names[0]);
    CHECK_ERROR(media_cache_get(cache, name, PATIENCE, path, &why), -EINVAL);
    media_cache_pin(cache, name); // says nothing, does nothing
    snprintf(name, sizeof name, "%s", names[0]);
    name[5] = name[5] == '0' ? '1' : '0';
    CHECK_ERROR(media_cache_get(cache, name, PATIENCE, path, &why), -ENOENT);
    CHECK_TEXT(why.path, name);
    media_cache_destroy(&cache);
}

static void test_wrong_bytes(void)
{
    char path[PATH_MAX];
    struct diagnostic why;
    struct media_cache *cache = cache_open("wrong-cache", 100 << 20, "wrong");
    CHECK_ERROR(media_cache_get(cache, names[0], PATIENCE, path, &why), -EBADMSG);
    CHECK_TEXT(why.code, "media_wrong");
    CHECK(folder_bytes("wrong-cache"), ==, 0); // nothing is kept
    CHECK(stats_of(cache).bytes, ==, 0);
    CHECK(stats_of(cache).wrong_files, ==, 1);
    media_cache_destroy(&cache);
    // Another origin has the right ones; one that fails is passed over.
    cache = cache_open("wrong-cache", 100 << 20, "broken,wrong,store");
    CHECK_OK(media_cache_get(cache, names[0], PATIENCE, path, &why));
    CHECK_TRUE(holds(path, contents[0], FILE_BYTES));
    media_cache_destroy(&cache);
    cache = cache_open("broken-cache", 100 << 20, "broken");
    CHECK_ERROR(media_cache_get(cache, names[0], 700, path, &why), -EAGAIN);
    CHECK_TEXT(why.code, "media_refused");
    // A new origin is tried at once.
    char url[128];
    snprintf(url, sizeof url, "%s/store", base);
    media_cache_set_origin(cache, url);
    CHECK_OK(media_cache_get(cache, names[0], PATIENCE, path, &why));
    media_cache_destroy(&cache);
}

static void test_parts(void)
{
    char path[PATH_MAX], name[128];
    struct diagnostic why;
    snprintf(name, sizeof name, "%s.index", names[3]);
    file_write("parts", name, contents[0], FILE_BYTES); // the server states names[0] as its hash
    struct media_cache *cache = cache_open("parts-cache", 100 << 20, "unsigned");
    CHECK_ERROR(media_cache_get(cache, name, PATIENCE, path, &why), -EBADMSG);
    CHECK_TEXT(why.code, "media_unsigned");
    media_cache_destroy(&cache);
    cache = cache_open("parts-cache", 100 << 20, "parts");
    CHECK_OK(media_cache_get(cache, name, PATIENCE, path, &why));
    CHECK_TRUE(holds(path, contents[0], FILE_BYTES));
    snprintf(name, sizeof name, "%s.sound", names[3]);
    file_write("parts", name, contents[1], FILE_BYTES);
    CHECK_ERROR(media_cache_get(cache, name, PATIENCE, path, &why), -EBADMSG);
    CHECK_TEXT(why.code, "media_wrong");
    media_cache_destroy(&cache);
}

// Cut in the middle by the end of the program; the next run fetches only what is missing.
static void test_resume(void)
{
    char path[PATH_MAX], part[256];
    struct diagnostic why;
    struct media_cache *cache = cache_open("resume", 100 << 20, "slow");
    CHECK_ERROR(media_cache_get(cache, names[0], 300, path, &why), -EAGAIN);
    media_cache_destroy(&cache);
    int64_t had = folder_bytes("resume");
    CHECK(had, >, 0);
    CHECK(had, <, FILE_BYTES);
    cache = cache_open("resume", 100 << 20, "store");
    CHECK(stats_of(cache).bytes, ==, had);
    CHECK_OK(media_cache_get(cache, names[0], PATIENCE, path, &why));
    CHECK_TRUE(holds(path, contents[0], FILE_BYTES));
    CHECK(stats_of(cache).fetched_bytes, ==, FILE_BYTES - had);
    // A server without ranges: from the start.
    snprintf(part, sizeof part, "%s.part", names[1]);
    file_write("resume", part, contents[1], FILE_BYTES / 2);
    media_cache_destroy(&cache);
    cache = cache_open("resume", 100 << 20, "noranges");
    CHECK_OK(media_cache_get(cache, names[1], PATIENCE, path, &why));
    CHECK_TRUE(holds(path, contents[1], FILE_BYTES));
    CHECK(stats_of(cache).fetched_bytes, ==, FILE_BYTES);
    media_cache_destroy(&cache);
    // A part of other bytes: noticed at the end, once more from nothing.
    snprintf(part, sizeof part, "%s.part", names[2]);
    file_write("resume", part, contents[3], FILE_BYTES / 2);
    // One that is complete, and one that is longer than the file.
    snprintf(part, sizeof part, "%s.part", names[4]);
    file_write("resume", part, contents[4], FILE_BYTES);
    static uint8_t longer[FILE_BYTES + 100];
    memcpy(longer, contents[5], FILE_BYTES);
    snprintf(part, sizeof part, "%s.part", names[5]);
    file_write("resume", part, longer, sizeof longer);
    cache = cache_open("resume", 100 << 20, "store");
    for (int i = 2; i < FILES; i++) {
        if (i == 3)
            continue;
        CHECK_OK(media_cache_get(cache, names[i], PATIENCE, path, &why));
        CHECK_TRUE(holds(path, contents[i], FILE_BYTES));
    }
    CHECK(stats_of(cache).bytes, ==, folder_bytes("resume"));
    media_cache_destroy(&cache);
}

static void test_eviction(void)
{
    char path[PATH_MAX];
    struct diagnostic why;
    // Room for two files and a half.
    struct media_cache *cache = cache_open("small", FILE_BYTES * 5 / 2, "store");
    media_cache_pin(cache, names[0]);
    for (int i = 0; i < FILES; i++) {
        CHECK_OK(media_cache_get(cache, names[i], PATIENCE, path, &why));
        CHECK_TRUE(holds(path, contents[i], FILE_BYTES));
        CHECK(folder_bytes("small"), <=, FILE_BYTES * 5 / 2);
    }
    CHECK_OK(media_cache_get(cache, names[0], 0, path, &why));         // pinned: still there
    CHECK_OK(media_cache_get(cache, names[FILES - 1], 0, path, &why)); // used last
    CHECK_ERROR(media_cache_get(cache, names[1], 0, path, &why), -EAGAIN);
    CHECK(stats_of(cache).evicted_files, ==, FILES - 2);
    // Everything is pinned: no room, and in words how to mend it.
    media_cache_pin(cache, names[FILES - 1]);
    CHECK_ERROR(media_cache_get(cache, names[2], PATIENCE, path, &why), -ENOSPC);
    CHECK_TEXT(why.code, "media_cache_full");
    CHECK(folder_bytes("small"), <=, FILE_BYTES * 5 / 2);
    // Counts nest.
    media_cache_pin(cache, names[0]);
    media_cache_unpin(cache, names[0]);
    CHECK_ERROR(media_cache_get(cache, names[2], 0, path, &why), -ENOSPC);
    media_cache_unpin(cache, names[0]);
    int64_t end_ns = clock_monotonic_ns() + INT64_C(1000000) * PATIENCE;
    int r = -ENOSPC; // told at once until the pause is over
    while ((r == -ENOSPC || r == -EAGAIN) && clock_monotonic_ns() < end_ns) {
        r = media_cache_get(cache, names[2], 100, path, &why);
        clock_sleep_until_ns(clock_monotonic_ns() + 10000000);
    }
    CHECK_OK(r);
    CHECK_TRUE(holds(path, contents[2], FILE_BYTES));
    media_cache_destroy(&cache);
    // The order of use outlives the program, and a smaller limit is kept at once.
    cache = cache_open("small", FILE_BYTES * 3 / 2, "");
    CHECK(stats_of(cache).files, ==, 1);
    CHECK_OK(media_cache_get(cache, names[2], 0, path, &why));
    media_cache_destroy(&cache);
}

static void test_folder(void)
{
    struct diagnostic why;
    struct media_cache *cache = NULL;
    char path[128];
    snprintf(path, sizeof path, "%s/nginx.conf", root); // a file
    struct media_cache_config config = {path, 1};
    CHECK_ERROR(media_cache_create(&config, &cache, &why), -ENOTDIR);
    CHECK_TEXT(why.path, path);
    config.bytes_max = 0;
    CHECK_ERROR(media_cache_create(&config, &cache, &why), -EINVAL);
}

static void folder_remove(const char *path)
{
    DIR *dir = opendir(path);
    for (const struct dirent *file; dir && (file = readdir(dir));) {
        char inner[512];
        if (!strcmp(file->d_name, ".") || !strcmp(file->d_name, ".."))
            continue;
        snprintf(inner, sizeof inner, "%s/%s", path, file->d_name);
        if (unlink(inner) < 0)
            folder_remove(inner);
    }
    if (dir)
        closedir(dir);
    rmdir(path);
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : UINT64_C(20261123);
    fprintf(stderr, "seed %" PRIu64 "\n", seed);
    snprintf(root, sizeof root, "/tmp/vistter-cache-XXXXXX");
    if (!mkdtemp(root))
        return EXIT_FAILURE;
    contents_make(seed);
    bool up = server_start();
    if (up) {
        test_fetch();
        test_names();
        test_wrong_bytes();
        test_parts();
        test_resume();
        test_eviction();
        test_folder();
    }
    if (nginx > 0) {
        kill(nginx, SIGTERM);
        waitpid(nginx, NULL, 0);
    }
    folder_remove(root);
    if (!up)
        fprintf(stderr, "nginx does not run here\n");
    return up ? check_end() : 77;
}
