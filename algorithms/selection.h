// selection.h - which algorithm serves which call, as data. Tables are text: one rule a line, the
// first that matches wins, '#' starts a comment.
//
//   collective  ranks   bytes     transport  algorithm  slice  in-flight
//   allreduce   2-2     8K        shm        oneshot    0      1
//   allreduce   2-4096  max       any        ring       128K   4
//
// ranks are from-to; bytes is the largest size (of the call's largest buffer) the rule is for, a
// power of two or max, since choices are kept by size class; slice is the largest message in bytes
// (0: the transport's largest); in-flight is how many slices are under way at once. Every
// collective must end in a rule for all ranks, sizes and transports.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "accl/base/types.h"

namespace accl {

struct Choice {
  std::string algorithm;
  std::uint32_t slice_bytes = 0;
  std::uint32_t in_flight = 1;
};

class SelectionTable {
 public:
  // Throws Error(invalid_argument) "<name>:<line>: ..." for anything it does not understand, an
  // algorithm that the collective does not have, and a collective without a last rule.
  static SelectionTable parse(std::string_view text, std::string_view name);

  // The table that was built in (configs/selection/default.table).
  static const SelectionTable& built_in();

  // The choice for a call; `transport` is "shm", "tcp", ..., or "shm+tcp" where both are used.
  const Choice& choose(Collective collective, std::uint32_t ranks, std::uint64_t bytes,
                       std::string_view transport) const;

  // The rule that would serve `algorithm` at this size: its slice and in-flight.
  Choice settings_for(std::string_view algorithm, Collective collective, std::uint32_t ranks,
                      std::uint64_t bytes, std::string_view transport) const;

  const std::string& text() const { return text_; }  // As parsed: what rank 0 sends to all.

 private:
  struct Rule {
    Collective collective{};
    std::uint32_t least_ranks = 0, most_ranks = 0;
    std::uint64_t most_bytes = 0;
    std::string transport;  // "any", or a name.
    Choice choice;
  };
  static Rule parse_rule(std::string_view line, const std::string& where);
  static bool matches(const Rule& rule, Collective collective, std::uint32_t ranks,
                      std::uint64_t bytes, std::string_view transport);
  void check_complete(std::string_view name) const;

  std::vector<Rule> rules_;
  std::string text_;
};

}  // namespace accl
