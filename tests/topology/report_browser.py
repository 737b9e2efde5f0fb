"""report_browser.py ACCL_TOPO CONFIGS: the report page in a real browser. What it shows is compared
with loads that are counted here, from the rank map and the definition of halving-doubling alone,
and with accl-topo explain. Prints TAP."""

import collections
import json
import pathlib
import subprocess
import sys
import tempfile

import webdriver
from bench import held

MAX_BYTES = 3 << 20
DEEP = 0.12  # How far along a line it is clicked: near its switch, where lines lie apart.

POINT_OF_CABLE = """
const path = document.querySelector(`path[data-cable="${arguments[0]}"]`);
window.scrollTo(0, 0);
const at = path.getPointAtLength(arguments[1] * path.getTotalLength());
const point = new DOMPoint(at.x, at.y).matrixTransform(path.getScreenCTM());
return [point.x, point.y];"""
ROWS = """
return [...document.querySelectorAll("#cables tbody tr")].map(
  (row) => [...row.children].map((cell) => cell.textContent));"""
COLUMNS = """
return [...document.querySelectorAll("#cables thead th")].map((cell) => cell.textContent);"""
LOADS = """
return ["load-ab", "load-ba"].map((id) => Number(document.getElementById(id).dataset.load));"""
SENDERS = """
return [...document.querySelectorAll("#load-ab .ranks button")].map((each) => each.textContent);"""
CHOOSE = """
const study = document.getElementById("study");
study.selectedIndex = arguments[0];
study.dispatchEvent(new Event("change"));"""


