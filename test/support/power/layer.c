/*
 * A file layer that notes what a process does to one directory, and ends the process at a given operation as a power cut
 * would: LD_PRELOAD it. Every operation is performed and appended to a trace, in the one order in which it happened; `disk.ts`
 * reads the trace and says what may be left. An fsync takes its time and does nothing else: what is on the disk is decided
 * there.
 *
 * POWER_DIRECTORY  the directory, absolute
 * POWER_TRACE      the file for the trace, outside of it
 * POWER_CUT_AT     the operation at which the process ends, counted from 1: before it, or in the middle of a write; 0 = never
 * POWER_CUT_RARE   1 = only what is no data, and no fsync of a journal, counts
 * POWER_SEED       for what is random
 *
 * LevelDB writes through stdio, whose calls of write(2) cannot be interposed: its streams get a write function of ours.
 *
 * A record of the trace, in the machine's byte order: kind (1), flags (1), zero (2), descriptor (4), offset (8), length (4),
 * then as many bytes: data, a path, or two paths with a NUL between. Paths are relative to the directory.
 *
 * O open (flags: 1 created, 2 emptied)  W write  T truncate  S fsync begins  s fsync ends  C close
 * R rename  U unlink  M mkdir  D rmdir  X the cut (text: at which operation, on what)
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { descriptors = 4096, streams = 256, stream_buffer = 4096 };
enum file { unwatched, other, folder, journal, table, manifest, current, diary };
static const char *const names[] = {"", "number", "directory", "journal", "table", "MANIFEST", "CURRENT", "diary"};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char directory[4096];
static size_t directory_length;
static int trace = -1;
static long operations;
static long cut_at;
static int rare_only;
static uint64_t state;
static unsigned char watched[descriptors];
static struct stream {
  FILE *file;
  int fd;
  char buffer[stream_buffer];
} *open_streams[streams];

/* Looked up once: dlsym takes a lock, under which others may wait for a call of ours. */
#define REAL(name)                                        \
  ({                                                      \
    static __typeof__(&name) found;                       \
    if (found == NULL) found = (__typeof__(&name))real(#name); \
    found;                                                \
  })

static void *real(const char *name) {
  void *found = dlsym(RTLD_NEXT, name);
  if (found == NULL) abort();
  return found;
}

static long (*real_syscall)(long, ...);

static long number(const char *name) {
  const char *text = getenv(name);
  return text == NULL ? 0 : atol(text);
}

__attribute__((constructor)) static void begin(void) {
  real_syscall = REAL(syscall);
  const char *where = getenv("POWER_DIRECTORY");
  const char *to = getenv("POWER_TRACE");
  if (where == NULL || to == NULL || strlen(where) + 1 >= sizeof directory) return;
  cut_at = number("POWER_CUT_AT");
  rare_only = number("POWER_CUT_RARE") == 1;
  state = (uint64_t)number("POWER_SEED") * 2654435761u + 88172645463325252u;
  trace = REAL(open64)(to, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (trace < 0) abort();
  strcpy(directory, where);
  directory_length = strlen(directory);
}

/* With the lock held. */
static uint64_t chance(uint64_t below) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return below == 0 ? 0 : state % below;
}

/* The path below the directory; NULL for one that is not there. */
static const char *below(const char *path) {
  if (directory_length == 0 || path == NULL || strncmp(path, directory, directory_length) != 0) return NULL;
  if (path[directory_length] == '\0') return "";
  return path[directory_length] == '/' ? path + directory_length + 1 : NULL;
}

static int ends_with(const char *text, const char *ending) {
  size_t length = strlen(text);
  size_t all = strlen(ending);
  return length >= all && strcmp(text + length - all, ending) == 0;
}

static enum file file_of(const char *path) {
  const char *slash = strrchr(path, '/');
  const char *name = slash == NULL ? path : slash + 1;
  if (ends_with(name, ".log")) return journal;
  if (ends_with(name, ".ldb")) return table;
  if (ends_with(name, ".dbtmp") || strcmp(name, "CURRENT") == 0) return current;
  if (strncmp(name, "MANIFEST-", 9) == 0) return manifest;
  if (strcmp(name, "LOG") == 0 || strcmp(name, "LOG.old") == 0) return diary;
  return other;
}

static enum file file_at(int fd) { return fd >= 0 && fd < descriptors ? watched[fd] : unwatched; }

static void note(char kind, int flags, int fd, int64_t offset, const void *bytes, uint32_t length) {
  int before = errno;
  char head[20] = {kind, (char)flags};
  memcpy(head + 4, &fd, 4);
  memcpy(head + 8, &offset, 8);
  memcpy(head + 16, &length, 4);
  struct iovec parts[2] = {{head, sizeof head}, {(void *)bytes, length}};
  if (REAL(writev)(trace, parts, 2) != (ssize_t)(sizeof head + length)) abort();
  errno = before;
}

static void end(const char *operation, enum file file) {
  char text[64];
  int length = snprintf(text, sizeof text, "%s %s", operation, names[file]);
  note('X', 0, -1, 0, text, length);
  REAL(kill)(getpid(), SIGKILL);
  for (;;) pause();
}

/* Whether the power goes at this operation. */
static int is_cut(int rare) {
  if (rare_only && !rare) return 0;
  operations += 1;
  return operations == cut_at;
}

static void before(const char *operation, enum file file, int rare) {
  if (is_cut(rare)) end(operation, file);
}

static int opened(const char *path, int flags, mode_t mode) {
  const char *name = below(path);
  if (name == NULL) return REAL(open64)(path, flags, mode);
  pthread_mutex_lock(&lock);
  struct stat64 found;
  int is_there = stat64(path, &found) == 0;
  int writes = (flags & O_ACCMODE) != O_RDONLY;
  int creates = !is_there && (flags & O_CREAT);
  int empties = is_there && writes && (flags & O_TRUNC);
  if (creates || empties) before(creates ? "create" : "empty", file_of(name), 1);
  int fd = REAL(open64)(path, flags, mode);
  /* of what is read only directories matter: they are fsynced */
  int is_folder = is_there && S_ISDIR(found.st_mode);
  if (fd >= 0 && (writes || is_folder)) {
    if (fd >= descriptors) abort();
    watched[fd] = is_folder ? folder : file_of(name);
    note('O', (creates ? 1 : 0) | (empties ? 2 : 0), fd, 0, name, strlen(name));
  }
  pthread_mutex_unlock(&lock);
  return fd;
}

/* With `offset` -1: where the descriptor stands. */
static ssize_t written(int fd, const void *bytes, size_t length, int64_t offset) {
  enum file file = file_at(fd);
  int64_t at = offset;
  if (offset < 0) {
    struct stat64 found;
    at = fcntl(fd, F_GETFL) & O_APPEND ? (fstat64(fd, &found) == 0 ? found.st_size : 0) : lseek64(fd, 0, SEEK_CUR);
  }
  int cut = is_cut(file != journal && file != table && file != diary);
  size_t part = cut ? chance(length + 1) : length;
  ssize_t done = part == 0 ? 0 : offset < 0 ? REAL(write)(fd, bytes, part) : REAL(pwrite64)(fd, bytes, part, offset);
  note('W', 0, fd, at, bytes, done < 0 ? 0 : done);
  if (cut) end("write", file);
  return done;
}

static ssize_t written_parts(int fd, const struct iovec *parts, int count, int64_t offset) {
  ssize_t all = 0;
  for (int n = 0; n < count; n++) {
    ssize_t done = written(fd, parts[n].iov_base, parts[n].iov_len, offset < 0 ? -1 : offset + all);
    if (done < 0) return all > 0 ? all : done;
    all += done;
    if ((size_t)done < parts[n].iov_len) break;
  }
  return all;
}

static int synced(int fd) {
  enum file file = file_at(fd);
  pthread_mutex_lock(&lock);
  before("fsync", file, file != journal);
  note('S', 0, fd, 0, NULL, 0);
  useconds_t takes = chance(600);
  pthread_mutex_unlock(&lock);
  usleep(takes);
  pthread_mutex_lock(&lock);
  before("end of fsync", file, file != journal);
  note('s', 0, fd, 0, NULL, 0);
  pthread_mutex_unlock(&lock);
  return 0;
}

static int truncated(int fd, off64_t length) {
  pthread_mutex_lock(&lock);
  before("truncate", file_at(fd), 1);
  int result = REAL(ftruncate64)(fd, length);
  if (result == 0) note('T', 0, fd, length, NULL, 0);
  pthread_mutex_unlock(&lock);
  return result;
}

static int closed(int fd) {
  pthread_mutex_lock(&lock);
  watched[fd] = unwatched;
  note('C', 0, fd, 0, NULL, 0);
  int result = REAL(close)(fd);
  pthread_mutex_unlock(&lock);
  return result;
}

int open(const char *path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, mode_t) : 0;
  va_end(more);
  return opened(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, mode_t) : 0;
  va_end(more);
  return opened(path, flags, mode);
}

