"""Reads C and C++ just far enough to know its functions: where each begins and ends, and how deep
its statements nest. A lexer and a statement parser, no compiler: it knows the language as this
repository writes it, and style_test.py shows it the shapes it must tell apart.

Nesting counts blocks below a function's body: if, loops, switch, try, bare blocks and the bodies
of lambdas; `else if` continues its `if`. A function in a local class starts again at its own body.
"""

import dataclasses
import re

TOKEN = re.compile(r"""
    (?P<comment>//(?:[^\n\\]|\\.|\\\n)*|/\*.*?\*/)
  | (?P<raw>(?:u8|u|U|L)?R"(?P<fence>[^()\s\\]{0,16})\(.*?\)(?P=fence)")
  | (?P<string>(?:u8|u|U|L)?"(?:[^"\\\n]|\\.)*")
  | (?P<number>\.?\d(?:'[0-9A-Za-z]|[eEpP][+-]|[0-9A-Za-z_.])*)
  | (?P<char>(?:u8|u|U|L)?'(?:[^'\\\n]|\\.)*')
  | (?P<directive>^[ \t]*\#(?:[^\n\\/]|\\\n|\\.|/(?![/*]))*)
  | (?P<word>[A-Za-z_]\w*)
  | (?P<mark>::|->|\[\[|[^\s\w])
""", re.VERBOSE | re.DOTALL | re.MULTILINE)

CLOSERS = {"(": ")", "[": "]", "{": "}", "[[": "]]"}
CLASS_KEYS = ("class", "struct", "union", "enum")
LEADING = ("typedef", "static", "constexpr", "const", "inline", "extern", "friend")


@dataclasses.dataclass
class Token:
    kind: str
    text: str
    line: int


@dataclasses.dataclass
class Function:
    name: str
    first: int  # The line its declaration starts on.
    last: int  # The line of its closing brace.
    nesting: int = 0
    nesting_line: int = 0


@dataclasses.dataclass
class Source:
    tokens: list
    directives: list
    comments: list  # (first line, last line)
    functions: list


def read(text):
    """The Source of a file's text."""
    tokens, directives, comments = [], [], []
    line, at = 1, 0
    for match in TOKEN.finditer(text):
        line += text.count("\n", at, match.start())
        at = match.start()
        kind = match.lastgroup if match.lastgroup != "fence" else "raw"
        if kind == "comment":
            comments.append((line, line + match[0].count("\n")))
        elif kind == "directive":
            directives.append(Token(kind, re.sub(r"\\\n", " ", match[0]).strip(), line))
        else:
            tokens.append(Token(kind, match[0], line))
    tokens = split_attributes(tokens)
    functions = []
    Parser(tokens, functions).declarations(0, len(tokens))
    functions.sort(key=lambda function: function.first)
    return Source(tokens, directives, comments, functions)


def split_attributes(tokens):
    """`[[` opens an attribute only where `]]` closes it; a[[...] is two brackets."""
    result = []
    for place, token in enumerate(tokens):
        follows = tokens[place + 1].text if place + 1 < len(tokens) else ""
        if token.text == "[[" and (follows in ("&", "=", "]", "this") or not follows):
            result += [Token("mark", "[", token.line), Token("mark", "[", token.line)]
        elif token.text == "[[":
            result += [Token("mark", "[", token.line), Token("attribute", "[", token.line)]
        else:
            result.append(token)
    return result


