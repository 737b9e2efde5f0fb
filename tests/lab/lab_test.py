"""lab_test.py ROOT BUILD: the lab at 16 endpoints. Real packets over shaped cables: what was moved
is what was planned, cut cables are survived or named, and nothing remains. Prints TAP."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

ROOT, BUILD = map(pathlib.Path, sys.argv[1:3])
sys.path.insert(0, str(ROOT / "bench" / "lab"))

import alone  # noqa: E402
import counters  # noqa: E402
import fault  # noqa: E402
import peers  # noqa: E402
from experiment import CASES  # noqa: E402
from lab import Lab, subtract  # noqa: E402
from network import namespace_of  # noqa: E402

MIB = 1 << 20
RATE_BITS, MTU = 50_000_000, 9000
LEAF_SPINE = """name: leafspine-16
topology: leaf-spine
servers: {count: 4, gpus: 4, nics: 4, name: "server{:02}"}
leaf: {switches: 4, nics: 4}
spine: {switches: 4}
gbps: 100
"""
# Datagrams as RoCE would send them: from an address and label to another address.
BURST = """import socket, sys
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.bind((sys.argv[1], 49152 + int(sys.argv[2])))
for _ in range(int(sys.argv[4])):
    one.sendto(b"12345678", (sys.argv[3], 4791))
"""
BURST_PACKETS = 200
STRAY_PACKETS = 20  # Of neighbours who ask for each other.


class Tap:
    """Prints the line of each promise; `good` says whether all held."""

    def __init__(self):
        self.number = 0
        self.good = True

    def hold(self, promise, check):
        self.number += 1
        try:
            check()
        except alone.Refused as why:
            print(f"ok {self.number} - {promise} # SKIP {why}")
        except Exception as failure:  # Whatever it is, the other promises are still to be seen.
            self.good = False
            print(f"not ok {self.number} - {promise}")
            print("\n".join(f"# {line}" for line in repr(failure).splitlines()))
        else:
            print(f"ok {self.number} - {promise}")


def case_named(name):
    return next(case for case in CASES if case.name == name)


def counted(lab, name, size=MIB):
    """Runs a case once, counted: (check of its counters, what explain says, the run)."""
    case = case_named(name)
    order = lab.order(case.order)
    run = lab.accl(order, [*case.flags(), "-b", size, "-e", size, "-n", 1, "-w", 0, "-c", 1,
                           "--in-place", 0, "--traffic"])
    assert run.document is not None, run.result.complaint()
    row = run.rows()[size]
    assert row["out_of_place"]["nwrong"] == 0, row
    calls = 5  # Two checked, one to see the pace, one timed, one counted.
    wire = {" ".join(key): value[0] / calls for key, value in run.cables.items()}
    answer = lab.explain(order, row["accl"]["algorithm"], size, lab.spec, *case.plan_flags(),
                         "--cables")
    check = counters.check(lab.cluster, order, row["accl"]["traffic"], wire, answer)
    return check, answer, run


def is_as_planned(lab, name):
    check, answer, _run = counted(lab, name)
    assert not counters.complaint(name, check), counters.complaint(name, check)
    return check, answer


def hdrm_shares_nothing(lab):
    check, answer = is_as_planned(lab, "HDRM")
    assert set(answer["max_flows_per_link"]) == {1}, answer["max_flows_per_link"]
    between = 2 * sum(all(end.node in lab.cluster.switches for end in cable.ends)
                      for cable in lab.cluster.cables)
    at_nics = 2 * len(lab.cluster.nics)
    assert not check["has_choice"] and at_nics < check["cables"] <= at_nics + between, check


def others_are_as_planned(lab):
    for name in ("HD near", "HD shuffled", "ring", "ring alternating", "tree"):
        _check, answer = is_as_planned(lab, name)
        shares = max(answer["max_flows_per_link"]) > 1
        assert shares == (name not in ("ring alternating",)), (name, answer["max_flows_per_link"])


def a_wrong_plan_is_noticed(lab):
    """The check's own check: what HDRM moved is not what a ring would have moved."""
    _check, _answer, run = counted(lab, "HDRM")
    traffic = run.rows()[MIB]["accl"]["traffic"]
    answer = lab.explain(lab.order("alternating"), "ring", MIB, lab.spec, "--cables")
    wire = {" ".join(key): value[0] for key, value in run.cables.items()}
    check = counters.check(lab.cluster, lab.order("hdrm"), traffic, wire, answer)
    assert not check["pairs_equal"] and not check["cables_equal"], check


