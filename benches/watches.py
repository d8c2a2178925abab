"""watches.py FOLDER [clientv3] [ROW...]: measures what watches cost and how soon they are back, on real servers of its own.

Rows: see ROWS at the end; without names all of them. With clientv3 it measures the same of etcd's client for Go. FOLDER has the programs of the bench and gets a line of JSON for
each figure in results.jsonl. README.md says what the figures mean.
"""

import os
import random
import select
import signal
import statistics
import sys
import time

import report
from programs import BenchError, Client
from report import Row
from servers import Cluster, Etcd, Proxy, go_on, resident_bytes, stop, wait_until

NEWEST, OLDER = "3.7.3", "3.5.35"
WATCHES, MANY = 1_000, 10_000
EVENTS = 100_000
BACKLOG_VALUE, BACKLOG_COUNT = 1_000_000, 200
IDLE_SECONDS = 60
SECOND = 1_000_000_000
ANYWHERE = os.sched_getaffinity(0)


class Watcher(Client):
    """A process with one client at its defaults: of the library, or of what it is compared with."""

    program = "watches"

    def __init__(self, folder, *urls):
        super().__init__(folder, self.program, [",".join(urls), "0", "0"], ANYWHERE)

    @property
    def pid(self):
        return self.process.pid

    def ask(self, command):
        return self.obey(command)[0]

    def begin(self, command):
        """Lets it work while something else happens; `finish` takes the answer."""
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def finish(self):
        return int(self.line().split()[0])

    def threads(self):
        return len(os.listdir(f"/proc/{self.pid}/task"))

    def connections(self):
        folder = f"/proc/{self.pid}/fd"
        return sum(os.readlink(f"{folder}/{name}").startswith("socket:") for name in os.listdir(folder))


class Writer(Watcher):
    """What writes is always the library."""

    def __init__(self, folder, *urls):
        Client.__init__(self, folder, "watches", [",".join(urls), "0", "0"], ANYWHERE)


def figure(source, work, unit, value, at_most=None, limit=None):
    return Row(source, work, "counts", unit, limit, None, value, at_most, at_most)


def progress(text):
    print(f"  {text}", file=sys.stderr)


def started(version):
    etcd = Etcd(version, ["--enable-pprof"])
    try:
        etcd.wait_until_healthy()
    except BaseException:
        etcd.__exit__()
        raise
    return etcd


def scale(folder):
    """A thousand watches, and ten thousand where they share a connection."""
    for version in (NEWEST, OLDER):
        yield from scale_on(folder, version)


def scale_on(folder, version):
    progress(f"{WATCHES:,} watches on etcd {version}")
    with started(version) as etcd, Watcher(folder, etcd.url) as client:
        # What the first watch brings along is not what a further one costs.
        client.ask("open warm/ 1 1 1")
        wait_until(lambda: etcd.watchers() == 1)
        threads, connections = client.threads(), client.connections()
        live, server = etcd.live_bytes(), etcd.resident_bytes()
        before, allocated = resident_bytes(client.pid), client.ask("allocated")
        taken = client.ask(f"open one/ {WATCHES} 1 1")
        wait_until(lambda: etcd.watchers() == WATCHES + 1)
        each = WATCHES
        source = f"etcd {version}"
        yield figure(source, f"{WATCHES:,} watches, etcd {version}: threads", "", client.threads() - 1, 2)
        yield figure(source, "… connections for watches", "", client.connections() - connections + 1, 1)
        yield figure(source, "… client memory each, resident", "bytes", (resident_bytes(client.pid) - before) / each, 2048)
        yield figure(source, "… client memory each, allocated", "bytes", (client.ask("allocated") - allocated) / each, 2048)
        yield figure(source, "… one begun and confirmed after another, each", "ns", taken / each, SECOND / 2_500,
                     created_by_raw(folder, version) / each)
        is_shared = client.threads() - threads < 10
        yield figure(source, "… server memory each, resident", "bytes", (etcd.resident_bytes() - server) / each, 3 * 1024)
        yield figure(source, "… server memory each, live", "bytes", (etcd.live_bytes() - live) / each, 3 * 1024)
    with started(version) as etcd, Watcher(folder, etcd.url) as client:
        client.ask("open warm/ 1 1 1")
        taken = client.ask(f"open eight/ {WATCHES} 8 1")
        yield figure(source, "… confirmed, begun by 8 threads, each", "ns", taken / WATCHES, SECOND / 20_000)
    with started(version) as etcd, Watcher(folder, etcd.url) as client:
        client.ask("open warm/ 1 1 1")
        begin = time.monotonic_ns()
        client.ask(f"open unconfirmed/ {WATCHES} 1 0")
        wait_until(lambda: etcd.watchers() == WATCHES + 1, pause=0)
        taken = time.monotonic_ns() - begin
        yield figure(source, "… begun without waiting, until the server has all, each", "ns", taken / WATCHES, SECOND / 20_000)
    if is_shared:
        yield from many_on(folder, version, source)
    else:
        progress(f"not {MANY:,}: each has a connection of its own")


