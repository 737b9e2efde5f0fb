// csv.h - tables as text with commas (RFC 4180), both ways. Fields that a spreadsheet would run as
// a formula are written with an apostrophe before them, and read without it.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace accl::topology {

// One line, with its line feed.
std::string csv_line(std::initializer_list<std::string_view> fields);

struct CsvRow {
  int line = 0;  // Of the file, from 1.
  std::vector<std::string> fields;
};

// The header is the first row; empty lines are no rows. Takes semicolons where the header has no
// comma, and a byte order mark, as spreadsheets write them. Throws Error(invalid_argument) for a
// quote that does not end and for a row with more fields than the header.
std::vector<CsvRow> parse_csv(std::string_view text, const std::string& path);

}  // namespace accl::topology
