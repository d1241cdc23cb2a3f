#include "engine/base/jail.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#error "which system calls has this processor?"
#endif

#define LOAD(field)                                                                                \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offsetof(struct seccomp_data, field))
#define ANSWER(what)  BPF_STMT(BPF_RET | BPF_K, (what))
#define REFUSE(error) ANSWER(SECCOMP_RET_ERRNO | (error))
#define ALLOW(name)                                                                                \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##name, 0, 1), ANSWER(SECCOMP_RET_ALLOW)
// Where argument `i` has none, or all, of `bits`. Both machines are little-endian.
#define ALLOW_WITHOUT(name, i, bits)                                                               \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##name, 0, 4), LOAD(args[i]),                         \
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (bits), 0, 1), REFUSE(EPERM),                         \
        ANSWER(SECCOMP_RET_ALLOW)
#define ALLOW_WITH(name, i, bits)                                                                  \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##name, 0, 4), LOAD(args[i]),                         \
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (bits), 1, 0), REFUSE(EPERM),                         \
        ANSWER(SECCOMP_RET_ALLOW)

// Another architecture's calls have other numbers.
#define BEGIN                                                                                      \
    LOAD(arch), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0), REFUSE(EPERM), LOAD(nr)

#define COMPUTING                                                                                  \
    ALLOW(read), ALLOW(write), ALLOW(pread64), ALLOW(lseek), ALLOW(close), ALLOW(futex),           \
        ALLOW(munmap), ALLOW(mremap), ALLOW(madvise), ALLOW(brk), ALLOW(clock_gettime),            \
        ALLOW(getpid), ALLOW(gettid), ALLOW(sched_getaffinity), ALLOW(sched_yield),                \
        ALLOW(getrandom), ALLOW(rt_sigprocmask), ALLOW(rt_sigreturn), ALLOW(exit),                 \
        ALLOW(exit_group), ALLOW_WITHOUT(mmap, 2, PROT_EXEC),                                      \
        ALLOW_WITHOUT(mprotect, 2, PROT_EXEC)

// The thread sanitizer's own thread looks around ten times a second, and would do so without a
// pause.
#ifdef __SANITIZE_THREAD__
#define THREAD_SANITIZER , ALLOW(nanosleep), ALLOW(gettimeofday)
#else
#define THREAD_SANITIZER
#endif
// clone3's flags stand in memory, where a filter does not see them; the C library then takes clone.
#define THREADS                                                                                    \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_clone3, 0, 1), REFUSE(ENOSYS),                        \
        ALLOW_WITH(clone, 0, CLONE_THREAD), ALLOW(set_robust_list), ALLOW(rseq),                   \
        ALLOW(sigaltstack) THREAD_SANITIZER

static struct sock_filter filter[] = {BEGIN, COMPUTING, THREADS, REFUSE(EPERM)};

static int limit(int resource, rlim_t value)
{
    struct rlimit limits;
    if (getrlimit(resource, &limits))
        return -errno;
    if (limits.rlim_max != RLIM_INFINITY && limits.rlim_max < value)
        value = limits.rlim_max;
    limits.rlim_cur = limits.rlim_max = value;
    return setrlimit(resource, &limits) ? -errno : 0;
}

int jail_enter(size_t memory_bytes)
{
    const struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    int error = limit(RLIMIT_CORE, 0);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) // they map terabytes
    if (!error)
        error = limit(RLIMIT_AS, memory_bytes);
#else
    (void)memory_bytes;
#endif
    if (!error && (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
                   prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)))
        error = -errno;
    return error;
}
