// paths_test.cc - ACCL_IB_PATHS: what is read, what is refused, and which lane gets which label.
#include "transport/verbs/paths.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <set>
#include <thread>

#include "accl/base/error.h"
#include "accl/base/text_file.h"
#include "transport/verbs/settings.h"

namespace accl::verbs {
namespace {

PathTable::Address address(const std::string& text) {
  PathTable::Address address{};
  const std::string mapped = text.find(':') == text.npos ? "::ffff:" + text : text;
  EXPECT_EQ(::inet_pton(AF_INET6, mapped.c_str(), address.data()), 1) << text;
  return address;
}

const std::string good = R"({"version": 1, "pairs": [
 {"from": "10.0.0.2", "to": "10.0.1.2", "classes": [
  {"hops": ["10.0.0.1", "172.16.0.1"], "labels": [1, 5]},
  {"hops": ["10.0.0.1", "172.16.0.3"], "labels": [2, 6, 9]},
  {"hops": ["10.0.0.1", "*"], "labels": [3]}]},
 {"from": "2001:db8::1", "to": "2001:db8::2", "classes": [{"labels": [16383]}]}
]})";

std::string with(const std::string& text, const std::string& old, const std::string& now) {
  std::string result = text;
  return result.replace(result.find(old), old.size(), now);
}

std::vector<std::uint32_t> lanes(const PathTable::Choice& choice, std::uint32_t count) {
  const PathTable table = PathTable::parse(good, "good.json");
  std::vector<std::uint32_t> labels;
  for (std::uint32_t lane = 0; lane < count; ++lane) {
    labels.push_back(*table.label(address("10.0.0.2"), address("10.0.1.2"), choice, lane));
  }
  return labels;
}

TEST(VerbsPaths, LanesTakeOnePathAfterTheOtherAndOtherLabelsTheSecondTime) {
  EXPECT_EQ(lanes({}, 7), (std::vector<std::uint32_t>{1, 2, 3, 5, 6, 3, 1}));
  EXPECT_EQ(lanes({.first = 1}, 4), (std::vector<std::uint32_t>{2, 3, 1, 6}));
  EXPECT_EQ(lanes({.first = 0xFFFF'FFFF}, 1), lanes({.first = 0}, 1)) << "of three paths";
}

TEST(VerbsPaths, OrAllOneAndTheSamePath) {
  EXPECT_EQ(lanes({.first = 1, .has_one_path = true}, 4), (std::vector<std::uint32_t>{2, 6, 9, 2}));
  EXPECT_EQ(lanes({.first = 4, .has_one_path = true}, 2), (std::vector<std::uint32_t>{2, 6}));
}

TEST(VerbsPaths, PairsThatAreNotThereHaveNone) {
  const PathTable table = PathTable::parse(good, "good.json");
  EXPECT_FALSE(table.label(address("10.0.1.2"), address("10.0.0.2"), {}, 0)) << "one direction";
  EXPECT_EQ(table.label(address("2001:db8::1"), address("2001:db8::2"), {}, 3), 16383U);
  const PathTable other =
      PathTable::parse(with(good, "2001:db8::1", "2001:0DB8:0:0::0001"), "good");
  EXPECT_EQ(other.label(address("2001:db8::1"), address("2001:db8::2"), {}, 0), 16383U)
      << "addresses are numbers, as in a GID, however they are written";
}

TEST(VerbsPaths, WhatIsNoSuchFileIsRefusedWithPlaceAndRemedy) {
  struct Row {
    std::string text;
    const char* says;
  };
  const std::string pair = R"({"from": "10.0.0.2", "to": "10.0.1.2", "classes": [)";
  for (const Row& row :
       {Row{"", "bad.json:1: is no JSON"}, Row{"{\n\"version\"", "bad.json:2: is no JSON"},
        Row{"[]", "no version 1"}, Row{with(good, "1", "2"), "no version 1"},
        Row{R"({"version": 1, "pairs": [7]})", "pairs[0] is no object"},
        Row{R"({"version": 1, "pairs": [{"from": "10.0.0.2"}]})", "pairs[0] has no address 'to'"},
        Row{with(good, "10.0.1.2", "host"), "pairs[0] has 'host' for 'to'"},
        Row{R"({"version": 1, "pairs": [)" + pair + "]}]}", "pairs[0] has no list of classes"},
        Row{with(good, "[2, 6, 9]", "[]"), "pairs[0].classes[1] has no list of labels"},
        Row{with(good, "16383", "16384"), "pairs[1].classes[0] has a label"},
        Row{with(good, "16383", "0"), "from 1 to 16383"},
        Row{with(good, "16383", "\"5\""), "from 1 to 16383"},
        Row{with(with(good, "2001:db8::1", "10.0.0.2"), "2001:db8::2", "10.0.1.2"), "came before"},
        Row{std::string(100, '['), "deeper"}}) {
    try {
      static_cast<void>(PathTable::parse(row.text, "bad.json"));
      ADD_FAILURE() << "took " << row.text;
    } catch (const Error& error) {
      const std::string said = error.what();
      EXPECT_EQ(error.kind(), ErrorKind::invalid_argument);
      EXPECT_TRUE(said.starts_with("bad.json")) << said;
      EXPECT_NE(said.find(row.says), std::string::npos) << said;
      EXPECT_NE(said.find("accl-topo paths"), std::string::npos) << said;
    }
  }
}

TEST(VerbsPaths, TheEnvironmentNamesTheFile) {
  const std::string file = testing::TempDir() + "/verbs-paths.json";
  write_text(file, good);
  const auto settings = read_settings([&](const char* name) -> const char* {
    return std::string_view(name) == "ACCL_IB_PATHS" ? file.c_str() : nullptr;
  });
  ASSERT_NE(settings.paths, nullptr);
  EXPECT_EQ(settings.paths->label(address("10.0.0.2"), address("10.0.1.2"), {}, 0), 1U);
  try {
    static_cast<void>(read_settings([](const char* name) -> const char* {
      return std::string_view(name) == "ACCL_IB_PATHS" ? "/nowhere/paths.json" : nullptr;
    }));
    FAIL() << "read a file that is not there";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::invalid_argument);
    for (const char* const word : {"ACCL_IB_PATHS", "/nowhere/paths.json", "accl-topo paths"}) {
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
    }
  }
}

TEST(VerbsPaths, AFileIsReadAgainWhenItWasWrittenAgain) {
  const std::string name = testing::TempDir() + "/verbs-paths-again.json";
  write_text(name, good);
  PathFile file(name);
  const auto news_after = [&](int milliseconds) {
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    return file.news();
  };
  write_text(name, with(good, "[1, 5]", "[4, 5]"));
  EXPECT_EQ(file.news(), nullptr) << "it looks once a second";
  const auto table = news_after(1010);
  ASSERT_NE(table, nullptr);
  EXPECT_EQ(table->label(address("10.0.0.2"), address("10.0.1.2"), {}, 0), 4U);
  EXPECT_EQ(news_after(1010), nullptr) << "nothing new";
  write_text(name, "half");
  EXPECT_EQ(news_after(1010), nullptr);
  std::remove(name.c_str());
  EXPECT_EQ(news_after(1010), nullptr);
  write_text(name, good);
  EXPECT_NE(news_after(1010), nullptr);
  EXPECT_EQ(PathFile("").news(), nullptr);
}

}  // namespace
}  // namespace accl::verbs
