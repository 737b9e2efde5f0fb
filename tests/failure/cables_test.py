"""cables_test.py ACCL_PERF: ranks in namespaces with a network for control and one for data. Which
sockets go where, and what all ranks say when data cables carry nothing while every process
lives. Needs root; nothing of it outlives this program. Prints TAP."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "topology"))
from bench import run_checks  # pylint: disable=wrong-import-position

TIMEOUT_S = 1.5
VERDICT_S = 3  # Late by so much at most, on a busy machine.
PATIENCE_S = 30
NOWHERE = "02:00:00:00:00:99"
# When the namespaces around it end, so does everything in them.
SEALED = ["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "--mount-proc"]


def ip(*words):
    subprocess.run(["ip", *map(str, words)], check=True, stdout=subprocess.PIPE,
                   stderr=subprocess.STDOUT, text=True)


class Cluster:
    """Rank r is the namespace r<r>: 10.77.0.<r+1> on `control`, 10.78.0.<r+1> on `cable`. Two
    bridges join them; the ports of the second are called port<r>."""

    def __init__(self, ranks):
        self.ranks = ranks
        self.jobs = []
        for bridge in ("br-control", "br-data"):
            ip("link", "add", bridge, "type", "bridge")
            ip("link", "set", bridge, "up")
        for rank in range(ranks):
            ip("netns", "add", f"r{rank}")
            ip("-n", f"r{rank}", "link", "set", "lo", "up")
            self.join(rank, "control", "br-control", f"away{rank}", f"10.77.0.{rank + 1}/24")
            self.join(rank, "cable", "br-data", f"port{rank}", f"10.78.0.{rank + 1}/24")

    @staticmethod
    def join(rank, name, bridge, port, address):
        ip("link", "add", port, "type", "veth", "peer", "name", name, "netns", f"r{rank}")
        ip("link", "set", port, "master", bridge, "up")
        ip("-n", f"r{rank}", "addr", "add", address, "dev", name)
        ip("-n", f"r{rank}", "link", "set", name, "up")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for job in self.jobs:
            job.kill()
            job.communicate()
        for rank in range(self.ranks):  # The kernel takes its time with those in a namespace.
            ip("link", "del", f"away{rank}")
            ip("link", "del", f"port{rank}")
            ip("netns", "del", f"r{rank}")
        for bridge in ("br-control", "br-data"):
            ip("link", "del", bridge)

    def start(self, bench, folder, **settings):
        """accl-perf's allreduce in a ring, for ever."""
        environment = dict(os.environ, ACCL_TIMEOUT_MS=str(int(TIMEOUT_S * 1000)), **settings)
        for rank in range(self.ranks):
            words = ["ip", "netns", "exec", f"r{rank}", bench.program, "allreduce", "--rank", rank,
                     "--world", self.ranks, "--root", "10.77.0.1:7000", "--transport", "tcp",
                     "--algo", "ring", "-b", "64K", "-e", "64K", "-n", "20", "-N", "0"]
            with open(folder / f"out{rank}", "w", encoding="utf-8") as out:
                self.jobs.append(subprocess.Popen(list(map(str, words)), stdin=subprocess.DEVNULL,
                                                  stdout=out, stderr=subprocess.PIPE, text=True,
                                                  env=environment))

    def wait_for_rows(self, folder):
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            assert all(job.poll() is None for job in self.jobs), self.jobs[0].communicate()[1]
            if re.search(r"^ +65536 ", (folder / "out0").read_text(encoding="utf-8"), re.M):
                return
            time.sleep(0.05)
        raise AssertionError("no row of the table in time")

    def endings(self):
        """What each rank says in the end, and how long all of them took."""
        start = time.monotonic()
        said = [job.communicate(timeout=PATIENCE_S)[1] for job in self.jobs]
        assert [job.returncode for job in self.jobs] == [1] * self.ranks, said
        return said, time.monotonic() - start

    def lose_packets(self, rank, peer):
        """What `rank` sends to `peer` over the data network goes to an address that nobody has."""
        ip("-n", f"r{rank}", "neigh", "replace", f"10.78.0.{peer + 1}", "lladdr", NOWHERE, "dev",
           "cable", "nud", "permanent")


def sockets(rank):
    """(own address, peer's address) of every TCP connection there."""
    text = subprocess.run(["ip", "netns", "exec", f"r{rank}", "ss", "-Htn", "state", "established"],
                          check=True, stdout=subprocess.PIPE, text=True).stdout
    lines = [line.split() for line in text.splitlines()]
    return [tuple(word.rsplit(":", 1)[0].strip("[]") for word in words[2:4]) for words in lines]


def run_and_cut(bench, ranks, cut):
    """The verdict that all ranks gave after `cut(cluster)` in the middle of a run."""
    folder = pathlib.Path(tempfile.mkdtemp(dir=bench.folder))
    with Cluster(ranks) as cluster:
        cluster.start(bench, folder, ACCL_DATA_IFNAME="=cable")
        cluster.wait_for_rows(folder)
        cut(cluster)
        said, seconds = cluster.endings()
    assert len(set(said)) == 1, said
    assert seconds < TIMEOUT_S + VERDICT_S, (seconds, said[0])
    return said[0]


def path(rank, peer):
    return rf"10\.78\.0\.{rank + 1}:\d+ on cable to 10\.78\.0\.{peer + 1}:\d+"


