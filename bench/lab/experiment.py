"""experiment.py - the EFlops experiment on one fabric: every algorithm and order, and the peers, on
the same cables, interleaved, with what the cables carried and what accl-topo had predicted.

Inside the lab: experiment.py SPEC BUILD OUT.json RATE MTU ROUNDS [scale]. The report is made of the
JSON files afterwards (report.py).
"""

import dataclasses
import json
import math
import pathlib
import statistics
import sys
import time

import counters
import peers
from alone import Refused
from lab import Lab

KIB = 1 << 10


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Bytes that share a job, how often each is called, and the longest the job may take."""
    bytes: tuple
    calls: int
    warmups: int
    seconds: int


SMALL = Sizes(tuple(KIB << k for k in (0, 2, 4)), 10, 2, 90)
LARGE = Sizes(tuple(KIB << k for k in (6, 8, 10)), 1, 0, 150)
MOST_CALLS = {"Gloo": 3}  # It is slow here, whatever the size.
STEP = 4  # From a size to the next.
DRAWS = 3  # Of the switches' hash, where a prediction depends on it.
SCALE_SERVERS = (2, 4, 8)
DEFAULT_TABLE = pathlib.Path(__file__).resolve().parents[2] / "configs/selection/default.table"
# As `accl-perf --tune` finds it here: the built-in table takes recursive doubling up to 32 KiB and
# slices of 256 KiB, which are for networks a thousand times as fast.
SLICED = "allreduce 2-max 64K any hd 0 1\nallreduce 2-max max any hd 20K 4"
TUNED = "allreduce 2-max 2K any rd 0 1\n" + SLICED
# One slice after the other, as a library does that does not cut vectors.
PLAIN = "allreduce 2-max max any hd 0 1"


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    order: str
    algorithm: str           # Of accl-perf.
    first: str = ""          # Of a rank map: what it says itself.
    sets: tuple = (SMALL, LARGE)
    rules: str = ""          # Of a selection table, in place of ours.

    @property
    def in_flight(self):
        return 1 if self.rules == PLAIN else 4

    def flags(self):
        return ["--algo", self.algorithm, *self.plan_flags()]

    def plan_flags(self):
        return ["--first", self.first] if self.first else []


CASES = (
    Case("HDRM", "hdrm", "auto", rules=TUNED),
    Case("HD near", "sorted", "hd", "near", rules=SLICED),
    Case("HD far", "sorted", "hd", "far", rules=SLICED),
    Case("HD shuffled", "shuffled", "hd", "near", rules=SLICED),
    Case("plain HDRM", "hdrm", "hd", sets=(LARGE,), rules=PLAIN),
    Case("plain HD near", "sorted", "hd", "near", sets=(LARGE,), rules=PLAIN),
    Case("ring", "sorted", "ring"),
    Case("ring alternating", "alternating", "ring"),
    Case("tree", "sorted", "tree"),
)
SCALE_CASES = ("HDRM", "HD near", "ring")


class Failed(Exception):
    """A job ended badly."""


class Experiment:
    """Collects rows: {"case", "endpoints", "bytes", "round", "us", "min_us", "max_us"}."""

    def __init__(self, lab):
        self.lab = lab
        self.rows = []
        self.cables = {}    # case -> {"cable from": wire bytes of one call of the largest size}.
        self.traffic = {}   # case -> accl.traffic of one call of the largest size.
        self.orders = {}
        self.versions = {}
        self.step_us = 0.0
        self.began = time.monotonic()

    def say(self, text):
        print(f"lab: {time.monotonic() - self.began:6.1f} s  {text}", file=sys.stderr, flush=True)

    def order(self, name, hosts=None):
        key = (name, len(hosts) if hosts else 0)
        if key not in self.orders:
            self.orders[key] = self.lab.order(name, hosts)
        return self.orders[key]

    def environment_of(self, case):
        if not case.rules:
            return {}
        table = self.lab.folder / f"{case.name.replace(' ', '-')}.table"
        others = [line for line in DEFAULT_TABLE.read_text().splitlines()
                  if not line.startswith("allreduce ")]
        table.write_text("\n".join([case.rules, *others]) + "\n")
        return {"ACCL_SELECTION": str(table)}

    def run_case(self, case, sizes_set, number, hosts=None):
        sizes = sizes_set.bytes
        order = self.order(case.order, hosts)
        check = 1 if number == 0 else 0
        counts = number == 0 and sizes_set is LARGE and hosts is None
        more = ["--traffic"] if counts else []
        run = self.lab.accl(order, [*case.flags(), "-b", sizes[0], "-e", sizes[-1], "-f", STEP,
                                    "-n", sizes_set.calls, "-w", sizes_set.warmups, "-c", check,
                                    "--in-place", 0, *more],
                            sizes_set.seconds, self.environment_of(case))
        if run.document is None:
            raise Failed(f"{case.name}, {sizes[0]} to {sizes[-1]} bytes: {run.result.complaint()}")
        for size, row in run.rows().items():
            ours = row["accl"]
            if check and row["out_of_place"]["nwrong"]:
                raise Failed(f"{case.name}: wrong sums at {size} bytes")
            self.add(case.name, len(order.nics), size, number, ours["time_us_median"],
                     ours["time_us_min"], ours["time_us_max"], ours["algorithm"])
        if counts:
            # Every size is called as often, so the shares of the sizes are as the sizes.
            # Checked, to get warm, to see the pace, timed, counted.
            calls = 2 * check + sizes_set.warmups + 1 + sizes_set.calls + 1
            share = sizes[-1] / sum(sizes) / calls
            self.cables[case.name] = {" ".join(key): value[0] * share
                                      for key, value in run.cables.items()}
            self.traffic[case.name] = run.rows()[sizes[-1]]["accl"]["traffic"]
        self.versions["ACCL"] = run.document["accl"]["version"]

    def add(self, name, endpoints, size, number, median, least, most, algorithm=""):
        self.rows.append({"case": name, "endpoints": endpoints, "bytes": size, "round": number,
                          "us": median, "min_us": least, "max_us": most, "algorithm": algorithm})

    def run_peer(self, peer, sizes_set, number):
        calls = min(sizes_set.calls, MOST_CALLS.get(peer.name, sizes_set.calls))
        for size in sizes_set.bytes:
            times = [1e6 * second
                     for second in peer.allreduce(size, calls, max(1, sizes_set.warmups))]
            self.add(peer.name, len(peer.ranks), size, number, statistics.median(times),
                     min(times), max(times))

    def compare(self, repeats):
        """Every case and peer, in turn, so often."""
        running = peers.start(self.lab.network, self.order("sorted").nics, self.lab.build,
                              self.lab.folder)
        for peer in running:
            self.versions[peer.name] = peer.version
        try:
            for number in range(repeats):
                self.run_round(running, number)
                self.say(f"round {number + 1} of {repeats} is done")
        finally:
            for peer in running:
                peer.close()

    def run_round(self, running, number):
        for case in CASES:
            for sizes_set in case.sets:
                self.run_case(case, sizes_set, number)
            self.say(f"  {case.name}")
        for peer in running:
            for sizes_set in (SMALL, LARGE):
                self.run_peer(peer, sizes_set, number)
            self.say(f"  {peer.name}")

    def some_hosts(self, count):
        hosts = self.lab.hosts()
        return hosts[:: max(1, len(hosts) // count)]  # Both layers have their share.

    def scale(self):
        """The same on a part of the servers, once. Sums are checked in the comparison."""
        for count in (n for n in SCALE_SERVERS if n < len(self.lab.hosts())):
            hosts = self.some_hosts(count)
            for case in CASES:
                if case.name not in SCALE_CASES:
                    continue
                self.run_case(case, SMALL, 1, hosts)
                self.run_case(case, LARGE, 1, hosts)
            self.say(f"{count} servers")

    def calibrate(self):
        """The time of a step that carries next to nothing, among so few ranks that they do not
        wait for a core."""
        hosts = self.some_hosts(SCALE_SERVERS[0])
        order = self.order("hdrm", hosts)
        run = self.lab.accl(order, ["--algo", "hd", "-b", 8, "-e", 8, "-n", 50, "-w", 5, "-c", 0],
                            SMALL.seconds)
        if run.document is None:
            raise Failed(f"8 bytes among {len(order.nics)} ranks: {run.result.complaint()}")
        steps = 2 * math.ceil(math.log2(len(order.nics)))
        self.step_us = run.rows()[8]["accl"]["time_us_median"] / steps
        self.say(f"a step of {len(order.nics)} ranks takes {self.step_us:.0f} us")

    def wire_per_payload(self):
        """Bytes on the wire for a byte of payload, seen on the NICs' cables under HDRM."""
        payload = sum(pair["bytes"] for pair in self.traffic["HDRM"])
        nics = set(self.lab.cluster.nics)
        wire = sum(value for key, value in self.cables["HDRM"].items()
                   if key.split(" ")[1] in nics)
        return wire / payload

    def predict(self):
        """{case: {bytes: {"us", "least_us", "most_us", "flows", "slices"}}}, the range over draws
        of the switches' hash."""
        overhead = self.wire_per_payload()
        spec = self.lab.lab_spec(self.step_us, 0, overhead)
        cases = {}
        for case in CASES:
            cases[case.name] = {size: self.predict_case(case, size, spec)
                                for sizes in case.sets for size in sizes.bytes}
        return {"wire_per_payload": overhead, "step_us": self.step_us, "cases": cases}

    def predict_case(self, case, size, spec):
        """By accl-topo at the lab's rate, every rank at its own pace, the vector in the slices that
        were seen. What the lab adds is the time of a step that carries next to nothing."""
        slices = self.slices_of(case, size)
        times, flows = [], []
        for seed in range(1, DRAWS + 1):
            answer = self.explain(case, size, spec, "--seed", str(seed), "--steps", "free",
                                  "--posted", "--slices", str(slices), "--in-flight",
                                  str(case.in_flight))
            times.append(1e6 * answer["seconds"])
            flows.append(max(answer["max_flows_per_link"]))
        return {"us": statistics.median(times), "least_us": min(times), "most_us": max(times),
                "flows": statistics.median(flows), "slices": slices}

    def slices_of(self, case, size):
        """Into which the library cut the vector: messages seen by messages planned."""
        if case.name not in self.traffic:
            return 1
        largest = LARGE.bytes[-1]
        answer = self.explain(case, largest, self.lab.spec, "--cables")
        seen = max(pair["messages"] for pair in self.traffic[case.name])
        planned = max(pair["messages"] for pair in answer["pairs"])
        return max(1, round(seen / planned * size / largest))

    def check_counters(self):
        """What was moved beside what was planned, of every case that was counted."""
        size = LARGE.bytes[-1]
        return {name: counters.check(self.lab.cluster, self.order(self.case(name).order),
                                     self.traffic[name], self.cables[name],
                                     self.explain(self.case(name), size, self.lab.spec,
                                                  "--cables"))
                for name in self.traffic}

    @staticmethod
    def case(name):
        return next(case for case in CASES if case.name == name)

    def explain(self, case, size, spec, *more):
        algorithm = next(row["algorithm"] for row in self.rows
                         if row["case"] == case.name and row["bytes"] == size)
        return self.lab.explain(self.order(case.order), algorithm, size, spec,
                                *case.plan_flags(), *more)

    def document(self, rounds):
        cluster, network = self.lab.cluster, self.lab.network
        return {"spec": self.lab.spec.name, "fabric": cluster.rank_map["fabric"],
                "rate_bits": network.rate_bits, "mtu": network.mtu, "rounds": rounds,
                "endpoints": len(cluster.nics), "switches": cluster.switches,
                "cable_ends": {cable.name: [end.node for end in cable.ends]
                               for cable in cluster.cables},
                "versions": self.versions, "rows": self.rows, "cables": self.cables,
                "checked": self.check_counters(), "predicted": self.predict(),
                "seconds": time.monotonic() - self.began}


