"""The committed workloads are what make_workloads.py writes."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

WORKLOADS = pathlib.Path(__file__).parents[2] / "configs" / "workloads"


class Workloads(unittest.TestCase):
    def test_files_are_what_the_script_writes(self):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([sys.executable, WORKLOADS / "make_workloads.py", folder], check=True)
            made = {path.name: path.read_text() for path in pathlib.Path(folder).iterdir()}
        kept = {path.name: path.read_text() for path in WORKLOADS.glob("*.csv")}
        self.assertEqual(sorted(made), ["bert_base.csv", "resnet50.csv", "vgg16.csv"])
        self.assertEqual(made, kept)

    def test_totals_are_the_published_ones(self):
        published = {"resnet50": (161, 25_557_032), "vgg16": (32, 138_357_544),
                     "bert_base": (199, 109_482_240)}
        for name, totals in published.items():
            lines = (WORKLOADS / f"{name}.csv").read_text().splitlines()
            sizes = [int(line.rsplit(",", 1)[1]) for line in lines
                     if not line.startswith("#") and line != "name,elements"]
            self.assertEqual((len(sizes), sum(sizes)), totals, name)


if __name__ == "__main__":
    unittest.main()
