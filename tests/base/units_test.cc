#include "accl/base/units.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "accl/base/error.h"

namespace accl {
namespace {

TEST(ParseBytes, TakesWhatPeopleWrite) {
  EXPECT_EQ(parse_bytes("0", "-b"), 0U);
  EXPECT_EQ(parse_bytes("8", "-b"), 8U);
  EXPECT_EQ(parse_bytes("8B", "-b"), 8U);
  EXPECT_EQ(parse_bytes("4K", "-b"), 4096U);
  EXPECT_EQ(parse_bytes("4k", "-b"), 4096U);
  EXPECT_EQ(parse_bytes("4KB", "-b"), 4096U);
  EXPECT_EQ(parse_bytes("128M", "-b"), 134217728U);
  EXPECT_EQ(parse_bytes("1g", "-b"), 1073741824U);
  EXPECT_EQ(parse_bytes("2T", "-b"), std::uint64_t{2} << 40);
  EXPECT_EQ(parse_bytes("18446744073709551615", "-b"), UINT64_MAX);
  EXPECT_EQ(parse_bytes("16777215T", "-b"), std::uint64_t{16777215} << 40);
}

class BadBytes : public testing::TestWithParam<const char*> {};

TEST_P(BadBytes, IsRefusedByNameAndWithTheRemedy) {
  try {
    const std::uint64_t bytes = parse_bytes(GetParam(), "--begin");
    ADD_FAILURE() << "read as " << bytes;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::invalid_argument);
    const std::string text = error.what();
    EXPECT_NE(text.find("--begin"), std::string::npos) << text;
    EXPECT_NE(text.find(std::string("'") + GetParam() + "'"), std::string::npos) << text;
    EXPECT_NE(text.find("64K"), std::string::npos) << text;
  }
}

INSTANTIATE_TEST_SUITE_P(All, BadBytes,
                         testing::Values("", " ", "-1", "+1", "K", "KB", "B", "4KK", "4 K", " 4",
                                         "4 ", "4Q", "4@", "0x10", "1.5M", "1e6", "4BB", "4KiB",
                                         "18446744073709551616", "16777216T", "99999999999G"));

TEST(FormatBytes, IsTheShortestExactBinaryForm) {
  EXPECT_EQ(format_bytes(0), "0");
  EXPECT_EQ(format_bytes(12), "12");
  EXPECT_EQ(format_bytes(1023), "1023");
  EXPECT_EQ(format_bytes(1024), "1K");
  EXPECT_EQ(format_bytes(1025), "1025");
  EXPECT_EQ(format_bytes(262144), "256K");
  EXPECT_EQ(format_bytes(3U << 20), "3M");
  EXPECT_EQ(format_bytes(std::uint64_t{5} << 40), "5T");
  EXPECT_EQ(format_bytes(std::uint64_t{1} << 50), "1024T");
}

TEST(FormatBytes, IsReadBackExactly) {
  for (int shift = 0; shift < 64; ++shift) {
    const std::uint64_t bytes = std::uint64_t{1} << shift;
    EXPECT_EQ(parse_bytes(format_bytes(bytes), "x"), bytes);
    EXPECT_EQ(parse_bytes(format_bytes(bytes - 1), "x"), bytes - 1);
  }
}

class EnvironmentNumber : public testing::Test {
 protected:
  static constexpr const char* name = "ACCL_TEST_NUMBER";

  void TearDown() override { ::unsetenv(name); }

  static std::int64_t read(const char* text) {
    ::setenv(name, text, 1);
    return environment_number(name, 30'000, -5, 100'000);
  }
};

TEST_F(EnvironmentNumber, IsTheDefaultWhereUnsetOrEmpty) {
  ::unsetenv(name);
  EXPECT_EQ(environment_number(name, 30'000, 1, 2), 30'000);
  EXPECT_EQ(environment_text(name), "");
  EXPECT_EQ(read(""), 30'000);
}

TEST_F(EnvironmentNumber, ReachesBothEndsOfItsRange) {
  EXPECT_EQ(read("-5"), -5);
  EXPECT_EQ(read("0"), 0);
  EXPECT_EQ(read("100000"), 100'000);
  EXPECT_EQ(environment_text(name), "100000");
}

TEST_F(EnvironmentNumber, RefusesAnythingElseByName) {
  for (const char* text : {"-6", "100001", "x", "5x", " 5", "5 ", "1.5", "99999999999999999999"}) {
    try {
      ADD_FAILURE() << "'" << text << "' was read as " << read(text);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::invalid_argument);
      EXPECT_NE(std::string(error.what()).find(name), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace accl
