"""The table of benches/compare/trips: trips_table.py DIRECTORY ROUND-TRIP-SECONDS CLIENT...

Reads CLIENT.0.json and CLIENT.far.json (hyperfine) and the traces CLIENT.0.trace and CLIENT.far.trace of a directory.
"""

import json
import pathlib
import statistics
import sys


def connections(path):
    """The packets of each connection of a trace: seconds, and whether it was sent."""
    found = []
    for line in path.read_text(encoding="ascii").splitlines():
        moment, direction, _, first = line.split()
        if first == "S" and direction == ">":
            found.append([])
        if found:
            found[-1].append((float(moment), direction == ">"))
    return found


def answer(packets):
    """Seconds from the first packet to the last one with data from the node."""
    received = [moment for moment, sent in packets if not sent]
    return received[-1] - packets[0][0] if received else 0


def flights(packets):
    """Changes from waiting to sending, that of TCP's first packet included, up to the last answer."""
    turns = [sent for _, sent in packets]
    while turns and turns[-1]:
        turns.pop()
    return sum(1 for before, sent in zip([False] + turns, turns) if sent and not before)


def main():
    """Prints a row for each client."""
    directory, trip = pathlib.Path(sys.argv[1]), float(sys.argv[2])
    print(f"| client | wall | wall with {trip * 1000:.0f} ms | trips by wall | trips to the answer | flights | exit codes |")
    print("| --- | --: | --: | --: | --: | --: | --- |")
    for client in sys.argv[3:]:
        results = [json.loads((directory / f"{client}.{link}.json").read_text(encoding="utf-8"))["results"][0]
                   for link in ("0", "far")]
        near, far = (connections(directory / f"{client}.{link}.trace") for link in ("0", "far"))
        answers = [statistics.median(map(answer, packets)) if packets else 0 for packets in (near, far)]
        turns = statistics.median(map(flights, far)) if far else 0
        codes = sorted({code for result in results for code in result["exit_codes"]})
        walls = [result["median"] for result in results]
        print(f"| {client} | {walls[0] * 1000:.0f} ms | {walls[1] * 1000:.0f} ms | {(walls[1] - walls[0]) / trip:.1f} "
              f"| {(answers[1] - answers[0]) / trip:.1f} | {turns:.0f} | {' '.join(map(str, codes))} |")


main()
