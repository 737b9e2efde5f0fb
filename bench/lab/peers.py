"""peers.py - Open MPI and Gloo on the lab's fabric, one rank at a NIC, by the same programs that
`accl-perf --peers` starts on one machine (bench/peers/protocol.h says what is spoken with them)."""

import contextlib
import os
import pathlib
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time

from alone import Refused
from job import inside
from network import namespace_of

GREETING = struct.Struct("=II112s")
ORDER = struct.Struct("=IIIIQQQQ")
ANSWER = struct.Struct("=IIQ")
ALLREDUCE, FLOAT32, SUM = 0, 7, 0  # accl::Collective, DataType, ReduceOp.
GOOD, UNSUPPORTED = 0, 1
START_SECONDS = 60
BLOCK_SECONDS = 120
END_SECONDS = 5
AGENT = """#!/bin/sh
# What mpirun takes for ssh: AGENT HOST COMMAND. A host name of its own for every NIC, without a
# dot: Open MPI cuts it there, and daemons of one name would share a session folder.
net=$(cat "$(dirname "$0")/$1")
shift
exec nsenter --net="$net" unshare --uts sh -c 'echo "$1" >/proc/sys/kernel/hostname
shift
exec sh -c "$*"' sh "$(basename "$net" | tr . -)" "$@"
"""


class Gone(Exception):
    """A peer died, hung or gives wrong sums."""


def processes_here():
    """Of the lab's PID namespace."""
    return {int(entry) for entry in os.listdir("/proc") if entry.isdigit()}


