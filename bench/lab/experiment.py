"""experiment.py - the EFlops experiment on one fabric: every algorithm and order, and the peers, on
the same cables, interleaved, with what the cables carried and what accl-topo had predicted.

Inside the lab: experiment.py SPEC BUILD OUT.json RATE MTU ROUNDS [scale]. The report is made of the
JSON files afterwards (report.py).
"""

import dataclasses
import json
import pathlib
import statistics
import sys
import time

import counters
import peers
from alone import Refused
from lab import Lab
from network import ETHERNET_BYTES

KIB, MIB = 1 << 10, 1 << 20
# Sizes that share a job, its iterations a size, and the longest it may take.
SMALL = ((KIB, 4 * KIB, 16 * KIB), 10, 60)
MIDDLE = ((64 * KIB, 256 * KIB), 3, 90)
LARGE = ((MIB, 2 * MIB), 1, 150)
DRAWS = 9  # Of the switches' hash, where a prediction depends on it.
SETS = (SMALL, MIDDLE, LARGE)
SCALE_SERVERS = (2, 4, 8)


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    order: str
    algorithm: str           # Of accl-perf.
    first: str = ""          # Of a rank map: what it says itself.

    def flags(self):
        return ["--algo", self.algorithm, *self.plan_flags()]

    def plan_flags(self):
        return ["--first", self.first] if self.first else []


CASES = (
    Case("HDRM", "hdrm", "auto"),
    Case("HDRM, hd only", "hdrm", "hdrm"),
    Case("HD near", "sorted", "hd", "near"),
    Case("HD far", "sorted", "hd", "far"),
    Case("HD shuffled", "shuffled", "hd", "near"),
    Case("ring", "sorted", "ring"),
    Case("ring alternating", "alternating", "ring"),
    Case("tree", "sorted", "tree"),
)
SCALE_CASES = ("HDRM", "HD near", "ring", "ring alternating")
PLANS = {"hdrm": "hd", "auto": "hd"}  # Auto: of large vectors, which is all that is predicted.


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
        self.began = time.monotonic()

    def say(self, text):
        print(f"lab: {time.monotonic() - self.began:6.1f} s  {text}", file=sys.stderr, flush=True)

    def order(self, name, hosts=None):
        key = (name, len(hosts) if hosts else 0)
        if key not in self.orders:
            self.orders[key] = self.lab.order(name, hosts)
        return self.orders[key]

    def run_case(self, case, sizes_set, number, hosts=None):
        sizes, iterations, seconds = sizes_set
        order = self.order(case.order, hosts)
        check = 1 if number == 0 else 0
        counts = number == 0 and sizes_set is LARGE and hosts is None
        more = ["--traffic"] if counts else []
        step = sizes[1] // sizes[0] if len(sizes) > 1 else 2
        run = self.lab.accl(order, [*case.flags(), "-b", sizes[0], "-e", sizes[-1], "-f", step,
                                    "-n", iterations, "-w", 0, "-c", check, "--in-place", 0,
                                    *more], seconds)
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
            calls = 2 * check + 1 + iterations + 1
            share = sizes[-1] / sum(sizes) / calls
            self.cables[case.name] = {" ".join(key): value[0] * share
                                      for key, value in run.cables.items()}
            self.traffic[case.name] = run.rows()[sizes[-1]]["accl"]["traffic"]
        self.versions["ACCL"] = run.document["accl"]["version"]

    def add(self, name, endpoints, size, number, median, least, most, algorithm=""):
        self.rows.append({"case": name, "endpoints": endpoints, "bytes": size, "round": number,
                          "us": median, "min_us": least, "max_us": most, "algorithm": algorithm})

    def run_peer(self, peer, sizes_set, number):
        sizes, iterations, _seconds = sizes_set
        for size in sizes:
            times = [1e6 * second for second in peer.allreduce(size, iterations)]
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
                for case in CASES:
                    for sizes_set in SETS:
                        self.run_case(case, sizes_set, number)
                    self.say(f"round {number + 1}/{repeats}: {case.name}")
                for peer in running:
                    for sizes_set in SETS:
                        self.run_peer(peer, sizes_set, number)
                    self.say(f"round {number + 1}/{repeats}: {peer.name}")
        finally:
            for peer in running:
                peer.close()

    def scale(self):
        """The same on a part of the servers."""
        for count in (n for n in SCALE_SERVERS if n < len(self.lab.hosts())):
            hosts = self.lab.hosts()
            hosts = hosts[:: len(hosts) // count]  # Both layers have their share.
            for case in CASES:
                if case.name not in SCALE_CASES:
                    continue
                self.run_case(case, SMALL, 0, hosts)
                self.run_case(case, LARGE, 0, hosts)
            self.say(f"{count} servers")

    def median_us(self, name, size, endpoints=None):
        endpoints = endpoints or len(self.lab.cluster.nics)
        times = [row["us"] for row in self.rows if row["case"] == name and row["bytes"] == size and
                 row["endpoints"] == endpoints]
        return statistics.median(times)

    def calibrate(self):
        """Two figures of the lab that no plan knows, both seen on HDRM: the wire bytes that a byte
        of payload takes, and the time of a step that carries next to nothing."""
        payload = sum(pair["bytes"] for pair in self.traffic["HDRM"])
        nics = set(self.lab.cluster.nics)
        wire = sum(value for key, value in self.cables["HDRM"].items()
                   if key.split(" ")[1] in nics)
        steps = len(self.explain(self.case("HDRM"), MIB, self.lab.spec)["max_flows_per_link"])
        packet_bits = 8 * (self.lab.network.mtu + ETHERNET_BYTES)
        return {"start_us": self.median_us("HDRM, hd only", KIB) / steps,
                "packet_us": 1e6 * packet_bits / self.lab.network.rate_bits,
                "wire_per_payload": wire / payload}

    def predict(self):
        """What accl-topo says of every case, at the lab's rate: {case: {bytes: {"us", "least_us",
        "most_us", "flows"}}}; the range is over draws of the switches' hash."""
        figures = self.calibrate()
        spec = self.lab.lab_spec(figures["start_us"], figures["packet_us"],
                                 figures["wire_per_payload"])
        cases = {}
        for case in CASES:
            for size in LARGE[0]:
                draws = [self.explain(case, size, spec, "--seed", str(seed))
                         for seed in range(1, DRAWS + 1)]
                times = [1e6 * draw["seconds"] for draw in draws]
                flows = [max(draw["max_flows_per_link"]) for draw in draws]
                cases.setdefault(case.name, {})[size] = {
                    "us": statistics.median(times), "least_us": min(times), "most_us": max(times),
                    "flows": statistics.median(flows)}
        return {**figures, "cases": cases}

    def check_counters(self):
        """What was moved beside what was planned, of every case that was counted."""
        size = LARGE[0][-1]
        return {name: counters.check(self.lab.cluster, self.order(self.case(name).order),
                                     self.traffic[name], self.cables[name],
                                     self.explain(self.case(name), size, self.lab.spec,
                                                  "--cables"))
                for name in self.traffic}

    @staticmethod
    def case(name):
        return next(case for case in CASES if case.name == name)

    def explain(self, case, size, spec, *more):
        algorithm = PLANS.get(case.algorithm, case.algorithm)
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
        experiment.compare(rounds)
        if "scale" in parts:
            experiment.scale()
        pathlib.Path(out).write_text(json.dumps(experiment.document(rounds), indent=1) + "\n")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:4], *map(int, sys.argv[4:7]), sys.argv[7:])
    except (Failed, peers.Gone, Refused) as failure:
        sys.exit(f"lab: {failure}")