int creat(const char *path, mode_t mode) { return opened(path, O_WRONLY | O_CREAT | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return opened(path, O_WRONLY | O_CREAT | O_TRUNC, mode); }

ssize_t write(int fd, const void *bytes, size_t length) {
  if (file_at(fd) == unwatched) return REAL(write)(fd, bytes, length);
  pthread_mutex_lock(&lock);
  ssize_t done = written(fd, bytes, length, -1);
  pthread_mutex_unlock(&lock);
  return done;
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) { return pwrite64(fd, bytes, length, offset); }

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
  if (file_at(fd) == unwatched) return REAL(pwrite64)(fd, bytes, length, offset);
  pthread_mutex_lock(&lock);
  ssize_t done = written(fd, bytes, length, offset);
  pthread_mutex_unlock(&lock);
  return done;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  if (file_at(fd) == unwatched) return REAL(writev)(fd, parts, count);
  pthread_mutex_lock(&lock);
  ssize_t done = written_parts(fd, parts, count, -1);
  pthread_mutex_unlock(&lock);
  return done;
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
  if (file_at(fd) == unwatched) return REAL(pwritev64)(fd, parts, count, offset);
  pthread_mutex_lock(&lock);
  ssize_t done = written_parts(fd, parts, count, offset);
  pthread_mutex_unlock(&lock);
  return done;
}