def data_takes_its_own_interface_and_the_rest_does_not(bench):
    with Cluster(3) as cluster:
        cluster.start(bench, bench.folder, ACCL_DATA_IFNAME="=cable")
        cluster.wait_for_rows(bench.folder)
        found = [sockets(rank) for rank in range(3)]
    for rank, pairs in enumerate(found):
        assert all(own.rsplit(".", 1)[0] == peer.rsplit(".", 1)[0] for own, peer in pairs), pairs
        data = sorted(peer for own, peer in pairs if own == f"10.78.0.{rank + 1}")
        others = [f"10.78.0.{peer + 1}" for peer in range(3) if peer != rank]
        assert data == others, (rank, pairs)  # A ring of three has both for neighbours.
        assert len(pairs) > len(data), (rank, pairs)


def without_the_setting_data_goes_where_the_rest_goes(bench):
    with Cluster(3) as cluster:
        cluster.start(bench, bench.folder)
        cluster.wait_for_rows(bench.folder)
        found = sum((sockets(rank) for rank in range(3)), [])
    assert found and all(own.startswith("10.77.0.") for own, _ in found), found


def ranks_of_all_namespaces_count_against_the_cores(bench):
    with Cluster(3) as cluster:
        cluster.start(bench, bench.folder, ACCL_DEBUG="info",
                      ACCL_DEBUG_FILE=str(bench.folder / "log-%p"))
        cluster.wait_for_rows(bench.folder)
    logs = [log.read_text(encoding="utf-8") for log in bench.folder.glob("log-*")]
    assert len(logs) == 3 and all("3 ranks of this machine share" in log for log in logs), logs


def an_interface_that_is_not_there_is_named(bench):
    with Cluster(2) as cluster:
        cluster.start(bench, bench.folder, ACCL_DATA_IFNAME="=optics")
        said = [job.communicate(timeout=PATIENCE_S)[1] for job in cluster.jobs]
    assert any("ACCL_DATA_IFNAME='=optics'" in text and "cable (10.78.0." in text
               for text in said), said


def a_rank_whose_data_cable_is_cut_is_named_by_all(bench):
    said = run_and_cut(bench, 4, lambda cluster: ip("link", "set", "port2", "down"))
    # Where only one of its two connections had anything under way, the other is not known dead.
    one = r"the connection between rank \d \(host .*\) and rank \d \(host .*\) carries nothing"
    more = r"the connections between rank 2 \(host .*\) and ranks [013, ]+ carry nothing"
    assert re.search(f"{one}|{more}", said) and "rank 2" in said, said
    paths = "|".join([path(peer, 2) for peer in (0, 1, 3)] + [path(2, peer) for peer in (0, 1, 3)])
    assert re.search(f"live: .*({paths}), nothing acknowledged for", said), said


def two_ranks_that_cannot_reach_each_other_are_named_by_all(bench):
    def cut(cluster):
        cluster.lose_packets(1, 2)
        cluster.lose_packets(2, 1)
    said = run_and_cut(bench, 4, cut)
    assert re.search(r"the connection between rank ([12]) \(host .*\) and rank (?!\1)[12] \(host "
                     r".*\) carries nothing, though both live: "
                     f"({path(1, 2)}|{path(2, 1)}), nothing acknowledged for \\d+ ms", said), said


def a_way_that_leads_one_way_only_is_named_too(bench):
    said = run_and_cut(bench, 3, lambda cluster: cluster.lose_packets(0, 1))
    assert re.search(r"the connection between rank [01] \(host .*\) and rank [01] \(host .*\) "
                     f"carries nothing, though both live: ({path(0, 1)}|{path(1, 0)})", said), said


def a_connection_that_does_not_open_is_named_by_all(bench):
    with Cluster(3) as cluster:
        cluster.lose_packets(1, 2)
        cluster.lose_packets(2, 1)
        cluster.start(bench, bench.folder, ACCL_DATA_IFNAME="=cable")
        said, _ = cluster.endings()
    assert len(set(said)) == 1, said
    assert re.search(r"the connection between rank [12] \(host .*\) and rank [12] \(host .*\) "
                     r"carries nothing, though both live: 10\.78\.0\.3 to 10\.78\.0\.2:\d+, which "
                     "has not opened for", said[0]), said[0]


CHECKS = [data_takes_its_own_interface_and_the_rest_does_not,
          without_the_setting_data_goes_where_the_rest_goes,
          ranks_of_all_namespaces_count_against_the_cores,
          an_interface_that_is_not_there_is_named,
          a_rank_whose_data_cable_is_cut_is_named_by_all,
          two_ranks_that_cannot_reach_each_other_are_named_by_all,
          a_way_that_leads_one_way_only_is_named_too,
          a_connection_that_does_not_open_is_named_by_all]


def obstacle():
    """Why this machine cannot run the checks; empty where it can."""
    missing = [tool for tool in ("unshare", "ip", "ss") if shutil.which(tool) is None]
    if missing:
        return f"{missing[0]} is not installed"
    if os.geteuid() != 0:
        return "needs root, for network namespaces"
    probe = "mount -t tmpfs none /run && ip link add probe type bridge"
    done = subprocess.run([*SEALED, "sh", "-c", probe], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    return "" if done.returncode == 0 else f"no network namespaces here: {done.stdout.strip()}"


def main():
    if sys.argv[1] == "--inside":
        subprocess.run(["mount", "-t", "tmpfs", "none", "/run"], check=True)
        ip("link", "set", "lo", "up")
        return run_checks(CHECKS, sys.argv[2])
    reason = obstacle()
    if not reason:
        os.execvp(SEALED[0], [*SEALED, sys.executable, __file__, "--inside", sys.argv[1]])
    print(f"1..1\nok 1 - ranks with data cables of their own # SKIP {reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
