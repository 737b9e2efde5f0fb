"""docs/algorithms.md is what accl-algorithms-doc writes today.

page_is_current.py GENERATOR REPOSITORY
"""

import pathlib
import subprocess
import sys

generator, repository = sys.argv[1:]
wanted = subprocess.run([generator], check=True, capture_output=True, text=True).stdout
found = (pathlib.Path(repository) / "docs" / "algorithms.md").read_text()
if wanted != found:
    sys.exit("docs/algorithms.md is not what the plans say: write it anew with accl-algorithms-doc")
