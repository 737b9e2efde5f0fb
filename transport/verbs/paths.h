// paths.h - which flow labels take which path, as `accl-topo paths --json` found it: by it,
// connections are pinned (ACCL_IB_PATHS).
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace accl::verbs {

class PathTable {
 public:
  using Address = std::array<std::uint8_t, 16>;  // As in a GID: IPv4 in its mapped form.

  // {"version": 1, "pairs": [{"from": A, "to": B, "classes": [{"labels": [1, 2]}, ...]}, ...]};
  // other keys are not looked at. Throws Error(invalid_argument) that names the file, what is wrong
  // in it, and the remedy.
  static PathTable parse(std::string_view text, const std::string& file);
  static PathTable load(const std::string& file);

  // The paths of a connection, counted modulo those there are: lane k is on path first + k, or all
  // lanes are on the first.
  struct Choice {
    std::uint32_t first = 0;
    bool has_one_path = false;
  };

  // The label for a lane from one address to another; none where the table has no such pair. Lanes
  // that share a path have labels of their own, as far as it has some.
  std::optional<std::uint32_t> label(const Address& from, const Address& to, const Choice& choice,
                                     std::uint32_t lane) const;

 private:
  using Classes = std::vector<std::vector<std::uint32_t>>;  // Labels by path; none is empty.
  std::map<std::pair<Address, Address>, Classes> pairs_;
};

}  // namespace accl::verbs
