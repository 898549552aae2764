/* What the generators share: a clock, a histogram of latencies, options of the command line, CPU time. */
#ifndef MEASURE_H
#define MEASURE_H

#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>

#define SECOND 1000000000ll
#define MILLISECOND 1000000ll

/* Nanoseconds of CLOCK_MONOTONIC: the same in all processes of a machine, so that a payload may carry it. */
static inline int64_t now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * SECOND + time.tv_nsec;
}

static inline double cpu_seconds(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static inline void fail(const char *what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

/* 64 buckets for each power of two: exact to 1.6 %. */
#define BUCKETS (64 * 48)
struct histogram {
  uint64_t count;
  int64_t most;
  uint32_t buckets[BUCKETS];
};

static inline void note(struct histogram *histogram, int64_t ns) {
  if (ns < 0) ns = 0;
  int shift = ns < 64 ? 0 : 63 - __builtin_clzll((uint64_t)ns) - 6;
  int at = shift * 64 + (int)(ns >> shift);
  histogram->buckets[at < BUCKETS ? at : BUCKETS - 1]++;
  histogram->count++;
  if (ns > histogram->most) histogram->most = ns;
}

/* Milliseconds that `share` of the noted values do not exceed. */
static inline double percentile(const struct histogram *histogram, double share) {
  uint64_t left = (uint64_t)(histogram->count * share);
  for (int at = 0; at < BUCKETS; at++) {
    if (histogram->buckets[at] > left) {
      int shift = at < 128 ? 0 : at / 64 - 1;
      int64_t ns = (int64_t)(at - shift * 64) << shift;
      return ns / 1e6;
    }
    left -= histogram->buckets[at];
  }
  return histogram->most / 1e6;
}

static inline void print_histogram(const char *name, const struct histogram *histogram) {
  printf("\"%s\":{\"count\":%llu,\"p50\":%.3f,\"p90\":%.3f,\"p99\":%.3f,\"p999\":%.3f,\"max\":%.3f},", name,
         (unsigned long long)histogram->count, percentile(histogram, 0.5), percentile(histogram, 0.9),
         percentile(histogram, 0.99), percentile(histogram, 0.999), histogram->most / 1e6);
}

/* Options are `key=value`; text and number give a default where there is none. An unknown one is an error. */
static int option_count;
static char **option_list;
static uint64_t option_used;

static inline const char *text_option(const char *key, const char *otherwise) {
  size_t length = strlen(key);
  for (int at = 0; at < option_count; at++)
    if (strncmp(option_list[at], key, length) == 0 && option_list[at][length] == '=') {
      option_used |= 1ull << at;
      return option_list[at] + length + 1;
    }
  return otherwise;
}

static inline double number_option(const char *key, double otherwise) {
  const char *text = text_option(key, NULL);
  return text == NULL ? otherwise : atof(text);
}

static inline void no_more_options(void) {
  for (int at = 0; at < option_count; at++)
    if (!(option_used & (1ull << at))) {
      fprintf(stderr, "unknown option %s\n", option_list[at]);
      exit(2);
    }
}

/* The payload carries the intended time of sending, 16 hexadecimal digits, then filler up to its size. */
#define STAMP 16
static inline void write_stamp(uint8_t *out, int64_t ns) {
  for (int at = STAMP - 1; at >= 0; at--, ns >>= 4) out[at] = "0123456789abcdef"[ns & 15];
}

/* 0: there is none. */
static inline int64_t read_stamp(const uint8_t *in, size_t length) {
  if (length < STAMP) return 0;
  int64_t ns = 0;
  for (int at = 0; at < STAMP; at++) {
    int digit = in[at] >= '0' && in[at] <= '9' ? in[at] - '0' : in[at] >= 'a' && in[at] <= 'f' ? in[at] - 'a' + 10 : -1;
    if (digit < 0) return 0;
    ns = ns << 4 | digit;
  }
  return ns;
}

/* Set by SIGTERM and SIGINT: end now and print the figures. */
static volatile sig_atomic_t told_to_end;
static inline void on_signal(int number) {
  (void)number;
  told_to_end = 1;
}

/* Dies with its parent, takes signals, has as many descriptors as it may, and sleeps to the microsecond. */
static inline void set_up(int argc, char **argv) {
  option_count = argc;
  option_list = argv;
  if (argc > 63) {
    fprintf(stderr, "too many options\n");
    exit(2);
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  prctl(PR_SET_TIMERSLACK, 1000);
  struct sigaction action = {.sa_handler = on_signal};
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGINT, &action, NULL);
  signal(SIGPIPE, SIG_IGN);
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  struct rlimit wanted = {.rlim_cur = 200000, .rlim_max = limit.rlim_max < 200000 ? 200000 : limit.rlim_max};
  if (setrlimit(RLIMIT_NOFILE, &wanted) != 0) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
}

#endif