class Peer:
    """A peer library, stopped while it does nothing: its idle ranks and daemons would take their
    share of the cores. `close` ends it."""

    def __init__(self, name, processes_of, count, folder):
        self.name = name
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "socket"
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(path))
        self.listener.listen(count)
        self.log = open(folder / "log.txt", "w+")
        self.ranks = {}
        self.all_processes = set()
        self.version = ""
        before = processes_here()
        self.processes = [subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log,
                                           stderr=self.log, env=environment)
                          for command, environment in processes_of(path, folder)]
        try:
            self._accept(count)
        except BaseException:
            self.close()
            raise
        self.all_processes = processes_here() - before  # Those that daemons started, too.
        self._signal(signal.SIGSTOP)

    def _signal(self, number):
        for process in self.all_processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)

    @contextlib.contextmanager
    def _awake(self):
        self._signal(signal.SIGCONT)
        try:
            yield
        finally:
            self._signal(signal.SIGSTOP)

    def _accept(self, count):
        deadline = time.monotonic() + START_SECONDS
        while len(self.ranks) < count:
            ready, _, _ = select.select([self.listener], [], [], 0.1)
            if not ready:
                dead = any(process.poll() is not None for process in self.processes)
                if dead or time.monotonic() > deadline:
                    raise Gone(f"{self.name} did not start: {self._last_words()}")
                continue
            rank = self.listener.accept()[0]
            rank.settimeout(BLOCK_SECONDS)
            number, size, version = GREETING.unpack(self._read(rank, GREETING.size))
            if size != count or number in self.ranks:
                raise Gone(f"{self.name} started {size} ranks instead of {count}")
            self.ranks[number] = rank
            self.version = version.rstrip(b"\0").decode(errors="replace")

    def _last_words(self):
        self.log.flush()
        self.log.seek(0)
        lines = [line.strip() for line in self.log if line.strip("-= \t\n")]
        return lines[0] if lines else "it said nothing"

    def _read(self, rank, count):
        data = b""
        while len(data) < count:
            try:
                part = rank.recv(count - len(data))
            except TimeoutError:
                raise Gone(f"{self.name} did not answer in {BLOCK_SECONDS} s") from None
            if not part:
                raise Gone(f"{self.name} is gone: {self._last_words()}")
            data += part
        return data

    def allreduce(self, size_bytes, iterations, warmup=1):
        """Seconds of each iteration, of the slowest rank."""
        order = ORDER.pack(ALLREDUCE, FLOAT32, SUM, 0, size_bytes // 4, warmup, iterations, 1)
        with self._awake():
            return self._slowest(order, size_bytes, iterations)

    def _slowest(self, order, size_bytes, iterations):
        for rank in self.ranks.values():
            rank.sendall(order)
        slowest = [0.0] * iterations
        for rank in self.ranks.values():
            status, _reserved, batches = ANSWER.unpack(self._read(rank, ANSWER.size))
            times = struct.unpack(f"={batches}d", self._read(rank, 8 * batches))
            if status != GOOD:
                why = "cannot do this" if status == UNSUPPORTED else "gives wrong sums"
                raise Gone(f"{self.name} {why}: allreduce of {size_bytes} bytes")
            slowest = [max(pair) for pair in zip(slowest, times)]
        return slowest

    def close(self):
        self._signal(signal.SIGCONT)
        for rank in self.ranks.values():
            rank.close()
        self.listener.close()
        deadline = time.monotonic() + END_SECONDS
        for process in self.processes:
            try:
                process.wait(max(0.01, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.log.close()


def program(build, name):
    path = pathlib.Path(build) / "bench" / "peers" / name
    if not os.access(path, os.X_OK):
        raise Refused(f"{path} is not built; install the library and build again")
    return str(path)


def open_mpi(network, nics, build, folder):
    """Open MPI over its tcp transport, rank k at nics[k], started as on a cluster: by its rsh
    agent, here one that enters the NIC's namespace. Its daemons talk over the management network,
    its ranks over the fabric."""
    launcher = shutil.which("mpirun.openmpi") or shutil.which("orterun")
    if launcher is None:
        raise Refused("Open MPI is not installed: apt-get install openmpi-bin libopenmpi-dev")
    rank_program = program(build, "accl-peer-openmpi")

    def processes(path, where):
        agent = where / "agent"
        agent.write_text(AGENT)
        agent.chmod(0o755)
        for k, nic in enumerate(nics):
            (where / f"nic{k}").write_text(f"/run/netns/{namespace_of(nic)}")
        hosts = where / "hosts"
        hosts.write_text("".join(f"nic{k} slots=1\n" for k in range(len(nics))))
        settings = {"plm_rsh_agent": str(agent), "plm_rsh_no_tree_spawn": "1",
                    "plm_rsh_num_concurrent": str(len(nics)),
                    "oob_tcp_if_include": "192.168.0.0/16",
                    "btl": "self,tcp", "pml": "ob1", "btl_tcp_if_include": "10.0.0.0/8",
                    # All ranks share this machine's cores, which it cannot know.
                    "mpi_yield_when_idle": "1", "hwloc_base_binding_policy": "none"}
        flags = [word for key, value in settings.items() for word in ("--mca", key, value)]
        command = [launcher, "--allow-run-as-root", "--hostfile", str(hosts), "-np",
                   str(len(nics)), *flags, rank_program, str(path)]
        return [(command, {**os.environ, "OMPI_MCA_orte_tmpdir_base": str(where)})]

    return Peer("Open MPI", processes, len(nics), folder)


def gloo(network, nics, build, folder):
    """Gloo over its tcp transport, rank k at nics[k]."""
    rank_program = program(build, "accl-peer-gloo")

    def processes(path, where):
        address = network.cluster.address
        return [(inside(nic, [rank_program, path, rank, len(nics), where, address[nic]]), None)
                for rank, nic in enumerate(nics)]

    return Peer("Gloo", processes, len(nics), folder)


KINDS = {"Open MPI": open_mpi, "Gloo": gloo}


def start(network, nics, build, folder):
    """Every peer that this machine has; which are not installed goes to stderr. Throws Gone where
    one is and does not start."""
    running = []
    try:
        for name, make in KINDS.items():
            try:
                running.append(make(network, nics, build, folder / name.replace(" ", "-")))
            except Refused as why:
                print(f"lab: {name} left out: {why}", file=sys.stderr)
    except Gone:
        for peer in running:
            peer.close()
        raise
    return running
