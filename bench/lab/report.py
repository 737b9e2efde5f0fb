"""report.py - tables and pictures of an experiment: report.py OUT_FOLDER RESULT.json...

Writes OUT_FOLDER/tables.md and SVG files. The first result is the BiGraph, others are its rivals.
"""

import collections
import json
import pathlib
import statistics
import sys

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402  (the back end must be chosen first)

KIB, MIB = 1 << 10, 1 << 20
STYLE = {"svg.hashsalt": "accl", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3,
         "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}
COLOURS = {"HDRM": "#c0392b", "HD near": "#2471a3", "HD far": "#5dade2",
           "HD shuffled": "#85929e", "ring": "#1e8449", "ring alternating": "#82c99a",
           "tree": "#7d3c98", "Open MPI": "#111111", "Gloo": "#999999"}


def size_text(size):
    return f"{size // MIB} MiB" if size >= MIB else f"{size // KIB} KiB"


def time_text(us):
    return f"{us / 1000:.4g} ms"


class Result:
    """One experiment's JSON file."""

    def __init__(self, path):
        self.data = json.loads(pathlib.Path(path).read_text())
        self.fabric = self.data["fabric"]
        self.endpoints = self.data["endpoints"]
        self.times = collections.defaultdict(list)
        for row in self.data["rows"]:
            self.times[row["case"], row["endpoints"], row["bytes"]].append(row["us"])
        self.cases = list(dict.fromkeys(row["case"] for row in self.data["rows"]))
        self.sizes = sorted({row["bytes"] for row in self.data["rows"]
                             if row["endpoints"] == self.endpoints})

    def median(self, case, size, endpoints=None):
        times = self.times.get((case, endpoints or self.endpoints, size))
        return statistics.median(times) if times else None

    def spread(self, case, size):
        """Half the range by the median, in percent."""
        times = self.times[case, self.endpoints, size]
        return 50 * (max(times) - min(times)) / statistics.median(times)

    def bus_mbit(self, case, size, endpoints=None):
        n = endpoints or self.endpoints
        return 2 * (n - 1) / n * size * 8 / self.median(case, size, n)

    def bound_us(self, size):
        """2 (n-1)/n of the vector over the rate of a NIC, headers included."""
        n = self.endpoints
        wire = self.data["predicted"]["wire_per_payload"]
        return 2 * (n - 1) / n * size * wire * 8e6 / self.data["rate_bits"]


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows]) + "\n"


def time_table(result):
    rows = []
    for case in result.cases:
        if result.median(case, result.sizes[0]) is None:
            continue
        rows.append([case] + [f"{time_text(result.median(case, size))} "
                              f"±{result.spread(case, size):.0f}%"
                              if result.median(case, size) else "" for size in result.sizes])
    return table(["", *map(size_text, result.sizes)], rows)


def ratio_table(result):
    rows = []
    for case in result.cases:
        if case == "HDRM" or result.median(case, result.sizes[0]) is None:
            continue
        rows.append([case] + [f"{result.median(case, size) / result.median('HDRM', size):.2f}"
                              if result.median(case, size) else "" for size in result.sizes])
    return table(["time by HDRM's", *map(size_text, result.sizes)], rows)


def prediction_table(result):
    """Of every row, predicted by measured; and the largest size in full."""
    rows = []
    largest = result.sizes[-1]
    for case, answers in result.data["predicted"]["cases"].items():
        row = [case]
        for size in result.sizes:
            answer = answers.get(str(size))
            row.append(f"{answer['us'] / result.median(case, size):.2f}" if answer else "")
        answer = answers.get(str(largest))
        if answer:
            least, most = answer["least_us"], answer["most_us"]
            draws = f" ({least / 1000:.4g} to {most / 1000:.4g})" if most > least * 1.001 else ""
            row += [f"{answer['flows']:.0f}", answer["slices"],
                    time_text(result.median(case, largest)), time_text(answer["us"]) + draws]
        else:
            row += [""] * 4
        rows.append(row)
    head = ["predicted by measured", *map(size_text, result.sizes), "most messages on a cable",
            "slices", f"{size_text(largest)} measured", "predicted"]
    return table(head, rows)


def bound_table(result):
    size = result.sizes[-1]
    bound = result.bound_us(size)
    rows = [[case, time_text(result.median(case, size)),
             f"{100 * bound / result.median(case, size):.0f}%",
             f"{result.bus_mbit(case, size):.2f}"] for case in result.cases
            if result.median(case, size)]
    return table([size_text(size), "time", "of the bound", "bus Mbit/s"], rows)


