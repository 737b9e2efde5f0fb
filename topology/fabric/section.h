// section.h - a YAML file read with care: every value is asked for by name, type and bounds; what
// nobody asked for is an error too. Every Error(invalid_argument) names file, line and remedy.
#pragma once

#include <yaml-cpp/yaml.h>

#include <cstdint>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace accl::topology {

struct Bounds {
  double least = 0;
  double most = 0;
};

// A mapping of the file, or one that is not there: then every value has its default. The members
// that read throw for a value of another type or out of bounds.
class Section {
 public:
  static Section load(const std::string& path);
  static Section parse(std::string_view text, const std::string& path);

  bool has(const std::string& key) const;
  std::string text(const std::string& key, const std::string& otherwise);
  std::string text(const std::string& key);  // Must be there.
  std::string choice(const std::string& key, std::span<const std::string_view> values);
  double number(const std::string& key, Bounds bounds, double otherwise);
  std::uint32_t count(const std::string& key, Bounds bounds, std::uint32_t otherwise);
  std::uint32_t count(const std::string& key, Bounds bounds);  // Must be there.
  bool flag(const std::string& key, bool otherwise);
  // One number for all of `size`, or a list of just as many.
  std::vector<std::uint32_t> counts(const std::string& key, Bounds bounds, std::uint32_t size);
  std::vector<std::string> texts(const std::string& key);  // Empty where it is not there.
  std::vector<double> numbers(const std::string& key, Bounds bounds);  // Likewise.

  Section section(const std::string& key);                // Empty where it is not there.
  std::vector<Section> sections(const std::string& key);  // Of a list of mappings.

  // Throws for the first key that nobody asked for, and says which there are. Sections that were
  // handed out must be finished by their own.
  void finish() const;

  // Throws: "FILE:LINE: <what>".
  [[noreturn]] void complain(const std::string& what) const;
  [[noreturn]] void complain(const std::string& key, const std::string& what) const;

 private:
  Section(YAML::Node node, std::string path, int line);
  YAML::Node child(const std::string& key);
  [[noreturn]] void complain_at(int line, const std::string& what) const;
  std::uint32_t count_of(const YAML::Node& node, const std::string& key, Bounds bounds) const;

  YAML::Node node_;
  std::string path_;
  int line_ = 0;
  std::set<std::string> asked_;
};

}  // namespace accl::topology
