"""Stands in for systemd: prints what a daemon tells it. notify-listener.py SOCKET"""

import os
import socket
import sys

listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listener.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o666)
while True:
    # a daemon may pass descriptors with its message, and wait until they are closed
    message, descriptors, _, _ = socket.recv_fds(listener, 4096, 4)
    for descriptor in descriptors:
        os.close(descriptor)
    print(message.decode(), flush=True)