def scale_table(result):
    counts = sorted({n for _case, n, _size in result.times})
    rows = []
    for case in ("HDRM", "HD near", "ring", "ring alternating"):
        for size in (KIB, MIB):
            times = [result.median(case, size, n) for n in counts]
            if None in times:
                continue
            rows.append([case, size_text(size), *map(time_text, times),
                         f"{times[-1] / times[0]:.2f}"])
    head = ["", "", *[f"{n} endpoints" for n in counts], f"{counts[-1]} by {counts[0]}"]
    return table(head, rows)


def counter_table(result):
    """Wire bytes of the kernel by the payload that the plan puts on every cable."""
    rows = []
    for case, checked in result.data["checked"].items():
        where = "all" if checked["has_choice"] is False else "without a choice of paths"
        rows.append([case, checked["pairs"], "yes" if checked["pairs_equal"] else "NO",
                     f"{checked['cables']} ({where})", "yes" if checked["cables_equal"] else "NO",
                     f"{checked['wire_least']:.3f}", f"{checked['wire_most']:.3f}"])
    return table(["", "pairs", "payload as planned", "directed cables", "payload as planned",
                  "wire by payload, least", "most"], rows)


def lines_over_size(result, folder, name, of, label):
    figure, axes = plt.subplots(figsize=(7, 4.2))
    for case in result.cases:
        points = [(size, of(case, size)) for size in result.sizes if result.median(case, size)]
        if points:
            axes.plot(*zip(*points), marker="o", markersize=3, label=case,
                      color=COLOURS.get(case), linewidth=2 if case == "HDRM" else 1.2)
    axes.set_xscale("log", base=2)
    axes.set_xticks(result.sizes, map(size_text, result.sizes))
    axes.set_yscale("log")
    axes.set_ylabel(label)
    axes.set_title(f"{result.fabric}, {result.endpoints} endpoints, "
                   f"{result.data['rate_bits'] / 1e6:g} Mbit/s a cable")
    axes.legend(ncols=2, fontsize=8)
    save(figure, folder, f"{result.fabric}-{name}")


def save(figure, folder, name):
    figure.tight_layout()
    figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)


def load_picture(result, folder):
    """Bytes of every cable between switches, both directions, as a matrix per case."""
    cases = list(result.data["cables"])
    pictures = {case: matrix_of(result, case) for case in cases}
    most = max(max(map(max, matrix)) for matrix in pictures.values())
    columns = 4
    rows = -(-len(cases) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(9, 2.3 * rows + 0.6), squeeze=False)
    for place, axis in enumerate(axes.flat):
        axis.axis("off")
        if place < len(cases):
            image = axis.imshow(pictures[cases[place]], vmin=0, vmax=most, cmap="inferno_r")
            axis.set_title(cases[place], fontsize=9)
    figure.colorbar(image, ax=axes, shrink=0.8, label="MiB sent, row switch to column switch")
    figure.suptitle(f"{result.fabric}: bytes of every cable in one allreduce of "
                    f"{size_text(result.sizes[-1])}", fontsize=10)
    figure.savefig(folder / f"{result.fabric}-cables.svg", metadata={"Date": None})
    plt.close(figure)


def matrix_of(result, case):
    """MiB from switch to switch, rows and columns in the order of result.data["switches"]."""
    number = {name: k for k, name in enumerate(result.data["switches"])}
    matrix = [[0.0] * len(number) for _ in number]
    for key, sent in result.data["cables"][case].items():
        cable, sender = key.split(" ")
        receiver = result.data["cable_ends"][cable]
        receiver = receiver[1] if receiver[0] == sender else receiver[0]
        if sender in number and receiver in number:
            matrix[number[sender]][number[receiver]] += sent / MIB
    return matrix


def tables(result):
    parts = [f"## {result.fabric}: {result.endpoints} endpoints\n",
             "Medians over the rounds; ± is half their range.\n", time_table(result),
             ratio_table(result), bound_table(result), prediction_table(result)]
    if result.data.get("checked"):
        parts.append(counter_table(result))
    if len({n for _case, n, _size in result.times}) > 1:
        parts.append(scale_table(result))
    return "\n".join(parts)


def main(folder, *paths):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    results = [Result(path) for path in paths]
    text = []
    with plt.rc_context(STYLE):
        for result in results:
            text.append(tables(result))
            lines_over_size(result, folder, "latency",
                            lambda case, size, r=result: r.median(case, size) / 1000, "ms")
            lines_over_size(result, folder, "busbw",
                            lambda case, size, r=result: r.bus_mbit(case, size), "bus Mbit/s")
            load_picture(result, folder)
    (folder / "tables.md").write_text("\n".join(text))


if __name__ == "__main__":
    main(*sys.argv[1:])
