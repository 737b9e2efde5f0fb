"""The limits of style that can be measured. Each rule takes a Tree and yields "FILE:LINE: what"."""

import functools
import pathlib
import re
import shutil
import subprocess

import cpp_reader

MAX_FUNCTION_LINES = 70
MAX_FILE_LINES = 500
MAX_LINE_COLUMNS = 100
MAX_NESTING = 3

CODE_FOLDERS = ("accl", "algorithms", "topology", "transport", "bench", "tests")
CODE_SUFFIXES = (".h", ".hpp", ".cc", ".c")
SCRIPT_SUFFIXES = (".py", ".sh", ".build")
TOP_LEVEL = {"accl", "topology", "algorithms", "transport", "tests", "bench", "configs", "docs",
             "README.md", "LICENSE", "meson.build", "meson_options.txt", "meson.options"}

# Which folders a folder may include besides itself; accl/base is a folder of its own.
ARROWS = {
    "accl/base": (),
    "algorithms": ("accl/base",),
    "topology": ("algorithms", "accl/base"),
    "transport": ("accl/base",),
    "accl": ("algorithms", "topology", "transport", "accl/base"),
    "bench": ("accl", "algorithms", "topology", "transport", "accl/base"),
    "tests": ("accl", "algorithms", "topology", "transport", "bench", "accl/base"),
}

# The macros there are: (path prefix, name pattern). Highway compiles one file many times and is
# steered by macros; a C header cannot do without a guard.
MACROS = (("accl/base/assert.h", r"ACCL_ASSERT"),
          ("accl/accl.h", r"ACCL_ACCL_H|ACCL_PUBLIC|ACCL_VERSION\w*"),
          ("accl/kernels/", r"HWY_\w+|ACCL_KERNELS_\w+_(TOGGLE|H_?)"))

# Spelled in two parts, so that this file does not break its own rule.
PRIVATE_PATHS = ("/" + "work/", "/" + "home/", "/" + "root/")


