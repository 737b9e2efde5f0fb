"""machine_commands_test.py ACCL_TOPO: the contract of `accl-topo discover` and `transplant`: exit
codes, the JSON, one sentence for bad input, equal output on every run. Prints TAP."""

import json
import sys

from bench import run_checks

SWITCH = """<system version="1"><cpu numaid="0" affinity="ff" arch="x86_64">
<pci busid="0000:10:00.0" class="0x060400"><pci busid="0000:11:00.0" class="0x030200"/>
<pci busid="0000:12:00.0" class="0x020700"><nic><net name="mlx5_0"/></nic></pci></pci>
</cpu></system>
"""
FLAT = """<system version="1"><cpu numaid="0" affinity="ff" arch="x86_64">
<pci busid="0000:00:05.0" class="0x030200"/>
<pci busid="0000:00:06.0" class="0x020700"><nic><net name="mlx5_9"/></nic></pci>
</cpu></system>
"""


def json_has_the_keys_of_the_contract(bench):
    done = bench.run("discover", "--nccl", bench.file("switch.xml", SWITCH), "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["gpus"][0]["bus_id"] == "0000:11:00.0", report
    assert (report["nics"][0]["name"], report["nics"][0]["bus_id"]) == ("mlx5_0", "0000:12:00.0")
    assert len(report["pairs"]) == 1 and report["warnings"] == [], report
    pair = {key: report["pairs"][0][key] for key in ("gpu", "nic", "path")}
    assert pair == {"gpu": "0000:11:00.0", "nic": "mlx5_0", "path": "PIX"}, pair


def warnings_do_not_change_the_exit_code(bench):
    done = bench.run("discover", "--nccl", bench.file("flat.xml", FLAT), "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["warnings"], done


def this_machine_is_never_an_error(bench):
    done = bench.run("discover", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["gpus"] or "No GPU found." in report["warnings"], report
    assert not done.stderr, done.stderr


def every_run_prints_the_same(bench):
    path = bench.file("switch.xml", SWITCH)
    texts = {bench.run("discover", "--nccl", path).stdout for _ in range(3)}
    assert len(texts) == 1 and "GPU0" in texts.pop()


def bad_input_is_one_sentence_and_exit_2(bench):
    for name, text, flag in (("cut.xml", SWITCH[:90], "--nccl"), ("empty.xml", "", "--hwloc"),
                             ("swapped.xml", SWITCH, "--hwloc")):
        path = bench.file(name, text)
        done = bench.run("discover", flag, path)
        assert done.returncode == 2 and not done.stdout, done
        assert done.stderr.count("\n") == 1, done.stderr
        assert done.stderr.startswith(f"accl-topo: {path}:"), done.stderr
    done = bench.run("discover", "--nccl", bench.folder / "none.xml")
    assert done.returncode == 2 and "none.xml" in done.stderr, done
    path = bench.file("switch.xml", SWITCH)
    assert bench.run("discover", "--nccl", path, "--hwloc", path).returncode == 2


def what_is_written_reads_back(bench):
    out = bench.folder / "written.xml"
    first = bench.run("discover", "--nccl", bench.file("switch.xml", SWITCH), "--write-nccl", out,
                      "--json")
    again = bench.run("discover", "--nccl", out, "--json")
    assert json.loads(first.stdout)["pairs"] == json.loads(again.stdout)["pairs"]


def transplant_joins_tree_and_bus_ids(bench):
    bare, machine = bench.file("switch.xml", SWITCH), bench.file("flat.xml", FLAT)
    out = bench.folder / "both.xml"
    done = bench.run("transplant", bare, "--onto", machine, "-o", out)
    assert done.returncode == 0 and "0000:00:06.0 is 0000:12:00.0" in done.stderr, done
    report = json.loads(bench.run("discover", "--nccl", out, "--json").stdout)
    pair = report["pairs"][0]
    assert (pair["gpu"], pair["nic"], pair["path"]) == ("0000:00:05.0", "mlx5_9", "PIX"), pair
    assert bench.run("transplant", bare, "--onto", machine).stdout == out.read_text()


def transplant_refuses_other_counts(bench):
    fewer = FLAT.replace('<pci busid="0000:00:05.0" class="0x030200"/>', "")
    done = bench.run("transplant", bench.file("switch.xml", SWITCH), "--onto",
                     bench.file("fewer.xml", fewer))
    assert done.returncode == 2 and "1 GPUs" in done.stderr and not done.stdout, done


CASES = (json_has_the_keys_of_the_contract, warnings_do_not_change_the_exit_code,
         this_machine_is_never_an_error, every_run_prints_the_same,
         bad_input_is_one_sentence_and_exit_2, what_is_written_reads_back,
         transplant_joins_tree_and_bus_ids, transplant_refuses_other_counts)


if __name__ == "__main__":
    run_checks(CASES, sys.argv[1])
