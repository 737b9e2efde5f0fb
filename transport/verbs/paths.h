// paths.h - which flow labels take which path, as `accl-topo paths --json` found it: by it,
// connections are pinned (ACCL_IB_PATHS).
#pragma once

#include <sys/stat.h>

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "accl/base/clock.h"

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

// The file of a table, of which somebody may write another version while we run.
class PathFile {
 public:
  // An empty name: there is none, and the file system is never asked.
  explicit PathFile(std::string name);

  // The table of a version that is new since the last call, or since the beginning. Looks once a
  // second at most, however often it is called. Null: there is none, or it is no table, as a
  // warning says.
  std::shared_ptr<const PathTable> news();

 private:
  bool is_changed();

  const std::string name_;
  Clock::time_point next_look_;
  struct stat seen_ {};
};

}  // namespace accl::verbs
