"""The programs of the bench as processes: the canned server, and a client that obeys one line at a time."""

import os
import subprocess

CLIENTS = ("limit", "curl", "etcdgw")


class BenchError(Exception):
    """A program of the bench failed."""


def pin_to(processors):
    """What a child does before it becomes its program: it is to run on these processors and no others, and before
    everything else there where it may ask for that."""

    def prepare():
        os.sched_setaffinity(0, processors)
        try:
            os.setpriority(os.PRIO_PROCESS, 0, -15)
        except PermissionError:
            pass

    return prepare


def one_processor():
    """The last one that this process may use: the first is where a system's own work tends to be."""
    return {max(os.sched_getaffinity(0))}


class Program:
    """A process that answers on stdout; ended with the block."""

    def __init__(self, arguments, processors):
        self.name = os.path.basename(arguments[0])
        self.process = subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=pin_to(processors),
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def line(self):
        line = self.process.stdout.readline()
        if not line:
            raise BenchError(f"{self.name} ended with status {self.process.wait()}")
        return line


class Server(Program):
    def __init__(self, folder, events, processors):
        super().__init__([f"{folder}/server", str(events)], processors)
        self.port = self.line().strip()


class Client(Program):
    def __init__(self, folder, name, address, processors):
        super().__init__([f"{folder}/{name}", *address], processors)

    def obey(self, command):
        """The number that the command measures, and the sum of what was received."""
        try:
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # It has ended, which the missing answer tells.
        number, check = self.line().split()
        return int(number), int(check)
