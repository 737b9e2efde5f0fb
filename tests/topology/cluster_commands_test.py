"""cluster_commands_test.py ACCL_TOPO ACCL_PERF CONFIGS: the contract of `accl-topo plan`, `map`,
`explain` and `mend`, and that accl-perf counts the same cables. Prints TAP."""

import collections
import csv
import json
import pathlib
import re
import subprocess
import sys

from bench import run_checks

PROGRAM, PERF, CONFIGS = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
SPECS = sorted(CONFIGS.glob("*.yaml"))
SMALL = """name: small
topology: bigraph
servers: {count: 8}
upper: {switches: 2, nics: 2}
lower: {switches: 2, nics: 2}
"""
TIGHT = SMALL.replace("count: 8", "count: 16").replace("nics: 2", "nics: 4")


def explain(bench, *arguments):
    done = bench.run("explain", *arguments, "--json")
    assert done.returncode in (0, 1), done.stderr
    report = json.loads(done.stdout)
    assert (done.returncode == 1) == (max(report["max_flows_per_link"]) > 1), done
    return report


def every_config_has_a_map_without_contention(bench):
    assert len(SPECS) >= 4, SPECS
    for spec in SPECS:
        done = bench.run("map", spec)
        assert done.returncode == 0 and "contention-free" in done.stderr, (spec, done.stderr)
        ranks = json.loads(done.stdout)["ranks"]
        assert [entry["rank"] for entry in ranks] == list(range(len(ranks)))
        assert set(ranks[0]) >= {"rank", "host", "gpu", "nic", "side", "switch", "port", "lane"}


def a_plan_is_the_same_on_every_run(bench):
    spec = CONFIGS / "eflops-64.yaml"
    folders = [bench.folder / "one", bench.folder / "two"]
    for folder in folders:
        done = bench.run("plan", spec, "--out", folder)
        assert done.returncode == 0, done.stderr
    texts = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders]
    assert texts[0] == texts[1]
    wanted = {"rankmap.json", "hostfile", "rankfile", "slurm-hostfile", "torchrun.txt",
              "cables.csv", "topology.dot", "topology.conf", "fabric.ibnet", "lab.clab.yml",
              "report.html"}
    assert wanted <= set(texts[0]), sorted(texts[0])
    assert texts[0]["rankmap.json"].decode() == bench.run("map", spec).stdout


def explain_shows_one_flow_a_cable_for_hdrm_and_more_for_the_others(bench):
    report = explain(bench, CONFIGS / "eflops-64.yaml")
    assert report["max_flows_per_link"] == [1] * 12 and report["slowdown"] == 1, report
    assert 0 < report["seconds"] < 1
    kinds = {(one["fabric"], one["order"], one["algorithm"], one["first"]): one
             for one in report["baselines"]}
    near = kinds["eflops-64", "sorted", "hd", "near"]
    far = kinds["eflops-64", "sorted", "hd", "far"]
    assert 1.2 < near["slowdown"] < 2 < far["slowdown"], (near, far)
    assert max(kinds["eflops-64", "shuffled", "hd", "near"]["max_flows_per_link"]) > 1
    assert kinds["eflops-64", "alternating", "ring", "near"]["slowdown"] == 1
    assert max(kinds["leaf-spine", "sorted", "hd", "near"]["max_flows_per_link"]) > 1


def single_orders_agree_with_the_table(bench):
    spec = CONFIGS / "eflops-64.yaml"
    table = explain(bench, spec)
    assert explain(bench, spec, "--order", "hdrm")["seconds"] == table["seconds"]
    far = explain(bench, spec, "--order", "sorted", "--first", "far")
    twin = [one for one in table["baselines"] if one["fabric"] == "eflops-64"
            and one["order"] == "sorted" and one["first"] == "far"][0]
    assert far["max_flows_per_link"] == twin["max_flows_per_link"]


def more_qps_and_other_seeds_change_what_the_hash_decides(bench):
    spec = CONFIGS / "leafspine-64.yaml"
    args = ("--order", "shuffled", "--first", "near")
    one = explain(bench, spec, *args)
    many = explain(bench, spec, *args, "--qps", "16")
    other = explain(bench, spec, *args, "--seed", "2")
    assert many["slowdown"] < one["slowdown"], (many, one)
    assert other["max_flows_per_link"] != one["max_flows_per_link"]


def small_messages_gain_by_steps(bench):
    report = explain(bench, CONFIGS / "eflops-64.yaml", "--bytes", "1K")
    ring = [one for one in report["baselines"] if one["algorithm"] == "ring"
            and one["fabric"] == "eflops-64" and one["order"] == "alternating"][0]
    assert ring["seconds"] > 6 * report["seconds"], (ring["seconds"], report["seconds"])


