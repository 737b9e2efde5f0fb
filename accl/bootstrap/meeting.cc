#include "accl/bootstrap/meeting.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "accl/base/assert.h"
#include "accl/base/error.h"
#include "accl/bootstrap/address.h"

// Each guest goes its own way through the stages; one round of advance() moves all it can.

namespace accl::bootstrap {
namespace {

constexpr char taken = 'A';
constexpr Milliseconds retry_interval{20};

}  // namespace

Meeting::Meeting(JobSession& session, std::span<const Rank> peers, std::uint64_t topic,
                 MeetOver over)
    : session_(session), topic_(topic), over_(over), bell_(session.engine().desk()) {
  const std::uint32_t self = index(session.self());
  for (const Rank peer : peers) {
    const std::uint32_t rank = index(peer);
    ACCL_ASSERT(rank < session.members().size() && rank != self, rank, self);
    Guest guest;
    guest.rank = rank;
    guest.dials = rank < self;
    const std::string path = path_of(guest);
    if (!path.empty()) session.engine().desk().await(topic, {rank, path, Clock::now()});
    guests_.push_back(std::move(guest));
  }
}

std::vector<Fd> Meeting::run(const Deadline& deadline) {
  while (!advance()) {
    look_for_verdict();
    if (deadline.passed()) give_up();
    wait(deadline);
    bell_.clear();
  }
  std::vector<Fd> sockets;
  for (Guest& guest : guests_) {
    set_blocking(guest.socket.get());
    tune_socket(guest.socket.get(), false);
    sockets.push_back(std::move(guest.socket));
  }
  return sockets;
}

bool Meeting::advance() {
  for (Guest& guest : guests_) {
    if (guest.stage == Stage::idle && guest.dials) dial(guest);
    if (guest.stage == Stage::connecting) finish_dial(guest);
    if (guest.stage == Stage::dialled) read_answer(guest);
  }
  // Only now: dials of all sides are out before anybody is taken.
  for (Guest& guest : guests_) {
    if (guest.stage == Stage::idle && !guest.dials) pick_up(guest);
  }
  return std::all_of(guests_.begin(), guests_.end(),
                     [](const Guest& guest) { return guest.stage == Stage::met; });
}

Address Meeting::way_to_guest(const Guest& guest) const {
  const Contact& to = session_.contact(guest.rank);
  const Address near = way_to(session_.contact(index(session_.self())), to);
  const bool is_aside = over_ == MeetOver::aside;
  const bool is_inside = over_ == MeetOver::nearest && near.family() == AF_UNIX;
  return is_aside || is_inside ? near : to.data_address;
}

// Where data has an interface of its own, it leaves by that one's address whatever the routes
// prefer.
Fd Meeting::call(const Guest& guest) const {
  const Address way = way_to_guest(guest);
  const Contact& self = session_.contact(index(session_.self()));
  const bool is_data = over_ != MeetOver::aside && way.family() == self.data_address.family();
  const bool is_chosen = self.data_address.text() != self.address.text();
  return start_connect(way, is_data && is_chosen ? &self.data_address : nullptr);
}

void Meeting::pick_up(Guest& guest) {
  Fd socket = session_.engine().desk().take(guest.rank, topic_);
  if (!socket) return;
  if (send(socket.get(), &taken, 1, MSG_NOSIGNAL) != 1) return;  // It has gone; another may come.
  guest.socket = std::move(socket);
  meet(guest);
}

void Meeting::dial(Guest& guest) {
  if (Clock::now() < guest.next_try) return;
  guest.socket = call(guest);
  if (!guest.socket) return try_again(guest, errno);
  guest.stage = Stage::connecting;
}

void Meeting::finish_dial(Guest& guest) {
  pollfd ready{guest.socket.get(), POLLOUT, 0};
  if (poll(&ready, 1, 0) <= 0) return;
  const int error = connect_error(guest.socket.get());
  if (error != 0) return try_again(guest, error);
  const std::string preamble =
      encode(introduction(Purpose::meet, session_.self(), topic_, session_.secret()));
  const ssize_t sent = send(guest.socket.get(), preamble.data(), preamble.size(), MSG_NOSIGNAL);
  if (sent < 0) return try_again(guest, errno);
  ACCL_ASSERT(sent == static_cast<ssize_t>(preamble.size()), sent);  // An empty buffer takes it.
  guest.stage = Stage::dialled;
}

// The byte keeps both ends honest: without it a dialler could not tell a peer that met it from a
// peer that never will.
void Meeting::read_answer(Guest& guest) {
  char answer = 0;
  const ssize_t got = recv(guest.socket.get(), &answer, 1, 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) return try_again(guest, got == 0 ? ECONNRESET : errno);
  meet(guest);
}

void Meeting::meet(Guest& guest) {
  guest.stage = Stage::met;
  session_.engine().desk().met(topic_, guest.rank);
}

// A peer that does not listen yet, or any more: the desk will say if it is gone for good.
void Meeting::try_again(Guest& guest, int error) {
  guest.trouble = std::strerror(error);
  guest.socket.reset();
  guest.stage = Stage::idle;
  guest.next_try = Clock::now() + retry_interval;
}

// A watch with our topic stands for the communicator this meeting is for.
void Meeting::look_for_verdict() const {
  if (const std::optional<Error> error = session_.engine().watches().failure_of(topic_)) {
    throw Error(*error);
  }
  for (const Guest& guest : guests_) {
    if (guest.stage == Stage::met) continue;
    const std::optional<std::string> why = session_.engine().desk().absence(guest.rank);
    if (why) throw Missing(ErrorKind::remote, *why, Rank{guest.rank});
  }
}

void Meeting::wait(const Deadline& deadline) const {
  std::vector<pollfd> polls{{bell_.fd(), POLLIN, 0}};
  int left_ms = deadline.left_ms();
  for (const Guest& guest : guests_) {
    if (guest.stage == Stage::connecting) polls.push_back({guest.socket.get(), POLLOUT, 0});
    if (guest.stage == Stage::dialled) polls.push_back({guest.socket.get(), POLLIN, 0});
    const bool retries = guest.stage == Stage::idle && guest.dials;
    if (retries) left_ms = std::min(left_ms, static_cast<int>(retry_interval.count()));
  }
  static_cast<void>(poll(polls.data(), polls.size(), left_ms));
}

// Who dials, and where; the same at both ends. Empty inside a host.
std::string Meeting::path_of(const Guest& guest) const {
  if (way_to_guest(guest).family() == AF_UNIX) return {};
  const Contact* ends[] = {&session_.contact(index(session_.self())),
                           &session_.contact(guest.rank)};
  if (!guest.dials) std::swap(ends[0], ends[1]);
  const bool is_data = over_ != MeetOver::aside;
  const Address& from = is_data ? ends[0]->data_address : ends[0]->address;
  const Address& to = is_data ? ends[1]->data_address : ends[1]->address;
  return fmt::format("{} to {}", from.host_text(), to.text());
}

void Meeting::give_up() const {
  for (const Guest& guest : guests_) {
    if (guest.stage == Stage::met) continue;
    const Member& member = session_.members()[guest.rank];
    const std::string way = way_to_guest(guest).text();
    const std::string trouble =
        guest.trouble.empty() ? "" : fmt::format(" (dialling {}: {})", way, guest.trouble);
    throw Missing(ErrorKind::timeout,
                  fmt::format("{} did not come to meet rank {} in time{}", describe(member),
                              index(session_.self()), trouble),
                  Rank{guest.rank});
  }
  fail(ErrorKind::timeout, "a meeting took too long");
}

}  // namespace accl::bootstrap