int ftruncate(int fd, off_t length) { return file_at(fd) == unwatched ? REAL(ftruncate64)(fd, length) : truncated(fd, length); }
int ftruncate64(int fd, off64_t length) { return file_at(fd) == unwatched ? REAL(ftruncate64)(fd, length) : truncated(fd, length); }
int fsync(int fd) { return file_at(fd) == unwatched ? REAL(fsync)(fd) : synced(fd); }
int fdatasync(int fd) { return file_at(fd) == unwatched ? REAL(fdatasync)(fd) : synced(fd); }
int close(int fd) { return file_at(fd) == unwatched ? REAL(close)(fd) : closed(fd); }

/* libuv closes without the C library's close. */
long syscall(long which, ...) {
  long given[6];
  va_list more;
  va_start(more, which);
  for (int n = 0; n < 6; n++) given[n] = va_arg(more, long);
  va_end(more);
  if (which == SYS_close && file_at(given[0]) != unwatched) return closed(given[0]);
  if (real_syscall == NULL) real_syscall = REAL(syscall);
  return real_syscall(which, given[0], given[1], given[2], given[3], given[4], given[5]);
}

/* The end that a process makes of itself: not between an operation of another thread and its note. */
int kill(pid_t pid, int signal) {
  if (pid != getpid() || signal != SIGKILL) return REAL(kill)(pid, signal);
  pthread_mutex_lock(&lock);
  return REAL(kill)(pid, signal);
}