def a_map_from_a_file_costs_what_it_said(bench):
    for name in ("uneven-56", "eflops-64"):
        spec = CONFIGS / f"{name}.yaml"
        path = bench.file("map.json", bench.run("map", spec).stdout)
        assert set(explain(bench, spec, "--order", path)["max_flows_per_link"]) == {1}
        other = json.loads(path.read_text())
        other["ranks"].sort(key=lambda seat: (seat["host"], seat["gpu"]))
        by_host = bench.file("by_host.json", json.dumps(other))
        assert max(explain(bench, spec, "--order", by_host)["max_flows_per_link"]) > 1, name


def accl_perf_counts_the_same_cables(bench):
    for name, ranks in (("eflops-64", 64), ("uneven-56", 56)):
        spec = CONFIGS / f"{name}.yaml"
        text = bench.run("map", spec).stdout
        path = bench.file("map.json", text)
        done = bench.run("allreduce", "--ranks", ranks, "--algo", "hdrm", "--first",
                         json.loads(text)["first"], "--map", path, "--explain", program=PERF)
        assert done.returncode == 0, done.stderr
        steps = re.search(r"most messages on a cable, by step: ([\d ]+)", done.stdout)[1].split()
        assert [int(flows) for flows in steps] == \
            explain(bench, spec, "--order", path)["max_flows_per_link"], steps


def a_shared_cable_is_exit_1_and_named(bench):
    done = bench.run("map", bench.file("tight.yaml", TIGHT))
    assert done.returncode == 1 and re.search(r"step \d+: .* on C\d+ upper", done.stderr), done


def lists_say_who_takes_part(bench):
    spec = CONFIGS / "eflops-64.yaml"
    hosts = bench.file("hosts", "".join(f"server{i:02}\n" for i in range(8)))
    dead = bench.file("dead", "server03\nupper7--lower0\n")
    done = bench.run("map", spec, "--hosts", hosts, "--dead", dead)
    names = {entry["host"] for entry in json.loads(done.stdout)["ranks"]}
    assert names == {f"server{i:02}" for i in range(8) if i != 3}, names
    taken = bench.file("taken", "upper0\n")
    done = bench.run("map", CONFIGS / "eflops-512.yaml", "--occupied", taken, "--moves", 1000)
    assert done.returncode == 1 and "other jobs occupy" in done.stderr, done.stderr


def mend_costs_nothing_with_cables_to_spare(bench):
    dead = bench.file("dead", "upper0--lower3\n")
    out = bench.folder / "new.json"
    done = bench.run("mend", CONFIGS / "eflops-64.yaml", "--dead", dead, "--json", "-o", out)
    report = json.loads(done.stdout)
    assert done.returncode == 0 and report["contention_free"], report
    assert report["seconds_mended"] < 1.01 * report["seconds_before"], report
    assert report["seconds_in_old_order"] > 1.5 * report["seconds_before"], report
    assert len(json.loads(out.read_text())["ranks"]) == 64


DOUBLED = """name: doubled
topology: bigraph
servers: {count: 32}
upper: {switches: 4, nics: 4}
lower: {switches: 4, nics: 4}
cables_per_pair: 2
"""


def cables_of(bench, spec):
    """{(switch, switch): [label of lane 0, of lane 1, ...]}, both ways, from the cut sheet."""
    folder = bench.folder / "plan"
    assert bench.run("plan", spec, "--out", folder).returncode == 0
    between = {}
    with open(folder / "cables.csv", encoding="utf-8") as sheet:
        for row in csv.DictReader(sheet):
            ends = row["a_device"], row["b_device"]
            for pair in (ends, ends[::-1]):
                between.setdefault(pair, []).append(row["cable"])
    return between


def messages_by_cable(ranks, between, bit):
    """Of the exchange of this bit: {(cable, sending switch): messages}, by hand."""
    count = collections.Counter()
    for position, seat in enumerate(ranks):
        partner = ranks[position ^ bit]
        lane = dict(map(tuple, seat.get("lanes", []))).get(partner["rank"], seat["lane"])
        assert seat["side"] != partner["side"], (seat, partner)
        count[between[seat["switch"], partner["switch"]][lane], seat["switch"]] += 1
    return count


def lanes_name_the_cables_that_are_free(bench):
    spec = bench.file("doubled.yaml", DOUBLED)
    between = cables_of(bench, spec)
    joined = {pair: labels for pair, labels in between.items() if len(labels) == 2}
    for taken in (0, 1):
        occupied = {labels[taken] for labels in joined.values()}
        path = bench.file("occupied", "\n".join(sorted(occupied)) + "\n")
        for flag in ("--occupied", "--dead"):
            done = bench.run("map", spec, flag, path)
            assert done.returncode == 0, done.stderr
            ranks = json.loads(done.stdout)["ranks"]
            for bit in (1, 2, 4, 8, 16):
                count = messages_by_cable(ranks, between, bit)
                assert max(count.values()) == 1, (taken, flag, bit)
                assert not {cable for cable, _ in count} & occupied, (taken, flag, bit)


