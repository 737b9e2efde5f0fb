"""network.py - a cluster as network namespaces: one for every NIC and every switch, a veth pair for
every cable, every port shaped to the cable's rate, real routing, and the bytes of every cable.

A NIC is an endpoint of its own, as in an EFlops server, where a GPU reaches the network only
through the NIC under its PCIe switch. Beside the fabric there is a management network, one bridge
that reaches every NIC's namespace and is not shaped, as clusters have.

Routes: the shortest paths; where there are several, the kernel's hash of addresses and ports
chooses (ECMP). When a cable loses its link, packets take a detour where the fabric has one.
"""

import concurrent.futures
import ctypes
import json
import os
import subprocess

from alone import Refused

MANAGEMENT = "mgmt0"  # Of the management network, in every NIC's namespace.
ETHERNET_BYTES = 14
WINDOW_BYTES = 1 << 18  # Of TCP; the queue of one sender at one port, 1000 packets, holds several.
SYSCTLS = {
    "net.ipv4.ip_forward": 1,
    "net.ipv4.fib_multipath_hash_policy": 1,           # Addresses and ports, as switches do.
    "net.ipv4.conf.all.ignore_routes_with_linkdown": 1,
    "net.ipv4.conf.default.ignore_routes_with_linkdown": 1,
    "net.ipv4.conf.all.rp_filter": 0,
    "net.ipv4.conf.default.rp_filter": 0,
    "net.ipv4.icmp_ratelimit": 0,                      # Whoever asks by TTL is answered.
    "net.ipv6.conf.all.disable_ipv6": 1,               # Its chatter would be in the counters.
    "net.ipv6.conf.default.disable_ipv6": 1,
    # No packet is lost here. BBR would keep only four under way, too few for a path of four slow
    # cables; and Reno is the one that every namespace may choose.
    "net.ipv4.tcp_congestion_control": "reno",
    "net.ipv4.tcp_slow_start_after_idle": 0,
    "net.ipv4.tcp_no_metrics_save": 1,
    "net.ipv4.tcp_rmem": f"4096 131072 {WINDOW_BYTES}",
    "net.ipv4.tcp_wmem": f"4096 65536 {WINDOW_BYTES}",
}