def created_by_raw(folder, version):
    """How long as many take that plain sockets begin, at a server of their own."""
    with started(version) as etcd, \
            Client(folder, "raw", ["127.0.0.1", str(etcd.port)], ANYWHERE) as raw:
        raw.obey("create 1")
        return raw.obey(f"create {WATCHES}")[0]


def many_on(folder, version, source):
    progress(f"{MANY:,} watches on etcd {version}")
    with started(version) as etcd, Watcher(folder, etcd.url) as client, Writer(folder, etcd.url) as writer:
        client.ask("open warm/ 1 1 1")
        live, server, before = etcd.live_bytes(), etcd.resident_bytes(), resident_bytes(client.pid)
        taken = client.ask(f"open many/ {MANY} 8 1")
        yield figure(source, f"{MANY:,} watches, etcd {version}: client memory each", "bytes",
                     (resident_bytes(client.pid) - before) / MANY, 2048)
        yield figure(source, "… server memory each, resident", "bytes", (etcd.resident_bytes() - server) / MANY, 3 * 1024)
        yield figure(source, "… server memory each, live", "bytes", (etcd.live_bytes() - live) / MANY, 3 * 1024)
        yield figure(source, "… confirmed, begun by 8 threads, each", "ns", taken / MANY, SECOND / 20_000)
        client.ask(f"arm {MANY}")
        begin = time.monotonic_ns()
        writer.ask(f"fill many/ {MANY} 64 128")
        yield figure(source, "… an event for each, written and delivered", "ns", client.ask("count") - begin)
        client.ask(f"arm {MANY}")
        etcd.kill()
        etcd.start()
        etcd.wait_until_healthy()
        begin = time.monotonic_ns()
        writer.ask(f"fill many/ {MANY} 64 128")
        yield figure(source, "… the same after kill -9 and restart", "ns", client.ask("count") - begin)


def idle(folder):
    """What a thousand watches cost when nothing happens."""
    progress(f"an idle minute of {WATCHES:,} watches")
    with started(NEWEST) as etcd, Watcher(folder, etcd.url) as client:
        client.ask(f"open idle/ {WATCHES} 8 1")
        # What the beginning leaves to be done is done.
        time.sleep(2)
        before = client.ask("cpu")
        time.sleep(IDLE_SECONDS)
        used = client.ask("cpu") - before
        yield figure(f"etcd {NEWEST}", f"{WATCHES:,} idle watches: CPU an hour", "ns", used * 3600 / IDLE_SECONDS, SECOND)


