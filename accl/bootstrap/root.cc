#include "accl/bootstrap/root.h"

#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "accl/base/assert.h"
#include "accl/base/error.h"
#include "accl/base/log.h"
#include "accl/bootstrap/identity.h"
#include "accl/bootstrap/threads.h"

// The root's thread: request from every rank, table to all, ready from every rank, go to all.

namespace accl::bootstrap {
namespace {

constexpr std::size_t newcomers_limit = rank_limit;
constexpr Milliseconds linger{30000};     // How long a failed start is told to those who come late.
constexpr Milliseconds answer_time{300};  // Within the second that a rank waits longer than that.
constexpr rlim_t spare_files = 64;

// One connection per rank: more than the usual soft limit of 1024 from there on.
void allow_files(std::uint32_t ranks) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  const rlim_t wanted = ranks + rlim_t{1024} + spare_files;
  if (limit.rlim_cur >= wanted) return;
  limit.rlim_cur = std::min(wanted, limit.rlim_max);
  static_cast<void>(setrlimit(RLIMIT_NOFILE, &limit));
}

}  // namespace

Root::Root(Fd listener, const Secret& secret)
    : secret_(secret), port_(local_address(listener.get()).port()) {
  gate_ = std::make_unique<Gate>(
      reactor_, secret_, newcomers_limit,
      [this](Fd socket, const Preamble& preamble) { admit(std::move(socket), preamble); });
  gate_->open(std::move(listener));
  thread_ = start_thread("accl-root", [this] { run(); });
}

Root::~Root() {
  stop_ = true;
  {
    const std::lock_guard lock(end_mutex_);
    if (!finished()) reactor_.wake();
  }
  thread_.join();
}

void Root::run() {
  while (!stop_ && !done_) {
    try {
      reactor_.run_once();
    } catch (const Error& error) {
      fail_all(error.kind(), error.what());
    }
  }
  while (!clients_.empty()) drop(clients_.begin()->first);
  gate_->close();
  // The root itself stays until the next one is opened, or the process ends.
  const std::lock_guard lock(end_mutex_);
  reactor_.close();
  finished_.store(true, std::memory_order_release);
}

void Root::admit(Fd socket, const Preamble& preamble) {
  if (preamble.purpose != Purpose::join) return;
  const int fd = socket.get();
  const std::uint64_t id = ++last_client_;
  Client& client = clients_[id];
  client.socket = FrameSocket(std::move(socket));
  client.rank = preamble.from;
  reactor_.add(fd, EPOLLIN, [this, id](std::uint32_t events) { serve(id, events); });
  serve(id, EPOLLIN);
}

