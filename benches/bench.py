"""bench.py canned|etcd FOLDER LIBRARY: measures the three clients in FOLDER and prints tables of the figures.

`canned` measures against the canned server, `etcd` against the etcd in $ETCDGW_ENDPOINTS. FOLDER gets results.jsonl.
README.md says what the figures mean.
"""

import os
import statistics
import sys
from dataclasses import dataclass
from urllib.parse import urlsplit

import counts
import report
from programs import CLIENTS, BenchError, Client, Server, one_processor
from report import Row

EVENTS = 100_000
WITH_WEBSOCKETS = ("limit", "etcdgw")
EVENTS_IN_A_MESSAGE = 1_000


@dataclass
class Work:
    """A work that is timed: a command to the clients, and what its cost may be in multiples of the limit's."""

    name: str
    command: str
    at_most: float | None = None
    aim: float | None = None
    """Whether the clients that decode must have received the same."""
    has_sum: bool = True
    clients: tuple = CLIENTS


CANNED_WORKS = [
    Work("get, 64 B", "get get64 2000", 1.7, 1.3),
    Work("get, 16 KiB", "get get16384 500"),
    Work("get, 1 MiB", "get get1048576 20"),
    Work("put, 64 B", "put put 64 2000"),
    Work("put, 16 KiB", "put put 16384 500", 1.9, 1.4),
    Work("put, 1 MiB", "put put 1048576 20", 2.6, 1.8),
    Work("range, 10,000 keys of 100 B", "range range/ 10", 4, 3),
    Work("puts by 1 thread, each", "throughput 1 2000"),
    Work("puts by 2 threads, each", "throughput 2 1000"),
    Work("puts by 8 threads, each", "throughput 8 250"),
    Work("watch that catches up, per event", f"watch catchup 2 {EVENTS} {EVENTS // EVENTS_IN_A_MESSAGE}", 2.5, 2),
    Work("watch, an event a message, per event", f"watch single 2 {EVENTS} {EVENTS}"),
    Work("watch, from sending to delivery", "latency paced 200", has_sum=False),
    Work("… over a WebSocket: that catches up, per event",
         f"websocket watch catchup 2 {EVENTS} {EVENTS // EVENTS_IN_A_MESSAGE}", 2.5, 2, clients=WITH_WEBSOCKETS),
    Work("… an event a message, per event", f"websocket watch single 2 {EVENTS} {EVENTS}", clients=WITH_WEBSOCKETS),
    Work("… from sending to delivery", "websocket latency paced 200", has_sum=False, clients=WITH_WEBSOCKETS),
]


def time_works(works, folder, address, processors, rounds, source):
    """Times the works, the three clients in turn, so that what the machine does meanwhile meets all of them."""
    clients = {name: Client(folder, name, address, processors) for name in CLIENTS}
    try:
        return [time_work(work, clients, rounds, source) for work in works]
    finally:
        for client in clients.values():
            client.__exit__()


def time_work(work, clients, rounds, source):
    print(f"  {work.name}", file=sys.stderr)
    times = {name: [] for name in work.clients}
    for number in range(rounds + 1):
        sums = {}
        turn = number % len(work.clients)
        for name in work.clients[turn:] + work.clients[:turn]:
            nanoseconds, sums[name] = clients[name].obey(work.command)
            # The first round only warms up.
            if number > 0:
                times[name].append(nanoseconds)
        if work.has_sum and sums.get("curl", sums["etcdgw"]) != sums["etcdgw"]:
            raise BenchError(f"{work.command}: curl and etcdgw have not received the same")

    # What disturbs a round only makes it slower, so the faster ones tell what a work costs.
    quartiles = {name: statistics.quantiles(times[name], n=4) for name in work.clients}
    limit, etcdgw = quartiles["limit"][0], quartiles["etcdgw"][0]
    curl = quartiles["curl"][0] / limit if "curl" in quartiles else None
    noise = max(median / lower - 1 for lower, median, _ in quartiles.values())
    return Row(source, work.name, "times", "ns", limit, curl, etcdgw / limit, work.at_most, work.aim, noise)


def count_rows(folder, library, address, processors):
    def for_each(work, unit, count, at_most=None, aim=None):
        print(f"  {work}", file=sys.stderr)
        return Row("canned", work, "counts", unit, *map(count, CLIENTS), at_most, aim)

    def per_call(counter, command, calls):
        return lambda name: counts.per_call(counter(f"{folder}/{name}", address), command, calls)

    return [
        for_each("get, 64 B: system calls", "", per_call(counts.system_calls, "get get64 {}", 1000), 3, 3),
        for_each("get, 64 B: instructions", "", per_call(counts.instructions, "get get64 {}", 1000), 48_000, 15_000),
        for_each("put, 1 MiB: instructions", "", per_call(counts.instructions, "put put 1048576 {}", 4)),
        for_each("range: instructions", "", per_call(counts.instructions, "range range/ {}", 2)),
        for_each("range: peak memory of the process", "bytes",
                 lambda name: counts.peak_bytes(folder, name, address, "range range/ 3", processors), 9e6, 7e6),
        for_each("shared objects loaded", "", lambda name: len(counts.loaded_objects(f"{folder}/{name}"))),
        *library_rows(library),
    ]


def library_rows(library):
    """The library itself: its size, and what it may not load."""
    others = set(counts.loaded_objects(library)) - {"libc.so.6", "libgcc_s.so.1"}
    size = counts.stripped_bytes(library)
    return [
        Row("canned", "shared object, stripped", "counts", "bytes", None, None, size, 3e6, 2.3e6),
        Row("canned", "objects it loads beside libc and libgcc_s", "counts", "", None, None, len(others), 0, 0),
    ]


def canned(folder, library):
    processors = one_processor()
    with Server(folder, EVENTS, processors) as server:
        address = ["127.0.0.1", server.port]
        timed = time_works(CANNED_WORKS, folder, address, processors, 15, "canned")
        counted = count_rows(folder, library, address, processors)
    report.show("Against a server of canned answers, server and client on one processor: multiples of the limit", timed)
    report.show("Counted", counted)
    return timed + counted


def etcd(folder, _library):
    """The same works on a real etcd, as far as they make sense there. It has all processors but the client's."""
    url = urlsplit(os.environ["ETCDGW_ENDPOINTS"])
    address, processors = [url.hostname, str(url.port)], one_processor()
    with Client(folder, "etcdgw", address, processors) as client:
        for size in (64, 16384):
            client.obey(f"put get{size} {size} 1")
    works = [
        Work("get, 64 B", "get get64 500"),
        Work("get, 16 KiB", "get get16384 200"),
        Work("put, 64 B", "put put 64 200", has_sum=False),
        Work("put, 16 KiB", "put put 16384 100", has_sum=False),
        Work("puts by 1 thread, each", "throughput 1 200"),
        Work("puts by 8 threads, each", "throughput 8 100"),
    ]
    rows = time_works(works, folder, address, processors, 9, "etcd")
    report.show(f"Against etcd {os.environ['ETCDGW_ETCD_VERSION']}: multiples of the limit", rows)
    return rows


def main():
    if len(sys.argv) != 4 or sys.argv[1] not in ("canned", "etcd"):
        sys.exit(__doc__)
    _, mode, folder, library = sys.argv
    try:
        rows = {"canned": canned, "etcd": etcd}[mode](folder, library)
    except BenchError as error:
        sys.exit(f"error: {error}")
    results = f"{folder}/results.jsonl"
    report.append_json(results, rows)
    over = [row.work for row in rows if row.verdict() == "OVER"]
    if over:
        print(f"\n  over what it may cost: {'; '.join(over)}")


main()