int rename(const char *from, const char *to) {
  const char *one = below(from);
  const char *two = below(to);
  if (one == NULL && two == NULL) return REAL(rename)(from, to);
  /* what comes from outside, or goes there, is more than the trace can tell */
  if (one == NULL || two == NULL) abort();
  char both[2 * sizeof directory];
  int length = snprintf(both, sizeof both, "%s%c%s", one, 0, two);
  pthread_mutex_lock(&lock);
  before("rename", file_of(two), 1);
  int result = REAL(rename)(from, to);
  if (result == 0) note('R', 0, -1, 0, both, length);
  pthread_mutex_unlock(&lock);
  return result;
}

int unlink(const char *path) {
  const char *name = below(path);
  if (name == NULL) return REAL(unlink)(path);
  pthread_mutex_lock(&lock);
  before("unlink", file_of(name), 1);
  int result = REAL(unlink)(path);
  if (result == 0) note('U', 0, -1, 0, name, strlen(name));
  pthread_mutex_unlock(&lock);
  return result;
}

int mkdir(const char *path, mode_t mode) {
  const char *name = below(path);
  if (name == NULL) return REAL(mkdir)(path, mode);
  pthread_mutex_lock(&lock);
  struct stat64 found;
  if (stat64(path, &found) != 0) before("mkdir", folder, 1);
  int result = REAL(mkdir)(path, mode);
  if (result == 0) note('M', 0, -1, 0, name, strlen(name));
  pthread_mutex_unlock(&lock);
  return result;
}

int rmdir(const char *path) {
  const char *name = below(path);
  if (name == NULL) return REAL(rmdir)(path);
  pthread_mutex_lock(&lock);
  before("rmdir", folder, 1);
  int result = REAL(rmdir)(path);
  if (result == 0) note('D', 0, -1, 0, name, strlen(name));
  pthread_mutex_unlock(&lock);
  return result;
}

static ssize_t stream_write(void *cookie, const char *bytes, size_t length) {
  ssize_t done = write(((struct stream *)cookie)->fd, bytes, length);
  return done < 0 ? 0 : done;
}

static int stream_close(void *cookie) {
  struct stream *stream = cookie;
  int result = close(stream->fd);
  pthread_mutex_lock(&lock);
  for (int n = 0; n < streams; n++)
    if (open_streams[n] == stream) open_streams[n] = NULL;
  pthread_mutex_unlock(&lock);
  free(stream);
  return result;
}

FILE *fopen64(const char *path, const char *mode) {
  if (below(path) == NULL || mode[0] == 'r') return REAL(fopen64)(path, mode);
  int fd = opened(path, O_WRONLY | O_CREAT | O_CLOEXEC | (mode[0] == 'a' ? O_APPEND : O_TRUNC), 0666);
  if (fd < 0) return NULL;
  struct stream *stream = malloc(sizeof *stream);
  if (stream == NULL) abort();
  stream->fd = fd;
  stream->file = fopencookie(stream, "w", (cookie_io_functions_t){.write = stream_write, .close = stream_close});
  if (stream->file == NULL) abort();
  setvbuf(stream->file, stream->buffer, _IOFBF, stream_buffer);
  pthread_mutex_lock(&lock);
  int place = 0;
  while (place < streams && open_streams[place] != NULL) place += 1;
  if (place == streams) abort();
  open_streams[place] = stream;
  pthread_mutex_unlock(&lock);
  return stream->file;
}

FILE *fopen(const char *path, const char *mode) { return fopen64(path, mode); }

int fileno(FILE *file) {
  pthread_mutex_lock(&lock);
  for (int n = 0; n < streams; n++) {
    if (open_streams[n] == NULL || open_streams[n]->file != file) continue;
    int fd = open_streams[n]->fd;
    pthread_mutex_unlock(&lock);
    return fd;
  }
  pthread_mutex_unlock(&lock);
  return REAL(fileno)(file);
}
