#include "accl/connections.h"

#include <poll.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <set>

#include "accl/base/assert.h"
#include "accl/base/error.h"
#include "accl/base/log.h"
#include "accl/base/units.h"
#include "transport/fault/fault.h"
#include "transport/shm/shm.h"
#include "transport/tcp/tcp.h"
#include "transport/ucx/ucx.h"
#include "transport/verbs/verbs.h"

namespace accl {
namespace {

// Rings of one rank towards all others together; the rest is bounded by the lanes' own limits.
constexpr std::uint64_t ring_budget_bytes = 32u << 20;
constexpr std::uint64_t least_ring_bytes = 64u << 10;
constexpr std::uint64_t most_ring_bytes = 1u << 20;

constexpr std::string_view transport_names[] = {"auto", "shm", "tcp", "ucx", "verbs"};
constexpr std::string_view intra_host_names[] = {"auto", "direct", "nic"};

std::size_t usable_cores() {
  cpu_set_t cores;
  if (::sched_getaffinity(0, sizeof cores, &cores) != 0) return 1;
  return static_cast<std::size_t>(CPU_COUNT(&cores));
}

bool has_more_ranks_than_cores(const Session& session) {
  const auto members = session.members();
  const std::uint64_t kernel = members[index(session.self())].kernel_id;
  const auto ranks = static_cast<std::size_t>(
      std::ranges::count(members, kernel, [](const Member& member) { return member.kernel_id; }));
  const std::size_t cores = usable_cores();
  log(LogLevel::info, "{} ranks of this machine share {} cores: waiting {}", ranks, cores,
      ranks > cores ? "yields and sleeps" : "spins");
  return ranks > cores;
}

// A peer's greeting is awaited where a verdict ends the wait: the peer may be well and itself in
// vain wait for somebody who has died.
void await_greeting(int socket, const Deadline& deadline, const Watch& watch) {
  std::array<pollfd, 2> wanted{pollfd{socket, POLLIN, 0}, pollfd{watch.event_fd(), POLLIN, 0}};
  while (::poll(wanted.data(), wanted.size(), deadline.left_ms()) < 0 && errno == EINTR) {
  }
  if (watch.failed()) throw watch.verdict();
}

// False where the time of one step is up, but not the whole.
bool finish_some(Endpoint& endpoint, const Deadline& deadline) {
  constexpr int step_ms = 100;
  try {
    endpoint.finish(Deadline(Milliseconds(std::min(step_ms, deadline.left_ms()))));
    return true;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::timeout || deadline.passed()) throw;
    return false;
  }
}

// Runs what needs this peer; where it fails because of the peer, the watch is told.
template <class Body>
void reporting(Rank peer, Watch& watch, Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::remote) watch.report_broken(peer, error.what());
    if (error.kind() == ErrorKind::timeout) watch.report_timeout(peer);
    throw;
  }
}

}  // namespace

Connections::Connections(Session& session, std::vector<Rank> ranks, Rank self,
                         const ConnectionOptions& options)
    : session_(session),
      ranks_(std::move(ranks)),
      self_(self),
      options_(options),
      is_by_device_(network() == "verbs") {
  is_crowded_ = has_more_ranks_than_cores(session_);
  if (!options_.fault.empty()) static_cast<void>(parse_fault(options_.fault));
  peers_.resize(ranks_.size());
  endpoints_.resize(ranks_.size());
  const std::string& name = options_.transport;
  if (std::ranges::count(transport_names, name) == 0) {
    fail(ErrorKind::invalid_argument, "no transport '{}'; there are auto, shm, tcp, ucx and verbs",
         name);
  }
  if (std::ranges::count(intra_host_names, options_.intra_host) == 0) {
    fail(ErrorKind::invalid_argument, "ACCL_INTRA_HOST='{}': give auto, direct or nic",
         options_.intra_host);
  }
  if (name == "shm" && options_.intra_host == "nic") {
    fail(ErrorKind::invalid_argument,
         "ACCL_INTRA_HOST=nic: transport shm uses no network; use auto, tcp, ucx or verbs");
  }
  for (std::uint32_t r = 0; r < ranks_.size() && name == "shm"; ++r) {
    if (is_local(Rank{r})) continue;
    fail(ErrorKind::invalid_argument,
         "transport shm cannot reach rank {} on host {}; use --transport auto, tcp, ucx or verbs",
         r, session_.members()[index(ranks_[r])].host);
  }
}

Connections::~Connections() = default;

