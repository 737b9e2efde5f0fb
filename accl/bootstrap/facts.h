// facts.h - what the ranks of a session tell each other when something is wrong. A fact that
// teaches a rank something is passed on over all its links; one that is known already is dropped.
// So facts reach everybody over whatever links stand, in any order, any number of times.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "accl/base/error.h"
#include "accl/bootstrap/wire.h"

namespace accl::bootstrap {

enum class Gone : std::uint8_t {
  no,
  vanished,  // Nobody listens there any more, and who dialled it does not know why.
  left,      // Said goodbye.
  silent,    // Did not answer an inquiry: stopped, or cut off.
  died,      // Its sockets closed without goodbye, or its process ended.
};

enum class ReportKind : std::uint8_t { none, timeout, mismatch, broken };

// What a rank complains about. Ranks here are numbered in the communicator.
struct Report {
  ReportKind kind = ReportKind::none;
  std::int32_t peer = -1;
  std::string reason;

  bool operator==(const Report&) const = default;
};

// A connection that carries nothing (see Watch), or one that a rank has waited for in vain so far.
struct DeadLink {
  std::uint32_t peer = 0;
  std::string text;
  bool is_open = true;

  bool operator==(const DeadLink&) const = default;
};

// What a rank does in a communicator: a copy of its CallBoard, and its complaint.
struct RankState {
  bool open = false;  // It has the communicator.
  std::uint64_t call = 0, finished = 0;
  std::uint32_t collective = 0, type = 0, op = 0, root = 0, algorithm = 0;
  std::uint64_t count = 0;
  std::int32_t waiting_for = -1;
  Report report;
  std::vector<DeadLink> dead;

  bool in_call() const { return open && call > finished; }
};

// Who is to blame, in the words of whoever judged. Either about processes (then it concerns every
// communicator they are in, and each rank makes the sentence from what it knows of them), or about
// one communicator.
struct Verdict {
  ErrorKind kind = ErrorKind::remote;
  std::vector<std::pair<std::uint32_t, Gone>> processes;  // World ranks.
  std::uint64_t topic = 0;                                // Where processes is empty.
  std::string text;

  bool operator==(const Verdict&) const = default;
};

struct GoneFact {
  std::uint32_t rank = 0;
  Gone how = Gone::no;
};

// A rank ends a communicator: its user asked for it, or it cannot go on.
struct AbortFact {
  std::uint64_t topic = 0;
  std::vector<std::uint32_t> ranks;  // World ranks by rank in the communicator.
  ErrorKind kind = ErrorKind::aborted;
  std::string text;
};

// Opens the inquiry into a communicator; there is at most one ever for each.
struct InquiryFact {
  std::uint64_t topic = 0;
  std::vector<std::uint32_t> ranks;
  std::uint32_t age_ms = 0;  // When it is sent: so all judge at about the same time.
};

struct StateFact {
  std::uint64_t topic = 0;
  std::uint32_t position = 0;  // Rank in the communicator.
  std::uint32_t revision = 0;  // A higher one replaces a lower one.
  RankState state;
};

// All verdicts its sender knows, in order: whoever gets it then has them in that order too.
struct VerdictFact {
  std::vector<Verdict> verdicts;
};

using Fact = std::variant<GoneFact, AbortFact, InquiryFact, StateFact, VerdictFact>;

std::string encode(const Fact& fact);
std::optional<Fact> decode_fact(std::string_view bytes);

}  // namespace accl::bootstrap
