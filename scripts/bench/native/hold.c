/*
 * `hold [-c CORE] PROGRAM ARGUMENT…`: becomes PROGRAM (same process id), which is killed when the bench ends, however it
 * ends; with -c on one core. HOLD_CGROUP: the cgroup.procs of a group that it joins. HOLD_PRELOAD: its LD_PRELOAD.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(int argc, char **argv) {
  int at = 1;
  if (argc > 2 && strcmp(argv[1], "-c") == 0) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(atoi(argv[2]), &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0) perror("sched_setaffinity");
    at = 3;
  }
  if (at >= argc) return 2;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const char *group = getenv("HOLD_CGROUP");
  if (group != NULL) {
    FILE *members = fopen(group, "w");
    if (members == NULL || fprintf(members, "%d", getpid()) < 0 || fclose(members) != 0) {
      perror(group);
      return 126;
    }
  }
  const char *preload = getenv("HOLD_PRELOAD");
  if (preload != NULL) setenv("LD_PRELOAD", preload, 1);
  execvp(argv[at], argv + at);
  perror(argv[at]);
  return 127;
}
