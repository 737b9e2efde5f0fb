"""softroce_test.py ROOT BUILD: real libibverbs over real RoCE v2 packets, in a virtual machine with
eight Soft-RoCE NICs. The conformance suite, every algorithm and collective, and what is said when
ranks die, links go down and NICs vanish. Prints TAP."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

ROOT, BUILD = map(pathlib.Path, sys.argv[1:3])
sys.path.insert(0, str(ROOT / "bench" / "lab"))
sys.path.insert(0, str(ROOT / "tests" / "topology"))

from bench import held  # noqa: E402

NICS = 8
SECONDS = 560
PERF = BUILD / "bench" / "perf" / "accl-perf"
CONFORMANCE = BUILD / "tests" / "transport" / "transport_conformance_test"
ODD_BYTES = 300_001
TIMEOUT_SECONDS = 5
# 4.096 us * 2^14, six times: a link that is down is known after half a second.
QUICK_TO_GIVE_UP = {"ACCL_IB_TIMEOUT": "14", "ACCL_TIMEOUT_MS": str(TIMEOUT_SECONDS * 1000)}


def run(*command, seconds=120, **environment):
    return subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
                          timeout=seconds, env={**os.environ, **environment})


def perf(collective, ranks, *words, **environment):
    """One run over verbs with checked results; gives its JSON."""
    out = pathlib.Path("/tmp/result.json")
    out.unlink(missing_ok=True)
    done = run(PERF, collective, "--ranks", ranks, "--transport", "verbs", "-w", 0, "-n", 1, "-c", 1,
               *words, "-J", out, **environment)
    assert done.returncode == 0, f"{collective} {words}: {done.stderr}{done.stdout[-2000:]}"
    document = json.loads(out.read_text())
    assert document["accl"]["transport"] == "verbs", document["accl"]
    for row in document["results"]:
        for place in ("out_of_place", "in_place"):
            assert row.get(place) is None or row[place]["nwrong"] == 0, row
    return document


def the_transport_does_what_all_transports_must():
    done = run(CONFORMANCE, "--gtest_filter=*verbs_plain*", "--gtest_brief=1", seconds=250)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


def every_algorithm_at_odd_sizes_and_odd_numbers_of_ranks():
    for ranks in (2, 3, 5, 8):
        for algorithm in ("ring", "tree", "hd", "rd"):
            perf("allreduce", ranks, "--algo", algorithm, "-d", "uint8", "-b", 1, "-e", ODD_BYTES,
                 "-f", ODD_BYTES)


def every_collective():
    for collective in ("reduce_scatter", "allgather", "broadcast", "reduce", "alltoall", "gather",
                       "scatter", "sendrecv", "barrier"):
        perf(collective, 4, "-d", "uint8", "-b", 4, "-e", ODD_BYTES - 1, "-f", ODD_BYTES)


def ranks_take_the_nics_in_turn():
    before = [packets_of(nic) for nic in range(NICS)]
    perf("allreduce", 4, "-b", "64K", "-e", "64K")
    used = [packets_of(nic) - before[nic] > 50 for nic in range(NICS)]
    assert used == [True] * 4 + [False] * 4, used


def packets_of(nic):
    return int(pathlib.Path(f"/sys/class/net/p{nic}/statistics/tx_packets").read_text())


class Job:
    """Ranks that reduce for ever, each a process of its own."""

    def __init__(self, ranks, port, **environment):
        self.folder = pathlib.Path(f"/tmp/job{port}")
        self.folder.mkdir()
        self.processes = []
        for rank in range(ranks):
            words = [PERF, "allreduce", "--rank", rank, "--world", ranks, "--root",
                     f"127.0.0.1:{port}", "--transport", "verbs", "--algo", "ring", "-b", "64K",
                     "-e", "64K", "-n", 5, "-N", 0]
            with open(self.folder / f"out{rank}", "w", encoding="utf-8") as out:
                self.processes.append(subprocess.Popen(
                    [str(word) for word in words], stdin=subprocess.DEVNULL, stdout=out,
                    stderr=subprocess.PIPE, text=True,
                    env={**os.environ, **QUICK_TO_GIVE_UP, **environment}))
        deadline = time.monotonic() + 60
        while not re.search(r"^ +65536 ", (self.folder / "out0").read_text(), re.M):
            assert time.monotonic() < deadline, "no row in time"
            assert all(one.poll() is None for one in self.processes), self.endings()
            time.sleep(0.1)

    def endings(self):
        """What each rank says in the end; and how long all took."""
        began = time.monotonic()
        said = []
        for process in self.processes:
            try:
                said.append(process.communicate(timeout=60)[1].strip())
            except subprocess.TimeoutExpired:
                process.kill()
                said.append("HANGS " + process.communicate()[1])
        return said, time.monotonic() - began


def a_killed_rank_is_named_by_all():
    job = Job(3, 7100)
    job.processes[1].send_signal(signal.SIGKILL)
    said, seconds = job.endings()
    assert said[0] == said[2] and "rank 1" in said[0] and seconds < TIMEOUT_SECONDS, (said, seconds)


def a_link_that_goes_down_is_named_with_both_ends():
    job = Job(3, 7200)
    run("ip", "link", "set", "q1", "down")
    said, seconds = job.endings()
    run("ip", "link", "set", "q1", "up")
    assert len(set(said)) == 1 and seconds < 2 * TIMEOUT_SECONDS, (said, seconds)
    assert re.search(r"transport retry counter exceeded \(status 12, .*on rxe\d port 1, GID 1 "
                     r"\(10\.0\.0\.\d\) to 10\.0\.0\.\d", said[0]), said[0]
    assert "10.0.0.2" in said[0], said[0]


def a_nic_that_is_removed_is_an_error_in_time():
    job = Job(3, 7300)
    run("rdma", "link", "del", "rxe2")
    said, seconds = job.endings()
    run("rdma", "link", "add", "rxe2", "type", "rxe", "netdev", "p2")
    assert len(set(said)) == 1 and "rank 2" in said[0], said
    assert seconds < 3 * TIMEOUT_SECONDS, seconds


def a_network_without_rdma_is_an_error_that_says_what_there_is():
    done = run(PERF, "allreduce", "--ranks", 2, "--transport", "verbs", ACCL_IB_HCA="mlx5")
    assert done.returncode != 0 and "rxe0 port 1 (not among ACCL_IB_HCA)" in done.stderr, done


CHECKS = (the_transport_does_what_all_transports_must,
          every_algorithm_at_odd_sizes_and_odd_numbers_of_ranks, every_collective,
          ranks_take_the_nics_in_turn, a_killed_rank_is_named_by_all,
          a_link_that_goes_down_is_named_with_both_ends,
          a_nic_that_is_removed_is_an_error_in_time,
          a_network_without_rdma_is_an_error_that_says_what_there_is)


def inside():
    good = [held(number, check.__name__.replace("_", " "), check)
            for number, check in enumerate(CHECKS, 1)]
    return 0 if all(good) else 1


def outside():
    import machine
    why = machine.missing()
    if why:
        print(f"1..0 # SKIP a virtual machine {why}")
        return 0
    print(f"1..{len(CHECKS)}")
    command = [ROOT / "bench" / "lab" / "softroce", "--nics", NICS, "--seconds", SECONDS,
               sys.executable, "-u", __file__, ROOT, BUILD, "inside"]
    return subprocess.run([str(word) for word in command], check=False).returncode


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    sys.exit(inside() if sys.argv[3:] == ["inside"] else outside())
