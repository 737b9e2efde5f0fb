// clusters.h - specs in one line, for tests.
#pragma once

#include <fmt/format.h>

#include <string>

#include "topology/fabric/spec.h"

namespace accl::topology::test {

inline Fabric fabric_from(const std::string& text) {
  Section spec = Section::parse(text, "test.yaml");
  return read_fabric(spec);
}

struct BiGraph {
  std::uint32_t upper = 1;  // Switches.
  std::uint32_t lower = 1;
  std::uint32_t upper_nics = 1;  // At each.
  std::uint32_t lower_nics = 1;
  std::uint32_t cables = 1;  // A pair.

  std::uint32_t nics() const { return upper * upper_nics + lower * lower_nics; }
};

inline Fabric make(const BiGraph& shape) {
  return fabric_from(fmt::format(
      "name: test\ntopology: bigraph\nservers: {{count: {}}}\nupper: {{switches: {}, nics: {}}}\n"
      "lower: {{switches: {}, nics: {}}}\ncables_per_pair: {}\n",
      shape.nics(), shape.upper, shape.upper_nics, shape.lower, shape.lower_nics, shape.cables));
}

}  // namespace accl::topology::test