bool Connections::is_local(Rank peer) const {
  const auto members = session_.members();
  return members[index(ranks_[index(peer)])].host_id == members[index(session_.self())].host_id;
}

bool Connections::is_over_network(Rank peer) const {
  return !shares_memory_inside_hosts() || !is_local(peer);
}

// This rank's place among those of its host.
std::uint32_t Connections::index_on_host() const {
  const auto members = session_.members();
  const std::uint64_t host = members[index(session_.self())].host_id;
  const auto before = members.first(index(session_.self()));
  return static_cast<std::uint32_t>(
      std::ranges::count(before, host, [](const Member& member) { return member.host_id; }));
}

bool Connections::is_one_host() const {
  for (std::uint32_t r = 0; r < ranks_.size(); ++r) {
    if (!is_local(Rank{r})) return false;
  }
  return true;
}

bool Connections::shares_memory_inside_hosts() const {
  if (options_.intra_host != "auto") return options_.intra_host == "direct";
  return options_.transport == "auto" || options_.transport == "shm";
}

std::string Connections::network() const {
  return options_.transport == "auto" ? "tcp" : options_.transport;
}

std::string Connections::expected() const {
  if (!shares_memory_inside_hosts()) return network();
  if (is_one_host()) return "shm";
  const auto members = session_.members();
  std::set<std::uint64_t> hosts;
  for (const Rank rank : ranks_) hosts.insert(members[index(rank)].host_id);
  return hosts.size() == ranks_.size() ? network() : "shm+" + network();
}

Geometry Connections::geometry() const {
  const std::uint64_t others = std::max<std::uint64_t>(1, ranks_.size() - 1);
  const std::uint64_t each = ring_budget_bytes / others / most_lanes;
  const std::uint64_t bytes = std::clamp(each, least_ring_bytes, most_ring_bytes);
  return {.lanes = most_lanes, .ring_bytes = static_cast<std::uint32_t>(bytes / 4096 * 4096)};
}

std::unique_ptr<Transport> Connections::decorate(std::unique_ptr<Transport> transport) const {
  if (!options_.fault.empty()) {
    transport = make_fault_transport(std::move(transport), parse_fault(options_.fault));
  }
  if (options_.counters == nullptr) return transport;
  return make_trace_transport(std::move(transport), options_.counters);
}

Transport& Connections::transport_for(Rank peer) {
  if (!is_over_network(peer)) {
    if (shm_ == nullptr) {
      shm_ = decorate(make_shm_transport(geometry()));
      is_decorated_ = !options_.fault.empty() || options_.counters != nullptr;
    }
    return *shm_;
  }
  return network_transport();
}

Transport& Connections::network_transport() {
  if (push_ == nullptr) push_ = decorate(make_push());
  return *push_;
}

std::unique_ptr<Transport> Connections::make_push() const {
  if (network() == "ucx") return make_ucx_transport(geometry());
  if (network() == "verbs") {
    return make_verbs_transport(
        geometry(),
        {.device = options_.nic, .turn = index_on_host(), .network_paths = network_paths()});
  }
  return make_tcp_transport(geometry());
}

// By rank here; empty where no map tells.
std::vector<std::uint32_t> Connections::network_paths() const {
  std::vector<std::uint32_t> paths;
  for (const Rank rank : ranks_) {
    if (index(rank) >= options_.lanes.size()) return {};
    paths.push_back(options_.lanes[index(rank)]);
  }
  return paths;
}

std::vector<Rank> Connections::not_joined(std::span<const Rank> peers) const {
  std::vector<Rank> wanted;
  for (const Rank peer : peers) {
    const bool is_new = peers_[index(peer)] == nullptr && std::ranges::count(wanted, peer) == 0;
    if (is_new && peer != self_) wanted.push_back(peer);
  }
  return wanted;
}

void Connections::open(std::span<const Rank> peers, Watch& watch) {
  const std::vector<Rank> wanted = not_joined(peers);
  if (wanted.empty()) return;
  const Deadline deadline(session_.timeout());
  std::vector<Fd> sockets = meet(wanted, deadline, watch);
  std::vector<int> numbers;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    numbers.push_back(sockets[i].get());
    reporting(wanted[i], watch, [&] {
      auto endpoint = transport_for(wanted[i]).open(wanted[i], std::move(sockets[i]));
      const std::lock_guard lock(mutex_);
      endpoints_[index(wanted[i])] = std::move(endpoint);
    });
  }
  // All greetings before the first finish(), which may read those of others, too.
  for (const int socket : numbers) await_greeting(socket, deadline, watch);
  for (const Rank peer : wanted) {
    reporting(peer, watch, [&] { join(peer, deadline, watch); });
  }
}

