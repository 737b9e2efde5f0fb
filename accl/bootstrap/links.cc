#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "accl/base/error.h"
#include "accl/base/log.h"
#include "accl/bootstrap/engine.h"
#include "accl/bootstrap/identity.h"

// The engine's links and processes: how they come, what they bring, how they end.

namespace accl::bootstrap {
namespace {

int open_pidfd(pid_t pid) { return static_cast<int>(syscall(SYS_pidfd_open, pid, 0)); }

}  // namespace

void Engine::admit(Fd socket, const Preamble& preamble) {
  // The secret makes it one of us; its rank only has to make sense.
  if (preamble.from >= members_.size() || preamble.from == self_) return;
  if (preamble.purpose == Purpose::meet) {
    desk_.leave(preamble.from, preamble.topic, std::move(socket));
  }
  if (preamble.purpose == Purpose::tree) add_link(preamble.from, std::move(socket), false);
}

void Engine::dial(std::uint32_t rank) {
  // A stopped process still accepts, by its backlog: only inquiries find such a one.
  Fd socket = start_connect(way_to(contacts_[self_], contacts_[rank]));
  if (!socket) return cannot_reach(rank, errno);
  // Unix sockets are connected at once; the first output event settles it for both kinds.
  add_link(rank, std::move(socket), true);
}

void Engine::add_link(std::uint32_t rank, Fd socket, bool connecting) {
  const int fd = socket.get();
  const LinkId id = ++last_link_;
  Link& link = links_[id];
  link.rank = rank;
  link.connecting = connecting;
  const bool is_child = rank != 0 && (rank - 1) / 2 == self_;
  const bool is_parent = self_ != 0 && (self_ - 1) / 2 == rank;
  link.is_spare = !is_child && !is_parent && !tree_stands_;
  link.socket = FrameSocket(std::move(socket));
  reactor_.add(fd, connecting ? EPOLLOUT : EPOLLIN,
               [this, id](std::uint32_t events) { serve(id, events); });
  if (connecting) return;
  greet(id);
  check_tree();
}

// A new link may be the only way some rank hears of what has happened so far.
void Engine::greet(LinkId id) {
  Link& link = links_.at(id);
  for (const Fact& fact : council_.knowledge(Clock::now())) {
    send(link, make_packet(FrameType::fact, encode(fact)));
  }
}

void Engine::serve(LinkId id, std::uint32_t events) {
  Link& link = links_.at(id);
  if (link.connecting) return finish_dial(id);
  if ((events & EPOLLOUT) != 0) link.socket.flush();
  read_frames(id);
  const auto still = links_.find(id);
  if (still == links_.end()) return;
  if (still->second.socket.ended()) return lost(id);
  const bool more = still->second.socket.wants_output();
  reactor_.modify(still->second.socket.fd(), more ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

void Engine::finish_dial(LinkId id) {
  Link& link = links_.at(id);
  const std::uint32_t rank = link.rank;
  const int error = connect_error(link.socket.fd());
  if (error != 0) {
    drop(id);
    return cannot_reach(rank, error);
  }
  link.connecting = false;
  // The peer's gate takes us for what we say here; it has no answer to give.
  tune_socket(link.socket.fd(), true);
  reactor_.modify(link.socket.fd(), EPOLLIN);
  const Preamble preamble = introduction(Purpose::tree, Rank{self_}, 0, secret_);
  send(link, std::make_shared<const std::string>(encode(preamble)));
  greet(id);
  check_tree();
}

void Engine::read_frames(LinkId id) {
  links_.at(id).socket.receive();
  while (true) {
    const auto link = links_.find(id);  // Handling a frame may end links.
    if (link == links_.end()) return;
    const std::optional<Frame> frame = link->second.socket.next();
    if (!frame) return;
    handle(id, *frame);
  }
}

void Engine::handle(LinkId id, const Frame& frame) {
  Link& link = links_.at(id);
  if (frame.type == FrameType::goodbye) {
    link.goodbye = true;
    desk_.set_absent(link.rank, fmt::format("{} left the job", describe(members_[link.rank])));
    forget_process(link.rank);
    return council_.saw_departure(link.rank, Gone::left, Clock::now());
  }
  const std::optional<Fact> fact =
      frame.type == FrameType::fact ? decode_fact(frame.payload) : std::nullopt;
  if (!fact) {
    log(LogLevel::warning, "{} sent what cannot be read", describe(members_[link.rank]));
    return;
  }
  council_.learn(*fact, id, Clock::now());
  const auto* const gone = std::get_if<GoneFact>(&*fact);
  if (gone != nullptr && gone->how == Gone::left && gone->rank < members_.size()) {
    desk_.set_absent(gone->rank, describe(members_[gone->rank]) + " left the job");
  }
}

void Engine::drop(LinkId id) {
  const auto link = links_.find(id);
  reactor_.remove(link->second.socket.fd());
  links_.erase(link);
}

void Engine::lost(LinkId id) {
  const Link& link = links_.at(id);
  const std::uint32_t rank = link.rank;
  const bool expected = link.goodbye;  // Frames that came before the end have been read.
  const int error = link.socket.error();
  drop(id);
  if (expected) return;
  log(LogLevel::info, "the link to {} ended: {}", describe(members_[rank]),
      error == 0 ? "closed without goodbye" : std::strerror(error));
  tree_failed(describe(members_[rank]) + " died while the ranks were joining");
  council_.saw_death(rank, Clock::now());
}

void Engine::cannot_reach(std::uint32_t rank, int error) {
  log(LogLevel::info, "cannot reach {}: {}", describe(members_[rank]), std::strerror(error));
  tree_failed(fmt::format("{} cannot be reached at {}: {}; ACCL_SOCKET_IFNAME chooses the network",
                          describe(members_[rank]),
                          way_to(contacts_[self_], contacts_[rank]).text(), std::strerror(error)));
  if (!tree_stands_) return;
  unreachable_.insert(rank);
  // A refusal is as good as a goodbye that was said to others.
  if (error == ECONNREFUSED) council_.saw_departure(rank, Gone::vanished, Clock::now());
  relink();
}

// A spare link does not count: what every rank tells every rank does not take it.
bool Engine::has_way(std::uint32_t rank) const {
  return unreachable_.contains(rank) ||
         std::any_of(links_.begin(), links_.end(), [rank](const auto& one) {
           return one.second.rank == rank && !one.second.is_spare;
         });
}

void Engine::send(Link& link, const Packet& packet) {
  link.socket.append(packet);
  link.has_news = true;
}

void Engine::flush_links() {
  for (auto& [id, link] : links_) {
    if (!std::exchange(link.has_news, false)) continue;
    link.socket.flush();
    // An end that sending met is found by reading, which EPOLLOUT brings about.
    reactor_.modify(link.socket.fd(), EPOLLIN | EPOLLOUT);
  }
}

void Engine::watch_process(std::uint32_t rank) {
  const Member& member = members_[rank];
  if (member.pid_space != members_[self_].pid_space) return;
  // Its pid is its own still: no rank leaves join() before all have come this far.
  Fd process(open_pidfd(member.pid));
  if (!process && errno == ESRCH) return tree_failed(describe(member) + " died at start");
  if (!process) {
    log(LogLevel::info, "cannot watch {}: {}", describe(member), std::strerror(errno));
    return;
  }
  reactor_.add(process.get(), EPOLLIN, [this, rank](std::uint32_t) { process_ended(rank); });
  processes_[rank] = std::move(process);
}

bool Engine::is_running(std::uint32_t rank) {
  const Member& member = members_[rank];
  if (member.pid_space != members_[self_].pid_space) return false;
  const char state = look_up_process(member.pid).state;
  return state == 'R' || state == 'S' || state == 'D';
}

void Engine::process_ended(std::uint32_t rank) {
  forget_process(rank);
  // Its goodbye may still lie in a socket. Its sockets may stay open for ever, where it has left
  // forked children behind: so its end is known from here alone.
  std::vector<LinkId> its;
  for (const auto& [id, link] : links_) {
    if (link.rank == rank && !link.connecting) its.push_back(id);
  }
  bool goodbye = false;
  for (const LinkId id : its) {
    if (links_.contains(id)) read_frames(id);
    if (links_.contains(id)) goodbye = goodbye || links_.at(id).goodbye;
  }
  if (goodbye || council_.is_gone(rank)) return;
  tree_failed(describe(members_[rank]) + " died while the ranks were joining");
  council_.saw_death(rank, Clock::now());
}

void Engine::forget_process(std::uint32_t rank) {
  const auto process = processes_.find(rank);
  if (process == processes_.end()) return;
  reactor_.remove(process->second.get());
  processes_.erase(process);
}

}  // namespace accl::bootstrap
