#include "topology/fabric/section.h"

#include <fmt/format.h>

#include <cmath>
#include <span>
#include <utility>

#include "accl/base/error.h"
#include "accl/base/text_file.h"

namespace accl::topology {
namespace {

constexpr std::size_t max_spec_bytes = 4 << 20;
// What a hostile file may cost: yaml-cpp recurses once a level, and shares what an alias names, so
// only the number of characters that open something bounds it.
constexpr std::size_t max_depth = 64;

int line_of(const YAML::Node& node) { return node.Mark().line + 1; }

// yaml-cpp recurses without a limit; brackets are what nests deepest per byte, then indentation
// and "- - -" or "? ? ?" on one line.
void refuse_depth(std::string_view text, const std::string& path) {
  std::size_t open = 0;
  std::size_t on_line = 0;
  int line = 1;
  for (const char c : text) {
    if (c == '[' || c == '{') ++open;
    if ((c == ']' || c == '}') && open > 0) --open;
    if (c == '-' || c == '?' || c == ':') ++on_line;
    if (c == '\n') on_line = 0;
    if (open > max_depth || on_line > 16 * max_depth) {
      fail(ErrorKind::invalid_argument,
           "{}:{}: nests deeper than any spec does; is it the right file?", path, line);
    }
    line += c == '\n' ? 1 : 0;
  }
}

}  // namespace

Section::Section(YAML::Node node, std::string path, int line)
    : node_(std::move(node)), path_(std::move(path)), line_(line) {
  if (node_.IsDefined() && !node_.IsNull() && !node_.IsMap()) {
    complain("must be a mapping of 'key: value' lines");
  }
}

Section Section::load(const std::string& path) {
  return parse(read_text(path, max_spec_bytes), path);
}

Section Section::parse(std::string_view text, const std::string& path) {
  refuse_depth(text, path);
  try {
    const YAML::Node root = YAML::Load(std::string(text));
    if (!root.IsMap()) {
      fail(ErrorKind::invalid_argument, "{}: holds no 'key: value' lines; is it a spec?", path);
    }
    return {root, path, 1};
  } catch (const YAML::Exception& error) {
    fail(ErrorKind::invalid_argument, "{}:{}: {}", path, error.mark.line + 1, error.msg);
  }
}

void Section::complain_at(int line, const std::string& what) const {
  fail(ErrorKind::invalid_argument, "{}:{}: {}", path_, line, what);
}

void Section::complain(const std::string& what) const { complain_at(line_, what); }

void Section::complain(const std::string& key, const std::string& what) const {
  const bool is_there = node_.IsMap() && node_[key].IsDefined();
  complain_at(is_there ? line_of(node_[key]) : line_, fmt::format("{}: {}", key, what));
}

YAML::Node Section::child(const std::string& key) {
  asked_.insert(key);
  if (!node_.IsMap()) return YAML::Node(YAML::NodeType::Undefined);
  const YAML::Node& node = node_;  // The const operator makes no new keys.
  return node[key];
}

bool Section::has(const std::string& key) const {
  const YAML::Node& node = node_;
  return node.IsMap() && node[key].IsDefined();
}

std::string Section::text(const std::string& key) {
  const YAML::Node node = child(key);
  if (!node.IsDefined()) complain(key, "is missing");
  if (!node.IsScalar()) complain(key, "must be one word or number");
  return node.Scalar();
}

std::string Section::text(const std::string& key, const std::string& otherwise) {
  return child(key).IsDefined() ? text(key) : otherwise;
}

std::string Section::choice(const std::string& key, std::span<const std::string_view> values) {
  const std::string value = text(key, std::string(values.front()));
  for (const std::string_view known : values) {
    if (value == known) return value;
  }
  complain(key, fmt::format("is '{}'; it must be one of {}", value, fmt::join(values, ", ")));
}

double Section::number(const std::string& key, Bounds bounds, double otherwise) {
  const YAML::Node node = child(key);
  if (!node.IsDefined()) return otherwise;
  double value = 0;
  const bool is_number = node.IsScalar() && YAML::convert<double>::decode(node, value);
  if (!is_number || !(value >= bounds.least && value <= bounds.most)) {
    complain(key, fmt::format("must be a number from {} to {}", bounds.least, bounds.most));
  }
  return value;
}

std::uint32_t Section::count_of(const YAML::Node& node, const std::string& key,
                                Bounds bounds) const {
  double value = 0;
  const bool is_number = node.IsScalar() && YAML::convert<double>::decode(node, value);
  const bool is_good = is_number && value >= bounds.least && value <= bounds.most;
  if (!is_good || value != std::floor(value)) {
    complain_at(line_of(node), fmt::format("{}: must be a whole number from {} to {}", key,
                                           bounds.least, bounds.most));
  }
  return static_cast<std::uint32_t>(value);
}

std::uint32_t Section::count(const std::string& key, Bounds bounds) {
  const YAML::Node node = child(key);
  if (!node.IsDefined()) complain(key, "is missing");
  return count_of(node, key, bounds);
}

std::uint32_t Section::count(const std::string& key, Bounds bounds, std::uint32_t otherwise) {
  return child(key).IsDefined() ? count(key, bounds) : otherwise;
}

bool Section::flag(const std::string& key, bool otherwise) {
  const YAML::Node node = child(key);
  if (!node.IsDefined()) return otherwise;
  bool value = false;
  if (!YAML::convert<bool>::decode(node, value)) complain(key, "must be true or false");
  return value;
}

std::vector<std::uint32_t> Section::counts(const std::string& key, Bounds bounds,
                                           std::uint32_t size) {
  const YAML::Node node = child(key);
  if (!node.IsDefined()) complain(key, "is missing");
  if (!node.IsSequence()) return std::vector<std::uint32_t>(size, count_of(node, key, bounds));
  if (node.size() != size) {
    complain(key, fmt::format("lists {} numbers where there are {}", node.size(), size));
  }
  std::vector<std::uint32_t> values;
  for (const YAML::Node& entry : node) values.push_back(count_of(entry, key, bounds));
  return values;
}

std::vector<std::string> Section::texts(const std::string& key) {
  const YAML::Node node = child(key);
  if (!node.IsDefined()) return {};
  if (!node.IsSequence()) complain(key, "must be a list");
  std::vector<std::string> values;
  for (const YAML::Node& entry : node) {
    if (!entry.IsScalar()) complain(key, "must be a list of words");
    values.push_back(entry.Scalar());
  }
  return values;
}

std::vector<double> Section::numbers(const std::string& key, Bounds bounds) {
  std::vector<double> values;
  for (const std::string& text : texts(key)) {
    double value = 0;
    const bool is_number = YAML::convert<double>::decode(YAML::Node(text), value);
    if (!is_number || !(value >= bounds.least && value <= bounds.most)) {
      complain(key, fmt::format("must list numbers from {} to {}", bounds.least, bounds.most));
    }
    values.push_back(value);
  }
  return values;
}

Section Section::section(const std::string& key) {
  const YAML::Node node = child(key);
  const bool is_there = node.IsDefined() && !node.IsNull();
  if (is_there && !node.IsMap()) complain(key, "must be a mapping of 'key: value' lines");
  return {is_there ? node : YAML::Node(YAML::NodeType::Null), path_,
          is_there ? line_of(node) : line_};
}

std::vector<Section> Section::sections(const std::string& key) {
  const YAML::Node node = child(key);
  if (!node.IsDefined()) return {};
  if (!node.IsSequence()) complain(key, "must be a list");
  std::vector<Section> list;
  for (const YAML::Node& entry : node) {
    if (!entry.IsMap()) complain_at(line_of(entry), key + ": must be a list of mappings");
    list.push_back(Section(entry, path_, line_of(entry)));
  }
  return list;
}

void Section::finish() const {
  if (!node_.IsMap()) return;
  for (const auto& entry : node_) {
    const std::string key = entry.first.IsScalar() ? entry.first.Scalar() : "?";
    if (asked_.contains(key)) continue;
    complain_at(line_of(entry.first),
                fmt::format("'{}' means nothing here; known are {}", key, fmt::join(asked_, ", ")));
  }
}

}  // namespace accl::topology
