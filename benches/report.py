"""Rows of figures, as a table for people and as lines of JSON for programs."""

import json
from dataclasses import asdict, dataclass


@dataclass
class Row:
    """One work. `limit` is a figure with its unit; `curl` and `etcdgw` are multiples of it in a row of times, and
    figures like it in a row of counts. `at_most` is what etcdgw must keep to, `aim` what it should reach."""

    source: str
    work: str
    kind: str
    unit: str
    limit: float | None
    curl: float | None
    etcdgw: float
    at_most: float | None = None
    aim: float | None = None
    noise: float | None = None

    def verdict(self):
        if self.at_most is None:
            return ""
        if self.etcdgw > self.at_most:
            return "OVER"
        return "aim" if self.aim is not None and self.etcdgw <= self.aim else "ok"


SCALES = {"ns": ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1, "ns")), "bytes": ((1e6, "MB"), (1e3, "kB"), (1, "bytes"))}


def figure(number, unit):
    """A figure in the unit that suits its size."""
    if number is None:
        return "–"
    for scale, name in SCALES.get(unit, ()):
        if number >= scale:
            return f"{number / scale:.3g} {name}"
    return f"{number:,.0f}"


def cells(row):
    def compared(number):
        if number is None:
            return "–" if row.at_most is None or row.kind == "times" else ""
        return f"{number:.2f} ×" if row.kind == "times" else figure(number, row.unit)

    noise = "" if row.noise is None else f"+{row.noise:.0%}"
    bounds = [compared(bound) if bound is not None else "" for bound in (row.at_most, row.aim)]
    return [row.work, figure(row.limit, row.unit), compared(row.curl), compared(row.etcdgw), noise, *bounds, row.verdict()]


TITLES = ["", "limit", "libcurl + cJSON", "etcdgw", "noise", "at most", "aim", ""]


"""The columns of a table; those of figures that have nothing to be compared with, or only plain sockets."""
COMPARED = range(len(TITLES))
FIGURES = [0, 1, 3, 5, 7]


def table(rows, columns=COMPARED, measured="etcdgw"):
    titles = [measured if title == "etcdgw" else title for title in TITLES]
    lines = [[line[column] for column in columns] for line in (titles, *map(cells, rows))]
    widths = [max(map(len, column)) for column in zip(*lines)]
    for line in lines:
        first, *others = (cell.ljust(width) if at == 0 else cell.rjust(width)
                          for at, (cell, width) in enumerate(zip(line, widths)))
        yield "  ".join([first, *others]).rstrip()


def show(title, rows, columns=COMPARED, measured="etcdgw"):
    print(f"\n{title}\n")
    for line in table(rows, columns, measured):
        print(f"  {line}")


def append_json(path, rows):
    with open(path, "a", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps({**asdict(row), "verdict": row.verdict()}, ensure_ascii=False) + "\n")
