"""Whether tests/suites.py counts what happened: each way to fail must end up as a failed case."""

import contextlib
import io
import pathlib
import tempfile
import unittest

import suites

GTEST = """<testsuites tests="4"><testsuite name="S">
<testcase name="good" classname="S" status="run" result="completed"/>
<testcase name="bad" classname="S" status="run" result="completed"><failure message="1"/></testcase>
<testcase name="away" classname="S" status="run" result="skipped">
  <skipped message="a_test.cc:12&#x0A;needs a GPU"/></testcase>
<testcase name="DISABLED_x" classname="S" status="notrun" result="suppressed"/>
</testsuite></testsuites>"""
ALL_GOOD = """<testsuites><testsuite name="S"><testcase name="good" classname="S" status="run"/>
</testsuite></testsuites>"""


def entry(result="OK", returncode=0, stdout="", stderr=""):
    return {"name": "accl:plain / t", "result": result, "returncode": returncode, "stdout": stdout,
            "stderr": stderr, "command": [str(suites.WRAPPER), "prog", "a b"]}


def counts(log_entry, result_xml=None):
    """(passed, failed, skipped) of one program."""
    tally = suites.Tally()
    with tempfile.TemporaryDirectory() as folder:
        path = None
        if result_xml is not None:
            path = pathlib.Path(folder) / "result.xml"
            path.write_text(result_xml)
        suites.count_program(tally, log_entry, path, "")
    return tally.passed, len(tally.failures), len(tally.skips)


class Counting(unittest.TestCase):
    def test_cases_of_googletest(self):
        self.assertEqual(counts(entry("FAIL", 1), GTEST), (1, 1, 2))

    def test_bad_end_after_good_cases(self):
        self.assertEqual(counts(entry("FAIL", 1), ALL_GOOD), (1, 1, 0))

    def test_crash_without_result_file(self):
        self.assertEqual(counts(entry("FAIL", -11)), (0, 1, 0))
        self.assertEqual(counts(entry("TIMEOUT", -15)), (0, 1, 0))

    def test_result_file_cut_short(self):
        self.assertEqual(counts(entry("FAIL", -6), GTEST[:100]), (0, 1, 0))

    def test_no_case_ran(self):
        self.assertEqual(counts(entry(), "<testsuites/>"), (0, 1, 0))

    def test_other_programs(self):
        self.assertEqual(counts(entry()), (1, 0, 0))
        self.assertEqual(counts(entry("SKIP", 77, "no such device")), (0, 0, 1))
        self.assertEqual(counts(entry("ERROR", 99)), (0, 1, 0))
        self.assertEqual(counts(entry("UNEXPECTEDPASS", 0)), (0, 1, 0))

    def test_tap(self):
        text = "1..3\nok 1 - fine\nnot ok 2 - broken\n# why\nok 3 - away # SKIP no mirror\n"
        self.assertEqual(counts(entry("FAIL", 1, text)), (1, 1, 1))
        self.assertEqual(counts(entry("ERROR", 1, "1..2\nok 1 - fine\n")), (1, 1, 0))

    def test_reasons_are_printed(self):
        tally = suites.Tally()
        suites.count_program(tally, entry("SKIP", 77, "", "needs a mirror"), None, "asan/")
        tally.fail("x", "TIMEOUT")
        with contextlib.redirect_stdout(io.StringIO()) as out:
            tally.report()
        self.assertEqual(out.getvalue().splitlines(),
                         ["skipped asan/t: needs a mirror", "FAILED x: TIMEOUT",
                          "0 passed, 1 failed, 1 skipped"])


class Choosing(unittest.TestCase):
    tests = {"a": set(), "b": {"full"}, "c": {"fuzz"}, "d": {"plain"}, "e": {"ring"}}

    def test_suites_and_names(self):
        self.assertEqual(suites.choose(self.tests, "quick"), {"a", "d", "e"})
        self.assertEqual(suites.choose(self.tests, "sanitize"), {"a", "e"})
        self.assertEqual(suites.choose(self.tests, "full"), {"b"})
        self.assertEqual(suites.choose(self.tests, "ring"), {"e"})
        self.assertEqual(suites.choose(self.tests, "a"), {"a"})
        self.assertEqual(suites.choose(self.tests, "gpu"), set())

    def test_known_names(self):
        known = suites.known_names(self.tests)
        for name in ("quick", "full", "gpu", "asan", "ring", "a"):
            self.assertIn(name, known)
        self.assertNotIn("nonesuch", known)
        self.assertIn("gpu", suites.known_names({}))


class Files(unittest.TestCase):
    def test_belong_to_their_command(self):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            (folder / "7.command").write_text("prog a b\n")
            (folder / "7.xml").write_text(ALL_GOOD)
            (folder / "8.command").write_text("prog a b\n")
            files = suites.ResultFiles(folder)
            self.assertEqual(files.take(entry(), folder), folder / "7.xml")
            self.assertIsNone(files.take(entry(), folder))


if __name__ == "__main__":
    unittest.main()
