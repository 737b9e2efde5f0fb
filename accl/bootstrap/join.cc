#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>

#include "accl/base/error.h"
#include "accl/base/log.h"
#include "accl/base/units.h"
#include "accl/bootstrap/identity.h"
#include "accl/bootstrap/interface.h"
#include "accl/bootstrap/job_session.h"
#include "accl/bootstrap/root.h"

// Session::join: from a unique id to a session whose tree stands on every rank.

namespace accl {
namespace bootstrap {
namespace {

constexpr Milliseconds retry_interval{30};
constexpr Milliseconds last_word{1000};  // How much longer than ours the root's time-out may last.
constexpr Milliseconds farewell{600};    // Of a root whose start failed; its rank waits that long.
constexpr Milliseconds settle{300};
constexpr std::size_t version_limit = 256;

void check(const JoinOptions& options) {
  const std::uint32_t rank = index(options.rank);
  if (options.size == 0 || options.size > rank_limit) {
    fail(ErrorKind::invalid_argument, "{} ranks: a job has 1 to {}", options.size, rank_limit);
  }
  if (rank >= options.size) {
    fail(ErrorKind::invalid_argument, "rank {} of {} ranks: ranks go from 0 to {}", rank,
         options.size, options.size - 1);
  }
  if (options.version.size() > version_limit || options.settings.size() > frame_bytes_limit / 2) {
    fail(ErrorKind::invalid_argument, "version or settings are too long to be sent to all ranks");
  }
}

// Listeners are filled in once they are open.
Contact describe_self(Rank rank) {
  Contact contact;
  contact.member.rank = rank;
  contact.member.host = host_name();
  contact.member.host_id = host_id();
  contact.member.kernel_id = kernel_id();
  contact.member.pid_space = pid_space();
  contact.member.pid = getpid();
  return contact;
}

// Waits for the connection; gives its error, or ETIMEDOUT.
int finish_connect(const Fd& socket, const Deadline& deadline) {
  pollfd wait{socket.get(), POLLOUT, 0};
  while (poll(&wait, 1, deadline.left_ms()) <= 0) {
    if (deadline.passed()) return ETIMEDOUT;
  }
  return connect_error(socket.get());
}

// Only rank 0's process can be late; whoever made an id listens since then.
bool may_come_yet(const RootPlace& place, int error) {
  if (error == ECONNREFUSED) return place.rank_zero_listens;
  return error == EHOSTUNREACH || error == ENETUNREACH || error == EAGAIN || error == ECONNRESET;
}

Fd connect_to_root(const RootPlace& place, const Deadline& deadline) {
  while (true) {
    Fd socket = start_connect(place.address);
    const int error = socket ? finish_connect(socket, deadline) : errno;
    if (error == 0) return socket;
    if (may_come_yet(place, error) && !deadline.passed()) {
      std::this_thread::sleep_for(retry_interval);
      continue;
    }
    const char* const advice =
        place.rank_zero_listens
            ? "rank 0 must run there, and be reachable from here"
            : "the process that made the unique id must still run, and be reachable from here";
    fail(error == ETIMEDOUT ? ErrorKind::timeout : ErrorKind::remote,
         "cannot reach the root at {}: {}; {}", place.address.text(), std::strerror(error), advice);
  }
}

// The address that others reach us at: the interface that was asked for, else the one that leads
// to the root, since that one works.
Address own_address(const RootPlace& place, int socket) {
  const bool chosen = !environment_text("ACCL_SOCKET_IFNAME").empty();
  Address address = local_address(socket);
  // A root known by name may be this host, by a loopback address that others do not share.
  const bool misleading = address.is_loopback() && place.any_interface;
  if (chosen || misleading) address = choose_address();
  address.set_port(0);
  return address;
}

Address address_of(const Fd& listener) {
  const Address address = local_address(listener.get());
  if (address.family() == AF_UNSPEC) fail_system("a socket that does not tell its address", errno);
  return address;
}

[[noreturn]] void fail_joining(const RootPlace& place, const FrameSocket& socket,
                               const Deadline& deadline, const std::string& doing) {
  const std::string root = place.address.text();
  if (!socket.ended() && deadline.passed()) {
    fail(ErrorKind::timeout, "the root at {} gave no answer in time while {}", root, doing);
  }
  fail(ErrorKind::remote,
       "the root at {} closed the connection while {}: its process ended, or it serves another job",
       root, doing);
}

// A refusal is thrown in the root's words.
[[noreturn]] void fail_with(const Frame& frame, const RootPlace& place) {
  if (frame.type != FrameType::refused) {
    fail(ErrorKind::remote, "the root at {} speaks another protocol", place.address.text());
  }
  Reader reader(frame.payload);
  const auto kind = static_cast<ErrorKind>(reader.number<std::uint8_t>());
  throw Error(kind, std::string(frame.payload.substr(1)));
}

// Whether the root only asked if we are there; it is told.
bool is_answered(FrameSocket& socket, const Frame& frame) {
  if (frame.type != FrameType::ask) return false;
  socket.queue(make_packet(FrameType::here, ""));
  return true;
}

// Nothing but a question or a refusal can come before this rank is ready.
void hear_root(FrameSocket& socket, const RootPlace& place) {
  socket.receive();
  while (const std::optional<Frame> frame = socket.next()) {
    if (!is_answered(socket, *frame)) fail_with(*frame, place);
  }
}

// The payload of a frame of this type.
std::string expect_frame(FrameSocket& socket, FrameType type, const RootPlace& place,
                         const Deadline& deadline, const std::string& doing) {
  std::optional<Frame> frame;
  do {
    frame = socket.wait_frame(deadline);
    if (!frame) fail_joining(place, socket, deadline, doing);
  } while (is_answered(socket, *frame));
  if (frame->type != type) fail_with(*frame, place);
  return std::string(frame->payload);
}

// Waits until this rank's tree stands; a refusal or the end of the root ends the wait.
void wait_for_tree(const Engine& engine, FrameSocket& socket, const RootPlace& place,
                   const Deadline& deadline) {
  const std::string doing = "the ranks were connecting to each other";
  while (true) {
    pollfd waits[2] = {{engine.tree_event(), POLLIN, 0}, {socket.fd(), POLLIN, 0}};
    static_cast<void>(poll(waits, 2, deadline.left_ms()));
    if (waits[1].revents != 0) {
      hear_root(socket, place);
      if (socket.ended()) fail_joining(place, socket, deadline, doing);
    }
    if (waits[0].revents != 0) break;
    if (deadline.passed()) fail_joining(place, socket, deadline, doing);
  }
  const std::string problem = engine.tree_problem();
  if (problem.empty()) return;
  // A neighbour that is gone may have ended because of a third rank: the root tells all of that.
  const Deadline settled(settle);
  while (!settled.passed() && !socket.ended()) {
    pollfd wait{socket.fd(), POLLIN, 0};
    static_cast<void>(poll(&wait, 1, settled.left_ms()));
    hear_root(socket, place);
  }
  throw Error(ErrorKind::remote, problem);
}

// No sockets: nobody is there to talk to, but watches work as ever.
std::shared_ptr<Session> join_alone(const JoinOptions& options) {
  bool made_here = true;
  try {
    roots_of_process().close(read_unique_id(options.id).secret);
  } catch (const Error&) {
    made_here = false;  // One rank needs no id.
  }
  log(LogLevel::trace, "a job of one rank{}", made_here ? "" : " without an id");
  Table table;
  table.contacts.push_back(describe_self(options.rank));
  table.contacts[0].member.address = "nowhere";
  table.secret = random_secret();
  table.settings = options.settings;
  return std::make_shared<JobSession>(std::move(table), options.rank, options.timeout,
                                      std::vector<Fd>{});
}

// Exactly where the id says, or on every address of this host where the id says a name.
void open_root(const RootPlace& place) {
  Address address = place.address;
  if (place.any_interface) {
    address = Address::any(AF_INET6);  // Takes IPv4 callers too.
    address.set_port(place.address.port());
  }
  try {
    roots_of_process().open(address, place.secret);
  } catch (const Error&) {
    if (!place.any_interface) throw;
    Address v4 = Address::any(AF_INET);  // A kernel without IPv6.
    v4.set_port(place.address.port());
    roots_of_process().open(v4, place.secret);
  }
}

// What this rank listens at, and what it tells the root.
Request introduce(const JoinOptions& options, const Address& address, const Deadline& deadline,
                  std::vector<Fd>& listeners) {
  Request request;
  request.contact = describe_self(options.rank);
  listeners.push_back(listen_at(address));
  request.contact.address = address_of(listeners[0]);
  request.contact.data_address = request.contact.address;
  if (const std::optional<Address> data = choose_data_address()) {
    listeners.push_back(listen_at(*data));
    request.contact.data_address = address_of(listeners.back());
  }
  request.contact.unix_name = random_name();
  listeners.push_back(listen_at(Address::abstract_unix(request.contact.unix_name)));
  request.size = options.size;
  request.version = options.version;
  if (index(options.rank) == 0) request.settings = options.settings;
  request.patience_ms = static_cast<std::uint32_t>(deadline.left_ms());
  return request;
}

// Request, table, tree, ready, go: see root.h for the other side.
std::shared_ptr<Session> join_through(const RootPlace& place, const JoinOptions& options) {
  const Deadline deadline(options.timeout);
  const Deadline patience(options.timeout + last_word);  // The root knows better why it failed.
  FrameSocket socket(connect_to_root(place, deadline));
  tune_socket(socket.fd(), true);
  std::vector<Fd> listeners;
  const Request request = introduce(options, own_address(place, socket.fd()), deadline, listeners);
  const Preamble preamble = introduction(Purpose::join, options.rank, 0, place.secret);
  socket.queue(std::make_shared<const std::string>(encode(preamble)));
  socket.queue(make_packet(FrameType::request, encode(request)));
  const std::string bytes =
      expect_frame(socket, FrameType::table, place, patience, "waiting for the other ranks");
  std::optional<Table> table = decode_table(bytes);
  if (!table || table->contacts.size() != options.size) {
    fail(ErrorKind::remote, "the root at {} sent a table that cannot be read",
         place.address.text());
  }
  auto session = std::make_shared<JobSession>(std::move(*table), options.rank, options.timeout,
                                              std::move(listeners));
  wait_for_tree(session->engine(), socket, place, patience);
  socket.queue(make_packet(FrameType::ready, ""));
  static_cast<void>(expect_frame(socket, FrameType::go, place, patience,
                                 "the ranks were connecting to each other"));
  return session;
}

std::shared_ptr<Session> join_others(const JoinOptions& options) {
  const RootPlace place = read_unique_id(options.id);
  if (!place.rank_zero_listens || index(options.rank) != 0) return join_through(place, options);
  open_root(place);
  try {
    return join_through(place, options);
  } catch (const Error&) {
    // The caller may end the process now, and with it the root: ranks that are only just starting
    // shall still hear why.
    roots_of_process().linger(place.secret, Deadline(farewell));
    throw;
  }
}

}  // namespace
}  // namespace bootstrap

std::shared_ptr<Session> Session::join(const JoinOptions& options) {
  bootstrap::check(options);
  set_log_name(fmt::format("rank {}", index(options.rank)));
  if (options.size == 1) return bootstrap::join_alone(options);
  return bootstrap::join_others(options);
}

}  // namespace accl
