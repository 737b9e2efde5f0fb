#include "topology/cabling/csv.h"

#include "accl/base/error.h"

namespace accl::topology {
namespace {

constexpr std::string_view formula_starts = "=+-@\t\r";
constexpr std::size_t max_fields = 256;

bool is_formula(std::string_view text) {
  return !text.empty() && formula_starts.find(text.front()) != std::string_view::npos;
}

std::string field_of(std::string_view value) {
  std::string text;
  if (is_formula(value)) text += '\'';
  text += value;
  const bool needs_quotes = text.find_first_of(",;\"\r\n") != std::string::npos ||
                            (!text.empty() && (text.front() == ' ' || text.back() == ' '));
  if (!needs_quotes) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted.append(c == '"' ? 2 : 1, c);
  return quoted + '"';
}

// Reads field by field; a quoted field may go over several lines.
class Reader {
 public:
  Reader(std::string_view text, const std::string& path) : text_(text), path_(path) {
    constexpr std::string_view mark = "\xEF\xBB\xBF";
    if (text_.starts_with(mark)) text_.remove_prefix(mark.size());
    const std::string_view header = text_.substr(0, text_.find('\n'));
    if (header.find(',') == std::string_view::npos) separator_ = ';';
  }

  std::vector<CsvRow> rows() {
    std::vector<CsvRow> rows;
    while (at_ < text_.size()) {
      CsvRow row = next_row();
      const bool is_empty = row.fields.size() == 1 && row.fields[0].empty();
      if (is_empty) continue;
      if (!rows.empty() && row.fields.size() > rows[0].fields.size()) {
        fail(ErrorKind::invalid_argument, "{}:{}: has {} fields and the header {}", path_, row.line,
             row.fields.size(), rows[0].fields.size());
      }
      rows.push_back(std::move(row));
    }
    return rows;
  }

 private:
  CsvRow next_row() {
    CsvRow row{.line = line_, .fields = {}};
    for (;;) {
      row.fields.push_back(next_field());
      if (row.fields.size() > max_fields) {
        fail(ErrorKind::invalid_argument, "{}:{}: has more than {} fields; is it a CSV file?",
             path_, row.line, max_fields);
      }
      if (at_ >= text_.size()) return row;
      const char end = text_[at_++];
      if (end == separator_) continue;
      ++line_;
      return row;
    }
  }

  std::string next_field() {
    std::string field;
    if (at_ < text_.size() && text_[at_] == '"') field = quoted();
    const auto ends = [&](char c) { return c == separator_ || c == '\n'; };
    for (; at_ < text_.size() && !ends(text_[at_]); ++at_) field += text_[at_];
    if (!field.empty() && field.back() == '\r') field.pop_back();
    const bool is_guarded =
        field.starts_with('\'') && is_formula(std::string_view(field).substr(1));
    return is_guarded ? field.substr(1) : field;
  }

  std::string quoted() {
    const int first = line_;
    std::string field;
    for (++at_; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      const bool is_double = c == '"' && at_ + 1 < text_.size() && text_[at_ + 1] == '"';
      if (c == '"' && !is_double) {
        ++at_;
        return field;
      }
      at_ += is_double ? 1 : 0;
      line_ += c == '\n' ? 1 : 0;
      field += c;
    }
    fail(ErrorKind::invalid_argument, "{}:{}: a quote begins here and does not end", path_, first);
  }

  std::string_view text_;
  const std::string& path_;
  std::size_t at_ = 0;
  int line_ = 1;
  char separator_ = ',';
};

}  // namespace

std::string csv_line(std::initializer_list<std::string_view> fields) {
  std::string line;
  for (const std::string_view field : fields) {
    line += field_of(field);
    line += ',';
  }
  if (!line.empty()) line.pop_back();
  return line + '\n';
}

std::vector<CsvRow> parse_csv(std::string_view text, const std::string& path) {
  return Reader(text, path).rows();
}

}  // namespace accl::topology
