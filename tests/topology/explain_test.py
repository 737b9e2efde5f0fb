"""explain_test.py ACCL_TOPO: what `accl-topo explain --cables` says one call moves, byte by byte,
against counts made here by hand; and paths that were seen (--paths). Prints TAP."""

import collections
import csv
import json
import re
import sys

from bench import run_checks

PROGRAM = sys.argv[1]
SMALL = """name: small
topology: bigraph
servers: {count: 4, nics: 2}
upper: {switches: 2, nics: 2}
lower: {switches: 2, nics: 2}
"""
PLANES = """name: planes
topology: bigraph
planes: 4
servers: {count: 4, nics: 4}
upper: {switches: 2, nics: 1}
lower: {switches: 2, nics: 1}
"""
LEAVES = """name: leaves
topology: leaf-spine
servers: {count: 4}
leaf: {switches: 2, nics: 2}
spine: {switches: 2}
"""
DOUBLED = SMALL + "cables_per_pair: 2\n"
ALGORITHMS = ("ring", "hd", "rd", "tree", "bruck", "oneshot", "twolevel")
SIZES = (3, 20, 61, 1 << 20, 1_000_003)


def explain(bench, *arguments):
    done = bench.run("explain", *arguments, "--json", "--cables")
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)


def chunk_bytes(size, chunks):
    each, longer = divmod(size // 4, chunks)
    return [4 * (each + (chunk < longer)) for chunk in range(chunks)]


def halving_doubling(size, ranks, first):
    """{(from, to): [bytes, messages]}: at each distance a position sends the half that its partner
    keeps, the upper one if the partner's bit is set, and gets it back complete."""
    chunks = chunk_bytes(size, ranks)
    strides = [1 << bit for bit in range(ranks.bit_length() - 1)]
    sent = collections.defaultdict(lambda: [0, 0])
    for position in range(ranks):
        held = chunks
        for stride in strides if first == "near" else reversed(strides):
            halves = held[:len(held) // 2], held[len(held) // 2:]
            keeps = 1 if position & stride else 0
            for part in halves:  # One of them now, the other in the allgather.
                sent[position, position ^ stride][0] += sum(part)
                sent[position, position ^ stride][1] += sum(part) > 0
            held = halves[keeps]
    return {pair: tuple(count) for pair, count in sent.items() if count[0]}


def ring(size, ranks):
    """Everything but the own chunk in the first phase, all but the neighbour's in the second."""
    chunks = chunk_bytes(size, ranks)
    sent = {}
    for position in range(ranks):
        after = (position + 1) % ranks
        parts = chunks[:position] + chunks[position + 1:] + chunks[:after] + chunks[after + 1:]
        if sum(parts):
            sent[position, after] = sum(parts), sum(part > 0 for part in parts)
    return sent


def pairs_of(report):
    return {(pair["from"], pair["to"]): (pair["bytes"], pair["messages"])
            for pair in report["pairs"]}


def cables_of(report):
    return {(cable["cable"], cable["from"], cable["to"]): cable["bytes"]
            for cable in report["cables"]}


def sheet_of(bench, spec):
    """{NIC: switch} and {(device, device): cable} from the cut sheet."""
    folder = bench.folder / "plan"
    assert bench.run("plan", spec, "--out", folder).returncode in (0, 1)
    switch, cable = {}, {}
    with open(folder / "cables.csv", encoding="utf-8") as sheet:
        for row in csv.DictReader(sheet):
            is_nic = row["a_device"].startswith("server")
            name = f"{row['a_device']}/{row['a_port']}" if is_nic else row["a_device"]
            if is_nic:
                switch[name] = row["b_device"]
            cable[name, row["b_device"]] = cable[row["b_device"], name] = row["cable"]
    return switch, cable


def pairs_of_halving_doubling_and_ring_are_as_counted_by_hand(bench):
    spec = bench.file("small.yaml", SMALL)
    for size in SIZES:
        for first in ("near", "far"):
            report = explain(bench, spec, "--order", "sorted", "--algo", "hd", "--first", first,
                             "--bytes", size)
            assert pairs_of(report) == halving_doubling(size, 8, first), (size, first)
        report = explain(bench, spec, "--order", "sorted", "--algo", "ring", "--bytes", size)
        assert pairs_of(report) == ring(size, 8), size


def cables_of_a_map_are_as_counted_by_hand(bench):
    spec = bench.file("small.yaml", SMALL)
    switch, cable = sheet_of(bench, spec)
    for size in SIZES:
        report = explain(bench, spec, "--order", "hdrm", "--bytes", size)
        wanted = collections.Counter()
        for (source, target), (sent, _) in halving_doubling(size, 8, report["first"]).items():
            ends = report["nics"][source], report["nics"][target]
            way = [ends[0], switch[ends[0]], switch[ends[1]], ends[1]]
            for here, there in zip(way, way[1:]):
                wanted[cable[here, there], here, there] += sent
        assert cables_of(report) == wanted, size
        assert all(one["most"] == 1 for one in report["cables"]), size
        order = [(one["cable"], one["from"].startswith("lower")) for one in report["cables"]
                 if one["from"] in switch.values() and one["to"] in switch.values()]
        assert order == sorted(order), order


def check_conserved(report, inside):
    """What NICs send and receive is what the pairs say, and no switch keeps a byte."""
    balance = collections.Counter()
    for _, here, there in cables_of(report):
        balance[here] = balance[there] = 0
    for pair in report["pairs"]:
        ends = report["nics"][pair["from"]], report["nics"][pair["to"]]
        if inside or ends[0].split("/")[0] != ends[1].split("/")[0]:
            balance[ends[0]] += pair["bytes"]
            balance[ends[1]] -= pair["bytes"]
    for (_, here, there), sent in cables_of(report).items():
        balance[here] -= sent
        balance[there] += sent
    assert not any(balance.values()), balance


def nothing_is_lost_on_the_way_whatever_the_algorithm(bench):
    spec = bench.file("small.yaml", SMALL)
    for algorithm in ALGORITHMS:
        for more in ([], ["--qps", "3"]):
            report = explain(bench, spec, "--order", "shuffled", "--algo", algorithm,
                             "--bytes", 1_000_003, *more)
            check_conserved(report, algorithm != "twolevel")
            switches = [one["most"] for one in report["cables"] if "/" not in
                        one["from"] + one["to"]]
            assert max(switches) == max(report["max_flows_per_link"]), (algorithm, more)
    planes = explain(bench, bench.file("planes.yaml", PLANES), "--order", "hdrm", "--bytes", 1001)
    assert planes["algorithm"] == "twolevel" and len(planes["nics"]) == 16, planes
    check_conserved(planes, False)


def keys_that_were_there_stay_and_more_come_only_when_asked_for(bench):
    spec = bench.file("small.yaml", SMALL)
    plain = json.loads(bench.run("explain", spec, "--order", "hdrm", "--json").stdout)
    more = explain(bench, spec, "--order", "hdrm")
    assert set(more) - set(plain) == {"nics", "cables", "pairs"}
    assert {key: more[key] for key in plain} == plain
    for arguments in (["--cables"], ["--cables", "--json"], ["--cables", "--order", "hdrm"]):
        done = bench.run("explain", spec, *arguments)
        assert done.returncode == 2 and "--cables" in done.stderr and not done.stdout, done


def paths_over(spines):
    """Of the four flows between the leaves, by spine."""
    flows = ((0, 2, 0, 1), (1, 3, 0, 1), (2, 0, 1, 0), (3, 1, 1, 0))
    return "".join(f"server{source}/mlx5_0 server{target}/mlx5_0 leaf{a} spine{spine} leaf{b}\n"
                   for (source, target, a, b), spine in zip(flows, spines))


def by_seed(bench, spec, is_shared):
    """The first seed of the hash under which flows share a cable, or under which none do."""
    for seed in range(1, 40):
        report = explain(bench, spec, "--order", "sorted", "--seed", seed)
        if (report["slowdown"] > 1) == is_shared:
            return seed, report
    raise AssertionError("no seed does")


def seen_paths_part_what_the_hash_has_together_and_the_other_way_round(bench):
    spec = bench.file("leaves.yaml", LEAVES)
    seed, _ = by_seed(bench, spec, is_shared=True)
    apart = bench.file("apart", "# as counted\n\n" + paths_over((0, 1, 1, 0)))
    report = explain(bench, spec, "--order", "sorted", "--seed", seed, "--paths", apart)
    assert report["slowdown"] == 1 and max(report["max_flows_per_link"]) == 1, report
    between = {(one["from"], one["to"]) for one in report["cables"] if "/" not in
               one["from"] + one["to"]}
    assert between == {("leaf0", "spine0"), ("spine0", "leaf1"), ("leaf0", "spine1"),
                       ("spine1", "leaf1"), ("leaf1", "spine1"), ("spine1", "leaf0"),
                       ("leaf1", "spine0"), ("spine0", "leaf0")}, between
    seed, free = by_seed(bench, spec, is_shared=False)
    together = bench.file("together", paths_over((1, 1, 1, 1)))
    report = explain(bench, spec, "--order", "sorted", "--seed", seed, "--paths", together)
    assert report["slowdown"] > 1.3 and max(report["max_flows_per_link"]) == 2, report
    assert report["seconds"] > free["seconds"] and report["pairs"] == free["pairs"]
    assert not any("spine0" in (one["from"], one["to"]) for one in report["cables"])
    # One flow alone: the other three stay where they were.
    one = bench.file("one", paths_over((1,)))
    moved = explain(bench, spec, "--order", "sorted", "--seed", seed, "--paths", one)
    gone = cables_of(free).keys() - cables_of(moved).keys()
    assert {(here, there) for _, here, there in gone} <= {("leaf0", "spine0"), ("spine0", "leaf1")}


def seen_paths_hold_for_pinned_orders_and_all_cases_but_not_for_the_rival(bench):
    spec = bench.file("leaves.yaml", LEAVES)
    together = bench.file("together", paths_over((1, 1, 1, 1)))
    before, after = (json.loads(bench.run("explain", spec, "--json", *more).stdout)
                     for more in ([], ["--paths", together]))
    assert before["slowdown"] == 1 < after["slowdown"], after
    rival = [[one for one in report["baselines"] if one["fabric"] == "leaf-spine"]
             for report in (before, after)]
    assert rival[0] == rival[1] and rival[0]
    done = bench.run("explain", spec, "--order", "hdrm", "--paths", together)
    assert done.returncode == 1 and not done.stderr, done


def a_seen_path_may_be_long_and_names_the_cable_where_there_are_two(bench):
    spec = bench.file("doubled.yaml", DOUBLED)
    cable = sheet_of(bench, spec)[1]  # Of two cables, the one of the last row.
    way = ["upper0", "lower1", "upper1", "lower0"]
    hops = [(cable[hop], *hop) for hop in zip(way, way[1:])]
    named = " ".join(f"{label} {there}" for label, _, there in hops)
    path = bench.file("paths", f"server0/mlx5_0\tserver2/mlx5_0  upper0 {named} # the long way")
    cases = ["--order", "sorted", "--algo", "oneshot"]
    plain, moved = explain(bench, spec, *cases), explain(bench, spec, *cases, "--paths", path)
    pair = plain["nics"].index("server0/mlx5_0"), plain["nics"].index("server2/mlx5_0")
    more = collections.Counter(cables_of(moved))
    more.subtract(cables_of(plain))
    gained = {hop: count for hop, count in more.items() if count > 0}
    assert gained == {hop: pairs_of(plain)[pair][0] for hop in hops}, gained


def what_cannot_be_a_path_is_named_with_its_line(bench):
    spec = bench.file("doubled.yaml", DOUBLED)
    dead = bench.file("dead", "server3/mlx5_0\nupper1--lower1\nC0008\n")
    ends = "server0/mlx5_0 server2/mlx5_0"  # At upper0 and at lower0.
    good = f"{ends} upper0 C0009 lower0"
    for words, text in (
            ("a path is two NICs", "server0/mlx5_0"),
            ("a path is two NICs", ends),
            ("'server9/mlx5_0' is no NIC", "server9/mlx5_0 server2/mlx5_0 upper0"),
            ("'upper0' is no NIC", "server0/mlx5_0 upper0 lower0"),
            ("needs no path to itself", "server0/mlx5_0 server0/mlx5_0 upper0"),
            ("'middle0' is no switch", f"{ends} middle0 lower0"),
            ("'C0008' is no switch", f"{ends} C0008 lower0"),
            ("'C0009' is no switch", f"{ends} upper0 C0009"),
            ("'C0010' is no switch", f"{ends} upper0 C0009 C0010 lower0"),
            ("the first switch is lower1", f"{ends} lower1 lower0"),
            ("the last switch is upper0", f"{ends} upper0"),
            ("no cable joins upper0 and upper1", f"{ends} upper0 upper1 lower0"),
            ("C0012 does not join upper0 and lower0", f"{ends} upper0 C0012 lower0"),
            ("'C99999' is no switch", f"{ends} upper0 C99999"),
            ("2 cables join upper0 and lower1; put the right one between them: C0010, C0011",
             f"{ends} upper0 lower1 upper1 lower0"),
            ("between upper0 and lower0 is dead", f"{ends} upper0 C0008 lower0"),
            ("between lower1 and upper1 is dead",
             f"{ends} upper0 C0010 lower1 upper1 C0012 lower0"),
            ("of server3/mlx5_0 is dead", "server0/mlx5_0 server3/mlx5_0 upper0 C0011 lower1"),
            ("passes upper0 twice", f"{ends} upper0 C0009 lower0 C0009 upper0"),
            ("a path in line 2 already", good)):
        path = bench.file("paths", f"# seen\n{good}\n{text}\n")
        done = bench.run("explain", spec, "--order", "sorted", "--dead", dead, "--paths", path)
        assert done.returncode == 2 and not done.stdout, (text, done)
        assert done.stderr.count("\n") == 1 and f"{path}:3: " in done.stderr and \
            words in done.stderr, (words, done.stderr)
    for path in (bench.file("paths", f"{good}\n"), "/nonexistent"):
        done = bench.run("explain", spec, "--order", "sorted", "--dead", dead, "--paths", path)
        assert (done.returncode == 2) == (path == "/nonexistent"), done


def without_pins_the_hash_spreads_the_flows_of_a_map(bench):
    """By the map's lanes each leaf's two ranks have a spine each; a hash may choose the same."""
    spec = bench.file("leaves.yaml", LEAVES)
    most = {seed: explain(bench, spec, "--order", "hdrm", "--seed", str(seed), "--unpinned")
            ["max_flows_per_link"] for seed in range(1, 17)}
    assert {max(flows) for flows in most.values()} == {1, 2}, most
    pinned = {max(explain(bench, spec, "--order", "hdrm", "--seed", str(seed))
                  ["max_flows_per_link"]) for seed in range(1, 17)}
    assert pinned == {1}, pinned
    done = bench.run("explain", spec, "--unpinned")
    assert done.returncode == 2 and "--order" in done.stderr, done.stderr


def steps_that_are_free_change_times_and_nothing_else(bench):
    spec = bench.file("leaves.yaml", LEAVES)
    together = bench.file("paths", paths_over((1, 1, 1, 1)))
    for more in ([], ["--paths", together]):
        both = [explain(bench, spec, "--order", "sorted", *more, "--steps", steps)
                for steps in ("together", "free")]
        assert [one["steps"] for one in both] == ["together", "free"]
        times = [(one.pop("steps"), one.pop("seconds"), one.pop("slowdown")) for one in both]
        assert both[0] == both[1]
        # Whoever shares here shares with one that does the same.
        assert abs(times[0][1] - times[1][1]) < 1e-9 * times[0][1], times
    ring = explain(bench, bench.file("small.yaml", SMALL), "--order", "shuffled", "--algo", "tree",
                   "--steps", "free")
    whole = explain(bench, bench.file("small.yaml", SMALL), "--order", "shuffled", "--algo", "tree")
    assert ring["seconds"] < whole["seconds"], (ring["seconds"], whole["seconds"])
    done = bench.run("explain", spec, "--steps", "free")
    assert "at its own pace" in done.stdout, done
    many = bench.file("many.yaml", SMALL.replace("count: 4, nics: 2", "count: 1024")
                      .replace("nics: 2", "nics: 256"))
    done = bench.run("explain", many, "--order", "sorted", "--algo", "ring", "--steps", "free")
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done
    assert "--steps free: 2095104 messages" in done.stderr, done.stderr
    assert bench.run("explain", spec, "--steps", "some").returncode == 2


LAB = SMALL + "gbps: 0.02\nlatency: {start_us: 350.5, hop_us: 600}\n"


def rates_of_a_lab_are_counted_to_the_byte(bench):
    """Halving-doubling moves 7/8 of the vector twice at 2.5e6 bytes a second; each of its 6 steps
    starts once and crosses three cables, one switch to the other."""
    spec = bench.file("lab.yaml", LAB)
    for size in (4096, 1 << 20):
        report = explain(bench, spec, "--order", "hdrm", "--bytes", size)
        by_hand = 2 * 7 / 8 * size / 2.5e6 + 6 * (350.5e-6 + 3 * 600e-6)
        assert abs(report["seconds"] - by_hand) < 1e-9, (report["seconds"], by_hand)
        assert report["slowdown"] == 1
        text = bench.run("explain", spec, "--order", "hdrm", "--bytes", size).stdout
        rate = 2 * 7 / 8 * size / by_hand * 1e-9
        assert f"{by_hand * 1e6:.1f}" in text and f" {rate:.2g} " in text, text
    # A quarter of the rate between switches: that is what then counts.
    slow = bench.file("slow.yaml", LAB.replace("0.02", "0.005\nnic_gbps: 0.02"))
    report = explain(bench, slow, "--order", "hdrm", "--bytes", 1 << 20)
    by_hand = 2 * 7 / 8 * (1 << 20) / 0.625e6 + 6 * (350.5e-6 + 3 * 600e-6)
    assert abs(report["seconds"] - by_hand) < 1e-9, (report["seconds"], by_hand)


def rates_of_a_lab_go_through_every_export_and_back(bench):
    spec = bench.file("lab.yaml", LAB)
    folder = bench.folder / "plan"
    done = bench.run("plan", spec, "--out", folder)
    assert done.returncode == 0 and not re.search(r"\b0(\.0+)? ?G", done.stdout), done
    with open(folder / "cables.csv", encoding="utf-8") as sheet:
        assert {row["gbps"] for row in csv.DictReader(sheet)} == {"0.02"}
    for flag, name in (("--cables", "cables.csv"), ("--ibnetdiscover", "fabric.ibnet")):
        done = bench.run("verify", spec, flag, folder / name)
        assert done.returncode == 0 and "0 differences" in done.stdout, done
    fast = bench.file("fast.yaml", LAB.replace("0.02", "0.04"))
    done = bench.run("verify", fast, "--cables", folder / "cables.csv")
    assert done.returncode == 1, done
    assert "runs at 0.02 Gb/s (0.02) and not at 0.04" in done.stdout, done


def slices_fill_each_others_waits(bench):
    """Of HDRM 4 slices one after the other: the starts of a call four times, its bytes once. All at
    a time: the bytes of one go while another starts."""
    spec = bench.file("small.yaml", SMALL)
    ways = {}
    for name, words in (("whole", ()), ("behind", ("--slices", 4)),
                        ("together", ("--slices", 4, "--in-flight", 4))):
        ways[name] = explain(bench, spec, "--order", "hdrm", "--algo", "hd", "--bytes", "1M",
                             "--steps", "free", *words)["seconds"]
    assert ways["behind"] > ways["whole"] * 1.01, ways
    assert ways["together"] < ways["whole"], ways
    for words in (("--slices", 4), ("--in-flight", 2), ("--posted",),
                  ("--steps", "free", "--slices", 0), ("--steps", "free", "--slices", 5000)):
        done = bench.run("explain", spec, "--order", "hdrm", *words)
        names_it = "--slices" in done.stderr or "--in-flight" in done.stderr
        assert done.returncode == 2 and names_it, (words, done)


CHECKS = (pairs_of_halving_doubling_and_ring_are_as_counted_by_hand,
          cables_of_a_map_are_as_counted_by_hand, nothing_is_lost_on_the_way_whatever_the_algorithm,
          keys_that_were_there_stay_and_more_come_only_when_asked_for,
          seen_paths_part_what_the_hash_has_together_and_the_other_way_round,
          seen_paths_hold_for_pinned_orders_and_all_cases_but_not_for_the_rival,
          a_seen_path_may_be_long_and_names_the_cable_where_there_are_two,
          what_cannot_be_a_path_is_named_with_its_line,
          without_pins_the_hash_spreads_the_flows_of_a_map,
          steps_that_are_free_change_times_and_nothing_else, slices_fill_each_others_waits,
          rates_of_a_lab_are_counted_to_the_byte,
          rates_of_a_lab_go_through_every_export_and_back)

if __name__ == "__main__":
    run_checks(CHECKS, PROGRAM)
