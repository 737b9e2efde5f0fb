"""ibsim_loop.py ACCL_TOPO SPEC: the plan of an InfiniBand cluster, played by ibsim, brought up by
OpenSM, discovered by ibnetdiscover and judged by `accl-topo verify`, all without hardware; then the
same with cables that are wrong. It also holds what the plan says about routing engines. Prints TAP.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

from bench import held

PROGRAMS = ("ibsim", "opensm", "ibnetdiscover")
LIBRARY = "umad2sim/libumad2sim.so"
TIMEOUT_S = 60
# Where Debian puts what only root should have to run.
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def library():
    """The library that puts the tools of InfiniBand onto ibsim, or None."""
    folders = [pathlib.Path(place) for place in ("/usr/lib", "/usr/lib64", "/usr/local/lib")]
    folders += [each for each in folders[0].glob("*-linux-gnu*") if each.is_dir()]
    return next((str(each / LIBRARY) for each in folders if (each / LIBRARY).exists()), None)


def missing():
    """What this machine lacks, or an empty string."""
    lacks = [program for program in PROGRAMS if not shutil.which(program, path=PATH)]
    return ", ".join(lacks + ([] if library() else ["libumad2sim.so"]))


class Simulation:
    """ibsim with this net file, for as long as a `with` lasts."""

    number = 0

    def __init__(self, folder, net):
        Simulation.number += 1
        self.folder = pathlib.Path(folder) / f"simulation{Simulation.number}"
        self.folder.mkdir()
        (self.folder / "net").write_text(net, encoding="utf-8")
        self.socket = f"accl-{os.getpid()}-{Simulation.number}"
        self.environment = dict(os.environ, PATH=PATH, IBSIM_SOCKNAME=self.socket,
                                OSM_TMP_DIR=str(self.folder), OSM_CACHE_DIR=str(self.folder))
        self.process = None

    def __enter__(self):
        with open(self.folder / "ibsim.log", "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                ["ibsim", "-s", "-n", "net"], cwd=self.folder, env=self.environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + TIMEOUT_S
        sockets = pathlib.Path("/proc/net/unix")
        while f"{self.socket}:ctl" not in sockets.read_text(encoding="utf-8"):
            assert self.process.poll() is None, f"ibsim ended: {self.log()}"
            assert time.monotonic() < deadline, f"ibsim does not listen: {self.log()}"
            time.sleep(0.02)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def log(self):
        return (self.folder / "ibsim.log").read_text(encoding="utf-8", errors="replace")

    def run(self, *command):
        done = subprocess.run(
            command, cwd=self.folder, env=dict(self.environment, LD_PRELOAD=library()),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            check=False, timeout=TIMEOUT_S)
        assert done.returncode == 0, f"{command[0]} gave {done.returncode}: {done.stderr}"
        return done.stdout

    def bring_up(self, engine):
        """OpenSM sweeps once and ends; returns the engine whose tables it really set."""
        self.run("opensm", "-o", "-f", "opensm.log", "-R", engine)
        log = (self.folder / "opensm.log").read_text(encoding="utf-8", errors="replace")
        assert "SUBNET UP" in log, log
        return re.findall(r"(\w+) tables configured on all switches", log)[-1]

    def discover(self):
        path = self.folder / "discovered"
        path.write_text(self.run("ibnetdiscover"), encoding="utf-8")
        return path


def taken_apart(net, switch):
    """(sections of the net, which of them is the switch, its id)"""
    sections = net.split("\n\n")
    for place, text in enumerate(sections):
        match = re.search(rf'^Switch\s+\d+ "(S-\w+)".*"{switch}"', text, re.M)
        if match:
            return sections, place, match[1]
    raise AssertionError(f"{switch} is not in the net")


def with_swapped_plugs(net, switch, one, other):
    """The net with the plugs of two ports of a switch changed over."""
    sections, place, guid = taken_apart(net, switch)
    exchange = {str(one): str(other), str(other): str(one)}
    # What others say of their far end, and what the switch says of its own.
    sections = [re.sub(rf'("{guid}")\[({one}|{other})\]',
                       lambda match: f"{match[1]}[{exchange[match[2]]}]", text)
                for text in sections]
    sections[place] = re.sub(rf"^\[({one}|{other})\]", lambda match: f"[{exchange[match[1]]}]",
                             sections[place], flags=re.M)
    return "\n\n".join(sections)


def without_cable(net, switch, port):
    sections, place, guid = taken_apart(net, switch)
    sections = [re.sub(rf'^\[.*"{guid}"\[{port}\].*\n?', "", text, flags=re.M)
                for text in sections]
    sections[place] = re.sub(rf"^\[{port}\].*\n?", "", sections[place], flags=re.M)
    return "\n\n".join(sections)


class Loop:
    def __init__(self, program, spec, folder):
        self.program, self.spec, self.folder = program, spec, folder
        self.net = ""

    def plan(self):
        out = pathlib.Path(self.folder) / "plan"
        subprocess.run([self.program, "plan", self.spec, "--out", out], check=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=TIMEOUT_S)
        self.net = (out / "fabric.ibnet").read_text(encoding="utf-8")

    def verify(self, discovered):
        """(exit status, findings)"""
        done = subprocess.run(
            [self.program, "verify", self.spec, "--ibnetdiscover", discovered, "--json"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            check=False, timeout=TIMEOUT_S)
        assert done.returncode in (0, 1), done.stderr
        return done.returncode, json.loads(done.stdout)["findings"]

    def findings_of(self, net, engine="minhop"):
        with Simulation(self.folder, net) as simulation:
            simulation.bring_up(engine)
            return self.verify(simulation.discover())

    def matches(self):
        self.plan()
        status, findings = self.findings_of(self.net)
        assert (status, findings) == (0, []), f"{status}: {findings}"

    def swapped_is_named(self):
        status, findings = self.findings_of(with_swapped_plugs(self.net, "lower3", 5, 6))
        assert status == 1 and len(findings) == 1, f"{status}: {findings}"
        assert findings[0]["mistake"] == "swapped", findings
        fix = r"swap the plugs of C\d+ and C\d+ at lower3 \(ports swp[56] and swp[56]\)"
        assert re.fullmatch(fix, findings[0]["fix"]), findings

    def missing_is_named(self):
        status, findings = self.findings_of(without_cable(self.net, "lower3", 5))
        assert status == 1 and len(findings) == 1, f"{status}: {findings}"
        assert findings[0]["mistake"] == "missing", findings
        assert "lower3:swp5" in findings[0]["what"], findings

    def engine_gives(self, engine, tables):
        with Simulation(self.folder, self.net) as simulation:
            got = simulation.bring_up(engine)
        assert got == tables, f"-R {engine} set the tables of {got}"


CHECKS = (
    ("what is planned is what ibnetdiscover finds", Loop.matches),
    ("two swapped plugs are named, with the fix", Loop.swapped_is_named),
    ("a missing cable is named", Loop.missing_is_named),
    ("dfsssp routes a BiGraph", lambda it: it.engine_gives("dfsssp", "dfsssp")),
    ("lash routes a BiGraph", lambda it: it.engine_gives("lash", "lash")),
    ("ftree falls back to minhop", lambda it: it.engine_gives("ftree", "minhop")),
    ("updn falls back to minhop", lambda it: it.engine_gives("updn", "minhop")),
)


def main(program, spec):
    lacks = missing()
    if lacks:
        print(f"1..0 # SKIP {lacks} not found: ibsim-utils libumad2sim0 opensm infiniband-diags")
        return 0
    print(f"1..{len(CHECKS)}")
    with tempfile.TemporaryDirectory(prefix="accl-ibsim-") as folder:
        loop = Loop(program, spec, folder)
        results = [held(number, promise, lambda: check(loop))
                   for number, (promise, check) in enumerate(CHECKS, 1)]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    sys.exit(main(os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])))
