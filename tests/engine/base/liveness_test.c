// Progress, not existence: who has work and does none is hung; and the signs of life that depend on
// it, as a supervisor gets them.
#include "engine/base/liveness.h"

#include "engine/base/log.h"
#include "engine/base/watchdog.h"
#include "tests/check.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define S INT64_C(1000000000)

static void test_progress(void)
{
    struct liveness mark = {0};
    CHECK_TRUE(!liveness_hung(&mark, 7, true, 100 * S, 3 * S)); // first seen now
    CHECK_TRUE(!liveness_hung(&mark, 7, true, 103 * S - 1, 3 * S));
    CHECK_TRUE(liveness_hung(&mark, 7, true, 103 * S, 3 * S));
    CHECK_TRUE(liveness_hung(&mark, 7, true, 500 * S, 3 * S));
    CHECK_TRUE(!liveness_hung(&mark, 8, true, 501 * S, 3 * S)); // it goes on
    CHECK_TRUE(!liveness_hung(&mark, 8, true, 503 * S, 3 * S));
    CHECK_TRUE(liveness_hung(&mark, 8, true, 504 * S, 3 * S));
    CHECK_TRUE(
        !liveness_hung(&mark, 0, true, 505 * S, 3 * S)); // a count that starts anew has moved
}

// Who has nothing to do stands still as long as it likes, and has its full time once there is work.
static void test_nothing_to_do(void)
{
    struct liveness mark = {0};
    CHECK_TRUE(!liveness_hung(&mark, 7, false, 100 * S, 3 * S));
    CHECK_TRUE(!liveness_hung(&mark, 7, false, 900 * S, 3 * S));
    CHECK_TRUE(!liveness_hung(&mark, 7, true, 901 * S, 3 * S));
    CHECK_TRUE(!liveness_hung(&mark, 7, true, 903 * S, 3 * S));
    CHECK_TRUE(!liveness_hung(&mark, 7, false, 904 * S, 3 * S)); // the work was taken away
    CHECK_TRUE(!liveness_hung(&mark, 7, true, 905 * S, 3 * S));
    CHECK_TRUE(liveness_hung(&mark, 7, true, 908 * S, 3 * S));
}

static const char *heard(int fd)
{
    static char text[256];
    ssize_t got = recv(fd, text, sizeof text - 1, MSG_DONTWAIT);
    text[got > 0 ? got : 0] = 0;
    return text;
}

static int listen_at(const char *name, char ret_path[108])
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    snprintf(address.sun_path, sizeof address.sun_path, name, getpid());
    snprintf(ret_path, 108, "%s", address.sun_path);
    socklen_t size = (socklen_t)(sizeof address.sun_family + strlen(address.sun_path));
    if (*ret_path == '@')
        address.sun_path[0] = 0;
    CHECK_OK(bind(fd, (const struct sockaddr *)&address, size));
    return fd;
}

static void test_signs(const char *name)
{
    char path[108], pid[32];
    struct watchdog w;
    int fd = listen_at(name, path);
    setenv("NOTIFY_SOCKET", path, 1);
    setenv("WATCHDOG_USEC", "2000000", 1);
    watchdog_init(&w);
    watchdog_ready();
    CHECK_TEXT(heard(fd), "READY=1");
    watchdog_tend(&w, NULL, 10 * S);
    CHECK_TEXT(heard(fd), "WATCHDOG=1");
    watchdog_tend(&w, NULL, 10 * S + S / 2 - 1);
    CHECK_TEXT(heard(fd), "");
    watchdog_tend(&w, NULL, 10 * S + S / 2);
    CHECK_TEXT(heard(fd), "WATCHDOG=1");
    watchdog_tend(&w, "one part", 12 * S);
    watchdog_tend(&w, "one part", 20 * S);
    CHECK_TEXT(heard(fd), "");
    watchdog_tend(&w, NULL, 21 * S); // it goes on after all
    CHECK_TEXT(heard(fd), "WATCHDOG=1");
    watchdog_stopping();
    CHECK_TEXT(heard(fd), "STOPPING=1");
    // The patience is for another process, or for nobody.
    snprintf(pid, sizeof pid, "%d", getpid() + 1);
    setenv("WATCHDOG_PID", pid, 1);
    watchdog_init(&w);
    watchdog_tend(&w, NULL, 30 * S);
    CHECK_TEXT(heard(fd), "");
    unsetenv("WATCHDOG_PID");
    unsetenv("WATCHDOG_USEC");
    watchdog_init(&w);
    watchdog_tend(&w, NULL, 40 * S);
    CHECK_TEXT(heard(fd), "");
    unsetenv("NOTIFY_SOCKET");
    watchdog_ready();
    CHECK_TEXT(heard(fd), "");
    close(fd);
    if (*path == '/')
        unlink(path);
}

int main(void)
{
    (void)log_set_level_name("error");
    test_progress();
    test_nothing_to_do();
    test_signs("/tmp/vistter-liveness-%d");
    test_signs("@vistter-liveness-%d");
    return check_end();
}
