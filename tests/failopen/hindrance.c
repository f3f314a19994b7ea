/* Preloaded into a recorder, hinders it as long as a test wants: the files in the directory $HINDRANCE say how.
 *
 *   stall  writes and syncs of files wait
 *   full   writes of files fail with ENOSPC
 *   late   holds a part of a name: files of it take their beginning, and fail with ENOSPC from then on
 *   broken writes and syncs of files fail with EIO
 *   unsynced  syncs of files fail with EIO, writes do not; where it holds a part of a name, those of its files alone
 *   hold   the observer's thread stands still
 *   clock  holds a number of seconds by which the wall clock is off
 *
 * `hold` in turn puts the word into `held` once the thread stands.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int path_of(char *out, size_t room, const char *name) {
    const char *dir = getenv("HINDRANCE");
    return dir && snprintf(out, room, "%s/%s", dir, name) < (int)room;
}

static int is_set(const char *name) {
    char path[512];
    return path_of(path, sizeof path, name) && access(path, F_OK) == 0;
}

static void nap(void) {
    struct timespec two_ms = {0, 2000000};
    nanosleep(&two_ms, NULL);
}

static ssize_t read_word(const char *name, char *word, size_t room) {
    char path[512];
    int saved = errno, fd = path_of(path, sizeof path, name) ? open(path, O_RDONLY) : -1;
    ssize_t had = fd < 0 ? -1 : read(fd, word, room - 1);
    if (fd >= 0) close(fd);
    if (had >= 0) word[had] = 0;
    errno = saved;
    return had;
}

/* Whether it is this file's trouble: where it holds a word, only if that is a part of the file's name. */
static int is_set_for(const char *trouble, int fd) {
    char word[64], link[64], name[512];
    ssize_t long_is = read_word(trouble, word, sizeof word);
    if (long_is <= 0) return long_is == 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t had = readlink(link, name, sizeof name - 1);
    if (had < 0) return 0;
    name[had] = 0;
    return strstr(name, word) != NULL;
}

/* 0 where the call may go on. */
static int hindered(int fd, int writes) {
    while (is_set("stall")) nap();
    int refusal = is_set("broken") || (!writes && is_set_for("unsynced", fd)) ? EIO : writes && is_set("full") ? ENOSPC : 0;
    if (refusal) errno = refusal;
    return refusal;
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    if (hindered(fd, 1)) return -1;
    if (at > 0 && is_set_for("late", fd)) {
        errno = ENOSPC;
        return -1;
    }
    return syscall(SYS_pwrite64, fd, bytes, count, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    return pwrite64(fd, bytes, count, at);
}

int fsync(int fd) { return hindered(fd, 0) ? -1 : (int)syscall(SYS_fsync, fd); }

int fdatasync(int fd) { return hindered(fd, 0) ? -1 : (int)syscall(SYS_fdatasync, fd); }

int clock_gettime(clockid_t clock, struct timespec *now) {
    int answer = (int)syscall(SYS_clock_gettime, clock, now);
    char text[32];
    if (clock == CLOCK_REALTIME && read_word("clock", text, sizeof text) > 0) now->tv_sec += atol(text);
    return answer;
}

/* The observer waits for work with a timeout. It is held there, where it holds no lock of anybody's. */
static int is_observer_at_rest(long number, const long *args) {
    char name[32];
    return number == SYS_futex && args[3] && pthread_getname_np(pthread_self(), name, sizeof name) == 0
        && !strcmp(name, "reenact-observe");
}

long syscall(long number, ...) {
    static long (*real)(long, ...);
    if (!real) real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    long args[6];
    va_list rest;
    va_start(rest, number);
    for (int i = 0; i < 6; i++) args[i] = va_arg(rest, long);
    va_end(rest);
    if (is_observer_at_rest(number, args) && is_set("hold")) {
        char path[512];
        if (path_of(path, sizeof path, "held")) close(open(path, O_CREAT | O_WRONLY, 0600));
        while (is_set("hold")) nap();
    }
    return real(number, args[0], args[1], args[2], args[3], args[4], args[5]);
}