std::vector<Fd> Connections::meet(std::span<const Rank> peers, const Deadline& deadline,
                                  Watch& watch) {
  std::vector<Rank> in_session;
  for (const Rank peer : peers) in_session.push_back(ranks_[index(peer)]);
  const bool is_tcp_inside = network() == "tcp" && !shares_memory_inside_hosts();
  const MeetOver over = is_tcp_inside ? MeetOver::network : MeetOver::nearest;
  try {
    return session_.meet(in_session, options_.topic, deadline, over);
  } catch (const Missing& missing) {
    const auto at = std::ranges::find(in_session, missing.rank()) - in_session.begin();
    watch.report_timeout(peers[static_cast<std::size_t>(at)]);
    throw;
  }
}

// In short steps: over ucx a peer must do more than greet, and a verdict ends the wait for that,
// too.
void Connections::join(Rank peer, const Deadline& deadline, const Watch& watch) {
  Endpoint& endpoint = *endpoints_[index(peer)];
  for (bool is_finished = false; !is_finished;) {
    if (watch.failed()) throw watch.verdict();
    is_finished = finish_some(endpoint, deadline);
  }
  auto lanes = std::make_unique<PeerLanes>();
  lanes->rank = peer;
  lanes->width = most_lanes;
  for (std::uint32_t i = 0; i < most_lanes; ++i) lanes->lanes[i] = Lane(endpoint, i, geometry());
  peers_[index(peer)] = std::move(lanes);
}

std::string Connections::names() const {
  std::string names;
  for (const auto* transport : {shm_.get(), push_.get()}) {
    if (transport == nullptr) continue;
    if (!names.empty()) names += '+';
    names += transport->name();
  }
  return names;
}

bool Connections::arm() {
  const bool shm = shm_ == nullptr || shm_->arm();
  const bool push = push_ == nullptr || push_->arm();
  return shm && push;
}

void Connections::disarm() {
  if (shm_ != nullptr) shm_->disarm();
  if (push_ != nullptr) push_->disarm();
}

std::vector<int> Connections::event_fds() const {
  std::vector<int> fds;
  if (shm_ != nullptr) fds.push_back(shm_->event_fd());
  if (push_ != nullptr) fds.push_back(push_->event_fd());
  return fds;
}

std::string Connections::failure(Rank peer) const {
  const Endpoint* const endpoint = endpoints_[index(peer)].get();
  return endpoint != nullptr && endpoint->broken() ? endpoint->failure() : std::string();
}

std::string Connections::over(Rank peer) const {
  const Endpoint* const endpoint = endpoints_[index(peer)].get();
  const std::string path = endpoint != nullptr ? endpoint->path() : std::string();
  return path.empty() ? path : " over " + path;
}

void Connections::withdraw() {
  for (const auto& endpoint : endpoints_) {
    if (endpoint != nullptr) endpoint->withdraw();
  }
}

std::vector<DeadPath> Connections::dead_paths() const {
  const std::lock_guard lock(mutex_);
  std::vector<DeadPath> dead;
  for (std::uint32_t r = 0; r < endpoints_.size(); ++r) {
    if (endpoints_[r] == nullptr) continue;
    const std::optional<Stall> stall = endpoints_[r]->stall();
    if (!stall) continue;
    std::string text =
        fmt::format("{}, nothing acknowledged for {} ms", endpoints_[r]->path(), stall->silent_ms);
    const std::uint32_t resent = stall->retransmissions;
    if (resent > 0) text += fmt::format(", {} retransmissions", resent);
    dead.push_back({Rank{r}, std::move(text)});
  }
  return dead;
}

std::unique_ptr<Region> Connections::share(const Memory& memory) {
  return shm_ != nullptr ? shm_->add(memory) : nullptr;
}

std::unique_ptr<Region> Connections::offer_to_network(const Memory& memory) {
  try {
    return push_->add(memory);
  } catch (const Error& error) {
    log(LogLevel::warning, "{}; its messages are copied", error.what());
    return nullptr;
  }
}

// The others have no use for it, and are not made for its sake.
std::unique_ptr<Region> Connections::add_to_network(const Memory& memory) {
  if (network() != "verbs") return nullptr;
  for (std::uint32_t r = 0; r < ranks_.size(); ++r) {
    if (Rank{r} != self_ && is_over_network(Rank{r})) return network_transport().add(memory);
  }
  return nullptr;
}

}  // namespace accl
