"""lab.py - a spec brought to life: who sits where, accl-perf on every NIC, its results, the bytes
of every cable, and what accl-topo predicts for the same."""

import dataclasses
import json
import pathlib
import random

import yaml

import alone
import cluster as clusters
from job import Job
from network import Network

PORT = 7000  # Of the root; every job has the network to itself.


@dataclasses.dataclass(frozen=True)
class Order:
    """Which NIC each rank sits at. `rank_map` is a file for accl-topo, and with `hands_map` for
    accl-perf too: then the ranks start in the order of hosts and GPUs, and the map gives them
    their seats."""
    name: str
    nics: tuple      # By position of the plan.
    launch: tuple    # By number of the rank that is started there.
    rank_map: str
    hands_map: bool = False


@dataclasses.dataclass
class Run:
    """One accl-perf job: rank 0's JSON (None where it failed), and what the cables carried."""
    result: object
    document: dict
    cables: dict

    def rows(self):
        return {row["size"]: row for row in self.document["results"]} if self.document else {}


def order_of_map(name, path):
    """The order that a rankmap.json gives; ranks find their seats by it."""
    seats = json.loads(pathlib.Path(path).read_text())["ranks"]
    by_place = sorted(seats, key=lambda seat: (seat["host"], seat["gpu"]))
    nics, launch = (tuple(f"{seat['host']}/{seat['nic']}" for seat in chosen)
                    for chosen in (seats, by_place))
    return Order(name, nics, launch, str(path), True)


def subtract(after, before):
    return {key: tuple(x - y for x, y in zip(after[key], before[key])) for key in after}


class Lab:
    """Use it as a context inside of alone.run: up when entered."""

    def __init__(self, spec, build, rate_bits, mtu=1500):
        self.spec = pathlib.Path(spec)
        self.build = pathlib.Path(build)
        self.folder = alone.folder() / self.spec.stem
        self.folder.mkdir()
        self.tool = str(self.build / "topology" / "tool" / "accl-topo")
        self.perf = str(self.build / "bench" / "perf" / "accl-perf")
        for program in (self.tool, self.perf):
            if not pathlib.Path(program).exists():
                raise alone.Refused(f"{program} is not built: bench/run.sh --build-only")
        self.cluster = clusters.load(self.tool, self.spec, self.folder / "plan")
        self.network = Network(self.cluster, rate_bits, mtu)
        self.jobs = 0

    def __enter__(self):
        self.network.up()
        return self

    def __exit__(self, *_error):
        pass  # The namespaces end with the process that holds them (alone.py).

    def hosts(self):
        return list(dict.fromkeys(nic.split("/")[0] for nic in self.cluster.nics))

    def _write_map(self, name, nics, like):
        """A rankmap.json with these NICs in this order; positions are what counts in it. It is
        for accl-topo, with --unpinned: no lane of it is kept by anybody."""
        seats = {f"{seat['host']}/{seat['nic']}": seat for seat in like["ranks"]}
        ranks = [{**seats[nic], "rank": rank} for rank, nic in enumerate(nics)]
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps({**like, "ranks": ranks}))
        return str(path)

    def order(self, name, hosts=None, seed=1):
        """hdrm, sorted, shuffled or alternating, of all hosts or some."""
        chosen = hosts or self.hosts()
        label = f"{name}-{len(chosen)}"
        seats = sorted(self.cluster.rank_map["ranks"],
                       key=lambda seat: (seat["host"], seat["gpu"]))
        nics = [f"{seat['host']}/{seat['nic']}" for seat in seats if seat["host"] in chosen]
        if name == "hdrm":
            path = self.folder / f"{label}.json"
            list_file = self.folder / f"{label}.hosts"
            list_file.write_text("\n".join(chosen) + "\n")
            path.write_text(self.tool_output("map", str(self.spec), "--hosts", str(list_file),
                                             "--format", "json"))
            return order_of_map(name, path)
        if name == "shuffled":
            random.Random(seed).shuffle(nics)
        elif name == "alternating":
            nics = self._alternating(nics)
        path = self._write_map(label, nics, self.cluster.rank_map)
        return Order(name, tuple(nics), tuple(nics), path)

    def _alternating(self, nics):
        """By turns from both layers of switches, one layer switch after switch, the other NIC
        after NIC: the best a ring can have on a BiGraph."""
        seats = {f"{s['host']}/{s['nic']}": s for s in self.cluster.rank_map["ranks"]}
        first, second = ([nic for nic in nics if seats[nic]["side"] == side]
                         for side in ("upper", "lower"))
        switches = self.cluster.switches
        slot = {nic: [other for other in second if seats[other]["switch"] == seats[nic]["switch"]]
                .index(nic) for nic in second}
        second.sort(key=lambda nic: (slot[nic], switches.index(seats[nic]["switch"])))
        mixed = [nic for pair in zip(first, second) for nic in pair]
        return mixed + first[len(second):] + second[len(first):]

    def accl(self, order, arguments, seconds=120, environment=None):
        """Runs `accl-perf allreduce ARGUMENTS`, one rank at every NIC of the order."""
        job = self.start(order, arguments, environment)
        return self.finish(job, seconds)

    def tool_output(self, *arguments):
        """Of accl-topo."""
        return clusters.accl_topo(self.tool, *arguments)

    def start(self, order, arguments, environment=None):
        """The same, without waiting: finish() does."""
        self.jobs += 1
        folder = self.folder / f"job{self.jobs}"
        nics = order.launch
        root = f"{self.network.management[nics[0]]}:{PORT}"
        given = ["--map", order.rank_map] if order.hands_map else []

        def command(rank, _nic):
            return [self.perf, "allreduce", "--rank", rank, "--world", len(nics), "--root", root,
                    "--transport", "tcp", *given, *arguments, "-J", folder / "result.json"]

        before = self.network.counters()
        job = Job(nics, command, folder, {"ACCL_SOCKET_IFNAME": "mgmt",
                                          "ACCL_DATA_IFNAME": "^mgmt,lo", **(environment or {})})
        job.counted = before
        return job

    def finish(self, job, seconds):
        result = job.wait(seconds)
        cables = subtract(self.network.counters(), job.counted)
        path = job.folder / "result.json"
        document = json.loads(path.read_text()) if result.good and path.exists() else None
        return Run(result, document, cables)

    def lab_spec(self, start_us, hop_us, wire_per_payload=1.0):
        """The spec at the lab's latency and the rate it has for payload, for predictions."""
        document = yaml.safe_load(self.spec.read_text())
        document.pop("nic_gbps", None)
        document["gbps"] = self.network.rate_bits / wire_per_payload / 1e9
        document["latency"] = {"start_us": start_us, "hop_us": hop_us}
        path = self.folder / "lab.yaml"
        path.write_text(yaml.safe_dump(document, sort_keys=False))
        return path

    def explain(self, order, algorithm, size_bytes, spec, *more):
        """accl-topo's prediction, parsed. Nothing pins lanes here: the hash chooses."""
        return json.loads(self.tool_output(
            "explain", str(spec), "--order", order.rank_map, "--unpinned", "--algo", algorithm,
            "--bytes", str(size_bytes), "--json", *more))
