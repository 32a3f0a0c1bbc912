/* Makes the n-th call that changes a file under a directory fail, stop half way, or kill its process.
 *
 * Loaded with LD_PRELOAD. `shim_arm` says which call, in which way, and where to note what happened; until then every
 * call goes through. Calls are counted from 1, in all threads together, if the path or descriptor that they change lies
 * in the directory.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum { COUNT, FAIL, HALF, KILL_BEFORE, KILL_AFTER };

struct note { /* in memory that the process which waits for this one can read */
    long count;       /* calls so far */
    long fired;       /* 1 once the call was reached */
    char what[1016];  /* its name and path */
};

static struct note unread, *note = &unread;
static char directory[PATH_MAX];
static long target;
static int mode, error;

void shim_arm(const char *where, long n, int how, int number, struct note *to) {
    snprintf(directory, sizeof directory, "%s", where);
    target = n, mode = how, error = number, note = to;
}

/* The absolute path of a name relative to a directory's descriptor; of the descriptor itself if there is no name. */
static void resolve(int at, const char *name, char *path) {
    char link[64], folder[PATH_MAX];
    if (name && name[0] == '/') {
        snprintf(path, PATH_MAX, "%s", name);
        return;
    }
    if (at == AT_FDCWD)
        snprintf(link, sizeof link, "/proc/self/cwd");
    else
        snprintf(link, sizeof link, "/proc/self/fd/%d", at);
    ssize_t length = readlink(link, folder, sizeof folder - 1);
    folder[length < 0 ? 0 : length] = 0;
    if (name)
        snprintf(path, PATH_MAX, "%.2000s/%.2000s", folder, name);
    else
        snprintf(path, PATH_MAX, "%s", folder);
}

/* Counts a call; returns whether it is the one. It is killed here if that is to happen before it. */
static int reached(const char *call, int at, const char *name) {
    char path[PATH_MAX];
    size_t length = strlen(directory);
    if (!length)
        return 0;
    int before = errno;
    resolve(at, name, path);
    errno = before;
    if (strncmp(path, directory, length) || (path[length] && path[length] != '/'))
        return 0;
    if (__atomic_add_fetch(&note->count, 1, __ATOMIC_SEQ_CST) != target || mode == COUNT)
        return 0;
    snprintf(note->what, sizeof note->what, "%s %.900s", call, path + length);
    note->fired = 1;
    if (mode == KILL_BEFORE)
        kill(getpid(), SIGKILL);
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* The call itself, or its failure. */
#define AROUND(call, at, path, failed, real)         \
    do {                                             \
        int it = reached(call, at, path);            \
        if (it && (mode == FAIL || mode == HALF)) {  \
            errno = error;                           \
            return failed;                           \
        }                                            \
        __typeof__(real) result = real;              \
        if (it && mode == KILL_AFTER)                \
            kill(getpid(), SIGKILL);                 \
        return result;                               \
    } while (0)

/* The call fails, in the mode HALF after it has written half of its bytes. */
#define AROUND_WRITE(call, fd, size, real_of)                \
    do {                                                     \
        int it = reached(call, fd, NULL);                    \
        if (it && (mode == FAIL || mode == HALF)) {          \
            if (mode == HALF && (size) > 1) {                \
                size_t half = (size) / 2;                    \
                ssize_t ignored = real_of(half);             \
                (void)ignored;                               \
            }                                                \
            errno = error;                                   \
            return -1;                                       \
        }                                                    \
        ssize_t result = real_of(size);                      \
        if (it && mode == KILL_AFTER)                        \
            kill(getpid(), SIGKILL);                         \
        return result;                                       \
    } while (0)

ssize_t write(int fd, const void *from, size_t size) {
#define REAL_WRITE(n) REAL(write)(fd, from, n)
    AROUND_WRITE("write", fd, size, REAL_WRITE);
}

ssize_t pwrite64(int fd, const void *from, size_t size, off64_t at) {
#define REAL_PWRITE(n) REAL(pwrite64)(fd, from, n, at)
    AROUND_WRITE("pwrite", fd, size, REAL_PWRITE);
}

ssize_t pwrite(int fd, const void *from, size_t size, off_t at) { return pwrite64(fd, from, size, at); }

int fsync(int fd) { AROUND("fsync", fd, NULL, -1, REAL(fsync)(fd)); }
int fdatasync(int fd) { AROUND("fdatasync", fd, NULL, -1, REAL(fdatasync)(fd)); }
int ftruncate(int fd, off_t size) { AROUND("ftruncate", fd, NULL, -1, REAL(ftruncate)(fd, size)); }
int ftruncate64(int fd, off64_t size) { AROUND("ftruncate", fd, NULL, -1, REAL(ftruncate64)(fd, size)); }
int mkdir(const char *path, mode_t bits) { AROUND("mkdir", AT_FDCWD, path, -1, REAL(mkdir)(path, bits)); }
int rmdir(const char *path) { AROUND("rmdir", AT_FDCWD, path, -1, REAL(rmdir)(path)); }
int unlink(const char *path) { AROUND("unlink", AT_FDCWD, path, -1, REAL(unlink)(path)); }
int unlinkat(int at, const char *path, int flags) {
    AROUND(flags & AT_REMOVEDIR ? "rmdir" : "unlink", at, path, -1, REAL(unlinkat)(at, path, flags));
}
int rename(const char *from, const char *to) { AROUND("rename", AT_FDCWD, to, -1, REAL(rename)(from, to)); }
int renameat(int at, const char *from, int there, const char *to) {
    AROUND("rename", there, to, -1, REAL(renameat)(at, from, there, to));
}
int link(const char *from, const char *to) { AROUND("link", AT_FDCWD, to, -1, REAL(link)(from, to)); }

/* Opening counts if it is for writing. Each of the names with and without 64 is the same call of the kernel. */
static int opened(int at, const char *path, int flags, mode_t bits) {
    if ((flags & O_ACCMODE) == O_RDONLY)
        return REAL(openat)(at, path, flags, bits);
    AROUND("open", at, path, -1, REAL(openat)(at, path, flags, bits));
}

#define BITS(flags, bits)                                      \
    mode_t bits = 0;                                           \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {                   \
        va_list rest;                                          \
        va_start(rest, flags);                                 \
        bits = va_arg(rest, mode_t);                           \
        va_end(rest);                                          \
    }

int open(const char *path, int flags, ...) {
    BITS(flags, bits)
    return opened(AT_FDCWD, path, flags, bits);
}
int open64(const char *path, int flags, ...) {
    BITS(flags, bits)
    return opened(AT_FDCWD, path, flags, bits);
}
int openat(int at, const char *path, int flags, ...) {
    BITS(flags, bits)
    return opened(at, path, flags, bits);
}
int openat64(int at, const char *path, int flags, ...) {
    BITS(flags, bits)
    return opened(at, path, flags, bits);
}
