/* What an object store's mount may answer, put before libc by LD_PRELOAD: the call named in FAULT fails as told.
 *
 *   rename-both     the target is replaced, the temporary stays, EIO     (the copy worked, the deletion did not)
 *   rename-lost     the rename takes place, EIO                          (the answer got lost)
 *   rename-fails    nothing happens, EIO
 *   close-fails     the file is closed, EIO                              (the upload failed)
 *   fsync-fails     EIO
 *   fsync-none      EINVAL                                               (a file system without fsync)
 *   short           the file loses its second half before it is closed   (a truncated upload)
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int asked(const char *name) {
  const char *fault = getenv("FAULT");
  return fault != NULL && strcmp(fault, name) == 0;
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
  } else if (asked("rename-lost")) {
    if (real(from, to) != 0) return -1;
  } else if (!asked("rename-fails")) {
    return real(from, to);
  }
  errno = EIO;
  return -1;
}

int fsync(int fd) {
  int (*real)(int) = dlsym(RTLD_NEXT, "fsync");
  if (asked("fsync-none") || (asked("fsync-fails") && is_temporary(fd))) {
    errno = asked("fsync-none") ? EINVAL : EIO;
    return -1;
  }
  return real(fd);
}

int close(int fd) {
  int (*real)(int) = dlsym(RTLD_NEXT, "close");
  struct stat status;
  int temporary = (asked("close-fails") || asked("short")) && is_temporary(fd);
  if (temporary && asked("short") && fstat(fd, &status) == 0 && ftruncate(fd, status.st_size / 2) != 0) return -1;
  int result = real(fd);
  if (temporary && asked("close-fails")) {
    errno = EIO;
    return -1;
  }
  return result;
}
