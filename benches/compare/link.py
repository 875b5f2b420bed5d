"""A link with delay between two network namespaces: link.py NEAR-PID FAR-PID ONE-WAY-MS TRACE.

A TUN device in the namespace of each process, 10.98.0.1 and 10.98.0.2; each packet is handed over after the delay, also
acknowledgements and those of the TCP handshake. TRACE gets a line for each TCP packet with data and for each first one,
as the near side sees them: seconds, `>` (sent) or `<` (received), bytes, and `S` for a first packet of a side.
Prints "up" when the link works.
"""

import collections
import ctypes
import fcntl
import os
import select
import struct
import subprocess
import sys
import time

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
TUN_WITHOUT_HEADER = 0x1001


def enter(path):
    """Moves this process into a network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(path, "rb") as namespace:
        if libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns {path}")


def device(pid, own, peer):
    """A TUN device in the namespace of a process; it stays there, while this process goes on."""
    enter(f"/proc/{pid}/ns/net")
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", b"compare", TUN_WITHOUT_HEADER))
    for words in (["addr", "add", own, "peer", peer, "dev", "compare"],
                  ["link", "set", "compare", "up", "txqueuelen", "1000"]):
        subprocess.run(["ip"] + words, check=True)
    return tun


def described(packet):
    """Bytes of data, and whether it is the first packet of a side; none for what is not TCP."""
    if packet[0] >> 4 != 4 or packet[9] != 6:
        return None
    header = (packet[0] & 15) * 4
    data = len(packet) - header - (packet[header + 12] >> 4) * 4
    return data, bool(packet[header + 13] & 0x02)


def main():
    """Creates the devices, and forwards packets until this process is ended."""
    near, far, delay = sys.argv[1], sys.argv[2], float(sys.argv[3]) / 1000
    home = f"/proc/{os.getpid()}/ns/net"
    original = os.open(home, os.O_RDONLY)
    tuns = [device(near, "10.98.0.1", "10.98.0.2"), device(far, "10.98.0.2", "10.98.0.1")]
    enter(f"/proc/self/fd/{original}")
    queues = [collections.deque(), collections.deque()]
    print("up", flush=True)
    with open(sys.argv[4], "a", buffering=1, encoding="ascii") as trace:

        def note(direction, packet):
            found = described(packet)
            if found and (found[0] or found[1]):
                trace.write(f"{time.monotonic():.6f} {direction} {found[0]} {'S' if found[1] else '-'}\n")

        while True:
            due = min((queue[0][0] for queue in queues if queue), default=None)
            wait = None if due is None else max(0, due - time.monotonic())
            for tun in select.select(tuns, [], [], wait)[0]:
                side = tuns.index(tun)
                packet = os.read(tun, 65536)
                queues[1 - side].append((time.monotonic() + delay, packet))
                if side == 0:
                    note(">", packet)
            for side, queue in enumerate(queues):
                while queue and queue[0][0] <= time.monotonic():
                    packet = queue.popleft()[1]
                    if side == 0:
                        note("<", packet)
                    os.write(tuns[side], packet)


main()