def events(folder):
    """The processor time of an event that is delivered, of a watch that catches up."""
    progress("CPU of an event")
    with started(NEWEST) as etcd, Writer(folder, etcd.url) as writer:
        # Few events in a revision: what etcd takes to put a message into fragments grows with the square of their number.
        first, _ = writer.obey(f"fill cpu/ {EVENTS} 64 5")
        costs = []
        for _ in range(5):
            with Watcher(folder, etcd.url) as client:
                client.ask("open warm/ 1 1 1")
                client.ask(f"arm {EVENTS}")
                before = client.ask("cpu")
                client.ask(f"watch cpu/ {first}")
                client.ask("count")
                costs.append((client.ask("cpu") - before) / EVENTS)
        yield figure(f"etcd {NEWEST}", "client CPU per event, values of 64 B", "ns", min(costs), 300)


def latency(folder):
    """From just before a put to its event, beside plain sockets that do the same in turn."""
    for version in (NEWEST, OLDER):
        progress(f"from a put to its event on etcd {version}")
        with started(version) as etcd, Watcher(folder, etcd.url) as client, \
                Client(folder, "raw", ["127.0.0.1", str(etcd.port)], ANYWHERE) as raw:
            commands = [lambda: raw.obey("latency 60 http")[0], lambda: raw.obey("latency 60 websocket")[0],
                        lambda: client.ask("latency 60")]
            rounds = [[command() for command in commands] for _ in range(150)]
            # Not the least: of what differs by a tenth from round to round, that is the luck of one of them.
            http, websocket, etcdgw = (statistics.quantiles(times, n=4)[0] for times in zip(*rounds))
            limit = min(http, websocket)
            yield Row(f"etcd {version}", f"put to event, etcd {version}", "times", "ns", limit, None,
                      etcdgw / limit, 1.05, 1.05)


def killed(folder):
    """The first event after the server is back: from the answer to the first put that succeeds, which waits for the
    server's start."""
    source = f"etcd {NEWEST}"
    for name, end in (("kill -9", Etcd.kill), ("SIGTERM", Etcd.terminate)):
        progress(f"server ended by {name} and back")
        with started(NEWEST) as etcd, Watcher(folder, etcd.url) as client:
            client.ask("watch back/ 0")
            client.ask("arm 1")
            end(etcd)
            # It stays away for so long that a client is no longer in its first tries.
            time.sleep(2)
            etcd.start()
            etcd.put("back/")
            answered = time.monotonic_ns()
            # It may come before the answer.
            yield figure(source, f"server ended by {name} and back: first event after", "ns",
                         max(client.ask("count") - answered, 1), SECOND / 5)


def cut(folder):
    """How far events lag behind their commits while the connection is cut all the time."""
    progress("connection cut every 50 to 500 ms")
    chance = random.Random(1)
    with started(NEWEST) as etcd, Proxy(etcd.port) as proxy, Watcher(folder, proxy.url) as client, \
            Writer(folder, etcd.url) as writer:
        client.ask("watch cut/ 0")
        client.ask("time 8000")
        writer.begin("put cut/ 8000 64 1000")
        end, cuts = time.monotonic() + 15, 0
        while time.monotonic() < end:
            time.sleep(chance.uniform(0.05, 0.5))
            proxy.cut()
            cuts += 1
        writer.finish()
        client.ask("count")
        longest, median = client.obey("lag")
        yield figure(f"etcd {NEWEST}", f"connection cut {cuts} times: longest lag behind commits", "ns", longest,
                     SECOND * 0.3)
        yield figure(f"etcd {NEWEST}", "… median", "ns", median)


def recovered(client, writer, cluster_name, work, begin, at_most, give_up=60):
    """The first event after a fault that began at `begin`, or how long it was waited for in vain."""
    writer.ask("put gone/ 1 64 0")
    client.begin("count")
    end = time.monotonic() + give_up
    while time.monotonic() < end:
        if select.select([client.process.stdout], [], [], 0.2)[0]:
            return figure(cluster_name, work, "ns", client.finish() - begin, at_most)
    return figure(cluster_name, f"{work} (given up)", "ns", time.monotonic_ns() - begin, at_most)


