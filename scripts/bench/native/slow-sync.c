/* LD_PRELOAD: each fsync and fdatasync takes SLOW_SYNC_US longer, as on an SD card. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

static void slow(void) {
  static long microseconds = -1;
  if (microseconds < 0) {
    const char *text = getenv("SLOW_SYNC_US");
    microseconds = text == NULL ? 20000 : atol(text);
  }
  usleep((useconds_t)microseconds);
}

int fsync(int fd) {
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
  int result = real(fd);
  slow();
  return result;
}

int fdatasync(int fd) {
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
  int result = real(fd);
  slow();
  return result;
}