def sh(*command, text=None):
    done = subprocess.run(command, input=text, text=True, check=False, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    if done.returncode != 0:
        raise Refused(f"{' '.join(command)[:200]}: {done.stderr.strip()[:500]}")
    return done.stdout


def batch(tool, namespace, lines):
    where = ["-n", namespace] if namespace else []
    sh(tool, *where, "-batch", "-", text="\n".join(lines) + "\n")


def namespace_of(node):
    return node.replace("/", ".")


def open_devices(namespace):
    """The kernel's table of a namespace's devices; the open file stays that namespace's."""
    if not namespace:
        return open("/proc/thread-self/net/dev", "rb", buffering=0)
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/self/ns/net") as home, open(f"/run/netns/{namespace}") as there:
        for step in (there, home):
            if libc.setns(step.fileno(), 0) != 0:
                raise OSError(ctypes.get_errno(), f"cannot enter the namespace {namespace}")
            if step is there:
                file = open("/proc/thread-self/net/dev", "rb", buffering=0)
    return file


def read_devices(file):
    """{device: (bytes, packets)} sent."""
    text = b""
    while part := os.pread(file.fileno(), 1 << 16, len(text)):
        text += part
    result = {}
    for line in text.decode().splitlines()[2:]:
        name, _, numbers = line.partition(":")
        result[name.strip()] = tuple(int(word) for word in numbers.split()[8:10])
    return result


class Network:
    """A cluster, up. `rate_bits` per second holds for every cable, `mtu` for every link."""

    @staticmethod
    def space_of(node):
        """The namespace of a NIC or switch; empty: our own."""
        return namespace_of(node)

    def port_of(self, cable, node):
        """What the kernel calls that end of a cable."""
        return cable.end_at(node).port

    def __init__(self, cluster, rate_bits, mtu):
        self.cluster = cluster
        self.rate_bits = rate_bits
        self.mtu = mtu
        self.nodes = [*cluster.switches, *cluster.nics]
        self.management = {nic: f"192.168.{(k + 2) >> 8}.{(k + 2) & 255}"
                           for k, nic in enumerate(cluster.nics)}
        self.management_root = "192.168.0.1"
        self.devices = {}

    def up(self):
        batch("ip", "", [f"netns add {self.space_of(node)}" for node in self.nodes
                         if self.space_of(node)])
        batch("ip", "", [self._pair(cable) for cable in self.cluster.cables])
        self._join_management()
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            list(pool.map(self._set_up, self.nodes))
        self.devices = {node: open_devices(self.space_of(node)) for node in self.nodes}

    def _join_management(self):
        batch("ip", "", ["link add lab0 type bridge", "link set lab0 up",
                         f"addr add {self.management_root}/16 dev lab0"])
        batch("ip", "", [line for k, nic in enumerate(self.cluster.nics) for line in (
            f"link add name m{k} master lab0 type veth peer name {MANAGEMENT} "
            f"netns {self.space_of(nic)}", f"link set m{k} up")])

    def _pair(self, cable):
        ends = [f"name {self.port_of(cable, end.node)}" +
                (f" netns {self.space_of(end.node)}" if self.space_of(end.node) else "")
                for end in cable.ends]
        return f"link add {ends[0]} type veth peer {ends[1]}"

    def _set_up(self, node):
        name = self.space_of(node)
        if name:
            settings = [f"{key}={value}" for key, value in SYSCTLS.items()]
            sh("ip", "netns", "exec", name, "sysctl", "-qw", *settings)
        if node in self.management:
            batch("ip", name, self._nic_lines(node))
        else:
            batch("ip", name, self._switch_lines(node))
        batch("tc", name, [line for cable in self.cluster.cables_at[node]
                           for line in self._shape(node, cable)])

    def _link_address(self, cable, node):
        """Each cable between switches is a /31."""
        number = 2 * self.cluster.cables.index(cable) + (cable.ends[1].node == node)
        return f"172.{16 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"

    def _nic_lines(self, nic):
        port = self.port_of(self.cluster.cables_at[nic][0], nic)
        address = self.cluster.address[nic]
        gateway = address.rsplit(".", 1)[0] + ".1"
        return ["link set lo up", f"link set {port} up mtu {self.mtu} gso_max_segs 1",
                f"addr add {address}/32 dev {port}", f"route add {gateway} dev {port}",
                f"route add default via {gateway} src {address}",
                f"link set {MANAGEMENT} up",
                f"addr add {self.management[nic]}/16 dev {MANAGEMENT}"]

    def _switch_lines(self, switch):
        cluster = self.cluster
        gateway = cluster.subnet(switch).replace("0/24", "1")
        lines = ["link set lo up", f"addr add {gateway}/32 dev lo"]
        for cable in cluster.cables_at[switch]:
            port, there = self.port_of(cable, switch), cable.other(switch)
            lines.append(f"link set {port} up mtu {self.mtu}")
            if there.node in cluster.address:
                lines.append(f"addr add {gateway} peer {cluster.address[there.node]} "
                             f"dev {port}")
            else:
                lines.append(f"addr add {self._link_address(cable, switch)} peer "
                             f"{self._link_address(cable, there.node)} dev {port}")
        for target in cluster.switches:
            if target != switch and any(cluster.switch_of[n] == target for n in cluster.nics):
                lines += self._routes(switch, target)
        return list(dict.fromkeys(lines))  # One rule serves all targets.

    def _hops(self, switch, ways):
        return " ".join(f"nexthop via {self._link_address(cable, there)} "
                        f"dev {self.port_of(cable, switch)}" for cable, there in ways)

    def _routes(self, switch, target):
        """The shortest ways; where one switch stands between us and the target, a detour behind.

        A packet on its detour must not be sent back: what comes from a neighbour that would be
        among our own ways is routed by a table without it.
        """
        cluster = self.cluster
        subnet = cluster.subnet(target)
        ways = cluster.next_hops(switch, target)
        if not ways:
            return []
        lines = [f"route add {subnet} {self._hops(switch, ways)}"]
        taken = {there for _cable, there in ways}
        if target in taken:
            detour = [(cable, there) for cable, there in cluster.between_switches(switch)
                      if there not in taken]
            if detour:
                lines.append(f"route add {subnet} metric 100 {self._hops(switch, detour)}")
            return lines
        for cable, there in cluster.between_switches(switch):
            others = [way for way in ways if way[1] != there]
            if there in taken and others:
                table = 1000 + cluster.cables.index(cable)
                lines.append(f"route add {subnet} table {table} {self._hops(switch, others)}")
                lines.append(f"rule add iif {self.port_of(cable, switch)} lookup {table}")
        return lines

    def _shape(self, node, cable):
        """Lines for tc: the port's rate, and under it a queue of its own for every sender.

        Kernels have better fair queues than these classes, but not every kernel has them.
        """
        port = self.port_of(cable, node)
        rate = f"{self.rate_bits}bit"
        packets = 1 if node in self.management else 2
        room = packets * (self.mtu + ETHERNET_BYTES)
        burst = f"burst {room} cburst {room} quantum {self.mtu}"
        senders = self._senders(node, cable)
        lines = [f"qdisc add dev {port} root handle 1: htb default 2",
                 f"class add dev {port} parent 1: classid 1:1 htb rate {rate} {burst}"]
        share = f"{max(8000, self.rate_bits // (len(senders) + 1))}bit"
        lines.append(f"class add dev {port} parent 1:1 classid 1:2 htb rate {share} ceil {rate} "
                     f"{burst}")
        for number, sender in enumerate(senders):
            handle = f"1:{16 + number:x}"
            lines += [f"class add dev {port} parent 1:1 classid {handle} htb rate {share} "
                      f"ceil {rate} {burst}",
                      f"filter add dev {port} parent 1: protocol ip prio 1 u32 match ip src "
                      f"{self.cluster.address[sender]}/32 flowid {handle}"]
        return lines

    def _senders(self, node, cable):
        """NICs whose packets can leave a switch by this cable, on shortest paths."""
        cluster = self.cluster
        if node in self.management:
            return []
        there = cable.other(node).node
        if there in cluster.address:
            return [nic for nic in cluster.nics if nic != there]
        targets = [t for t in cluster.switches
                   if any(way[0] is cable for way in cluster.next_hops(node, t))]

        def passes(switch):
            return any(self._is_between(switch, node, t) for t in targets)

        return [nic for nic in cluster.nics if passes(cluster.switch_of[nic])]

    def _is_between(self, start, middle, end):
        distance = self.cluster.distance
        return distance[end].get(start) == distance[middle].get(start, 1 << 20) + \
            distance[end].get(middle, 1 << 20)

    def counters(self):
        """{(cable name, sending node): (bytes, packets)} since the lab came up."""
        result = {}
        for node, file in self.devices.items():
            by_port = read_devices(file)
            for cable in self.cluster.cables_at[node]:
                result[cable.name, node] = by_port[self.port_of(cable, node)]
        return result

    def dropped(self):
        """Packets that the queues of all ports threw away since the lab came up."""
        total = 0
        for node in self.nodes:
            where = ["-n", self.space_of(node)] if self.space_of(node) else []
            queues = json.loads(sh("tc", *where, "-s", "-j", "qdisc", "show"))
            total += sum(queue.get("drops", 0) for queue in queues)
        return total

    def cut(self, cable):
        """The link goes down at both ends."""
        for end in cable.ends:
            batch("ip", self.space_of(end.node),
                  [f"link set {self.port_of(cable, end.node)} down"])
