"""paths_ipv6_test.py ACCL_TOPO: `accl-topo paths` over IPv6 through real routers, namespaces of the
network with two ways between two hosts. Prints TAP; needs root to make them, and probes as
nobody."""

import contextlib
import ctypes
import json
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import sys

from bench import run_checks

# Who is joined to whom, by which network: the first is ::1 in it, the second ::2.
LINKS = {"a": ("near", "here"), "1": ("near", "one"), "2": ("near", "two"), "3": ("one", "far"),
         "4": ("two", "far"), "b": ("far", "there")}
ROUTES = {"here": ("default via fd00:a::1",), "there": ("default via fd00:b::1",),
          "near": ("fd00:b::/64 nexthop via fd00:1::2 nexthop via fd00:2::2",),
          "one": ("fd00:a::/64 via fd00:1::1", "fd00:b::/64 via fd00:3::2"),
          "two": ("fd00:a::/64 via fd00:2::1", "fd00:b::/64 via fd00:4::2"),
          "far": ("fd00:a::/64 via fd00:3::1",)}
HERE, THERE, BESIDE = "fd00:a::2", "fd00:b::2", "fd00:b::3"
BY_LABEL, BY_PORTS = 0, 1  # What the first router hashes: fib_multipath_hash_policy.
FIRST_PORT, ROCE_PORT = 49152, 4791
IPV6_FLOWLABEL_MGR, IPV6_FLOWINFO_SEND = 32, 33  # Of linux/in6.h.


def name_of(host):
    return f"accl-paths-{os.getpid()}-{host}"


def run(*words):
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def inside(host, *words):
    return ("ip", "netns", "exec", name_of(host), *words)


def set_number(host, name, value):
    run(*inside(host, "sh", "-c", f"echo {value} > /proc/sys/net/ipv6/{name}"))


def lay_out():
    for host in ROUTES:
        run("ip", "netns", "add", name_of(host))
        set_number(host, "conf/all/forwarding", int(host not in ("here", "there")))
        set_number(host, "icmp/ratelimit", 0)
    for network, ends in LINKS.items():
        run("ip", "link", "add", f"n{network}", "netns", name_of(ends[0]), "type", "veth", "peer",
            "name", f"n{network}", "netns", name_of(ends[1]))
        for number, host in enumerate(ends, 1):
            run("ip", "-n", name_of(host), "address", "add", f"fd00:{network}::{number}/64", "dev",
                f"n{network}", "nodad")
            run("ip", "-n", name_of(host), "link", "set", f"n{network}", "up")
    run("ip", "-n", name_of("there"), "address", "add", f"{BESIDE}/64", "dev", "nb", "nodad")
    for host, routes in ROUTES.items():
        for route in routes:
            run("ip", "-n", name_of(host), "-6", "route", "add", *route.split())


def take_down():
    for host in ROUTES:
        subprocess.run(("ip", "netns", "delete", name_of(host)), check=False,
                       stderr=subprocess.DEVNULL)


def found(bench, *arguments):
    program = bench.folder / "accl-topo"  # Nobody may not read ours, perhaps.
    shutil.copy(bench.program, program)
    os.chmod(bench.folder, 0o755)
    as_nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", str(program))
    done = bench.run(*inside("here", *as_nobody)[1:], "paths", "--from", HERE, *arguments,
                     program="ip")
    assert done.returncode == 0, done
    return json.loads(done.stdout)["pairs"]


@contextlib.contextmanager
def in_namespace(host):
    """What this thread opens meanwhile is that host's."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{name_of(host)}", os.O_RDONLY)
    try:
        enter(there)
        yield
    finally:
        enter(home)
        os.close(home)
        os.close(there)


def enter(descriptor):
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, 0) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def received_by(host, network):
    done = subprocess.run(inside(host, "cat", f"/sys/class/net/n{network}/statistics/rx_packets"),
                          check=True, stdout=subprocess.PIPE, text=True)
    return int(done.stdout)


def router_of_burst(label):
    """Which of the two a queue pair's packets with this label pass."""
    before = [received_by("one", "1"), received_by("two", "2")]
    with in_namespace("here"):
        sender = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    with sender:
        sender.setsockopt(socket.IPPROTO_IPV6, IPV6_FLOWINFO_SEND, 1)
        sender.bind((HERE, FIRST_PORT + label))
        for _ in range(50):
            with contextlib.suppress(ConnectionRefusedError):
                sender.sendto(b"packet", (THERE, ROCE_PORT, label, 0))
    after = [received_by("one", "1"), received_by("two", "2")]
    one, two = (now - then for now, then in zip(after, before))
    assert one >= 50 > 40 > two or two >= 50 > 40 > one, (label, one, two)
    return "fd00:1::2" if one > two else "fd00:2::2"


def expect_two_ways(pairs, ends, labels):
    assert [(pair["from"], pair["to"]) for pair in pairs] == [(HERE, end) for end in ends], pairs
    for pair in pairs:
        ways = [one["hops"] for one in pair["classes"]]
        assert ways == [["fd00:a::1", "fd00:1::2", "fd00:3::2"],
                        ["fd00:a::1", "fd00:2::2", "fd00:4::2"]], ways
        assert sum(len(one["labels"]) for one in pair["classes"]) == labels, pair


def holds_for(bench, policy):
    set_number("near", "fib_multipath_hash_policy", policy)
    pairs = found(bench, "--to", f"{THERE},{BESIDE}", "--labels", 32, "--json")
    expect_two_ways(pairs, (THERE, BESIDE), 32)
    for one in pairs[0]["classes"]:
        for label in one["labels"][:3]:
            assert router_of_burst(label) == one["hops"][1], (label, one)


def routers_that_hash_ports_are_seen(bench):
    holds_for(bench, BY_PORTS)


def routers_that_hash_the_flow_label_are_seen(bench):
    holds_for(bench, BY_LABEL)


def labels_that_somebody_holds_alone_are_no_hindrance(bench):
    exclusive, get, create = 1, 0, 1
    request = struct.pack("!16sIBB", socket.inet_pton(socket.AF_INET6, THERE), 0x54321, get,
                          exclusive) + struct.pack("=HHHI", create, 0, 0, 0)
    with in_namespace("here"):
        holder = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    with holder:
        holder.setsockopt(socket.IPPROTO_IPV6, IPV6_FLOWLABEL_MGR, request)
        pairs = found(bench, "--to", f"{THERE},{BESIDE}", "--labels", 16, "--json")
        expect_two_ways(pairs, (THERE, BESIDE), 16)


def a_router_without_a_route_is_named(bench):
    done = bench.run(*inside("here", bench.program)[1:], "paths", "--from", HERE, "--to",
                     "fd00:c::1", program="ip")
    assert done.returncode == 2, done
    assert "fd00:a::1 says that it knows no way to fd00:c::1" in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


def main():
    if os.geteuid() != 0:
        print("1..0 # SKIP needs root to make network namespaces")
        return
    try:
        lay_out()
    except (OSError, subprocess.SubprocessError) as failure:
        take_down()
        words = str(getattr(failure, "stderr", "") or failure).strip().splitlines()[-1]
        print(f"1..0 # SKIP no network namespaces with IPv6 here: {words}")
        return
    try:
        run_checks((routers_that_hash_ports_are_seen, routers_that_hash_the_flow_label_are_seen,
                    labels_that_somebody_holds_alone_are_no_hindrance,
                    a_router_without_a_route_is_named), pathlib.Path(sys.argv[1]).resolve())
    finally:
        take_down()


if __name__ == "__main__":
    main()
