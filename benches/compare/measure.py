"""Runs commands in turn, and prints a Markdown table of what each costs.

Wall time and the processor time of the client's processes are hyperfine's; processor time of the nodes is that of their
control group, or else of their sshds with the children that these have waited for, and of their supervisords. Memory is the peak of the proportional set size of
the client's processes, in a run of its own that also checks the answer: its exit code, and the pattern once for a node.
Ratios are medians of the rounds' ratios to the first command, since the load of the machine differs between rounds.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

TICK = os.sysconf("SC_CLK_TCK")


def text(path):
    """A file of /proc, empty if its process has ended."""
    try:
        return pathlib.Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def children(pid):
    """The processes that a process has started."""
    tasks = pathlib.Path(f"/proc/{pid}/task")
    try:
        return [int(child) for task in list(tasks.iterdir()) for child in text(task / "children").split()]
    except OSError:
        return []


def tree(pid):
    """A process and all below it."""
    return [pid] + [below for child in children(pid) for below in tree(child)]


def memory(pid):
    """Bytes of a process: its own, and its share of what it shares."""
    for line in text(f"/proc/{pid}/smaps_rollup").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def seconds(pid, first, count):
    """The sum of fields of a process's times: own user and system, then those of its children that have ended."""
    fields = text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return sum(int(field) for field in fields[11 + first:11 + first + count]) / TICK


class Nodes:
    """The daemons of the nodes."""

    def __init__(self, arguments):
        self.sshds = [int(pid) for pid in text(arguments.sshds).split()]
        self.usage = arguments.usage
        self.supervisords = [int(pid) for pid in text(arguments.supervisords).split()]

    def settle(self):
        """Waits until no login is left: its time counts once it has ended, and it would slow the next command."""
        deadline = time.monotonic() + 10
        while any(children(pid) for pid in self.sshds) and time.monotonic() < deadline:
            time.sleep(0.02)

    def cpu(self):
        """Processor time so far."""
        if self.usage:
            fields = text(self.usage).split()
            # Nanoseconds of version 1; version 2 has "usage_usec" and microseconds first.
            return int(fields[0]) / 1e9 if len(fields) == 1 else int(fields[1]) / 1e6
        return sum(seconds(pid, 0, 4) for pid in self.sshds) + sum(seconds(pid, 0, 2) for pid in self.supervisords)


class Client:
    """A command, and its figures: one a round, but for the memory."""

    def __init__(self, path):
        self.path = path
        self.name = os.path.basename(path)
        self.problem = None
        self.memory = 0
        self.wall, self.cpu, self.nodes_cpu, self.load = [], [], [], []

    def check(self, arguments):
        """Runs it once, with an eye on its memory and its answer."""
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen([self.path], stdin=subprocess.DEVNULL, stdout=output, stderr=output)
            while process.poll() is None:
                self.memory = max(self.memory, sum(memory(pid) for pid in tree(process.pid)))
                time.sleep(0.01)
            output.seek(0)
            answer = output.read().decode("utf-8", "replace")
        if process.returncode != 0:
            last = (answer.strip().splitlines() or [""])[-1]
            self.problem = f"exit code {process.returncode}: {last[:80]}"
        elif arguments.answer and answer.count(arguments.answer) < arguments.nodes:
            self.problem = f"{answer.count(arguments.answer)} of {arguments.nodes} answers"

    def measure(self, arguments, nodes):
        """One round."""
        before = nodes.cpu()
        with tempfile.NamedTemporaryFile(suffix=".json") as export:
            subprocess.run(
                ["hyperfine", "-N", "-i", "--runs", str(arguments.runs), "--style", "none", "--export-json", export.name,
                 self.path],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
            result = json.load(export)["results"][0]
        nodes.settle()
        self.nodes_cpu.append((nodes.cpu() - before) / arguments.runs)
        self.wall.append(result["median"])
        self.cpu.append(result["user"] + result["system"])
        self.load.append(float(text("/proc/loadavg").split()[0]))
        if any(result["exit_codes"]):
            self.problem = f"exit codes {sorted(set(result['exit_codes']))}"


def milliseconds(value):
    """A time, as short as is useful."""
    return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.0f} ms"


def ratio(ours, theirs):
    """The median of the rounds' ratios."""
    rounds = [theirs[i] / ours[i] for i in range(min(len(ours), len(theirs))) if ours[i]]
    return f"{statistics.median(rounds):.2f}" if rounds else ""


def row(client, base):
    """A line of the table."""
    if client.problem:
        return f"| {client.name} | failed: {client.problem} | | | | | | | |"
    wall, cpu, nodes = (statistics.median(values) for values in (client.wall, client.cpu, client.nodes_cpu))
    # With every processor at work on this client and its nodes only, it could not be faster.
    bound = (cpu + nodes) / os.cpu_count()
    return (f"| {client.name} | {milliseconds(wall)} ({milliseconds(min(client.wall))} to {milliseconds(max(client.wall))}) "
            f"| {ratio(base.wall, client.wall)} | {milliseconds(cpu)} | {ratio(base.cpu, client.cpu)} "
            f"| {client.memory / 1e6:.1f} MB | {client.memory / max(base.memory, 1):.2f} "
            f"| {milliseconds(nodes)} | {wall / bound if bound else 0:.2f} |")


def main():
    """Measures, and prints."""
    parser = argparse.ArgumentParser()
    for option in ("nodes", "rounds", "runs"):
        parser.add_argument(f"--{option}", type=int, required=True)
    for option in ("work", "answer", "sshds", "supervisords"):
        parser.add_argument(f"--{option}", required=True)
    parser.add_argument("--usage")
    parser.add_argument("--raw")
    parser.add_argument("commands", nargs="+")
    arguments = parser.parse_args()
    nodes = Nodes(arguments)
    clients = [Client(path) for path in arguments.commands]
    for client in clients:
        client.check(arguments)
        nodes.settle()
    for number in range(arguments.rounds):
        # Each round begins with another client, so none always follows the same one.
        first = number % len(clients)
        for client in clients[first:] + clients[:first]:
            if not client.problem:
                client.measure(arguments, nodes)
    loads = [load for client in clients for load in client.load]
    print(f"\n### {arguments.work}, {arguments.nodes} nodes" if arguments.nodes > 1 else f"\n### {arguments.work}, 1 node")
    print(f"\nload {min(loads, default=0):.1f} to {max(loads, default=0):.1f}\n")
    print("| client | wall (min to max) | × ctl | controller CPU | × ctl | memory | × ctl | nodes' CPU | wall / limit |")
    print("| --- | --: | --: | --: | --: | --: | --: | --: | --: |")
    for client in clients:
        print(row(client, clients[0]))
    print(flush=True, end="")
    if arguments.raw:
        os.makedirs(arguments.raw, exist_ok=True)
        path = pathlib.Path(arguments.raw) / f"{arguments.work}-{arguments.nodes}.json"
        path.write_text(json.dumps([vars(client) for client in clients], indent=1), encoding="utf-8")


main()
