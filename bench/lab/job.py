"""job.py - a job on the lab's network: one process in every NIC's namespace, under its server's
host name, with its output kept; ended together, by force if need be."""

import dataclasses
import os
import pathlib
import signal
import subprocess
import time

from network import namespace_of


def inside(nic, command, host=None):
    """The command line that runs `command` at a NIC; its host name is the server's."""
    name = host or nic.split("/")[0]
    return ["nsenter", f"--net=/run/netns/{namespace_of(nic)}", "unshare", "--uts", "sh", "-c",
            f"echo {name} >/proc/sys/kernel/hostname && exec \"$@\"", "sh",
            *map(str, command)]


@dataclasses.dataclass
class Result:
    """How the ranks ended: by rank, exit status (negative: that signal) and output."""
    status: list
    output: list
    seconds: float

    @property
    def good(self):
        return not any(self.status)

    def complaint(self):
        """The first failure in words; empty where all is good."""
        for rank, (status, output) in enumerate(zip(self.status, self.output)):
            if status:
                lines = [line for line in output.splitlines() if line.strip()]
                return f"rank {rank} ended with {status}: {lines[-1] if lines else 'no word'}"
        return ""


class Job:
    """`command(rank, nic)` gives the command line of each rank; it begins at once."""

    def __init__(self, nics, command, folder, environment=None):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.began = time.monotonic()
        self.processes = []
        self.files = [open(self.folder / f"rank{rank}.txt", "w+") for rank in range(len(nics))]
        for rank, nic in enumerate(nics):
            self.processes.append(subprocess.Popen(
                inside(nic, command(rank, nic)), stdin=subprocess.DEVNULL,
                stdout=self.files[rank], stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})}))

    def output_of(self, rank):
        self.files[rank].flush()
        return (self.folder / f"rank{rank}.txt").read_text(errors="replace")

    def is_running(self):
        return any(process.poll() is None for process in self.processes)

    def wait(self, seconds):
        """Waits at most so long, then ends what is left; the result says who had to be."""
        deadline = time.monotonic() + seconds
        for process in self.processes:
            try:
                process.wait(max(0.01, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
        took = time.monotonic() - self.began
        output = [self.output_of(rank) for rank in range(len(self.processes))]
        for file in self.files:
            file.close()
        return Result([process.returncode for process in self.processes], output, took)
