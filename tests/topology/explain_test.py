"""explain_test.py ACCL_TOPO: what `accl-topo explain --cables` says one call moves, byte by byte,
against counts made here by hand. Prints TAP."""

import collections
import csv
import json
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


CHECKS = (pairs_of_halving_doubling_and_ring_are_as_counted_by_hand,
          cables_of_a_map_are_as_counted_by_hand, nothing_is_lost_on_the_way_whatever_the_algorithm,
          keys_that_were_there_stay_and_more_come_only_when_asked_for)

if __name__ == "__main__":
    run_checks(CHECKS, PROGRAM)