def main(spec, build, out, rate_bits, mtu, rounds, parts=("compare", "scale")):
    with Lab(spec, build, rate_bits, mtu) as lab:
        experiment = Experiment(lab)
        experiment.say(f"{len(lab.cluster.nics)} endpoints, {len(lab.cluster.switches)} switches")
        try:
            experiment.calibrate()
            experiment.compare(rounds)
            if "scale" in parts:
                experiment.scale()
        except (Failed, peers.Gone):  # What was measured until then is worth keeping.
            kept = {"rows": experiment.rows, "cables": experiment.cables}
            pathlib.Path(f"{out}.part").write_text(json.dumps(kept, indent=1) + "\n")
            raise
        document = experiment.document(rounds)
        pathlib.Path(out).write_text(json.dumps(document, indent=1) + "\n")
        for name, result in document["checked"].items():
            if counters.complaint(name, result):
                raise Failed(counters.complaint(name, result))
        dropped = lab.network.dropped()
        if dropped:
            raise Failed(f"{dropped} packets were dropped; the times are not those of a lossless "
                         "network")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:4], *map(int, sys.argv[4:7]), sys.argv[7:])
    except (Failed, peers.Gone) as failure:
        sys.exit(f"lab: {failure}")
    except Refused as why:
        print(f"lab: {why}", file=sys.stderr)
        sys.exit(2)
