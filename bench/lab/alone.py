"""alone.py - runs a program in namespaces of its own, so that nothing it makes can outlive it.

The lab's network namespaces, links and processes live inside a mount, PID and network namespace.
When its first process ends, however it ends, the kernel ends all the others and takes every
namespace back; a parent outside waits, passes Ctrl-C and SIGTERM on, and dies with it.
"""

import importlib.util
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

INSIDE = "ACCL_LAB_FOLDER"  # Set inside: the folder of this run.
FOLDER = "/run/lab"         # Of a file system that ends with the namespaces.
NEEDS = {"unshare": "util-linux", "setpriv": "util-linux", "nsenter": "util-linux",
         "mount": "mount", "ip": "iproute2", "tc": "iproute2", "sysctl": "procps"}
# What people set for their own jobs must not steer ours.
FOREIGN = re.compile(r"^(ACCL_(?!DEBUG|LAB)|OMPI_|PMIX_|SLURM_|MASTER_|WORLD_SIZE$|RANK$)")


# What the lab asks of the kernel, on one pair of devices.
PROBE = """ip link add name l0 type veth peer name l1 && tc qdisc add dev l0 root handle 1: htb &&
tc class add dev l0 parent 1: classid 1:1 htb rate 1mbit quantum 1500 &&
tc filter add dev l0 parent 1: protocol ip prio 1 u32 match ip src 10.0.0.1/32 flowid 1:1 &&
ip link add name l2 type bridge"""


class Refused(Exception):
    """Bad input, or a machine that cannot do this: one sentence for people."""


def is_inside():
    """Whether this is the first process of a lab; a shell in a lab is not."""
    return INSIDE in os.environ and os.getpid() == 1


def folder():
    """Of this run; inside only."""
    return pathlib.Path(os.environ[INSIDE])


def missing():
    """Why no lab can run here, or an empty text."""
    lacking = sorted({package for tool, package in NEEDS.items() if shutil.which(tool) is None})
    if lacking:
        return f"needs {', '.join(lacking)}: apt-get install {' '.join(lacking)}"
    if importlib.util.find_spec("yaml") is None:
        return "needs Python's yaml: apt-get install python3-yaml, and run Debian's own python3"
    if os.geteuid() != 0:
        return "needs root, for network namespaces"
    if subprocess.run(["unshare", "--mount", "--pid", "--net", "--fork", "true"],
                      stderr=subprocess.DEVNULL, check=False).returncode != 0:
        return "needs the right to make mount, PID and network namespaces"
    if subprocess.run(["unshare", "--net", "sh", "-c", PROBE], stderr=subprocess.DEVNULL,
                      check=False).returncode != 0:
        return ("needs a kernel with veth, bridges, HTB and u32: "
                "modprobe -a veth bridge sch_htb cls_u32")
    return ""


def run(command):
    """Runs `command` inside; returns its exit status (128 + n where signal n ended it)."""
    why = missing()
    if why:
        raise Refused(f"the lab {why}")
    inside = (f"mount -t tmpfs tmpfs /run && mkdir /run/netns {FOLDER} && ip link set lo up && "
              "exec \"$@\"")
    kept = {key: value for key, value in os.environ.items() if not FOREIGN.match(key)}
    is_on_terminal = sys.stdin is not None and sys.stdin.isatty()
    child = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--net", "--fork",
         "--kill-child=KILL", "--mount-proc", "sh", "-c", inside, "sh", *command],
        env={**kept, INSIDE: FOLDER}, start_new_session=not is_on_terminal)

    def stop(number, _frame):
        child.kill()  # Takes the first process inside with it, and that one all others.
        signal.signal(number, signal.SIG_IGN)

    before = {number: signal.signal(number, stop)
              for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    status = child.wait()
    for number, handler in before.items():
        signal.signal(number, handler)
    return status if status >= 0 else 128 - status
