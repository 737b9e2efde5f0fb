"""run_fuzzer.py FUZZER CORPUS: runs a libFuzzer target for ACCL_FUZZ_SECONDS (30), starting from
the kept corpus; what it finds goes into a folder of its own. Prints TAP; the input that broke it
is left in ACCL_FUZZ_ARTIFACTS, or beside the program."""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

LONGEST_INPUT_BYTES = 64 << 10
MEMORY_MIB = 1024
TIMEOUT_S = 10  # For one input.


def main():
    fuzzer, corpus = sys.argv[1:]
    seconds = int(os.environ.get("ACCL_FUZZ_SECONDS", "30"))
    artifacts = pathlib.Path(os.environ.get("ACCL_FUZZ_ARTIFACTS", pathlib.Path(fuzzer).parent))
    name = pathlib.Path(fuzzer).name
    seeds = [path for path in pathlib.Path(corpus).iterdir() if path.is_file()]
    print("1..2")
    print(f"{'ok' if seeds else 'not ok'} 1 - {name} has {len(seeds)} inputs to start from")
    with tempfile.TemporaryDirectory() as found:
        done = subprocess.run(
            [fuzzer, f"-max_total_time={seconds}", f"-max_len={LONGEST_INPUT_BYTES}",
             f"-rss_limit_mb={MEMORY_MIB}", f"-timeout={TIMEOUT_S}", "-print_final_stats=1",
             "-close_fd_mask=1", f"-artifact_prefix={artifacts}/{name}-", found, corpus],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            check=False, timeout=seconds + 120, text=True, errors="replace")
    runs = re.search(r"number_of_executed_units:\s*(\d+)", done.stderr)
    tried = int(runs[1]) if runs else 0
    good = done.returncode == 0 and tried > len(seeds)
    print(f"{'ok' if good else 'not ok'} 2 - {name} stood {tried} inputs in {seconds} s")
    if not good:
        for line in done.stderr.splitlines()[-40:]:
            print("#", line)


main()