STOPPING_SECONDS = 5  # Who waits for a core is stopped when it gets one.


def state_of(process):
    """As /proc has it: T is stopped; empty where it has ended."""
    try:
        return pathlib.Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return ""


def peers_run_here(lab):
    running = peers.start(lab.network, lab.order("sorted").nics, lab.build, lab.folder)
    try:
        if not running:
            raise alone.Refused("neither Open MPI nor Gloo is here")
        for peer in running:  # Sums are checked by the peer's program; wrong ones raise.
            assert len(peer.allreduce(64 << 10, 2)) == 2
        for peer in running:  # None of them takes a core from what runs next.
            deadline = time.monotonic() + STOPPING_SECONDS
            states = {"R"}
            while not states <= {"T", ""} and time.monotonic() < deadline:
                states = {state_of(process) for process in peer.all_processes}
            assert "T" in states and states <= {"T", ""}, (peer.name, states)
    finally:
        for peer in running:
            peer.close()


def leaf_spine_spreads(lab):
    """Flows between leaves take several spines: the hash chooses, and no spine is left out."""
    check, _answer, run = counted(lab, "HD near")
    assert check["has_choice"] and check["pairs_equal"] and check["cables_equal"], check
    sent = {name: sum(value[0] for (_cable, sender), value in run.cables.items()
                      if sender == name) for name in lab.cluster.switches if "spine" in name}
    assert len(sent) == 4 and min(sent.values()) > 0, sent


def run_at_nic(nic, *command):
    return subprocess.run(["ip", "netns", "exec", namespace_of(nic), *map(str, command)], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)


def at_nic(nic, *command):
    done = run_at_nic(nic, *command)
    assert done.returncode == 0, done
    return done.stdout


def spines_of_burst(lab, source, target, label):
    """The spines that datagrams of this label pass, by the counters of the leaf's cables."""
    leaf = lab.cluster.switch_of[source]
    addresses = lab.cluster.address
    before = lab.network.counters()
    at_nic(source, sys.executable, "-c", BURST, addresses[source], label, addresses[target],
           BURST_PACKETS)
    time.sleep(0.3)
    moved = subtract(lab.network.counters(), before)
    packets = {spine: moved[cable.name, leaf][1]
               for cable, spine in lab.cluster.between_switches(leaf)}
    passed = [spine for spine, count in packets.items() if count >= BURST_PACKETS]
    assert all(packets[spine] < STRAY_PACKETS for spine in packets if spine not in passed), packets
    return passed


def labels_are_told_apart_by_spine(lab):
    """What the probes find is true: a label's datagrams pass the spine of its class, no other."""
    nics, leaf_of, addresses = lab.cluster.nics, lab.cluster.switch_of, lab.cluster.address
    source = nics[0]
    target = next(nic for nic in nics if leaf_of[nic] != leaf_of[source])
    beside = next(nic for nic in nics[1:] if leaf_of[nic] == leaf_of[source])
    found = at_nic(source, lab.tool, "paths", "--from", addresses[source], "--to",
                   f"{addresses[target]},{addresses[beside]}", "--json")
    far, near = json.loads(found)["pairs"]
    assert len(near["classes"]) == 1 and len(near["classes"][0]["hops"]) == 1, near
    assert sum(len(one["labels"]) for one in far["classes"]) == 64, far
    spines = []
    for one in far["classes"]:
        assert len(one["hops"]) == 3 and "*" not in one["hops"], one
        passed = [spines_of_burst(lab, source, target, label) for label in one["labels"][:3]]
        assert all(each == passed[0] for each in passed) and len(passed[0]) == 1, (one, passed)
        spines += passed[0]
    there = [spine for _cable, spine in lab.cluster.between_switches(leaf_of[source])]
    assert spines == there and len(spines) == 4, (spines, far)
    done = run_at_nic(source, lab.tool, "paths", "--from", addresses[source], "--to", "10.9.9.9")
    assert done.returncode == 2 and "knows no way to 10.9.9.9" in done.stderr, done