def planes_use_the_maps_own_algorithm(bench):
    spec = bench.file("planes.yaml", SMALL.replace("count: 8", "count: 8, nics: 4")
                      .replace("topology: bigraph", "topology: bigraph\nplanes: 4"))
    path = bench.file("map.json", bench.run("map", spec).stdout)
    done = bench.run("allreduce", "--ranks", 32, "--algo", "hdrm", "--first", "far", "--map", path,
                     "--explain", program=PERF)
    steps = re.search(r"most messages on a cable, by step: ([\d ]+)", done.stdout)[1].split()
    assert "twolevel" in done.stdout, done.stdout
    assert [int(flows) for flows in steps] == \
        explain(bench, spec, "--order", path)["max_flows_per_link"], steps
    done = bench.run("map", spec, "--dead", bench.file("dead", "server3/mlx5_2\n"))
    assert "server3 takes no part" in done.stderr and len(json.loads(done.stdout)["ranks"]) == 28


def mending_nothing_changes_nothing(bench):
    nothing = bench.file("dead", "# all is well\n")
    report = json.loads(bench.run("mend", CONFIGS / "uneven-56.yaml", "--dead", nothing,
                                  "--json").stdout)
    assert report["seconds_before"] == report["seconds_in_old_order"] == report["seconds_mended"]


def explain_says_what_map_says_of_occupied_cables(bench):
    spec = bench.file("small.yaml", SMALL)
    taken = bench.file("taken", "upper0\nupper1\n")
    assert bench.run("map", spec, "--occupied", taken).returncode == 1
    done = bench.run("explain", spec, "--occupied", taken)
    assert done.returncode == 1 and "cables that other jobs occupy" in done.stdout, done.stdout


def lost_output_is_no_success(bench):
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run([PROGRAM, "map", CONFIGS / "eflops-64.yaml"], stdout=full,
                              stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                              check=False, timeout=60)
    assert done.returncode == 2 and "standard output" in done.stderr, done


def bad_input_is_one_sentence_and_exit_2(bench):
    spec = bench.file("small.yaml", SMALL)
    for words, arguments in (
            ("none.yaml", ["map", bench.folder / "none.yaml"]),
            ("bad.yaml:3", ["map", bench.file("bad.yaml", SMALL.replace("count: 8", "count: 9"))]),
            ("list:2: 'server99'", ["map", spec, "--dead", bench.file("list", "#\nserver99\n")]),
            ("--algo tree2", ["map", spec, "--algo", "tree2"]),
            ("map.json", ["explain", spec, "--order", bench.file("map.json", "{")]),
            ("takes no part", ["explain", spec, "--order", bench.file(
                "other.json", '{"version":1,"ranks":[{"rank":0,"host":"x","nic":"y"}]}')]),
            ("--bytes", ["explain", spec, "--bytes", "-1"]),
            ("--bytes 0", ["explain", spec, "--bytes", "0"]),
            ("neither server nor NIC", ["map", spec, "--hosts", bench.file("h", "upper0\n")]),
            ("stands for the number", ["map", bench.file("wide.yaml", SMALL.replace(
                "count: 8", 'count: 8, name: "{:1900000000}"'))]),
            ("to rank 7 of 2", ["explain", spec, "--order", bench.file("l.json", json.dumps(
                {"version": 1, "ranks": [{"rank": 0, "lanes": [[7, 0]]}, {"rank": 1}]}))]),
            ("nests deeper", ["explain", spec, "--order", bench.file("deep.json", "[" * 99999)]),
            ("/nonexistent", ["map", spec, "-o", "/nonexistent/map.json"])):
        done = bench.run(*arguments)
        assert done.returncode == 2 and not done.stdout, (arguments, done)
        assert done.stderr.count("\n") == 1 and words in done.stderr, done.stderr
    for arguments in (["map"], ["map", spec, "--format", "pbs"], ["mend", spec], ["unknown"]):
        assert bench.run(*arguments).returncode == 2, arguments


CHECKS = (every_config_has_a_map_without_contention, a_plan_is_the_same_on_every_run,
          explain_shows_one_flow_a_cable_for_hdrm_and_more_for_the_others,
          single_orders_agree_with_the_table,
          more_qps_and_other_seeds_change_what_the_hash_decides, small_messages_gain_by_steps,
          a_map_from_a_file_costs_what_it_said, accl_perf_counts_the_same_cables,
          a_shared_cable_is_exit_1_and_named, lists_say_who_takes_part,
          lanes_name_the_cables_that_are_free, planes_use_the_maps_own_algorithm,
          mending_nothing_changes_nothing, explain_says_what_map_says_of_occupied_cables,
          lost_output_is_no_success, mend_costs_nothing_with_cables_to_spare,
          bad_input_is_one_sentence_and_exit_2)

if __name__ == "__main__":
    run_checks(CHECKS, PROGRAM)
