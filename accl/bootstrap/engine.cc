#include "accl/bootstrap/engine.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "accl/base/error.h"
#include "accl/base/log.h"
#include "accl/bootstrap/threads.h"
#include "accl/bootstrap/tree.h"

// The engine's thread, and what it does for the council. Links and processes are in links.cc.

namespace accl::bootstrap {
namespace {

constexpr Milliseconds tick_interval{10};
constexpr std::size_t newcomers_spare = 1024;

}  // namespace

Address way_to(const Contact& from, const Contact& to) {
  const bool near = from.member.host_id == to.member.host_id;
  return near ? Address::abstract_unix(to.unix_name) : to.address;
}

Preamble introduction(Purpose purpose, Rank self, std::uint64_t topic, const Secret& secret) {
  return Preamble{purpose, index(self), topic, secret};
}

Engine::Engine(std::span<const Contact> contacts, std::span<const Member> members, Rank self,
               const Secret& secret, std::vector<Fd> listeners)
    : contacts_(contacts),
      members_(members),
      self_(index(self)),
      secret_(secret),
      neighbours_(neighbours(members, index(self))),
      watches_(members),
      council_(*this, members, self),
      gate_(reactor_, secret_, contacts.size() + newcomers_spare,
            [this](Fd socket, const Preamble& preamble) { admit(std::move(socket), preamble); }),
      tree_event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!tree_event_) fail_system("cannot make an event descriptor (see ulimit -n)", errno);
  for (Fd& listener : listeners) gate_.open(std::move(listener));
  thread_ = start_thread("accl-session", [this] { run(); });
}

Engine::~Engine() {
  stop_ = true;
  reactor_.wake();
  thread_.join();
}

std::string Engine::tree_problem() const {
  const std::lock_guard lock(mutex_);
  return tree_problem_;
}

void Engine::post(Work work) {
  {
    const std::lock_guard lock(mutex_);
    posted_.push_back(std::move(work));
  }
  reactor_.wake();
}

void Engine::run() {
  begin();
  while (!stop_) step();
  // An abort that was posted just before the end must still go out.
  run_posted();
  council_.tick(Clock::now());
  say_goodbye();
}

void Engine::begin() {
  try {
    for (const std::uint32_t rank : neighbours_) {
      watch_process(rank);
      if (rank < self_) dial(rank);
    }
    check_tree();
    flush_links();
  } catch (const Error& error) {
    tree_failed(error.what());
  }
}

void Engine::step() {
  try {
    reactor_.run_once();
    run_posted();
    if (council_.busy()) {
      council_.tick(Clock::now());
      reactor_.cancel(tick_);
      tick_ = reactor_.after(tick_interval, [] {});  // Its only use is to end the wait.
    }
    flush_links();
  } catch (const Error& error) {
    // Out of descriptors or memory for them: what stands goes on.
    log(LogLevel::error, "the session's thread: {}", error.what());
  }
}

void Engine::run_posted() {
  // Taken out first: work may take long, and whoever posts must not wait for it.
  std::vector<Work> posted;
  {
    const std::lock_guard lock(mutex_);
    posted.swap(posted_);
  }
  for (const Work& work : posted) work(council_);
}

void Engine::say_goodbye() {
  const Packet packet = make_packet(FrameType::goodbye, "");
  for (auto& [id, link] : links_) {
    if (!link.connecting) send(link, packet);
    link.socket.flush();
    // What lies unread here when it closes would turn the end into a reset.
    link.socket.receive();
  }
  while (!links_.empty()) drop(links_.begin()->first);
  while (!processes_.empty()) forget_process(processes_.begin()->first);
  gate_.close();
}

void Engine::flood(const Fact& fact, LinkId except) {
  const Packet packet = make_packet(FrameType::fact, encode(fact));
  // What comes from every rank would be doubled by links that close circles.
  const auto* const gone = std::get_if<GoneFact>(&fact);
  const bool is_bulk =
      std::holds_alternative<StateFact>(fact) || (gone != nullptr && gone->how != Gone::died);
  for (auto& [id, link] : links_) {
    const bool skips = link.connecting || id == except || (is_bulk && link.is_spare);
    if (!skips) send(link, packet);
  }
}

RankState Engine::own_state(std::uint64_t topic) { return watches_.state_of(topic); }

void Engine::apply(const Verdict& verdict) {
  // Watches first: whoever the bell wakes must find its watch failed.
  watches_.apply(verdict);
  std::vector<std::uint32_t> all(members_.size());
  for (std::uint32_t rank = 0; rank < all.size(); ++rank) all[rank] = rank;
  const std::string sentence = process_sentence(verdict, all, members_);
  log(LogLevel::info, "verdict: {}", sentence.empty() ? verdict.text : sentence);
  for (const auto& [rank, how] : verdict.processes) desk_.set_absent(rank, sentence);
  desk_.ring();  // A watch may have failed that somebody in meet() belongs to.
}

void Engine::relink() {
  relink_again_ = true;
  if (relinking_ || !tree_stands_) return;  // Dialling can find more that are gone.
  relinking_ = true;
  const auto gone = [this](std::uint32_t rank) {
    return council_.is_gone(rank) || unreachable_.contains(rank);
  };
  while (std::exchange(relink_again_, false)) {
    const auto size = static_cast<std::uint32_t>(members_.size());
    for (const std::uint32_t rank : bridges(size, self_, gone)) reach(rank);
  }
  relinking_ = false;
}

void Engine::reach(std::uint32_t rank) {
  if (rank != self_ && !has_way(rank)) dial(rank);
}

void Engine::check_tree() {
  if (tree_stands_ || !std::all_of(neighbours_.begin(), neighbours_.end(), [this](std::uint32_t r) {
        return std::any_of(links_.begin(), links_.end(), [r](const auto& one) {
          return one.second.rank == r && !one.second.connecting;
        });
      })) {
    return;
  }
  tree_stands_ = true;
  const std::uint64_t one = 1;
  static_cast<void>(write(tree_event_.get(), &one, sizeof one));
}

void Engine::tree_failed(const std::string& why) {
  if (tree_stands_) return;
  {
    const std::lock_guard lock(mutex_);
    if (tree_problem_.empty()) tree_problem_ = why;
  }
  const std::uint64_t one = 1;
  static_cast<void>(write(tree_event_.get(), &one, sizeof one));
}

}  // namespace accl::bootstrap
