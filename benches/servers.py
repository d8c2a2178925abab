"""Real etcd servers, alone and in clusters, and a proxy before them that cuts and swallows."""

import base64
import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request

from programs import BenchError

TESTS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tests")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(holds, seconds=30, pause=0.01):
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise BenchError("what was waited for did not come about")
        time.sleep(pause)


def program_of(version):
    found = subprocess.run([f"{TESTS}/etcd/fetch.sh", version], capture_output=True, text=True, check=True).stdout
    return next(line for line in found.split() if line.endswith("/etcd"))


class Etcd:
    """A server whose data go away with it. `flags` are further arguments, which a member of a cluster has."""

    def __init__(self, version, flags=()):
        self.program, self.flags = program_of(version), list(flags)
        self.port, self.metrics_port = free_port(), free_port()
        self.folder = tempfile.TemporaryDirectory(prefix="etcdgw-bench.")
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None
        self.start()

    def start(self):
        peer = [] if any(flag.startswith("--initial-cluster=") for flag in self.flags) else \
            ["--listen-peer-urls=http://127.0.0.1:0"]
        with open(f"{self.folder.name}/log", "ab") as log:
            self.process = subprocess.Popen(
                [self.program, f"--data-dir={self.folder.name}/data", f"--listen-client-urls={self.url}",
                 f"--advertise-client-urls={self.url}", f"--listen-metrics-urls=http://127.0.0.1:{self.metrics_port}",
                 *peer, *self.flags],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, env={})

    def ask(self, path):
        with contextlib.suppress(OSError):
            with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}{path}", timeout=2) as answer:
                return answer.read().decode()
        return ""

    def wait_until_healthy(self):
        wait_until(lambda: '"true"' in self.ask("/health"))

    def put(self, key):
        """Writes as soon as the server lets it, and answers the instant just before the try that succeeded."""
        body = json.dumps({"key": base64.b64encode(key.encode()).decode()}).encode()
        end = time.monotonic() + 30
        while time.monotonic() < end:
            instant = time.monotonic_ns()
            with contextlib.suppress(OSError):
                with urllib.request.urlopen(urllib.request.Request(f"{self.url}/v3/kv/put", body), timeout=2):
                    return instant
            time.sleep(0.001)
        raise BenchError("the server takes no writes")

    def watchers(self):
        found = re.search(r"^etcd_debugging_mvcc_watcher_total (\S+)", self.ask("/metrics"), re.M)
        return int(float(found[1])) if found else -1

    def resident_bytes(self):
        return resident_bytes(self.process.pid)

    def live_bytes(self):
        """What it keeps of its heap when its garbage is collected, and the stacks of its goroutines. Wants `--enable-pprof`."""
        with urllib.request.urlopen(f"{self.url}/debug/pprof/heap?gc=1", timeout=10) as answer:
            answer.read()
        metrics = self.ask("/metrics")
        found = [re.search(f"^go_memstats_{name}_bytes (\\S+)", metrics, re.M) for name in ("heap_alloc", "stack_inuse")]
        return sum(float(value[1]) for value in found)

    def status(self):
        request = urllib.request.Request(f"{self.url}/v3/maintenance/status", b"{}")
        with urllib.request.urlopen(request, timeout=2) as answer:
            return json.load(answer)

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def terminate(self):
        self.process.terminate()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        self.folder.cleanup()


def resident_bytes(pid, what="VmRSS"):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(what + ":"))


class Cluster:
    """Three members, which reach each other through proxies, so that one can be cut off."""

    def __init__(self, version):
        self.stack = contextlib.ExitStack()
        ports = [free_port() for _ in range(3)]
        self.ways = [self.stack.enter_context(Proxy(port)) for port in ports]
        initial = ",".join(f"m{place}={way.url}" for place, way in enumerate(self.ways))
        self.members = [
            self.stack.enter_context(Etcd(version, [
                f"--name=m{place}", f"--listen-peer-urls=http://127.0.0.1:{port}",
                f"--initial-advertise-peer-urls={self.ways[place].url}", f"--initial-cluster={initial}"]))
            for place, port in enumerate(ports)]
        for member in self.members:
            member.wait_until_healthy()

    def follower(self):
        """The place of a member that doesn't lead."""
        statuses = [member.status() for member in self.members]
        return next(place for place, status in enumerate(statuses)
                    if status["leader"] != status["header"]["member_id"])

    def separate(self, place):
        """Cuts a member off from the others; clients reach all of them."""
        member = format(int(self.members[place].status()["header"]["member_id"]), "x")
        for other, way in enumerate(self.ways):
            way.swallow(None if other == place else member)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stack.close()


class Proxy:
    """Forwards to a port of loopback. What it swallows, it takes and does not forward, over connections that are open
    as well as over new ones."""

    def __init__(self, port):
        self.port = port
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.links = set()
        """False; None: everything; or what comes from the etcd member of this ID, which it tells in each request."""
        self.swallowed = False
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                link = Link(self, self.listener.accept()[0])
                self.links.add(link)
                threading.Thread(target=link.run, daemon=True).start()

    def cut(self):
        for link in list(self.links):
            link.shut_down()

    def swallow(self, member=None):
        self.swallowed = member

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()


class Link:
    """One connection through a proxy."""

    def __init__(self, proxy, client):
        self.proxy, self.client, self.server, self.member = proxy, client, None, ""

    def is_swallowed(self):
        swallowed = self.proxy.swallowed
        return swallowed is not False and swallowed in (None, self.member)

    def run(self):
        with contextlib.suppress(OSError):
            self.server = socket.create_connection(("127.0.0.1", self.proxy.port))
            for end in (self.client, self.server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            others = {self.client: self.server, self.server: self.client}
            while True:
                for end in select.select(list(others), [], [])[0]:
                    piece = end.recv(1 << 16)
                    if not piece:
                        raise OSError("it has ended")
                    if end is self.client and not self.member:
                        found = re.search(rb"\r\nX-Server-From: ([0-9a-f]+)\r\n", piece)
                        self.member = found[1].decode() if found else ""
                    if not self.is_swallowed():
                        others[end].sendall(piece)
        self.shut_down()
        self.proxy.links.discard(self)
        # Only the thread that waits for them closes them: their numbers may be used again at once.
        for end in filter(None, (self.client, self.server)):
            end.close()

    def shut_down(self):
        for end in filter(None, (self.client, self.server)):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def stop(etcd):
    etcd.signal(signal.SIGSTOP)


def go_on(etcd):
    etcd.signal(signal.SIGCONT)
