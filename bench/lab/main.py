"""main.py - the lab's commands behind run.sh: checks what was asked, runs the experiments inside
namespaces of their own, and makes the report."""

import argparse
import pathlib
import subprocess
import sys
import time

import alone

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FABRICS = ("eflops-64", "leafspine-64")


def parse(arguments):
    parser = argparse.ArgumentParser(prog="bench/lab/run.sh")
    parser.add_argument("what", choices=("eflops", "fault"))
    parser.add_argument("--rate", type=int, default=20_000_000, metavar="BITS",
                        help="of every cable, per second (20000000)")
    parser.add_argument("--mtu", type=int, default=9000, metavar="BYTES", help="(9000)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N",
                        help="every case so often, interleaved (3)")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build" / "lab", metavar="DIR")
    options = parser.parse_args(arguments)
    if not 1_000_000 <= options.rate <= 10_000_000_000:
        parser.error(f"--rate {options.rate}: give 1000000 to 10000000000 bits per second")
    if not 1280 <= options.mtu <= 9000:
        parser.error(f"--mtu {options.mtu}: give 1280 to 9000 bytes")
    if not 1 <= options.rounds <= 20:
        parser.error(f"--rounds {options.rounds}: give 1 to 20")
    return options


def inside(script, *arguments):
    """Runs one of our scripts in a lab of its own."""
    status = alone.run([sys.executable, str(HERE / script), *map(str, arguments)])
    if status != 0:
        sys.exit(status if status < 128 else 1)


def eflops(options):
    began = time.monotonic()
    results = []
    for number, name in enumerate(FABRICS):
        out = options.out / f"{name}.json"
        inside("experiment.py", ROOT / "configs" / f"{name}.yaml", ROOT / "build", out,
               options.rate, options.mtu, options.rounds, *(["scale"] if number == 0 else []))
        results.append(out)
    subprocess.run([sys.executable, str(HERE / "report.py"), str(options.out),
                    *map(str, results)], check=True)
    print((options.out / "tables.md").read_text())
    print(f"{time.monotonic() - began:.0f} s; tables and pictures are in {options.out}")


def main(arguments):
    options = parse(arguments)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        sys.exit(f"lab: --out {options.out}: {error.strerror}; give another folder")
    try:
        if options.what == "eflops":
            eflops(options)
        else:
            inside("fault.py", ROOT / "configs" / "eflops-16.yaml", ROOT / "build")
    except alone.Refused as why:
        print(f"lab: {why}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main(sys.argv[1:])
