"""rdma_test.py BUILD: for owners of RDMA NICs. The conformance suite and checked collectives over
every port of this machine that is up, and a report of what was seen: rate and latency. Skipped
aloud where there is no NIC. Prints TAP."""

import functools
import json
import os
import pathlib
import subprocess
import sys
import tempfile

BUILD = pathlib.Path(sys.argv[1])
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "topology"))

from bench import held  # noqa: E402

DEVICES = pathlib.Path("/sys/class/infiniband")
PERF = BUILD / "bench" / "perf" / "accl-perf"
PUT = BUILD / "bench" / "put_benchmark"
CONFORMANCE = BUILD / "tests" / "transport" / "transport_conformance_test"
MIB = 1 << 20


def ports():
    """[(device, port)] whose link is up."""
    found = []
    for device in sorted(DEVICES.iterdir()) if DEVICES.is_dir() else ():
        for port in sorted((device / "ports").iterdir()):
            if "ACTIVE" in (port / "state").read_text():
                found.append((device.name, port.name))
    return found


def run(*command, port=None, seconds=300):
    environment = dict(os.environ)
    if port:
        environment["ACCL_IB_HCA"] = f"={port[0]}:{port[1]}"
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
                          timeout=seconds, env=environment)
    assert done.returncode == 0, f"{done.stderr[-2000:]}{done.stdout[-2000:]}"
    return done.stdout


def conforms(port):
    run(CONFORMANCE, "--gtest_filter=*verbs_plain*", "--gtest_brief=1", port=port)


def sums_are_right(port):
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "result.json"
        for ranks in (2, 3, 4):
            run(PERF, "allreduce", "--ranks", ranks, "--transport", "verbs", "-b", "4", "-e", "16M",
                "-f", "64", "-n", 2, "-c", 1, "-J", out, port=port)
            for row in json.loads(out.read_text())["results"]:
                assert row["out_of_place"]["nwrong"] == 0, row


def report(port):
    """What a port does between two processes, beside the rate that the kernel tells."""
    folder = DEVICES / port[0] / "ports" / port[1]
    rate = (folder / "rate").read_text().strip()
    times = dict(map(float, line.split())
                 for line in run(PUT, "verbs", port=port).splitlines())
    print(f"# {port[0]} port {port[1]}: {rate}, {(folder / 'link_layer').read_text().strip()}; "
          f"8 bytes in {times[8]:.2f} us, 1 MiB messages at "
          f"{MIB * 8 / times[MIB] / 1000:.1f} Gb/s within the NIC")


def main():
    found = ports()
    if not found:
        print("1..0 # SKIP no RDMA port whose link is up on this machine (ibv_devinfo)")
        return 0
    checks = [(f"{port[0]} port {port[1]} {check.__name__.replace('_', ' ')}",
               functools.partial(check, port)) for port in found
              for check in (conforms, sums_are_right, report)]
    print(f"1..{len(checks)}")
    return 0 if all([held(number, promise, check)
                     for number, (promise, check) in enumerate(checks, 1)]) else 1


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    sys.exit(main())
