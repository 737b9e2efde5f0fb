// judge.h - from what every rank of a communicator says it does, to the one sentence that says who
// is to blame. A pure function: whoever has the same answers comes to the same sentence.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "accl/base/error.h"
#include "accl/bootstrap/facts.h"

namespace accl::bootstrap {

// What is known of one rank when the time to answer is over.
struct Answer {
  std::string name;  // "rank 2 (host a, pid 123)", for the sentence.
  bool answered = false;
  Gone gone = Gone::no;  // Not silent: that is for judge() to find.
  RankState state;       // Where answered.
};

struct Finding {
  // Ranks (in the communicator) whose process does not answer. Where there are any, that is the
  // verdict, and kind and text say nothing.
  std::vector<std::uint32_t> silent;
  ErrorKind kind = ErrorKind::timeout;
  std::string text;
};

// Looks, in this order, for: ranks that do not answer; calls of one number that differ; ranks that
// left while others wait for them; connections that carry nothing between ranks that answer; a
// connection that broke or a message that belongs to no call; ranks that have not entered the call
// the others wait in; the end or the circle of the waiting.
Finding judge(std::span<const Answer> answers);

}  // namespace accl::bootstrap
