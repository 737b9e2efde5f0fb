"""guest.py - inside of machine.py: Soft-RoCE NICs on a network, and a command among them.

guest.py NICS COMMAND...: devices rxe0, rxe1, ... with addresses 10.0.0.1, 10.0.0.2, ..., each on
its own link into one bridge.
guest.py SPEC.yaml BUILD RATE COMMAND...: one device for every NIC of the spec, in the order of the
plan, on its fabric of namespaces: routed, hashed and shaped as by network.py.

Kernel 6.1 has RDMA in the first network namespace only, where it would hand packets between two
addresses of its own straight over; rules send them out by their NIC. Within one NIC they do go
straight over, as in hardware.
"""

import os
import pathlib
import subprocess
import sys
import time

from network import Network, batch, sh

MTU = 4200  # RoCE packets of 4096 bytes.
DEVICES = pathlib.Path("/sys/class/infiniband")
PATIENCE_SECONDS = 30
# All packets by one processor, or two of a connection overtake each other between two: RoCE then
# sends all over again from the first one missing.
KEEP_ORDER = "for queue in /sys/class/net/*/queues/rx-*/rps_cpus; do echo 1 >$queue; done"


def set_interfaces(key, value):
    """Of all that there are and come. Namespaces made later inherit it."""
    for where in ("all", "default"):
        pathlib.Path(f"/proc/sys/net/ipv4/conf/{where}/{key}").write_text(f"{value}\n")


def allow_own_addresses():
    """Packets from one of our addresses to another may come in from outside."""
    set_interfaces("accept_local", 1)
    set_interfaces("rp_filter", 0)


def way_out(k, port, address, route):
    """Lines for ip: what NIC k sends leaves by it; what comes in there is for us."""
    table = 1000 + k
    return [f"rule add pref {100 + k} iif {port} lookup local",
            f"rule add pref {500 + k} from {address} to {address} lookup local",
            f"rule add pref {table} from {address} lookup {table}",
            f"route add {route} dev {port} table {table}"]


def local_addresses_last():
    batch("ip", "", ["rule add pref 9000 lookup local", "rule del pref 0"])


def make_bridge(nics):
    set_interfaces("arp_ignore", 1)  # Else every NIC answers for all of them.
    lines = [f"link add br0 mtu {MTU} type bridge", "link set br0 up"]
    for k in range(nics):
        address = f"10.0.0.{k + 1}"
        lines += [f"link add p{k} mtu {MTU} type veth peer name q{k} mtu {MTU}",
                  f"link set q{k} master br0 up", f"addr add {address}/24 dev p{k}",
                  f"link set p{k} up", *way_out(k, f"p{k}", address, "10.0.0.0/24")]
    batch("ip", "", lines)
    local_addresses_last()
    sh("sh", "-c", KEEP_ORDER)


class RoceNetwork(Network):
    """A fabric whose NICs are all here: NIC k of the cluster is the interface p<k>."""

    def space_of(self, node):
        return "" if node in self.cluster.address else super().space_of(node)

    def port_of(self, cable, node):
        if node in self.cluster.address:
            return f"p{self.cluster.nics.index(node)}"
        return super().port_of(cable, node)

    def _join_management(self):
        pass

    def _nic_lines(self, nic):
        k, address = self.cluster.nics.index(nic), self.cluster.address[nic]
        gateway = address.rsplit(".", 1)[0] + ".1"
        return [f"link set p{k} up mtu {self.mtu}", f"addr add {address}/32 dev p{k}",
                *way_out(k, f"p{k}", address, f"default via {gateway} onlink")]


def make_devices(names):
    """{device: interface}: RoCE over each interface, there when its address is in its table."""
    batch_lines = "".join(f"link add {device} type rxe netdev {interface}\n"
                          for device, interface in names.items())
    subprocess.run(["rdma", "-b", "-"], input=batch_lines, text=True, check=True)
    deadline = time.monotonic() + PATIENCE_SECONDS
    for device in names:
        gids = DEVICES / device / "ports" / "1" / "gids"
        while not any("ffff:" in (gids / str(k)).read_text() for k in range(4)):
            if time.monotonic() > deadline:
                sys.exit(f"softroce: {device} has no address after {PATIENCE_SECONDS} s")
            time.sleep(0.05)


def make_fabric(spec, build, rate_bits):
    """The fabric of a spec, up with its NICs; gives its network."""
    import cluster as clusters  # pylint: disable=import-outside-toplevel
    tool = pathlib.Path(build) / "topology" / "tool" / "accl-topo"
    network = RoceNetwork(clusters.load(str(tool), spec, "/run/plan"), rate_bits, MTU)
    network.up()
    local_addresses_last()
    sh("sh", "-c", KEEP_ORDER)
    for switch in network.cluster.switches:
        sh("ip", "netns", "exec", network.space_of(switch), "sh", "-c", KEEP_ORDER)
    make_devices({f"rxe{k}": f"p{k}" for k in range(len(network.cluster.nics))})
    return network


def main(words):
    allow_own_addresses()
    if words[0].isdecimal():
        nics, command = int(words[0]), words[1:]
        make_bridge(nics)
        make_devices({f"rxe{k}": f"p{k}" for k in range(nics)})
    else:
        make_fabric(words[0], words[1], int(words[2]))
        command = words[3:]
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
