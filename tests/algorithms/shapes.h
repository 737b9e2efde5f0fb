// shapes.h - the shapes the algorithm tests go through.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "algorithms/catalog.h"

namespace accl::test {

inline bool has_root(Collective collective) {
  return collective == Collective::broadcast || collective == Collective::reduce ||
         collective == Collective::gather || collective == Collective::scatter;
}

// All positions up to 8, then the ends and the middle.
inline std::vector<std::uint32_t> roots_of(Collective collective, std::uint32_t size) {
  std::vector<std::uint32_t> roots{0};
  for (std::uint32_t root = 1; root < size && has_root(collective); ++root) {
    if (size <= 8 || root == 1 || root == size / 2 || root == size - 1) roots.push_back(root);
  }
  return roots;
}

inline std::vector<std::uint32_t> widths_of(const Algorithm& algorithm, std::uint32_t size) {
  std::vector<std::uint32_t> widths{1};
  if (algorithm.name != "twolevel") return widths;
  for (const std::uint32_t width : {2U, 3U, 4U, 8U, 12U, size}) {
    if (size % width == 0 && width > widths.back()) widths.push_back(width);
  }
  return widths;
}

// Every shape of this size that makes a difference to the algorithm.
inline std::vector<Shape> shapes_of(const Algorithm& algorithm, std::uint32_t size) {
  std::vector<Shape> shapes;
  const auto add = [&](const Shape& shape) {
    if (algorithm.fits(shape)) shapes.push_back(shape);
  };
  for (const std::uint32_t root : roots_of(algorithm.collective, size)) {
    for (const std::uint32_t width : widths_of(algorithm, size)) {
      add({size, Position{root}, width, First::near});
      if (algorithm.name == "hd" || algorithm.name == "twolevel") {
        add({size, Position{root}, width, First::far});
      }
    }
  }
  return shapes;
}

inline std::string describe(const Algorithm& algorithm, const Shape& shape) {
  return std::string(name_of(algorithm.collective)) + " " + std::string(algorithm.name) +
         " n=" + std::to_string(shape.size) + " root=" + std::to_string(index(shape.root)) +
         " width=" + std::to_string(shape.width) + (shape.first == First::near ? " near" : " far");
}

}  // namespace accl::test