def output_of(program, *arguments):
    done = subprocess.run([program, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, check=False, timeout=120)
    assert done.returncode in (0, 1), f"{arguments} gave {done.returncode}: {done.stderr}"
    return done.stdout


def partners(rank_map, step):
    """Of a power of two: the distances of both halves of an allreduce."""
    count = len(rank_map["ranks"])
    distances = [1 << k for k in range(count.bit_length() - 1)]
    if rank_map["first"] == "far":
        distances.reverse()
    distance = (distances + distances[::-1])[step]
    return [(rank, rank ^ distance) for rank in range(count)]


def expected_loads(rank_map, step):
    """{(switch, switch): messages} of a fabric with one cable a pair of switches, all of whose
    partners sit in different layers."""
    at = [entry["switch"] for entry in rank_map["ranks"]]
    return collections.Counter((at[rank], at[other]) for rank, other in partners(rank_map, step))


def expected_senders(rank_map, step, above, below):
    at = [entry["switch"] for entry in rank_map["ranks"]]
    return [f"{rank} → {other}" for rank, other in partners(rank_map, step)
            if (at[rank], at[other]) == (above, below)]


def switch_of(end):
    return end.split(":")[0]


class Page:
    """The page of one spec, opened."""

    def __init__(self, browser, program, spec, folder):
        self.browser = browser
        self.path = pathlib.Path(folder) / f"{spec.stem}.html"
        output_of(program, "report", spec, "-o", self.path)
        again = output_of(program, "report", spec)
        assert again == self.path.read_text(encoding="utf-8"), "two runs gave different pages"
        self.rank_map = json.loads(output_of(program, "map", spec))
        self.explained = json.loads(output_of(program, "explain", spec, "--json"))
        browser.open(self.path)

    def between_switches(self):
        """[(label, switch a, switch b, a to b, b to a)] of the table's rows."""
        names = self.browser.run(COLUMNS)
        columns = [names.index(name) for name in ("Cable", "End A", "End B", "A→B", "B→A")]
        rows = [[row[column] for column in columns] for row in self.browser.run(ROWS)]
        return [(label, switch_of(a), switch_of(b), float(there), float(back))
                for label, a, b, there, back in rows if "/" not in a and "/" not in b]

    def most(self):
        return max(max(there, back) for *_, there, back in self.between_switches())

    def click_cable(self, number):
        self.browser.click_at(*self.browser.run(POINT_OF_CABLE, number, DEEP))


def click_on_a_line(page):
    loads = expected_loads(page.rank_map, 0)
    nics = len(page.rank_map["ranks"])  # Their cables come first.
    for number, (label, a, b, *_) in list(enumerate(page.between_switches(), nics))[::9]:
        page.click_cable(number)
        assert page.browser.text("#label") == label, f"{label} was clicked, not " + \
            page.browser.text("#label")
        shown = page.browser.run(LOADS)
        assert shown == [loads[a, b], loads[b, a]], f"{label}: {shown} messages"
        assert page.browser.run(SENDERS) == expected_senders(page.rank_map, 0, a, b), label


def click_on_a_row(page):
    row = page.between_switches()[5]
    page.browser.run("""[...document.querySelectorAll("#cables tbody td:first-child")].find(
        (cell) => cell.textContent === arguments[0]).click();""", row[0])
    assert page.browser.text("#label") == row[0]
    assert page.browser.run("return document.querySelectorAll('path.chosen').length") == 1


def every_step(page):
    steps = len(page.explained["max_flows_per_link"])
    seen = 0
    while seen < steps:
        loads = expected_loads(page.rank_map, seen)
        for label, a, b, there, back in page.between_switches():
            assert (there, back) == (loads[a, b], loads[b, a]), f"step {seen + 1}, {label}"
        name = page.browser.text("#stepname").removesuffix(f" of {steps}")
        seen = int(name.split()[-1])  # The last of "step 3" and of "steps 6 to 7".
        page.browser.keys("#step", "\ue014")  # Arrow right.


def a_baseline_shares(page):
    number = next(i for i, each in enumerate(page.explained["baselines"], 1)
                  if (each["order"], each["algorithm"], each["first"]) == ("sorted", "hd", "near"))
    page.browser.run(CHOOSE, number)
    expected = page.explained["baselines"][number - 1]["max_flows_per_link"]
    bars = page.browser.run("return document.querySelectorAll('#bars button').length")
    most = []
    for bar in range(bars):
        page.browser.click(f"#bars button:nth-child({bar + 1})")
        most.append(page.most())
    assert max(most) == max(expected) and max(most) > 1, f"{most}, not {expected}"
    page.browser.run(CHOOSE, 0)


def every_traffic_opens(page):
    count = page.browser.run("return document.getElementById('study').length")
    assert count == 1 + len(page.explained["baselines"])
    for number in range(count):
        page.browser.run(CHOOSE, number)
        page.browser.click("#bars button:first-child")
        study = page.explained if number == 0 else page.explained["baselines"][number - 1]
        assert page.most() == study["max_flows_per_link"][0], page.browser.text("#study")
    page.browser.run(CHOOSE, 0)


def filters(page):
    page.browser.keys("#cablefilter", "upper3 lower5")
    rows = page.between_switches()
    assert [row[1:3] for row in rows] == [("upper3", "lower5")], f"{rows}"
    page.browser.clear("#cablefilter")
    page.browser.keys("#rankfilter", "server07")
    shown = page.browser.run("return document.querySelectorAll('#ranks tbody tr').length")
    assert shown == sum(entry["host"] == "server07" for entry in page.rank_map["ranks"])
    page.browser.clear("#rankfilter")


def switch_and_nic(page):
    page.browser.click("[data-switch='2']")
    assert page.browser.text("#panel h2") == "upper2"
    page.browser.click("[data-nic='9']")
    entry = next(each for each in page.rank_map["ranks"]
                 if f"{each['host']}/{each['nic']}" == page.browser.text("#panel h2"))
    panel = page.browser.text("#panel")
    for expected in (f"{entry['switch']}:{entry['port']}", f"Rank\n{entry['rank']}\n"):
        assert expected in panel, f"{expected!r} is not in {panel!r}"


def is_silent(page):
    own = f"file://{page.path}"
    # What the browser says of itself (its fonts, its policies) is not of the page.
    complaints = [text for text in page.browser.complaints() if own in text]
    assert not complaints, f"the console says {complaints}"
    # The browser has pixels and icons of its own (data:, chrome:, ...); they never leave it.
    leaving = ("file:", "http:", "https:", "ws:", "wss:", "ftp:")
    fetched = {address for address in page.browser.fetched() if address.startswith(leaving)}
    assert fetched == {own}, f"fetched {fetched}"


def opens_large(page):
    assert page.path.stat().st_size < MAX_BYTES, f"{page.path.stat().st_size} bytes"
    page.click_cable(len(page.rank_map["ranks"]) + 3)
    assert page.browser.text("#label") == page.between_switches()[3][0]
    every_traffic_opens(page)
    is_silent(page)


CHECKS = (
    ("a click on a line shows the cable's label and the messages counted here", click_on_a_line),
    ("a click on a row of the table highlights the line", click_on_a_row),
    ("in every step every cable carries what was counted here", every_step),
    ("a baseline shares cables, as explain says", a_baseline_shares),
    ("every traffic opens with explain's loads", every_traffic_opens),
    ("filters find cables and ranks", filters),
    ("switches and NICs tell of themselves", switch_and_nic),
    ("no errors, and nothing was fetched", is_silent),
)
LARGE = f"512 NICs: below {MAX_BYTES >> 20} MiB, clicks and traffics work"


def main(program, configs):
    missing = webdriver.missing_program()
    if missing:
        print(f"1..0 # SKIP no {missing} here; Debian's packages: chromium chromium-driver")
        return 0
    print(f"1..{len(CHECKS) + 1}")
    configs = pathlib.Path(configs)
    with tempfile.TemporaryDirectory(prefix="accl-report-") as folder, \
            webdriver.Browser(folder) as browser:
        page = Page(browser, program, configs / "eflops-64.yaml", folder)
        results = [held(number, promise, lambda check=check: check(page))
                   for number, (promise, check) in enumerate(CHECKS, 1)]
        results.append(held(len(CHECKS) + 1, LARGE, lambda: opens_large(
            Page(browser, program, configs / "eflops-512.yaml", folder))))
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    sys.exit(main(*sys.argv[1:3]))
