/*
 * `duty PID SHARE PERIOD_US`: stops a process with SIGSTOP for all but SHARE of each period, where there is no cgroup to
 * do it. The process goes on when this ends, by SIGTERM or with its parent.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

static pid_t target;

static void end(int number) {
  (void)number;
  kill(target, SIGCONT);
  _exit(0);
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  target = (pid_t)atol(argv[1]);
  double share = atof(argv[2]), period = atof(argv[3]);
  struct sigaction action = {.sa_handler = end};
  sigaction(SIGTERM, &action, NULL);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  prctl(PR_SET_TIMERSLACK, 1000);
  for (;;) {
    if (kill(target, SIGCONT) != 0) return 0;
    usleep((useconds_t)(period * share));
    if (kill(target, SIGSTOP) != 0) return 0;
    usleep((useconds_t)(period * (1 - share)));
  }
}
