"""Whether tests/style can fail: each rule is shown a tree that breaks it, and one that does not."""

import contextlib
import io
import pathlib
import shutil
import tempfile
import unittest

import rules
import style

HEADER = "// a.h - an example.\n#pragma once\n"


class Tried(unittest.TestCase):
    """A tree of a few files in a folder of its own."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="accl-style-test-")
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)

    def tree(self, files):
        for entry in self.root.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return rules.Tree(self.root)

    def flagged(self, rule, files):
        return list(rule(self.tree(files)))

    def expect(self, rule, bad, good):
        """`bad` and `good` are the text of one source, or {name: text}."""
        bad, good = ({"accl/a.cc": text} if isinstance(text, str) else text
                     for text in (bad, good))
        self.assertTrue(self.flagged(rule, bad), f"not flagged: {bad}")
        self.assertEqual(self.flagged(rule, good), [])


class Limits(Tried):
    def test_function_lines(self):
        def body(lines):
            return "int f() {\n" + "  g();\n" * (lines - 2) + "}\n"
        self.expect(rules.function_lines, body(71), body(70))
        self.expect(rules.function_lines, {"tests/a/a_test.cc": "TEST(A, B)" + body(72)[7:]},
                    body(3) * 40)
        inside = "class A {\n" * 2 + body(71) + "};\n" * 2
        self.expect(rules.function_lines, {"accl/a.h": inside}, {"accl/a.txt": inside})

    def test_file_lines(self):
        self.expect(rules.file_lines, "//\n" * 501, "//\n" * 500)
        self.expect(rules.file_lines, {"tests/a.py": "#\n" * 501}, {"docs/a.md": "\n" * 501})

    def test_line_columns(self):
        self.expect(rules.line_columns, "//" + "x" * 99, "//" + "x" * 98)
        self.expect(rules.line_columns, {"bench/run.sh": "#" * 101}, "//" + "\u00e9" * 98)

    def test_nesting(self):
        self.expect(rules.nesting, "void f() { for (;;) if (a) while (b) { if (c) d(); } }",
                    "void f() { for (;;) if (a) while (b) { d(); } }")
        self.expect(rules.nesting, "void f() { run([] { if (a) { for (;;) { if (b) c(); } } }); }",
                    "namespace a { namespace b { struct C { void f() { if (a) b(); } }; } }")

    def test_macros(self):
        self.expect(rules.macros, "#define CHECK(x) x", "int define; // #define CHECK")
        self.expect(rules.macros, "#  define \\\n X 1", "const char* a = \"#define X\";")
        self.expect(rules.macros, {"accl/b.h": "#define ACCL_ASSERT(x) x"},
                    {"accl/base/assert.h": "#define ACCL_ASSERT(x) x"})
        self.expect(rules.macros, {"accl/accl.h": "#define ACCL_CHECK 1"},
                    {"accl/accl.h": "#define ACCL_PUBLIC\n#define ACCL_ACCL_H\n"})
        self.expect(rules.macros, {"transport/a.cc": "#define HWY_TARGET_INCLUDE \"a\""},
                    {"accl/kernels/a.cc": "#define HWY_TARGET_INCLUDE \"a\""})

    def test_goto(self):
        self.expect(rules.no_goto, "void f() { goto x; x: ; }", "// goto\nint a_goto = '\\'';")


class Includes(Tried):
    def include(self, here, there, form='"{}"'):
        files = {there: HEADER} | {here: "#include " + form.format(there)}
        return self.flagged(rules.includes, files)

    def test_along_the_arrows(self):
        for here, there in (("accl/a.cc", "accl/base/b.h"), ("accl/a.cc", "transport/shm/b.h"),
                            ("accl/a.cc", "algorithms/b.h"), ("topology/a.cc", "algorithms/b.h"),
                            ("accl/kernels/a.cc", "accl/b.h"), ("bench/perf/a.cc", "accl/b.h"),
                            ("tests/x/a.cc", "bench/b.h"), ("accl/base/a.cc", "accl/base/b.h"),
                            ("transport/tcp/a.cc", "transport/b.h")):
            self.assertEqual(self.include(here, there), [], (here, there))

    def test_against_the_arrows(self):
        for here, there in (("accl/base/a.cc", "accl/b.h"), ("accl/base/a.cc", "algorithms/b.h"),
                            ("algorithms/a.cc", "transport/b.h"), ("algorithms/a.cc", "accl/b.h"),
                            ("algorithms/a.cc", "topology/b.h"), ("transport/a.cc", "accl/b.h"),
                            ("transport/a.cc", "algorithms/b.h"), ("topology/a.cc", "accl/b.h"),
                            ("transport/a.cc", "accl/bootstrap/b.h"), ("accl/a.cc", "bench/b.h"),
                            ("accl/a.cc", "tests/b.h"), ("bench/a.cc", "tests/b.h")):
            self.assertTrue(self.include(here, there), (here, there))

    def test_generated_headers(self):
        files = {"accl/a.cc": '#include "accl/b.h"'}
        with tempfile.TemporaryDirectory() as build:
            made = pathlib.Path(build) / "accl" / "b.h"
            made.parent.mkdir()
            made.write_text(HEADER)
            tree = rules.Tree(self.tree(files).root, build)
            self.assertEqual(list(rules.includes(tree)), [])
            made.unlink()
            self.assertTrue(list(rules.includes(tree)))

    def test_ways_to_write_them(self):
        self.assertTrue(self.include("accl/a.cc", "accl/b.h", "<{}>"))
        self.assertTrue(self.flagged(rules.includes, {"accl/a.cc": '#include "b.h"',
                                                      "accl/b.h": HEADER}))
        self.assertTrue(self.flagged(rules.includes, {"accl/a.cc": '#include "accl/none.h"'}))
        self.assertTrue(self.flagged(rules.includes, {"accl/a.cc": '# include  "../x.h"'}))
        self.assertEqual(self.flagged(rules.includes, {"accl/a.cc": "#include <vector>\n"
                                                       '// #include "b.h"\n'}), [])


class Headers(Tried):
    def test_comment_and_guard(self):
        self.expect(rules.header_comments, {"accl/a.h": "#pragma once\n"}, {"accl/a.h": HEADER})
        self.expect(rules.header_guards, {"accl/a.h": "// a\nint x;"}, {"accl/a.h": HEADER})
        guard = "#ifndef A_H\n#define A_H\n#endif\n"
        self.expect(rules.header_guards, {"accl/a.h": guard.replace("e A_H", "e B_H")},
                    {"accl/a.h": guard})

    def alone(self, files):
        tree = self.tree(files)
        with tempfile.TemporaryDirectory() as folder:
            return list(style.headers_alone(tree, folder))

    def test_alone(self):
        self.assertEqual(self.alone({"accl/a.h": HEADER + "#include <vector>\n"
                                     "inline std::vector<int> v;"}), [])
        self.assertTrue(self.alone({"accl/a.h": HEADER + "inline std::vector<int> v;"}))
        self.assertTrue(self.alone({"accl/a.h": "struct Twice {};"}))
        self.assertTrue(self.alone({"accl/accl.h": HEADER + "inline bool f(bool x);"}))


class Places(Tried):
    def test_top_level(self):
        self.expect(rules.top_level, {"src/a.cc": ""}, {"accl/a.cc": "", ".gitignore": "",
                                                        "build-x/a": "", "README.md": ""})

    def test_private_paths(self):
        for path in rules.PRIVATE_PATHS:
            self.expect(rules.private_paths, {"docs/a.md": f"see {path}x"},
                        {"docs/a.md": f"see net{path}x and a.{path}x"})
            self.expect(rules.private_paths, {"README.md": f"{path}x"}, {"README.md": "work/x"})


class Snippets(Tried):
    def verdict(self, text):
        tree = self.tree({style.SNIPPETS + "/a.cc": text})
        return list(style.must_not_compile(tree))

    def test_verdicts(self):
        self.assertEqual(self.verdict("int x;\n#ifdef WRONG\nint x;\n#endif\n"), [])
        self.assertTrue(self.verdict("int x;\n#ifdef WRONG\nint y;\n#endif\n"))
        self.assertTrue(self.verdict("int x; int x;\n"))
        self.assertTrue(list(style.must_not_compile(self.tree({"accl/a.cc": ""}))))


class Formatting(Tried):
    @unittest.skipUnless(style.formatter(), "no clang-format 14 here")
    def test_format(self):
        config = {".clang-format": "BasedOnStyle: Google\n"}
        bad = self.tree(config | {"accl/a.cc": "int   x;\n"})
        self.assertTrue(list(style.formatted(bad, style.formatter())))
        good = self.tree(config | {"accl/a.cc": "int x;\n"})
        self.assertEqual(list(style.formatted(good, style.formatter())), [])


class Output(Tried):
    def test_tap(self):
        report_text = io.StringIO()
        with contextlib.redirect_stdout(report_text):
            report = style.Report(3)
            report.rule("held", [])
            report.rule("broken", ["b:1: y", "a:1: x"])
            report.skip("away", "no tool")
        self.assertEqual(report.broken, 1)
        self.assertEqual(report_text.getvalue().splitlines(),
                         ["1..3", "ok 1 - held", "not ok 2 - broken", "# a:1: x", "# b:1: y",
                          "ok 3 - away # SKIP no tool"])

    def test_comment_share(self):
        share = rules.comment_share(self.tree({"accl/a.cc": "// a\nint b;  // c\n\nint d;\n"}),
                                    "accl")
        self.assertAlmostEqual(share, 1 / 3)


if __name__ == "__main__":
    unittest.main()