void Root::serve(std::uint64_t id, std::uint32_t events) {
  Client& client = clients_.at(id);
  if ((events & EPOLLOUT) != 0) client.socket.flush();
  client.socket.receive();
  while (const std::optional<Frame> frame = client.socket.next()) {
    handle(id, *frame);
    if (!clients_.contains(id)) return;
  }
  if (client.socket.ended()) return lost(id);
  const bool more = client.socket.wants_output();
  reactor_.modify(client.socket.fd(), more ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

void Root::handle(std::uint64_t id, const Frame& frame) {
  Client& client = clients_.at(id);
  if (frame.type == FrameType::request && !client.listed) return take_request(client, frame);
  if (frame.type == FrameType::ready && client.listed && !client.ready) return take_ready(client);
  if (frame.type == FrameType::here && asking_) {
    client.here = true;
    return;
  }
  log(LogLevel::warning, "a process that says it is rank {} sent nonsense; it was turned away",
      client.rank);
  drop(id);
}

void Root::take_request(Client& client, const Frame& frame) {
  std::optional<Request> request = decode_request(frame.payload);
  if (!request)
    return fail_all(ErrorKind::invalid_usage,
                    fmt::format("rank {} sent a request that cannot be read; is it "
                                "another version?",
                                client.rank));
  if (!failure_.empty())
    return fail_all(failure_kind_, failure_);  // Too late, but it shall know why.
  if (begin_ == Clock::time_point{}) begin_ = Clock::now();
  allow_files(request->size);
  shorten_deadline(Milliseconds(request->patience_ms));
  client.listed = true;
  const Member& member = request->contact.member;
  client.own = member.pid == getpid() && member.pid_space == pid_space();
  const std::string problem = roster_.add(std::move(*request));
  if (!problem.empty()) return fail_all(ErrorKind::invalid_usage, problem);
  if (!roster_.complete()) return;
  gate_->close();  // Before the table goes out: the next job may want this port.
  send_to_all(FrameType::table, encode(roster_.table()));
}

void Root::take_ready(Client& client) {
  // Only when every tree link stands may any rank go on: from then on deaths are seen by the tree.
  client.ready = true;
  if (++ready_ < roster_.size()) return;
  going_ = true;
  reactor_.cancel(timer_);
  send_to_all(FrameType::go, "");
}

// A client that closes before all could go on has died, as far as the others are concerned.
void Root::lost(std::uint64_t id) {
  const Client& client = clients_.at(id);
  const std::uint32_t rank = client.rank;
  const bool matters = !going_ && failure_.empty();
  const Member* const member = client.listed ? roster_.find(rank) : nullptr;
  const std::string who = member != nullptr ? describe(*member) : fmt::format("rank {}", rank);
  drop(id);
  if (matters) fail_all(ErrorKind::remote, who + " died while the ranks were joining");
  if (clients_.empty() && (going_ || (!failure_.empty() && told_.size() >= roster_.size())))
    done_ = true;
}

void Root::expire() {
  if (!failure_.empty()) {  // The time to tell those who come late is over.
    done_ = true;
    return;
  }
  const auto waited = std::chrono::duration_cast<Milliseconds>(deadline_ - begin_);
  if (!roster_.complete()) return fail_all(ErrorKind::timeout, roster_.missing_sentence(waited));
  if (!asking_) return ask_late_ones();
  fail_all(ErrorKind::timeout,
           fmt::format("{} did not finish joining within {} ms: stopped, or not reachable at the "
                       "address it listens at",
                       list_ranks(late_ones()), waited.count()));
}

// Whoever is there is not ready because of another one, which it cannot connect to.
void Root::ask_late_ones() {
  asking_ = true;
  const Packet packet = make_packet(FrameType::ask, "");
  for (auto& [id, client] : clients_) {
    if (client.ready) continue;
    client.socket.queue(packet);
    reactor_.modify(client.socket.fd(), EPOLLIN | EPOLLOUT);
  }
  timer_ = reactor_.after(answer_time, [this] { expire(); });
}

std::vector<std::uint32_t> Root::late_ones() const {
  std::vector<std::uint32_t> late, silent;
  for (const auto& [id, client] : clients_) {
    if (client.ready) continue;
    late.push_back(client.rank);
    if (!client.here) silent.push_back(client.rank);
  }
  if (!silent.empty()) late = silent;
  std::sort(late.begin(), late.end());
  return late;
}

void Root::fail_all(ErrorKind kind, const std::string& sentence) {
  if (failure_.empty()) {
    failure_ = sentence;
    failure_kind_ = kind;
    failed_.store(true, std::memory_order_release);
    reactor_.cancel(timer_);
    timer_ = reactor_.after(linger, [this] { expire(); });
  }
  for (const auto& [id, client] : clients_) told_.insert(client.rank);
  const auto number = static_cast<std::uint8_t>(failure_kind_);
  send_to_all(FrameType::refused, Writer().number(number).raw(failure_).take());
}

void Root::send_to_all(FrameType type, std::string_view payload) {
  const Packet packet = make_packet(type, payload);
  // The rank that lives in this process comes last: what it hears may make the process end.
  for (const bool own : {false, true}) {
    for (auto& [id, client] : clients_) {
      if (client.own != own) continue;
      client.socket.queue(packet);
      // Always watched for output: an end that sending met is then found by serve().
      reactor_.modify(client.socket.fd(), EPOLLIN | EPOLLOUT);
    }
  }
}

void Root::drop(std::uint64_t id) {
  reactor_.remove(clients_.at(id).socket.fd());
  clients_.erase(id);
}

void Root::shorten_deadline(Milliseconds left) {
  const Clock::time_point wanted = Clock::now() + left;
  if (timer_ != 0 && wanted >= deadline_) return;
  deadline_ = wanted;
  reactor_.cancel(timer_);
  timer_ = reactor_.after(left, [this] { expire(); });
}

Roots::Roots() : owner_(getpid()) {}

Roots::~Roots() { let_go_in_child(); }

std::uint16_t Roots::open(const Address& address, const Secret& secret) {
  const std::lock_guard lock(mutex_);
  let_go_in_child();
  // A failed start that still tells its sentence there gives way to the next one.
  std::erase_if(roots_, [&](const auto& root) {
    return root->finished() || (root->failed() && root->port() == address.port());
  });
  roots_.push_back(std::make_unique<Root>(listen_at(address), secret));
  return roots_.back()->port();
}

void Roots::close(const Secret& secret) {
  const std::lock_guard lock(mutex_);
  let_go_in_child();
  std::erase_if(roots_, [&](const auto& root) { return root->secret() == secret; });
}

void Roots::linger(const Secret& secret, const Deadline& deadline) {
  const auto serves = [&](const auto& root) {
    return root->secret() == secret && !root->finished();
  };
  while (!deadline.passed()) {
    {
      const std::lock_guard lock(mutex_);
      if (std::none_of(roots_.begin(), roots_.end(), serves)) return;
    }
    std::this_thread::sleep_for(Milliseconds(5));
  }
}

void Roots::let_go_in_child() {
  if (owner_ == getpid()) return;
  for (auto& root : roots_) static_cast<void>(root.release());
  roots_.clear();
  owner_ = getpid();
}

Roots& roots_of_process() {
  static Roots roots;
  return roots;
}

}  // namespace accl::bootstrap
