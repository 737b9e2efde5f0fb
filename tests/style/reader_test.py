"""What tests/style/cpp_reader.py must tell apart: the shapes of C++ that fool simpler readers."""

import unittest

import cpp_reader


def functions(text):
    return cpp_reader.read(text).functions


def names(text):
    return [function.name for function in functions(text)]


def nesting(body):
    """How deep the statements of one function with this body nest."""
    found = functions("void f() {\n" + body + "\n}\n")
    assert [function.name for function in found[:1]] == ["f"], found
    return found[0].nesting


class Functions(unittest.TestCase):
    def test_free_functions(self):
        self.assertEqual(names("int f(int a) { return a; }\nvoid g();\nvoid h() {}"), ["f", "h"])

    def test_signatures(self):
        for text, name in (
                ("[[noreturn]] void f(int a) { }", "f"),
                ("template <class T, int n = (3 > 2)> requires C<T> auto f(T a) { }", "f"),
                ("auto f(int (&x)[3]) -> std::vector<int> { }", "f"),
                ("static constexpr bool f() noexcept(noexcept(g())) { }", "f"),
                ("std::function<void(int)> f(std::span<int> a = {}) { }", "f"),
                ("const std::map<int, int>& f() const& { }", "f"),
                ("struct addrinfo* f(void) { }", "f"),
                ("bool operator==(const X& a, const X& b) { }", "operator = ="),
                ("X& operator=(X&& a) { }", "operator ="),
                ("extern \"C\" int f(void) { }", "f"),
                ("TEST(Suite, Case) { }", "TEST")):
            self.assertEqual(names(text), [name], text)

    def test_members(self):
        text = """class X : public Y<int> {
         public:
          explicit X(int a) : Y<int>{a}, a_(a), b_{a, 2} { run(); }
          ~X() { }
          int get() const { return a_; }
          bool operator()(int) const { return true; }
          X(const X&) = delete;
         private:
          int a_ = 3;
          std::array<int, 2> b_{1, 2};
          struct Inner { int f() { return 1; } } inner_;
        };"""
        self.assertEqual(names(text), ["X", "X", "get", "operator", "f"])

    def test_values_are_no_functions(self):
        for text in ("int x{3};", "const int a[] = {1, 2};", "enum class E : int { a, b };",
                     "constexpr std::array<int (*)(int), 2> a{f, g};", "struct S { int x{1}; };",
                     "namespace a::b { int x; }", "extern \"C\" { int f(void); }",
                     "typedef struct { int x; } s_t;", "struct alignas(64) S { int x; };",
                     "union U { int x; };", "struct [[nodiscard]] S final : T { int x; };"):
            self.assertEqual(names(text), [], text)

    def test_lambdas_outside_of_functions(self):
        text = "constexpr Row rows[] = {{\"a\", [](int x) { return x; }}, {\"b\", f}};"
        self.assertEqual(names(text), ["lambda"])
        self.assertEqual(names("const auto f = [] { return 1; };"), ["lambda"])

    def test_text_that_looks_like_code(self):
        text = """// void a() {
        /* void b() { */
        const char* s = "void c() {";
        const char* r = R"x(void d() { ")" )x";
        char q = '{', p = '\\'';
        int n = 1'000'000;
        #define M(x) void x() {
        void e() { }"""
        self.assertEqual(names(text), ["e"])

    def test_extents_of_lines(self):
        found = functions("\n\ntemplate <class T>\nvoid f(T a,\n       T b) {\n  a();\n\n}\nint x;")
        self.assertEqual([(found[0].first, found[0].last)], [(3, 8)])


class Nesting(unittest.TestCase):
    def test_flat(self):
        for body in ("", "a(); b = {1, 2};", "return X{1, {2}};", "struct L { int a{1}; };",
                     "int a[] = {1}; a[i] = {2};", "std::vector<int> v{1};", "label: a();",
                     "do_it(); tryit(); ifs();"):
            self.assertEqual(nesting(body), 0, body)

    def test_one(self):
        for body in ("if (a) b();", "if (a) { b(); } else if (c) { d(); } else { e(); }",
                     "for (int i = 0; i < n; ++i) a();", "for (;;) { if_(a); }", "{ a(); }",
                     "while (a) { } b();", "do { a(); } while (b);", "do a(); while (b); c();",
                     "switch (a) { case B::c: d(); break; case '{': default: e(); }",
                     "try { a(); } catch (const E& e) { b(); } catch (...) { c(); }",
                     "run([&] { a(); });", "auto f = [](int x) -> std::vector<int> { a(); };",
                     "auto f = [this]<class T>(T x) mutable noexcept { a(); };",
                     "if constexpr (a) b(); else c();", "if (x = {1}; y) a();",
                     "std::array<int, 2> a[2]; run([] { b(); });", "return [] { return 1; };"):
            self.assertEqual(nesting(body), 1, body)

    def test_more(self):
        for body, depth in (("if (a) if (b) c();", 2), ("for (;;) while (a) if (b) { c(); }", 3),
                            ("for (;;) for (;;) for (;;) if (a) b();", 4),
                            ("if (a) { } else { if (b) { c(); } }", 2),
                            ("run([&] { for (;;) { if (a) b(); } });", 3),
                            ("if (any([](int x) { if (x) { y(); } })) z();", 2),
                            ("switch (a) { case 1: { if (b) c(); } }", 3),
                            ("while (a) { } { if (b) { for (;;) { { } } } }", 4)):
            self.assertEqual(nesting(body), depth, body)

    def test_local_class_starts_again(self):
        text = "void f() { if (a) { struct L { void g() { if (b) { c(); } } }; } }"
        self.assertEqual([(x.name, x.nesting) for x in functions(text)], [("f", 1), ("g", 1)])


if __name__ == "__main__":
    unittest.main()
