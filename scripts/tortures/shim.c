/* Faults of a disk, put before the C library (LD_PRELOAD), counted over what changes files below one folder.

   TORTURE_UNDER  the folder, absolute; several, to be counted each, are parted by colons
   TORTURE_AT     number of the operation, from 1, at which it happens
   TORTURE_DO     kill: half of the write is done, then SIGKILL; full: this and all later ones fail with ENOSPC
   TORTURE_COUNT  a file of eight 64-bit numbers, one a folder: the operations so far of all processes together, so
                  that of several exactly one is killed, once
   TORTURE_CLOCK  seconds that the time of day is put on, or with a minus back */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define FOLDERS 8

static atomic_long own[FOLDERS], *_Atomic seen;
static __thread int busy; /* our own calls are not counted */

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* Which of the folders a path is below, from 1; 0: none. */
static int below(const char *path) {
    const char *under = getenv("TORTURE_UNDER");
    char full[8192];
    if (!under || !path) return 0;
    if (path[0] != '/') {
        char here[4096];
        if (!getcwd(here, sizeof here)) return 0;
        snprintf(full, sizeof full, "%s/%s", here, path);
        path = full;
    }
    for (int number = 1; under && number <= FOLDERS; number++) {
        size_t length = strcspn(under, ":");
        if (length && !strncmp(path, under, length) && (path[length] == '/' || !path[length])) return number;
        under = under[length] ? under + length + 1 : NULL;
    }
    return 0;
}

static int below_fd(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return below(path);
}

/* The numbers so far: those of all processes, where there is a file for them. */
static atomic_long *counters(void) {
    atomic_long *found = atomic_load(&seen);
    const char *count = getenv("TORTURE_COUNT");
    if (found) return found;
    int fd = count ? (int)syscall(SYS_openat, AT_FDCWD, count, O_RDWR | O_CLOEXEC) : -1;
    void *shared = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof own, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0) syscall(SYS_close, fd);
    found = shared == MAP_FAILED ? own : shared;
    atomic_store(&seen, found); /* two threads may map it both; it is the same file */
    return found;
}

/* 0: go on; 1: kill now; 2: no space. */
static int due(int folder) {
    const char *at = getenv("TORTURE_AT"), *what = getenv("TORTURE_DO");
    long number = atomic_fetch_add(&counters()[folder - 1], 1) + 1;
    if (!at || !what) return 0;
    if (!strcmp(what, "kill")) return number == atol(at);
    return number >= atol(at) ? 2 : 0;
}

static int fault(int folder, int spare) {
    int found, before = errno;
    if (busy || !folder) return 0;
    busy = 1;
    found = due(folder);
    busy = 0;
    errno = before;
    if (found == 1 && !spare) kill(getpid(), SIGKILL);
    if (found == 2) errno = ENOSPC;
    return found;
}

#define WRITES(whole, half)                     \
    int found = fault(below_fd(fd), 1);         \
    if (found == 2) return -1;                  \
    if (found == 1) {                           \
        half;                                   \
        kill(getpid(), SIGKILL);                \
    }                                           \
    return whole

ssize_t write(int fd, const void *data, size_t size) {
    WRITES(syscall(SYS_write, fd, data, size), syscall(SYS_write, fd, data, size / 2));
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    WRITES(syscall(SYS_pwrite64, fd, data, size, at), syscall(SYS_pwrite64, fd, data, size / 2, at));
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return pwrite64(fd, data, size, at); }
ssize_t sendfile64(int fd, int from, off64_t *at, size_t size) {
    WRITES(syscall(SYS_sendfile, fd, from, at, size), syscall(SYS_sendfile, fd, from, at, size / 2));
}
ssize_t sendfile(int fd, int from, off_t *at, size_t size) { return sendfile64(fd, from, at, size); }
size_t fwrite(const void *data, size_t size, size_t count, FILE *stream) {
    int found = fault(below_fd(fileno(stream)), 0);
    return found == 2 ? 0 : NEXT(fwrite)(data, size, count, stream);
}
int fsync(int fd) { return fault(below_fd(fd), 0) == 2 ? -1 : (int)syscall(SYS_fsync, fd); }
int rename(const char *from, const char *to) {
    return fault(below(to), 0) == 2 ? -1 : (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
}
int mkdir(const char *path, mode_t mode) {
    return fault(below(path), 0) == 2 ? -1 : (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}
int unlink(const char *path) { /* makes room rather than takes it */
    return fault(below(path), 0) == 1 ? -1 : (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}
static int opened(int folder, const char *path, int flags, mode_t mode) {
    struct stat there;
    int makes = (flags & O_CREAT) && syscall(SYS_newfstatat, AT_FDCWD, path, &there, 0) ? below(path) : 0;
    return fault(makes, 0) == 2 ? -1 : (int)syscall(SYS_openat, folder, path, flags, mode);
}
#define OPENS(folder)                           \
    mode_t mode = 0;                            \
    va_list more;                               \
    va_start(more, flags);                      \
    if (flags & (O_CREAT | O_TMPFILE)) mode = va_arg(more, mode_t); \
    va_end(more);                               \
    return opened(folder, path, flags, mode)
int open(const char *path, int flags, ...) { OPENS(AT_FDCWD); }
int open64(const char *path, int flags, ...) { OPENS(AT_FDCWD); }
int openat(int folder, const char *path, int flags, ...) { OPENS(folder); }
int openat64(int folder, const char *path, int flags, ...) { OPENS(folder); }

static long shift(void) {
    const char *clock = getenv("TORTURE_CLOCK");
    return clock ? atol(clock) : 0;
}
int clock_gettime(clockid_t which, struct timespec *found) {
    int code = (int)syscall(SYS_clock_gettime, which, found);
    if (!code && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) found->tv_sec += shift();
    return code;
}
int gettimeofday(struct timeval *restrict found, void *restrict zone) {
    int code = (int)syscall(SYS_gettimeofday, found, zone);
    if (!code) found->tv_sec += shift();
    return code;
}
time_t time(time_t *into) {
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    if (into) *into = found.tv_sec;
    return found.tv_sec;
}
