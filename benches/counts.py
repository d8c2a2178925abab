"""What can be counted: instructions, system calls, memory, bytes. Noise does not touch these figures."""

import os
import re
import subprocess
import tempfile

from programs import BenchError, Client


def run(arguments, commands=""):
    done = subprocess.run(arguments, input=commands, capture_output=True, text=True)
    if done.returncode != 0:
        raise BenchError(f"{' '.join(arguments)}: status {done.returncode}\n{done.stderr}")
    return done


def per_call(count_of, command, calls):
    """What a call adds: with the difference of two runs, start and end of the program cancel out."""
    few, many = count_of(command.format(calls)), count_of(command.format(2 * calls))
    return round((many - few) / calls)


def instructions(program, address):
    """A function that counts the instructions of a run which obeys one command."""

    def count(command):
        arguments = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program, *address]
        collected = re.search(r"Collected : (\d+)", run(arguments, command + "\n").stderr)
        return int(collected[1])

    return count


def system_calls(program, address):
    """Likewise for system calls, of all threads."""

    def count(command):
        with tempfile.NamedTemporaryFile("r") as summary:
            run(["strace", "-f", "-c", "-o", summary.name, program, *address], command + "\n")
            total = next(line for line in summary if line.rstrip().endswith(" total"))
        # "% time, seconds, usecs/call, calls, errors": the columns in the middle are missing from some lines.
        return int(re.search(r"[\d.]+ +[\d.]+ +\d+ +(\d+)", total)[1])

    return count


def peak_bytes(folder, name, address, command, processors):
    with Client(folder, name, address, processors) as client:
        client.obey(command)
        kilobytes, _ = client.obey("peak")
    return kilobytes * 1024


def stripped_bytes(library):
    with tempfile.NamedTemporaryFile() as stripped:
        run(["strip", "--strip-all", "-o", stripped.name, library])
        return os.stat(stripped.name).st_size


def loaded_objects(program):
    """The shared objects that come with it, the loader and the kernel's page excepted."""
    names = (line.split()[0] for line in run(["ldd", program]).stdout.splitlines())
    return sorted(os.path.basename(name) for name in names if "/ld-linux" not in name and "linux-vdso" not in name)