class Tree:
    """The files of the repository under `root`, read once; `build` holds generated headers."""

    def __init__(self, root, build=None):
        self.root = pathlib.Path(root)
        self.places = [pathlib.Path(place) for place in (root, build) if place is not None]

    def has_header(self, path):
        return any((place / path).is_file() for place in self.places)

    def top_level(self):
        """Entries git tracks, or without git all entries but build folders."""
        if (self.root / ".git").exists() and shutil.which("git"):
            listing = subprocess.run(["git", "-C", self.root, "ls-files"], stdout=subprocess.PIPE,
                                     stderr=subprocess.DEVNULL, text=True, check=False).stdout
            if listing:  # Empty where git mistrusts the folder's owner.
                return sorted({line.split("/")[0] for line in listing.splitlines()})
        return sorted(entry.name for entry in self.root.iterdir()
                      if not (entry.name.startswith("build") and entry.is_dir()))

    @functools.cached_property
    def files(self):
        """Paths, relative to the root, of everything in our folders and at the top."""
        found = [entry for entry in self.root.iterdir() if entry.is_file()]
        for folder in (*CODE_FOLDERS, "configs", "docs", ".ci"):
            found += [path for path in (self.root / folder).rglob("*") if path.is_file()]
        return sorted(path.relative_to(self.root).as_posix() for path in found
                      if "__pycache__" not in path.parts)

    def code(self):
        return [name for name in self.files
                if name.endswith(CODE_SUFFIXES) and name.split("/")[0] in CODE_FOLDERS]

    @functools.lru_cache(maxsize=None)
    def text(self, name):
        try:
            return (self.root / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            return ""  # A picture or the like.

    @functools.lru_cache(maxsize=None)
    def source(self, name):
        return cpp_reader.read(self.text(name))


def folder_of(path):
    """The folder of section 2 a path belongs to."""
    if path.startswith("accl/base/"):
        return "accl/base"
    return path.split("/")[0]


def function_lines(tree):
    for name in tree.code():
        for function in tree.source(name).functions:
            lines = function.last - function.first + 1
            if lines > MAX_FUNCTION_LINES:
                yield f"{name}:{function.first}: {function.name} has {lines} lines"


def nesting(tree):
    for name in tree.code():
        for function in tree.source(name).functions:
            if function.nesting > MAX_NESTING:
                yield (f"{name}:{function.nesting_line}: {function.name} nests "
                       f"{function.nesting} deep")


def limited(tree):
    places = (*CODE_FOLDERS, ".ci")
    return [name for name in tree.files if name.endswith(CODE_SUFFIXES + SCRIPT_SUFFIXES)
            and ("/" not in name or name.split("/")[0] in places)]


def file_lines(tree):
    for name in limited(tree):
        lines = tree.text(name).count("\n")
        if lines > MAX_FILE_LINES:
            yield f"{name}:1: {lines} lines"


def line_columns(tree):
    for name in limited(tree):
        for number, line in enumerate(tree.text(name).splitlines(), 1):
            if len(line) > MAX_LINE_COLUMNS:
                yield f"{name}:{number}: {len(line)} columns"


def macros(tree):
    for name in tree.code():
        allowed = [pattern for prefix, pattern in MACROS if name.startswith(prefix)]
        for directive in tree.source(name).directives:
            match = re.match(r"#\s*define\s+(\w+)", directive.text)
            if match and not any(re.fullmatch(pattern, match[1]) for pattern in allowed):
                yield f"{name}:{directive.line}: macro {match[1]}"


def no_goto(tree):
    for name in tree.code():
        for token in tree.source(name).tokens:
            if token.kind == "word" and token.text == "goto":
                yield f"{name}:{token.line}: goto"


def includes(tree):
    """Only along the arrows, from the root, and only what exists."""
    for name in tree.code():
        here = folder_of(name)
        for directive in tree.source(name).directives:
            match = re.match(r"#\s*include\s*([\"<])([^\">]+)", directive.text)
            if not match:
                continue
            target, there = match[2], folder_of(match[2])
            ours = there in ARROWS
            if match[1] == "\"" and not (ours and tree.has_header(target)):
                yield f"{name}:{directive.line}: \"{target}\" is no file from the root"
            elif ours and (match[1] == "<" or there not in (here, *ARROWS[here])):
                yield f"{name}:{directive.line}: {here} may not include {target}"


def header_comments(tree):
    for name in tree.code():
        if not name.endswith((".h", ".hpp")):
            continue
        comments = tree.source(name).comments
        if not comments or comments[0][0] != 1:
            yield f"{name}:1: begins with no comment that says what it is for"


def header_guards(tree):
    for name in tree.code():
        if name.endswith((".h", ".hpp")) and "#pragma once" not in tree.text(name) and not (
                re.search(r"#ifndef (\w+_H)\n#define \1\n", tree.text(name)) or
                "_TOGGLE" in tree.text(name)):
            yield f"{name}:1: no #pragma once"


def top_level(tree):
    for entry in tree.top_level():
        if entry not in TOP_LEVEL and not entry.startswith("."):
            yield f"{entry}:1: no such entry belongs at the top"


def private_paths(tree):
    for name in tree.files:
        for number, line in enumerate(tree.text(name).splitlines(), 1):
            for path in PRIVATE_PATHS:
                if re.search(r"(^|[^\w.$}*-])" + path, line):
                    yield f"{name}:{number}: a path of one machine: {path}"


# What people read first: (the promise, the rule that holds it).
RULES = (
    (f"functions have at most {MAX_FUNCTION_LINES} lines", function_lines),
    (f"files have at most {MAX_FILE_LINES} lines", file_lines),
    (f"lines have at most {MAX_LINE_COLUMNS} columns", line_columns),
    (f"statements nest at most {MAX_NESTING} deep", nesting),
    ("ACCL_ASSERT is the only macro", macros),
    ("nobody says goto", no_goto),
    ("includes follow the arrows, from the root", includes),
    ("headers begin by saying what they are for", header_comments),
    ("headers are guarded", header_guards),
    ("the top level holds what belongs there", top_level),
    ("no path of a private machine is in the tree", private_paths),
)


def comment_share(tree, folder):
    """Comment lines among the lines of comment and code, of the sources in a folder."""
    comment = code = 0
    for name in tree.code():
        if folder_of(name) != folder:
            continue
        source = tree.source(name)
        with_code = {token.line for token in source.tokens + source.directives}
        comments = {line for first, last in source.comments for line in range(first, last + 1)}
        code += len(with_code)
        comment += len(comments - with_code)
    return comment / (comment + code) if code else None
