"""cables_test.py ACCL_PERF: ranks in network namespaces with a network for control and one for data.
Which sockets go where. Needs root; nothing of it outlives this program. Prints TAP."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "topology"))
from bench import run_checks  # pylint: disable=wrong-import-position

PATIENCE_S = 30
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
        environment = dict(os.environ, **settings)
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


def sockets(rank):
    """(own address, peer's address) of every TCP connection there."""
    text = subprocess.run(["ip", "netns", "exec", f"r{rank}", "ss", "-Htn", "state", "established"],
                          check=True, stdout=subprocess.PIPE, text=True).stdout
    lines = [line.split() for line in text.splitlines()]
    return [tuple(word.rsplit(":", 1)[0].strip("[]") for word in words[2:4]) for words in lines]


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


CHECKS = [data_takes_its_own_interface_and_the_rest_does_not,
          without_the_setting_data_goes_where_the_rest_goes,
          ranks_of_all_namespaces_count_against_the_cores,
          an_interface_that_is_not_there_is_named]


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