def gone(folder, work, at_most, fault, way_of=None):
    progress(work)
    with Cluster(NEWEST) as cluster:
        place = cluster.follower()
        others = [member.url for member in cluster.members if member is not cluster.members[place]]
        with Proxy(cluster.members[place].port) as way, \
                Watcher(folder, way.url if way_of else cluster.members[place].url, *others) as client, \
                Writer(folder, *others) as writer:
            client.ask("watch gone/ 0")
            wait_until(lambda: cluster.members[place].watchers() == 1)
            client.ask("arm 1")
            begin = time.monotonic_ns()
            fault(cluster, place, way)
            try:
                yield recovered(client, writer, f"etcd {NEWEST}, 3 members", work, begin, at_most)
            finally:
                go_on(cluster.members[place])


def dead(folder):
    """A way to the member that swallows everything, of what is open and of what is new."""
    return gone(folder, "connection silently dead: first event after", 11 * SECOND,
                lambda cluster, place, way: way.swallow(), way_of=True)


def frozen(folder):
    """A member that is stopped."""
    return gone(folder, "member frozen: first event after", 11 * SECOND,
                lambda cluster, place, way: stop(cluster.members[place]))


def partitioned(folder):
    """A member that its clients reach, and that doesn't reach its leader."""
    return gone(folder, "member partitioned from its leader: first event after", 9 * SECOND,
                lambda cluster, place, way: cluster.separate(place))


def backlog(folder):
    """200 MB for a consumer that doesn't read, which then reads all of it."""
    progress("200 MB that nobody reads")
    with started(NEWEST) as etcd, Watcher(folder, etcd.url) as client, Writer(folder, etcd.url) as writer:
        client.ask("hold backlog/")
        before = resident_bytes(client.pid)
        writer.ask(f"put backlog/ {BACKLOG_COUNT} {BACKLOG_VALUE} 0")
        time.sleep(1)
        bound = 24 * 1024 * 1024
        yield figure(f"etcd {NEWEST}", "200 MB arrive while nobody reads: memory", "bytes",
                     resident_bytes(client.pid, "VmHWM") - before, bound)
        client.ask(f"drain {BACKLOG_COUNT}")
        yield figure(f"etcd {NEWEST}", "… at most, while it catches up", "bytes",
                     resident_bytes(client.pid, "VmHWM") - before, bound + BACKLOG_VALUE)


def mirror(folder):
    """Lookups in a local copy, by a program of their own: `mirror ENDPOINT` obeys "lookups THREADS COUNT" with the
    nanoseconds of a lookup, seen by one thread."""
    if not os.path.exists(f"{folder}/mirror"):
        progress("no program for the mirror")
        return
    progress("lookups in a mirror")
    with started(NEWEST) as etcd, Client(folder, "mirror", [etcd.url], ANYWHERE) as client:
        for threads in (1, 2):
            nanoseconds, _ = client.obey(f"lookups {threads} 2000000")
            yield figure(f"etcd {NEWEST}", f"mirror lookup, {threads} threads, each", "ns", nanoseconds, 200)


ROWS = {row.__name__: row for row in
        (scale, events, latency, killed, cut, dead, frozen, partitioned, backlog, mirror, idle)}


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    arguments = sys.argv[1:]
    is_peer = arguments[1:2] == ["clientv3"]
    folder, names = arguments[0] if arguments else None, arguments[1 + is_peer:]
    if folder is None or not set(names) <= set(ROWS):
        sys.exit(f"{__doc__}\nrows: {' '.join(ROWS)}")
    if is_peer:
        Watcher.program = "watches-go"
    rows = []
    for name in names or ROWS:
        try:
            rows.extend(ROWS[name](folder))
        except BenchError as error:
            print(f"  {name} failed: {error}", file=sys.stderr)
    report.show("Watches, on real servers", rows, report.FIGURES, "clientv3" if is_peer else "etcdgw")
    # Lines of the library are not to be mistaken for those of another one.
    if not is_peer:
        report.append_json(f"{folder}/results.jsonl", rows)


main()
