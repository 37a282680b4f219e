/* What an object store's mount may answer, put before libc by LD_PRELOAD: the call named in FAULT fails as told.
 *
 *   rename-both     the target is replaced, the temporary stays, EIO     (the copy worked, the deletion did not)
 *   rename-lost     the rename takes place, EIO                          (the answer got lost)
 *   rename-fails    nothing happens, EIO
 *   close-fails     the file is closed, EIO                              (the upload failed)
 *   fsync-fails     EIO
 *   fsync-none      EINVAL                                               (a file system without fsync)
 *   rename-again    the rename takes place, ENOENT                       (a client sent its request twice)
 *   rename-none     ENOSYS                                               (a mount without rename)
 *   vanish          the temporary is gone after it is closed
 *   folder-N        fsync of a folder answers errno N
 *   create-exists   the temporary is made, EEXIST, once                  (a client sent its request twice)
 *   source-shorter, source-longer, source-replaced   while l1/1.txt is read, once
 *   source-restless                                  it grows each time that it is read
 *   clock-ahead     this machine's clock is two days ahead of the store's
 *   daemon-dead     reading and closing a source answers ENOTCONN
 *   short           the file loses its second half before it is closed   (a truncated upload)
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static int asked(const char *name) {
  const char *fault = getenv("FAULT");
  return fault != NULL && strcmp(fault, name) == 0;
}

static int begins(const char *name) {
  const char *fault = getenv("FAULT");
  return fault != NULL && strncmp(fault, name, strlen(name)) == 0;
}

/* The path of a descriptor in `path`; whether `part` is in it. */
static int is_below(int fd, const char *part, char *path) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, PATH_MAX - 1);
  path[length < 0 ? 0 : length] = 0;
  return strstr(path, part) != NULL;
}

/* Whether the descriptor is open for writing on a temporary of the worker. */
static int is_temporary(int fd) {
  char link[64], path[PATH_MAX];
  int flags = fcntl(fd, F_GETFL);
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY || length < 4) return 0;
  return strncmp(path + length - 4, ".tmp", 4) == 0;
}

int rename(const char *from, const char *to) {
  int (*real)(const char *, const char *) = dlsym(RTLD_NEXT, "rename");
  if (asked("rename-both")) {
    char copy[PATH_MAX];
    snprintf(copy, sizeof copy, "%s.copy", from);
    if (link(from, copy) != 0 || real(copy, to) != 0) return -1;
  } else if (asked("rename-lost") || asked("rename-again")) {
    if (real(from, to) != 0) return -1;
    if (asked("rename-again")) {
      errno = ENOENT;
      return -1;
    }
  } else if (asked("rename-none")) {
    errno = ENOSYS;
    return -1;
  } else if (!asked("rename-fails")) {
    return real(from, to);
  }
  errno = EIO;
  return -1;
}

int fsync(int fd) {
  int (*real)(int) = dlsym(RTLD_NEXT, "fsync");
  struct stat status;
  if (begins("folder-") && fstat(fd, &status) == 0 && S_ISDIR(status.st_mode)) {
    errno = atoi(getenv("FAULT") + strlen("folder-"));
    return -1;
  }
  if (asked("fsync-none") || (asked("fsync-fails") && is_temporary(fd))) {
    errno = asked("fsync-none") ? EINVAL : EIO;
    return -1;
  }
  return real(fd);
}

int close(int fd) {
  int (*real)(int) = dlsym(RTLD_NEXT, "close");
  struct stat status;
  char path[PATH_MAX];
  if (asked("vanish") && is_temporary(fd) && is_below(fd, ".tmp", path)) unlink(path);
  if (asked("daemon-dead") && is_below(fd, "/l1/", path)) {
    real(fd);
    errno = ENOTCONN;
    return -1;
  }
  int temporary = (asked("close-fails") || asked("short")) && is_temporary(fd);
  if (temporary && asked("short") && fstat(fd, &status) == 0 && ftruncate(fd, status.st_size / 2) != 0) return -1;
  int result = real(fd);
  if (temporary && asked("close-fails")) {
    errno = EIO;
    return -1;
  }
  return result;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
  int result = real(clock, now);
  if (clock == CLOCK_REALTIME && asked("clock-ahead")) now->tv_sec += 2 * 24 * 3600;
  return result;
}

static int made;

#define OPEN(name)                                                                     \
  int name(const char *path, int flags, ...) {                                         \
    int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, #name);                     \
    va_list rest;                                                                      \
    va_start(rest, flags);                                                             \
    mode_t mode = flags & O_CREAT ? va_arg(rest, int) : 0;                             \
    va_end(rest);                                                                      \
    int fd = real(path, flags, mode);                                                  \
    if (asked("create-exists") && fd >= 0 && flags & O_EXCL && !made++) {              \
      close(fd);                                                                       \
      errno = EEXIST;                                                                  \
      return -1;                                                                       \
    }                                                                                  \
    return fd;                                                                         \
  }
OPEN(open)
OPEN(open64)

static void grow(const char *path) {
  FILE *file = fopen(path, "a");
  if (file != NULL) {
    fputs("more", file);
    fclose(file);
  }
}

static void replace(const char *path) {
  int (*real)(const char *, const char *) = dlsym(RTLD_NEXT, "rename");
  char other[PATH_MAX + 8];
  snprintf(other, sizeof other, "%s.new", path);
  real(other, path);
}

/* Before the second look into a source, and later ones. */
static int disturb(int fd) {
  static int looks, done;
  char path[PATH_MAX];
  if (asked("daemon-dead") && is_below(fd, "/l1/", path)) {
    errno = ENOTCONN;
    return -1;
  }
  if (!begins("source-") || !is_below(fd, "/l1/1.txt", path) || ++looks < 2) return 0;
  if (asked("source-restless") && looks % 4 == 2) grow(path); /* of the four looks that a copy takes */
  if (done++) return 0;
  if (asked("source-shorter") && truncate(path, 1000) != 0) return -1;
  if (asked("source-longer")) grow(path);
  if (asked("source-replaced")) replace(path);
  return 0;
}

ssize_t readv(int fd, const struct iovec *parts, int count) {
  ssize_t (*real)(int, const struct iovec *, int) = dlsym(RTLD_NEXT, "readv");
  return disturb(fd) < 0 ? -1 : real(fd, parts, count);
}

ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t size, unsigned flags) {
  ssize_t (*real)(int, off64_t *, int, off64_t *, size_t, unsigned) = dlsym(RTLD_NEXT, "copy_file_range");
  return disturb(in) < 0 ? -1 : real(in, from, out, to, size, flags);
}