def carries_on_over_a_detour(lab):
    outcome = fault.cut_between_switches(lab, lab.order("hdrm"))
    assert outcome.run.result.good, outcome.run.result.complaint()
    rows = outcome.run.rows()[fault.BYTES]
    assert rows["out_of_place"]["nwrong"] == 0, rows
    check, answer = fault.run_mended(lab, outcome.cable)
    assert set(answer["max_flows_per_link"]) == {1}, answer["max_flows_per_link"]
    assert check["pairs_equal"] and check["cables_equal"] and not check["has_choice"], check


def names_who_is_cut_off(lab):
    order = lab.order("hdrm")
    nic = order.nics[0]
    outcome = fault.cut_at_nic(lab, order)
    status = outcome.run.result.status
    said = fault.words(outcome)
    assert all(code == 1 for code in status) and len(said) == 1, f"{status}: {said}"
    # Who is cut off, and the address of its NIC in the path of a connection that is dead.
    assert f"rank {order.launch.index(nic)} (host {nic.split('/')[0]}, " in said[0], said
    assert f"{lab.cluster.address[nic]}:" in said[0] and "carr" in said[0], said


def inside():
    tap = Tap()
    with Lab(ROOT / "configs" / "eflops-16.yaml", BUILD, RATE_BITS, MTU) as lab:
        for promise, check in (
                ("HDRM: no cable carries two messages in a step, every byte as planned",
                 hdrm_shares_nothing),
                ("other orders and algorithms: every byte as planned", others_are_as_planned),
                ("counters that do not fit a plan are noticed", a_wrong_plan_is_noticed),
                ("Open MPI and Gloo run on the same cables", peers_run_here),
                ("a cable cut between switches: carries on; mended: contention-free again",
                 carries_on_over_a_detour),
                ("a NIC's cable cut: every rank ends in time and names who is cut off",
                 names_who_is_cut_off)):
            tap.hold(promise, lambda check=check: check(lab))
    return 0 if tap.good else 1


def inside_leaf_spine():
    tap = Tap()
    tap.number = 6
    spec = alone.folder() / "leafspine-16.yaml"
    spec.write_text(LEAF_SPINE)
    with Lab(spec, BUILD, RATE_BITS, MTU) as lab:
        tap.hold("leaf-spine: the hash spreads flows over all spines",
                 lambda: leaf_spine_spreads(lab))
        tap.hold("leaf-spine: accl-topo paths knows by which spine a flow label goes",
                 lambda: labels_are_told_apart_by_spine(lab))
    return 0 if tap.good else 1


def traces():
    """What a lab could leave behind on the machine."""
    names = subprocess.run(["ip", "netns", "list"], stdout=subprocess.PIPE, text=True,
                           check=True).stdout.split()
    links = os.listdir("/sys/class/net")
    processes = [pid for pid in os.listdir("/proc") if pid.isdigit() and is_of_lab(pid)]
    return sorted(names), sorted(links), processes


def is_of_lab(pid):
    try:
        return alone.INSIDE.encode() in pathlib.Path("/proc", pid, "environ").read_bytes()
    except OSError:
        return False


def nothing_remains_after_a_kill(before):
    lab = subprocess.Popen([str(ROOT / "bench" / "lab" / "fabric"), "--build", str(BUILD),
                            str(ROOT / "configs" / "eflops-16.yaml"), "-b", "1M", "-e", "1M", "-n",
                            "100000"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    while len(traces()[2]) < 16 + 3 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert len(traces()[2]) >= 16, "the lab did not start"
    lab.send_signal(signal.SIGKILL)
    lab.wait()
    deadline = time.monotonic() + 10
    while traces() != before and time.monotonic() < deadline:
        time.sleep(0.2)
    assert traces() == before, f"before {before}, after {traces()}"


def outside():
    why = alone.missing()
    if why:
        print(f"1..0 # SKIP the lab {why}")
        return 0
    before = traces()
    print("1..10")
    status = [alone.run([sys.executable, __file__, str(ROOT), str(BUILD), part])
              for part in ("bigraph", "leafspine")]
    tap = Tap()
    tap.number = 8

    def same():
        assert traces() == before, f"before {before}, after {traces()}"

    tap.hold("nothing remains on the machine", same)
    tap.hold("nothing remains after a kill", lambda: nothing_remains_after_a_kill(before))
    return 0 if tap.good and not any(status) else 1


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    if not alone.is_inside():
        sys.exit(outside())
    sys.exit(inside() if sys.argv[3] == "bigraph" else inside_leaf_spine())
