"""cluster.py - what a spec means to the lab: NICs, switches, cables, addresses and shortest paths.

Everything comes from the cut sheet and the rank map that `accl-topo plan` writes. The paths are
found here once more, by plain breadth-first search, so that the lab does not believe the program
whose predictions it checks.
"""

import collections
import csv
import dataclasses
import json
import pathlib
import subprocess

from alone import Refused

MOST_NICS_OF_A_SWITCH = 250  # Each has an address of the switch's /24.


@dataclasses.dataclass(frozen=True)
class End:
    """One end of a cable. `node` is a switch, or a NIC as server/nic."""
    node: str
    port: str


@dataclasses.dataclass(frozen=True)
class Cable:
    name: str
    ends: tuple  # Of two End.

    def end_at(self, node):
        return self.ends[0] if self.ends[0].node == node else self.ends[1]

    def other(self, node):
        return self.ends[1] if self.ends[0].node == node else self.ends[0]


class Cluster:
    """A planned fabric. `rank_map` is the parsed rankmap.json of the whole of it."""

    def __init__(self, cables, switches, rank_map):
        self.cables = cables
        self.rank_map = rank_map
        self.switches = switches
        self.cables_at = collections.defaultdict(list)
        for cable in cables:
            for end in cable.ends:
                self.cables_at[end.node].append(cable)
        self.dead = set()
        self.nics = [node for node in self.cables_at if node not in switches]
        self.switch_of = {nic: self.cables_at[nic][0].other(nic).node for nic in self.nics}
        self.address = self._addresses()
        self.distance = {switch: self._distances(switch) for switch in switches}
        if any(len(reached) < len(switches) for reached in self.distance.values()):
            raise Refused("some switches are not joined to others (planes?); the lab takes one "
                          "network")

    def _addresses(self):
        """{NIC: address}: NIC k of switch s is 10.0.s.k+2, so a switch is one route."""
        address = {}
        for number, switch in enumerate(self.switches):
            here = [nic for nic in self.nics if self.switch_of[nic] == switch]
            if len(here) > MOST_NICS_OF_A_SWITCH:
                raise Refused(f"{switch} has {len(here)} NICs; the lab takes at most "
                              f"{MOST_NICS_OF_A_SWITCH} a switch")
            for k, nic in enumerate(here):
                address[nic] = f"10.{number >> 8}.{number & 255}.{k + 2}"
        return address

    def subnet(self, switch):
        number = self.switches.index(switch)
        return f"10.{number >> 8}.{number & 255}.0/24"

    def between_switches(self, switch):
        """[(cable, neighbour)] of a switch, the living ones."""
        return [(cable, cable.other(switch).node) for cable in self.cables_at[switch]
                if cable.other(switch).node in self.switches and cable not in self.dead]

    def without(self, cable):
        """Paths avoid this cable from now on."""
        self.dead.add(cable)
        self.distance = {switch: self._distances(switch) for switch in self.switches}

    def _distances(self, start):
        distance = {start: 0}
        queue = collections.deque([start])
        while queue:
            here = queue.popleft()
            for _cable, there in self.between_switches(here):
                if there not in distance:
                    distance[there] = distance[here] + 1
                    queue.append(there)
        return distance

    def next_hops(self, switch, target):
        """[(cable, neighbour)] that begin a shortest path from one switch to another."""
        left = self.distance[target].get(switch)
        if left is None:
            return []
        return [(cable, there) for cable, there in self.between_switches(switch)
                if self.distance[target].get(there) == left - 1]


def accl_topo(program, *arguments):
    """Standard output of the tool. Exit status 1 (contended) is an answer, not a failure."""
    done = subprocess.run([program, *arguments], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False)
    if done.returncode not in (0, 1):
        raise Refused(done.stderr.strip() or f"{program} {arguments[0]} failed")
    return done.stdout


def load(program, spec, folder):
    """The cluster of a spec; `folder` takes the plan's files."""
    folder = pathlib.Path(folder)
    accl_topo(program, "plan", str(spec), "--out", str(folder))
    with open(folder / "netbox-2-devices.csv", newline="") as file:
        switches = [row["name"] for row in csv.DictReader(file) if row["role"] == "switch"]

    def end(device, port):
        return End(device if device in switches else f"{device}/{port}", port)

    with open(folder / "cables.csv", newline="") as file:
        cables = [Cable(row["cable"], (end(row["a_device"], row["a_port"]),
                                       end(row["b_device"], row["b_port"])))
                  for row in csv.DictReader(file)]
    return Cluster(cables, switches, json.loads((folder / "rankmap.json").read_text()))
