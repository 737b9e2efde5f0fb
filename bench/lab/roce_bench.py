"""roce_bench.py BUILD ROUNDS - inside of machine.py: the verbs transport beside perftest between
the same two NICs, and allreduce beside Open MPI over UCX; taken in turn, medians of ROUNDS."""

import math
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time

PORT = 18515
PERFTEST_TRIES = 5
ROUNDS_DEFAULT = 5
LARGE = 1 << 20
SMALL = ("8", "64", "128", "512", "2048", "8192", "32768")
LARGE_ROWS = "--peers --in-place 0 -b 128K -e 1M -f 2 -n 10 -w 2"
TURNS_SECONDS = 40


def perftest(tool, size, iterations, *more):
    """The client's table row. Now and then perftest finds no frequency of the processor to go by,
    and then every time is inf: that is no figure."""
    for _ in range(PERFTEST_TRIES):
        row = perftest_row(tool, size, iterations, *more)
        if all(map(math.isfinite, row)):
            return row
    sys.exit(f"roce_bench: {tool} gives no finite time in {PERFTEST_TRIES} tries")


def perftest_row(tool, size, iterations, *more):
    """Runs a server on rxe0 and a client on rxe1."""
    words = [tool, "-F", "-x", "1", "-s", str(size), "-n", str(iterations), "-p", str(PORT), *more]
    server = subprocess.Popen([*words, "-d", "rxe0"], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    try:
        time.sleep(1)
        done = subprocess.run([*words, "-d", "rxe1", "127.0.0.1"], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False, timeout=120)
        server.wait(30)
    finally:
        server.kill()
        server.wait()
    for line in done.stdout.splitlines():
        if re.match(rf"\s*{size}\s+\d+\s", line):
            return [float(word) for word in line.split()]
    sys.exit(f"roce_bench: {tool}: {done.stdout[-500:]}")


def latency_us(tool):
    return perftest(tool, 8, 1000)[4]  # t_typical


def write_rate():
    return perftest("ib_write_bw", LARGE, 30)[3]  # MB/s on average, MB of 2^20


def ours(build):
    """(half a round trip of 8 bytes in us, MiB/s of large messages)."""
    done = subprocess.run([build / "bench" / "put_benchmark", "verbs", "1000"], check=True,
                          stdout=subprocess.PIPE, text=True, timeout=120)
    times = dict(map(float, line.split()) for line in done.stdout.splitlines())
    return times[8], LARGE / (1 << 20) / (times[LARGE] * 1e-6)


def table(name, values, best_is_more, reference):
    median = statistics.median(values)
    ratio = median / reference if best_is_more else reference / median
    spread = 50 * (max(values) - min(values)) / median
    print(f"{name:<34} {median:10.2f}  ±{spread:3.0f}%   {ratio:5.2f} of perftest's")


def turns(build, ranks):
    """Each rank on the NIC of its number, in both libraries; see bench/perf/peers.cc."""
    own_nic = "UCX_NET_DEVICES=rxe$((OMPI_COMM_WORLD_LOCAL_RANK % NICS)):1 exec \"$0\" \"$@\""
    nics = str(len(list(pathlib.Path("/sys/class/infiniband").iterdir())))
    subprocess.run(["mpirun.openmpi", "--allow-run-as-root", "--oversubscribe", "-n", str(ranks),
                    "--mca", "pml", "ucx", "--mca", "osc", "^ucx", "bash", "-c", own_nic,
                    build / "bench" / "turns_benchmark", str(TURNS_SECONDS), *SMALL],
                   check=True, timeout=180,
                   env={**os.environ, "NICS": nics, "UCX_TLS": "rc,self",
                        "UCX_UD_ETH_DGID_CHECK": "n", "ACCL_TRANSPORT": "verbs"})


def main(build, rounds):
    seen = {name: [] for name in ("send_lat", "write_lat", "write_bw", "our_lat", "our_bw")}
    for _ in range(rounds):
        seen["send_lat"].append(latency_us("ib_send_lat"))
        seen["write_lat"].append(latency_us("ib_write_lat"))
        seen["write_bw"].append(write_rate())
        latency, rate = ours(build)
        seen["our_lat"].append(latency)
        seen["our_bw"].append(rate)
    median = {name: statistics.median(values) for name, values in seen.items()}
    print("8 bytes, us one way; rates in MiB/s of 1 MiB messages; medians, ± half the range")
    table("ib_send_lat", seen["send_lat"], False, median["send_lat"])
    table("ib_write_lat", seen["write_lat"], False, median["send_lat"])
    table("accl put, 8 bytes", seen["our_lat"], False, median["send_lat"])
    table("ib_write_bw", seen["write_bw"], True, median["write_bw"])
    table("accl put, 1 MiB", seen["our_bw"], True, median["write_bw"])
    sys.stdout.flush()
    perf = build / "bench" / "perf" / "accl-perf"
    for ranks in (2, 4):
        print(f"\nallreduce beside Open MPI over UCX, {ranks} ranks: small ones in turns within "
              "the same processes,\nlarge ones by accl-perf")
        sys.stdout.flush()
        turns(build, ranks)
        words = f"allreduce --ranks {ranks} --transport verbs {LARGE_ROWS}"
        subprocess.run([perf, *words.split()], check=True, stderr=subprocess.DEVNULL)  # Progress.


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else ROUNDS_DEFAULT)