class Parser:
    """Walks tokens, and appends every function it meets to `functions`."""

    def __init__(self, tokens, functions):
        self.tokens = tokens
        self.functions = functions
        self.partner = {}
        self.match_brackets()
        self.function = None  # The innermost one whose body is being read.

    def match_brackets(self):
        stack = []
        for place, token in enumerate(self.tokens):
            if token.kind not in ("mark", "attribute"):
                continue
            if token.text in "([{":
                stack.append(place)
            elif token.text in ")]}" and stack:
                opener = stack.pop()
                self.partner[opener] = place
                self.partner[place] = opener
        for opener in stack:  # Unbalanced text: whatever is open ends with the file.
            self.partner[opener] = len(self.tokens) - 1

    def text(self, place):
        return self.tokens[place].text if 0 <= place < len(self.tokens) else ""

    def is_mark(self, place, marks):
        """Whether the token is one of these marks (and no string or character)."""
        return 0 <= place < len(self.tokens) and self.text(place) in marks and (
            self.tokens[place].kind in ("mark", "attribute"))

    # --- Outside of functions ----------------------------------------------------------------

    def declarations(self, place, end):
        """Namespace and class scope: [place, end)."""
        start = place  # Of the declaration being read.
        while place < end:
            if self.is_mark(place, "([") and place in self.partner:
                self.lambdas(place + 1, self.partner[place], 0)
                place = self.partner[place] + 1
            elif self.is_mark(place, "{"):
                place, start = self.brace(start, place)
            elif self.is_mark(place, (";", "}")) or self.ends_access(start, place):
                place = start = place + 1
            else:
                place += 1

    def ends_access(self, start, place):
        """public: private: protected:"""
        return place == start + 1 and self.is_mark(place, ":") and (
            self.text(start) in ("public", "private", "protected"))

    def brace(self, start, place):
        """A `{` outside of functions; returns where to go on, and the declaration's start."""
        close = self.partner[place]
        kind, name = self.classify(start, place)
        if kind == "scope":
            self.declarations(place + 1, close)
            return close + 1, close + 1
        if kind == "function":
            self.read_function(name, start, place, close)
            return close + 1, close + 1
        self.lambdas(place + 1, close, 0)  # The braces of an initial value.
        return close + 1, start

    def classify(self, start, place):
        """(scope | function | value, name) for the brace at `place` of a declaration."""
        head = self.head(start, place)
        words = [self.text(at) for at in head]
        while words and words[0] in LEADING and words[:1] != ["extern"]:
            words = words[1:]
            head = head[1:]
        if not words:
            return "scope", ""
        if words[0] in ("namespace", "inline", "extern") and "(" not in words and "=" not in words:
            return "scope", ""
        if words[0] in CLASS_KEYS and "(" not in words and "=" not in words:
            return ("value" if words[0] == "enum" else "scope"), ""
        if self.is_lambda(place):
            return "function", "lambda"
        if "=" in words and words[words.index("=") - 1] != "operator":
            return "value", ""
        if "(" not in words or self.initializes_member(head, words, place):
            return "value", ""
        return "function", self.name_before(words, words.index("("))

    def head(self, start, place):
        """Places of the tokens before the brace that lie in no bracket, template list or
        attribute; a pair of parentheses stays as one `(`."""
        head, at, angles = [], start, 0
        while at < place:
            text = self.text(at)
            if self.is_mark(at, "([{"):
                if text == "(" and not angles and self.text(at - 1) not in ("alignas", "decltype"):
                    head.append(at)
                at = self.partner[at] + 1
                continue
            if text == "<" and self.text(at - 1) != "operator":
                angles += 1
            elif text == ">" and angles:
                angles -= 1
            elif not angles and text not in ("template", "alignas"):
                head.append(at)
            at += 1
        return head

    def initializes_member(self, head, words, place):
        """Foo() : a_{1} {}: the first brace belongs to a_."""
        if ":" not in words[words.index("("):]:
            return False
        return self.tokens[place - 1].kind == "word" or self.is_mark(place - 1, ">")

    @staticmethod
    def name_before(words, paren):
        if "operator" in words[:paren + 1]:
            return " ".join(words[words.index("operator"):paren])
        return words[paren - 1] if paren else "function"

    def is_lambda(self, brace):
        """Whether the brace opens the body of a lambda."""
        at = brace - 1
        while not self.is_mark(at, "]"):
            if self.is_mark(at, ")"):
                at = self.before_parameters(self.partner.get(at, 0))
            elif self.fits_lambda_head(at):
                at -= 1
            else:
                return False
        if at != brace - 1 and not self.is_mark(at + 1, "(<"):
            return False
        opener = self.partner.get(at, 0)
        before = self.tokens[opener - 1] if opener > 0 else Token("mark", ";", 0)
        # After a name, a bracket or a literal, [ ] is an index or the extent of an array.
        if before.text in ("return", "co_return", "co_yield"):
            return True
        return not (before.kind in ("word", "string", "number") or before.text in (")", "]", "["))

    def before_parameters(self, opener):
        """From the ( of parameters back to the ] of the capture, or to noexcept and the like;
        to no place at all for any other call."""
        at = opener - 1
        if self.is_mark(at, ">"):
            while at > 0 and not self.is_mark(at, "]{};"):
                at -= 1
        return at if self.is_mark(at, "]") or self.text(at) in ("noexcept", "decltype") else -1

    def fits_lambda_head(self, at):
        """mutable, noexcept, -> std::vector<int>&: what may stand between ) and {."""
        if at < 0 or self.text(at) in CLASS_KEYS + ("else", "do", "try", "return"):
            return False
        return self.tokens[at].kind == "word" or self.text(at) in ("->", "::", "<", ">", ",", "&",
                                                                   "*")

    def lambdas(self, place, end, depth):
        """Expressions: finds the lambdas in [place, end) and reads their bodies."""
        while place < end:
            if self.is_mark(place, "{") and self.is_lambda(place):
                close = self.partner[place]
                if self.function is None:
                    self.read_function("lambda", place, place, close)
                else:
                    self.block(place, depth + 1)
                place = close
            place += 1

    def read_function(self, name, start, place, close):
        outer = self.function
        self.function = Function(name, self.tokens[start].line, self.tokens[close].line)
        self.functions.append(self.function)
        self.lambdas(start, place, 0)
        self.statements(place + 1, close, 0)
        self.function = outer

    # --- Inside of functions -------------------------------------------------------------------

    def note_depth(self, place, depth):
        if depth > self.function.nesting:
            self.function.nesting = depth
            self.function.nesting_line = self.tokens[place].line

    def block(self, brace, depth):
        """{ statements } that lie `depth` below the function's body; returns what follows."""
        self.note_depth(brace, depth)
        self.statements(brace + 1, self.partner[brace], depth)
        return self.partner[brace] + 1

    def statements(self, place, end, depth):
        while place < end:
            place = self.statement(place, end, depth)

    def statement(self, place, end, depth):
        """One statement; returns the place behind it."""
        text = self.text(place)
        if self.is_mark(place, "{"):
            return self.block(place, depth + 1)
        if text in ("if", "for", "while", "switch", "catch"):
            return self.controlled(place, end, depth)
        if text in ("else", "do", "try"):
            return self.body(place + 1, end, depth)
        if text in ("case", "default"):
            return self.label(place, end)
        if text in CLASS_KEYS or text in ("static", "constexpr", "const", "template"):
            local = self.local_class(place, end)
            if local:
                return local
        return self.expression(place, end, depth)

    def controlled(self, place, end, depth):
        """if (...) statement, and the like."""
        at = place + 1
        while at < end and not self.is_mark(at, "("):  # if constexpr
            at += 1
        if at >= end:
            return end
        close = self.partner[at]
        self.lambdas(at + 1, close, depth)
        if self.is_mark(close + 1, ";"):  # do ... while (...);
            return close + 2
        return self.body(close + 1, end, depth)

    def body(self, place, end, depth):
        """What an if, else, loop or try governs."""
        if place >= end:
            return end
        if self.is_mark(place, "{"):
            return self.block(place, depth + 1)
        if self.text(place) == "if" and self.text(place - 1) == "else":
            return self.statement(place, end, depth)
        self.note_depth(place, depth + 1)
        return self.statement(place, end, depth + 1)

    def label(self, place, end):
        while place < end and not self.is_mark(place, ":"):
            place = self.partner[place] if self.is_mark(place, "([{") else place
            place += 1
        return place + 1

    def local_class(self, place, end):
        """struct Name ... { members };  Returns 0 if this is no such thing."""
        at = place
        while at < end and not self.is_mark(at, ("{", ";", "(", "=")):
            at += 1
        if not self.is_mark(at, "{") or self.classify(place, at)[0] != "scope":
            return 0
        outer = self.function
        self.declarations(at + 1, self.partner[at])
        self.function = outer
        return self.partner[at] + 1

    def expression(self, place, end, depth):
        """Up to and with the `;`, with the lambdas in it."""
        start = place
        while place < end and not self.is_mark(place, ";"):
            place = self.partner[place] if self.is_mark(place, "([{") else place
            place += 1
        self.lambdas(start, min(place, end), depth)
        return place + 1
