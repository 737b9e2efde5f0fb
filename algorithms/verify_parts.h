// verify_parts.h - the passes of the verifier, for verify.cc and print.cc only. Each gives the
// first fault it finds.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "algorithms/verify.h"

namespace accl::verify {

using Fault = std::optional<std::string>;

// "position 3 step 7: "
std::string where(std::uint32_t position, std::uint32_t step);

inline bool is_message(const Step& step) {
  return step.kind == Step::Kind::send || step.kind == Step::Kind::recv;
}
inline bool reads_source(const Step& step) { return step.kind != Step::Kind::recv; }
inline bool writes_target(const Step& step) { return step.kind != Step::Kind::send; }

// A step of the whole plan.
struct At {
  std::uint32_t position = 0;
  std::uint32_t step = 0;
};

// One direction of a pair of positions; the k-th send and the k-th recv are one message.
struct Channel {
  std::uint32_t from = 0;
  std::uint32_t to = 0;
  std::vector<std::uint32_t> sends;  // Steps of `from`.
  std::vector<std::uint32_t> recvs;  // Steps of `to`.
};

struct Wiring {
  std::vector<Channel> channels;
  std::vector<std::vector<std::uint32_t>> channel_of;  // [position][step]; of messages only.
};

Fault find_shape_fault(const PlanSet& plan, std::uint32_t position);

// Fills `wiring` as far as it can.
Fault find_pairing_fault(const PlanSet& plan, Wiring& wiring);

// Whether this send and this recv are two ends of one message.
Fault find_mismatch(const Step& send, const Step& recv);

// `order` becomes one order in which all steps can happen.
Fault find_progress_fault(const PlanSet& plan, const Wiring& wiring, std::vector<At>& order);

Fault find_meaning_fault(const PlanSet& plan, const Wiring& wiring, const std::vector<At>& order);

}  // namespace accl::verify
