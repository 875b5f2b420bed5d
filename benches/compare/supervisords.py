"""Local clients of supervisords, one for each unix socket.

supervisords.py wait SOCKET...      until every program runs
supervisords.py restart --rounds N --against COMMAND SOCKET...
                                    rounds of: every supervisord restarts a service for its own local client, all at
                                    once; then COMMAND. Prints the slowest local restart, the command, and their ratio.
"""

import argparse
import http.client
import pathlib
import socket
import statistics
import subprocess
import sys
import time
import xmlrpc.client
from concurrent.futures import ThreadPoolExecutor

SERVICE = "contrail-collector"


class SocketConnection(http.client.HTTPConnection):
    """HTTP over the unix socket whose path is the host's name."""

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.host)


class SocketTransport(xmlrpc.client.Transport):
    """XML-RPC over a unix socket."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def make_connection(self, host):
        return SocketConnection(self.path)


def supervisor(path):
    """The supervisord behind a socket."""
    return xmlrpc.client.ServerProxy("http://localhost", transport=SocketTransport(path)).supervisor


def wait(path):
    """Whether every program runs within a minute."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if all(program["statename"] == "RUNNING" for program in supervisor(path).getAllProcessInfo()):
                return True
        except (OSError, http.client.HTTPException, xmlrpc.client.Error):
            pass
        time.sleep(0.2)
    return False


def restart(path):
    """Seconds that a stop and a start take."""
    begun = time.monotonic()
    client = supervisor(path)
    client.stopProcess(SERVICE)
    client.startProcess(SERVICE)
    return time.monotonic() - begun


def compare(sockets, rounds, command):
    """Rounds of local restarts and the command."""
    print(f"\n### restart, {len(sockets)} node{'s' if len(sockets) > 1 else ''}\n")
    print("| round | slowest local restart | ctl | ratio | exit code | load |\n| --: | --: | --: | --: | --: | --: |")
    ratios = []
    for number in range(1, rounds + 1):
        with ThreadPoolExecutor(len(sockets)) as pool:
            slowest = max(pool.map(restart, sockets))
        begun = time.monotonic()
        code = subprocess.run([command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False).returncode
        took = time.monotonic() - begun
        ratios.append(took / slowest)
        load = pathlib.Path("/proc/loadavg").read_text(encoding="ascii").split()[0]
        print(f"| {number} | {slowest:.2f} s | {took:.2f} s | {took / slowest:.2f} | {code} | {load} |", flush=True)
    print(f"\nmedian ratio: {statistics.median(ratios):.2f}", flush=True)


def main():
    """Reads the arguments, and does as they say."""
    parser = argparse.ArgumentParser()
    parser.add_argument("work", choices=["wait", "restart"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against")
    parser.add_argument("sockets", nargs="+")
    arguments = parser.parse_args()
    if arguments.work == "restart":
        compare(arguments.sockets, arguments.rounds, arguments.against)
        return 0
    with ThreadPoolExecutor(len(arguments.sockets)) as pool:
        return 0 if all(pool.map(wait, arguments.sockets)) else 1


sys.exit(main())
