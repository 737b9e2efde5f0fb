// joining.cc - how two ranks come to talk over RDMA. Each makes its queues, posts their receives,
// and sends their addresses over the meeting socket; connects its queues to the other's; and says
// that it is ready. Nobody writes before the other one is.
#include <algorithm>
#include <cstring>

#include "accl/base/log.h"
#include "accl/base/mix.h"
#include "transport/verbs/channel.h"

namespace accl::verbs {
namespace {

// What a device may owe a channel at a time, on one lane; with the last ones of a queue that stops.
constexpr std::uint32_t requests_per_lane = send_depth + receive_depth + 2;

constexpr int most_tries = 4;

// Flow labels of 14 bits are UDP source ports, one to one, above 0xC000.
constexpr std::uint32_t label_count = 1 << 14;

// Of connecting one queue, which takes less than a millisecond where the address is known.
class NoteOfSlowness {
 public:
  explicit NoteOfSlowness(Rails& rails) : rails_(rails) {}
  NoteOfSlowness(const NoteOfSlowness&) = delete;
  NoteOfSlowness& operator=(const NoteOfSlowness&) = delete;
  ~NoteOfSlowness() {
    if (Clock::now() - start_ > std::chrono::milliseconds(50)) rails_.connected_slowly();
  }

 private:
  Rails& rails_;
  const Clock::time_point start_ = Clock::now();
};

// Two timers of a device in vain, as tcp waits for two retransmissions; where they are endless,
// what is very long for a network.
std::uint32_t stalled_ms_of(const Settings& settings) {
  constexpr std::uint64_t least = 500, endless = 5000, unit_ns = 4096;
  if (settings.timeout == 0) return endless;
  const std::uint64_t two_ms = 2 * (unit_ns << settings.timeout) / 1'000'000;
  return static_cast<std::uint32_t>(std::max(two_ms, least));
}

}  // namespace

Channel::Channel(Rails& rails, const Geometry& geometry, Rank peer, Fd meeting, Registry* registry,
                 std::optional<std::uint32_t> network_path)
    : rails_(rails),
      geometry_(geometry),
      immediates_(geometry.ring_bytes),
      peer_(peer),
      registry_(registry),
      network_path_(network_path),
      talk_(std::move(meeting)),
      memory_(2 * std::size_t{geometry.lanes} * (geometry.ring_bytes + mailbox_bytes)),
      lane_states_(std::make_unique<Lane[]>(geometry.lanes)),
      lanes_(lane_states_.get(), geometry.lanes),
      stalled_ms_(stalled_ms_of(rails[0].port().settings())) {
  for (std::uint32_t i = 0; i < lanes_.size(); ++i) {
    lanes_[i].ring_at = std::size_t{i} * geometry.ring_bytes;
    const std::optional<std::uint32_t> rail = rails_.working(rails_.turn_of(i));
    if (!rail) fail(ErrorKind::system, "verbs: no port of this host works any more");
    stand_on(i, *rail);
    begin_grants(i);
  }
  path_ = port_of(0).text();
  talk_.await(sizeof(Opening));
  say_opening();
}

// A new queue for the lane, on this rail.
void Channel::stand_on(std::uint32_t number, std::uint32_t rail) {
  const Port& port = rails_[rail].port();
  if (footings_.size() <= rail) footings_.resize(rail + 1);
  if (!footings_[rail]) {
    auto footing = std::make_unique<Footing>();
    rails_[rail].add_completions(footing->completions, geometry_.lanes * requests_per_lane);
    footing->region = port.add(memory_.bytes(), true);
    footings_[rail] = std::move(footing);
  }
  Lane& lane = lanes_[number];
  lane.queue.emplace(port, footings_[rail]->completions.queue.get(),
                     static_cast<std::uint8_t>(number), lane.generation);
  lane.rail = rail;
  lane.memory_key = footings_[rail]->region->lkey;
  ++footings_[rail]->lanes;
}

LaneAddress Channel::address_of(std::uint32_t lane) const {
  LaneAddress address = lanes_[lane].queue->address();
  address.inbox = reinterpret_cast<std::uint64_t>(inbox(lane));
  address.mailbox = reinterpret_cast<std::uint64_t>(mailbox(lane));
  address.key = footings_[lanes_[lane].rail]->region->rkey;
  return address;
}

std::string Channel::path() const {
  const std::lock_guard lock(path_mutex_);
  return path_;
}

void Channel::note_path(const LaneAddress& theirs) {
  const std::lock_guard lock(path_mutex_);
  path_ = port_of(0).text() + " to " + text_of(theirs.gid);
}

void Channel::say_opening() {
  Opening opening{.greeting = greeting_of(greeting_magic, geometry_)};
  for (std::uint32_t i = 0; i < lanes_.size(); ++i) opening.lanes[i] = address_of(i);
  const std::string wrong = talk_.say(std::as_bytes(std::span(&opening, 1)));
  if (wrong.empty()) return;
  refuse(ErrorKind::remote, fmt::format("verbs: cannot greet rank {}: {}", index(peer_), wrong));
}

// Only the first reason counts.
void Channel::refuse(ErrorKind kind, const std::string& text) {
  if (!refusal_) refusal_.emplace(kind, text);
}

void Channel::step_join() {
  while (!refusal_ && (stage_ == Stage::greeting || stage_ == Stage::connecting)) {
    if (!talk_.listen()) break;
    if (stage_ == Stage::connecting) {
      take_ready();
    } else if (!take_opening()) {
      break;
    }
  }
  if (stage_ == Stage::joined || refusal_ || !talk_.end()) return;
  refuse(ErrorKind::remote,
         fmt::format("verbs: rank {} left before it was joined: {}", index(peer_), *talk_.end()));
}

// False: it wants to be called again, with the same words.
bool Channel::take_opening() {
  Opening theirs;
  std::memcpy(&theirs, talk_.words().data(), sizeof theirs);
  const Greeting ours = greeting_of(greeting_magic, geometry_);
  const std::string wrong = complaint("verbs", theirs.greeting, ours, peer_);
  if (!wrong.empty()) {
    refuse(ErrorKind::invalid_usage, wrong);
    return true;
  }
  try {
    if (!connect_lanes(theirs.lanes, geometry_.lanes)) return false;
  } catch (const Error& error) {
    refuse(error.kind() == ErrorKind::timeout ? ErrorKind::system : error.kind(),
           fmt::format("cannot join rank {}: {}", index(peer_), error.what()));
    return true;
  }
  note_path(theirs.lanes[0]);
  stage_ = Stage::connecting;
  talk_.await(sizeof(Note));
  const Note ready = note_of(NoteKind::ready);
  const std::string unsaid = talk_.say(std::as_bytes(std::span(&ready, 1)));
  if (!unsaid.empty()) {
    refuse(ErrorKind::remote, fmt::format("verbs: cannot join rank {}: {}", index(peer_), unsaid));
  }
  return true;
}

// The kernel asks the network who has the peer's address, for a second, which on a busy host is
// short: it may take some calls of this. False until all lanes are connected; so many in a call.
bool Channel::connect_lanes(std::span<const LaneAddress> theirs, std::uint32_t most) {
  for (; connected_ < lanes_.size(); ++connected_, tries_ = 0) {
    if (most-- == 0 || !rails_.may_connect(tries_ > 0)) return false;
    Lane& lane = lanes_[connected_];
    lane.peer_inbox = theirs[connected_].inbox;
    lane.peer_mailbox = theirs[connected_].mailbox;
    lane.peer_key = theirs[connected_].key;
    const NoteOfSlowness note(rails_);
    try {
      lane.queue->connect(theirs[connected_], flow_label(connected_, theirs[connected_].gid));
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::timeout || ++tries_ == most_tries) throw;
      return false;
    }
  }
  return true;
}

