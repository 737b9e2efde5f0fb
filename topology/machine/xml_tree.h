// xml_tree.h - an XML text as plain values, read by libxml2 within limits. Topology files come from
// other people's machines: nothing is fetched, no entity is expanded, and what is too deep or too
// large is refused before it costs memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace accl::topology {

using XmlAttributes = std::vector<std::pair<std::string, std::string>>;

struct XmlElement {
  std::string name;
  XmlAttributes attributes;  // In the order of the file.
  std::vector<XmlElement> children;
  std::string text;  // All character data directly inside, joined.
  int line = 0;

  // "" where there is no such attribute.
  std::string_view get(std::string_view attribute) const;
  bool has(std::string_view attribute) const;
};

// While one lives, libxml2 prints nothing; afterwards it reports as it does by default. hwloc
// installs a reporter of its own and leaves it behind when it unloads the code of it, so whatever
// has hwloc read XML holds one of these around it.
class QuietXml {
 public:
  QuietXml();
  ~QuietXml();
  QuietXml(const QuietXml&) = delete;
  QuietXml& operator=(const QuietXml&) = delete;
};

struct XmlLimits {
  std::size_t elements = 200'000;
  unsigned depth = 100;
};

// The document element. `name` is the file's, for messages. Throws Error(invalid_argument) that
// says "NAME:LINE: what" for text that is not well-formed or exceeds a limit.
XmlElement parse_xml(std::string_view text, const std::string& name, const XmlLimits& limits = {});

// Whole attributes as numbers; hexadecimal with "0x". Empty where it is none or does not fit.
std::optional<std::uint64_t> parse_number(std::string_view text);
std::optional<int> parse_int(std::string_view text);

// With the five characters escaped that XML gives a meaning, and control characters left out.
std::string xml_escaped(std::string_view text);

}  // namespace accl::topology
