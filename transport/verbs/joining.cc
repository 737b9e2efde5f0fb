// joining.cc - how two ranks come to talk over RDMA. Each makes its queues, posts their receives,
// and sends their addresses over the meeting socket; connects its queues to the other's; and says
// that it is ready. Nobody writes before the other one is.
#include <cstring>

#include "accl/base/log.h"
#include "accl/base/mix.h"
#include "transport/verbs/channel.h"

namespace accl::verbs {
namespace {

// What a device may owe a channel at a time, on one lane.
constexpr std::uint32_t requests_per_lane = send_depth + receive_depth;

constexpr int most_tries = 4;

// Flow labels of 14 bits are UDP source ports, one to one, above 0xC000.
constexpr std::uint32_t label_count = 1 << 14;

}  // namespace

Channel::Channel(std::span<const std::unique_ptr<Rail>> rails, const Geometry& geometry, Rank peer,
                 Fd meeting, std::optional<std::uint32_t> network_path)
    : rails_(rails),
      geometry_(geometry),
      peer_(peer),
      network_path_(network_path),
      talk_(std::move(meeting)),
      memory_(2 * std::size_t{geometry.lanes} * geometry.ring_bytes),
      completions_(rails.size()),
      lane_states_(std::make_unique<Lane[]>(geometry.lanes)),
      lanes_(lane_states_.get(), geometry.lanes) {
  const auto lanes_per_rail =
      static_cast<std::uint32_t>((geometry.lanes + rails.size() - 1) / rails.size());
  for (std::size_t i = 0; i < rails.size(); ++i) {
    rails[i]->add_completions(completions_[i], lanes_per_rail * requests_per_lane);
    regions_.push_back(rails[i]->port().add(memory_.bytes(), true));
  }
  for (std::uint32_t i = 0; i < geometry.lanes; ++i) {
    const std::size_t rail = i % rails.size();
    lanes_[i].ring_at = std::size_t{i} * geometry.ring_bytes;
    lanes_[i].memory_key = regions_[rail]->lkey;
    lanes_[i].queue.emplace(rails[rail]->port(), completions_[rail].queue.get(),
                            static_cast<std::uint16_t>(i));
  }
  path_ = rail_of(0).port().text();
  talk_.await(sizeof(Opening));
  say_opening();
}

void Channel::say_opening() {
  Opening opening{.greeting = greeting_of(greeting_magic, geometry_)};
  for (std::uint32_t i = 0; i < lanes_.size(); ++i) {
    LaneAddress& address = opening.lanes[i];
    address = lanes_[i].queue->address();
    address.inbox = reinterpret_cast<std::uint64_t>(inbox(i));
    address.key = regions_[i % rails_.size()]->rkey;
  }
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
    if (!connect_lanes(theirs)) return false;
  } catch (const Error& error) {
    refuse(error.kind() == ErrorKind::timeout ? ErrorKind::system : error.kind(),
           fmt::format("cannot join rank {}: {}", index(peer_), error.what()));
    return true;
  }
  path_ += " to " + text_of(theirs.lanes[0].gid);
  stage_ = Stage::connecting;
  talk_.await(sizeof(Ready));
  const Ready ready;
  const std::string unsaid = talk_.say(std::as_bytes(std::span(&ready, 1)));
  if (!unsaid.empty()) {
    refuse(ErrorKind::remote, fmt::format("verbs: cannot join rank {}: {}", index(peer_), unsaid));
  }
  return true;
}

// The kernel asks the network who has the peer's address, for a second, which on a busy host is
// short: it may take some calls of this. False until all lanes are connected.
bool Channel::connect_lanes(const Opening& theirs) {
  for (; connected_ < lanes_.size(); ++connected_, tries_ = 0) {
    Lane& lane = lanes_[connected_];
    lane.peer_inbox = theirs.lanes[connected_].inbox;
    lane.peer_key = theirs.lanes[connected_].key;
    try {
      lane.queue->connect(theirs.lanes[connected_], flow_label(connected_, theirs));
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::timeout || ++tries_ == most_tries) throw;
      return false;
    }
  }
  return true;
}

void Channel::take_ready() {
  Ready theirs;
  std::memcpy(&theirs, talk_.words().data(), sizeof theirs);
  if (theirs.magic != greeting_magic) {
    return refuse(
        ErrorKind::remote,
        fmt::format("verbs: cannot join rank {}: it says what is not ours", index(peer_)));
  }
  stage_ = Stage::joined;
  talk_.await(sizeof(Farewell));
}

// Each lane has a range of labels of its own, so that switches that hash source ports see them
// apart, and those that map ranges to cables can be told which range is which. Where in it, the
// queues' numbers decide.
//
// Where the paths of labels are known, lanes take one after the other, from a path that the peer's
// number gives: ranks that send to different peers at a time, as in any step of an algorithm, then
// tend to be on different paths with equal lanes, too (in fat trees known as D-mod-k routing).
std::uint32_t Channel::flow_label(std::uint32_t lane, const Opening& theirs) const {
  const Port& port = rail_of(lane).port();
  const Settings& settings = port.settings();
  const std::vector<std::uint32_t>& labels = settings.flow_labels;
  if (!labels.empty()) return labels[lane % labels.size()];
  if (settings.paths != nullptr) {
    const Gid& to = theirs.lanes[lane].gid;
    const PathTable::Choice choice{.first = network_path_.value_or(index(peer_)),
                                   .has_one_path = network_path_.has_value()};
    const auto of_rail = static_cast<std::uint32_t>(lane / rails_.size());
    const auto label = settings.paths->label(port.gid().gid, to, choice, of_rail);
    if (label) return *label;
    log(LogLevel::info, "verbs: {} to {} is not in ACCL_IB_PATHS: lane {} is not pinned",
        text_of(port.gid().gid), text_of(to), lane);
  }
  const std::uint32_t width = label_count / static_cast<std::uint32_t>(lanes_.size());
  const std::uint64_t draw = mix(lanes_[lane].queue->address().queue);
  return lane * width + 1 + static_cast<std::uint32_t>(draw % (width - 1));
}

}  // namespace accl::verbs
