"""Plays the service manager: holds a UDP socket and runs a program with it as descriptor 3, again whenever it ends.

socket-holder.py ADDRESS PORT PROGRAM [ARGUMENT...]; prints the pid of each run.
"""

import os
import signal
import socket
import sys

address, port, program = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
held = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
held.bind((address, port))
child = 0


def end(*_):
    if child:
        os.kill(child, signal.SIGKILL)
    os._exit(0)


signal.signal(signal.SIGTERM, end)
while True:
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if held.fileno() == 3:
            os.set_inheritable(3, True)
        else:
            os.dup2(held.fileno(), 3)
        environment = dict(os.environ, LISTEN_FDS="1", LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES="coap")
        os.execvpe(program[0], program, environment)
    print(f"run {child}", flush=True)
    os.waitpid(child, 0)