void Channel::take_ready() {
  Note theirs;
  std::memcpy(&theirs, talk_.words().data(), sizeof theirs);
  if (theirs.magic != greeting_magic || theirs.kind != NoteKind::ready) {
    return refuse(
        ErrorKind::remote,
        fmt::format("verbs: cannot join rank {}: it says what is not ours", index(peer_)));
  }
  stage_ = Stage::joined;
  talk_.await(sizeof(Note));
}

// Each lane has a range of labels of its own, so that switches that hash source ports see them
// apart, and those that map ranges to cables can be told which range is which. Where in it, the
// queues' numbers decide.
//
// Where the paths of labels are known, lanes take one after the other, from a path that the peer's
// number gives: ranks that send to different peers at a time, as in any step of an algorithm, then
// tend to be on different paths with equal lanes, too (in fat trees known as D-mod-k routing). Each
// time that a path fails all go to the next: it may be what died.
//
// Where the user wants fewer labels than lanes, lanes share them.
std::uint32_t Channel::flow_label(std::uint32_t number, const Gid& peer) const {
  const Port& port = port_of(number);
  const Settings& settings = port.settings();
  const std::uint32_t lane = number % settings.paths_per_connection;
  const std::vector<std::uint32_t>& labels = settings.flow_labels;
  if (!labels.empty()) return labels[(lane + label_shift_) % labels.size()];
  if (const PathTable* const paths = rails_.paths(); paths != nullptr) {
    const PathTable::Choice choice{.first = network_path_.value_or(index(peer_)) + label_shift_,
                                   .has_one_path = network_path_.has_value()};
    const std::uint32_t of_rail = lane / rails_.turns();
    const auto label = paths->label(port.gid().gid, peer, choice, of_rail);
    if (label) return *label;
    log(LogLevel::info, "verbs: {} to {} is not in ACCL_IB_PATHS: lane {} is not pinned",
        text_of(port.gid().gid), text_of(peer), number);
  }
  const std::uint32_t width = label_count / static_cast<std::uint32_t>(lanes_.size());
  const std::uint64_t draw = mix(lanes_[lane].queue->address().queue);
  return lane * width + 1 + static_cast<std::uint32_t>(draw % (width - 1));
}

}  // namespace accl::verbs
