"""fault.py - cables cut in mid-run, on a lab of 16 endpoints: what the ranks say, what the network
does, and what `accl-topo mend` makes of it. Inside the lab: fault.py SPEC BUILD."""

import dataclasses
import pathlib
import re
import sys
import time

import counters
from alone import Refused
from lab import Lab, order_of_map

RATE_BITS, MTU = 30_000_000, 9000
TIMEOUT_MS = 4000
GRACE_SECONDS = 6   # For the verdict to travel and the processes to end.
BYTES = 64 << 10
STEADY_SECONDS = 2  # A job this old has opened its connections.


@dataclasses.dataclass
class Outcome:
    """A run during which a cable was cut."""
    run: object
    cable: object
    seconds_after: float  # From the cut to the end of the last rank.


def run_and_cut(lab, order, cable, iterations, seconds):
    job = lab.start(order, ["--algo", "hdrm", "-b", BYTES, "-e", BYTES, "-n",
                            iterations, "-w", 0, "--in-place", 0],
                    {"ACCL_TIMEOUT_MS": str(TIMEOUT_MS)})
    time.sleep(STEADY_SECONDS)
    if not job.is_running():
        why = lab.finish(job, 1).result.complaint() or "it was done already"
        raise RuntimeError(f"the job ended before the cut: {why}")
    lab.network.cut(cable)
    cut = time.monotonic()
    run = lab.finish(job, seconds)
    return Outcome(run, cable, time.monotonic() - cut)


def cable_between(cluster, a, b):
    for cable, there in cluster.between_switches(a):
        if there == b:
            return cable
    raise RuntimeError(f"no cable joins {a} and {b}")


def cut_between_switches(lab, order):
    """A cable that a connection uses; other ways exist, so the job should carry on."""
    cluster = lab.cluster
    a, b = order.nics[0], order.nics[1]
    cable = cable_between(cluster, cluster.switch_of[a], cluster.switch_of[b])
    return run_and_cut(lab, order, cable, 120, 60)


def cut_at_nic(lab, order):
    """The only cable of a NIC: its rank can reach nobody, the job has to end with an error."""
    return run_and_cut(lab, order, lab.cluster.cables_at[order.nics[0]][0], 1_000_000,
                       TIMEOUT_MS / 1000 + GRACE_SECONDS)


def mended_order(lab, cable):
    """The order that `accl-topo mend` gives without this cable, and the file that names it."""
    dead = lab.folder / "dead.txt"
    dead.write_text(f"{cable.name}\n")
    path = lab.folder / "mended.json"
    lab.tool_output("mend", str(lab.spec), "--dead", str(dead), "-o", str(path))
    return order_of_map("mended", path), dead


def run_mended(lab, cable):
    """One counted run on the cut fabric: the check of its counters, and the plan's step loads."""
    order, dead = mended_order(lab, cable)
    run = lab.accl(order, ["--algo", "hdrm", "-b", "1M", "-e", "1M", "-n", 1, "-w", 0, "-c", 0,
                           "--in-place", 0, "--traffic"])
    if run.document is None:
        raise RuntimeError(run.result.complaint())
    answer = lab.explain(order, "hd", 1 << 20, lab.spec, "--dead", str(dead), "--cables")
    calls = 3  # One to see the pace, one timed, one counted.
    wire = {" ".join(key): value[0] / calls for key, value in run.cables.items()}
    traffic = run.rows()[1 << 20]["accl"]["traffic"]
    lab.cluster.without(cable)
    return counters.check(lab.cluster, order, traffic, wire, answer), answer


def words(outcome):
    """What the ranks said, each once."""
    lines = [line for text in outcome.run.result.output for line in text.splitlines()
             if line.startswith("accl-perf: ")]
    return sorted({re.sub(r"^accl-perf: ", "", line) for line in lines})


def main(spec, build):
    with Lab(spec, build, RATE_BITS, MTU) as lab:
        order = lab.order("hdrm")
        outcome = cut_between_switches(lab, order)
        name = f"{outcome.cable.name} ({' - '.join(end.node for end in outcome.cable.ends)})"
        if not outcome.run.result.good:
            raise RuntimeError(f"{name} cut in mid-run: {outcome.run.result.complaint()}")
        print(f"{name} cut in mid-run: carried on over a detour")
        check, answer = run_mended(lab, outcome.cable)
        print(f"mended: at most {max(answer['max_flows_per_link']):.0f} message on a cable in a "
              f"step; payload as planned on {check['cables']} cables: {check['cables_equal']}")
        outcome = cut_at_nic(lab, order)
        if any(status < 0 for status in outcome.run.result.status):
            raise RuntimeError(f"a NIC's cable cut: {outcome.run.result.complaint()}")
        print(f"{outcome.cable.name} ({outcome.cable.ends[0].node}) cut in mid-run: every rank had "
              f"ended {outcome.seconds_after:.1f} s later (time-out {TIMEOUT_MS / 1000:g} s):")
        for line in words(outcome):
            print(f"  {line}")


if __name__ == "__main__":
    try:
        main(pathlib.Path(sys.argv[1]), sys.argv[2])
    except RuntimeError as failure:
        sys.exit(f"lab: {failure}")
    except Refused as why:
        print(f"lab: {why}", file=sys.stderr)
        sys.exit(2)
