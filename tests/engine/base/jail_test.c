// A jailed process computes, and is refused everything else without being ended for asking.
#include "engine/base/jail.h"

#include "tests/check.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define MEMORY ((size_t)512 << 20)

static int ends[2];

static void *add_one(void *number)
{
    ++*(int *)number;
    return number;
}

// What a decoder needs.
static void test_computing(void)
{
    char bytes[8];
    int number = 1;
    pthread_t thread;
    size_t size = 1 << 20;
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK_TRUE(memory != MAP_FAILED);
    memory[size - 1] = 1;
    CHECK_OK(mprotect(memory, size, PROT_READ));
    CHECK_OK(munmap(memory, size));
    CHECK(write(ends[1], "letter", 6), ==, 6);
    CHECK(read(ends[0], bytes, sizeof bytes), ==, 6);
    int error = pthread_create(&thread, NULL, add_one, &number);
    CHECK_OK(error);
    if (!error)
        pthread_join(thread, NULL);
    CHECK(number, ==, 2);
}

#define CHECK_REFUSED(call)                                                                        \
    do {                                                                                           \
        errno = 0;                                                                                 \
        CHECK((call), ==, -1);                                                                     \
        CHECK(errno, ==, EPERM);                                                                   \
    } while (0)

static void test_refused(void)
{
    struct stat status;
    struct iovec part = {&status, 1};
    char *none[] = {NULL};
    CHECK_REFUSED(open("/etc/passwd", O_RDONLY));
    CHECK_REFUSED(open("/tmp/vistter-jail-test", O_WRONLY | O_CREAT, 0600));
    CHECK_REFUSED(unlink("/tmp/vistter-jail-test"));
    CHECK_REFUSED(stat("/etc/passwd", &status));
    CHECK_REFUSED(socket(AF_INET, SOCK_STREAM, 0));
    CHECK_REFUSED(socket(AF_UNIX, SOCK_DGRAM, 0));
    CHECK_REFUSED(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)); // as fork does
    CHECK_REFUSED(execve("/bin/true", none, none));
    CHECK_REFUSED(kill(getppid(), SIGTERM));
    CHECK_REFUSED(ptrace(PTRACE_ATTACH, getppid(), NULL, NULL));
    CHECK_REFUSED(process_vm_readv(getppid(), &part, 1, &part, 1, 0));
    CHECK_REFUSED(dup(ends[0]));
    CHECK_REFUSED(ftruncate(ends[0], 0));
    CHECK_REFUSED(prctl(PR_SET_DUMPABLE, 1));
    CHECK_REFUSED(setrlimit(RLIMIT_AS, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY}));
    CHECK_TRUE(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
               MAP_FAILED);
    CHECK(errno, ==, EPERM);
    char *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK_REFUSED(mprotect(memory, 4096, PROT_READ | PROT_EXEC));
    errno = 0;
    CHECK(syscall(SYS_clone3, NULL, 0), ==, -1);
    CHECK(errno, ==, ENOSYS);
}

static void test_memory(void)
{
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) // not limited there
    errno = 0;
    char *volatile memory = malloc(MEMORY);
    CHECK_TRUE(!memory);
    CHECK(errno, ==, ENOMEM);
    memory = malloc(MEMORY / 8);
    CHECK_TRUE(memory);
    free(memory);
#endif
}

int main(void)
{
    int status = 0;
    CHECK_OK(pipe(ends));
    pid_t child = fork();
    if (!child) {
        CHECK_OK(jail_enter(MEMORY));
        test_computing();
        test_refused();
        test_memory();
        _exit(check_end());
    }
    CHECK(waitpid(child, &status, 0), ==, child);
    CHECK(status, ==, 0);
    return check_end();
}
