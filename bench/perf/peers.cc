#include "bench/perf/peers.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <sstream>

#include "accl/base/error.h"

namespace accl::perf {
namespace {

using peers::Answer;
using peers::Greeting;
using peers::Order;

constexpr Milliseconds start_patience{30'000};
constexpr Milliseconds block_patience{300'000};
constexpr Milliseconds end_patience{3'000};

const std::vector<std::string> open_mpi_launchers{"mpirun.openmpi", "orterun"};
const std::vector<std::string> mpich_launchers{"mpirun.mpich", "mpiexec.hydra"};

// Open MPI yields when idle on its own once ranks outnumber cores; nothing here changes that.
PeerKind open_mpi(const std::string& name, std::vector<std::string> settings) {
  std::vector<std::string> arguments{"--allow-run-as-root", "--oversubscribe", "--mca", "pml",
                                     "ob1"};
  arguments.insert(arguments.end(), settings.begin(), settings.end());
  return {name, "accl-peer-openmpi", open_mpi_launchers, arguments, {}};
}

// Each rank on the NIC that our rank of that number on the host takes, and on nothing else. UCX
// takes the addresses of Soft-RoCE's datagrams for wrong ones, so it shall not look at them.
PeerKind open_mpi_over_ucx() {
  constexpr const char* own_nic =
      "nics=(/sys/class/infiniband/*); nic=${nics[OMPI_COMM_WORLD_LOCAL_RANK % ${#nics[@]}]##*/}; "
      "UCX_NET_DEVICES=$nic:1 exec \"$0\" \"$@\"";
  return {"Open MPI over UCX",
          "accl-peer-openmpi",
          open_mpi_launchers,
          {"--allow-run-as-root", "--oversubscribe", "--mca", "pml", "ucx", "--mca", "osc", "^ucx",
           "bash", "-c", own_nic},
          {"UCX_TLS=rc,self", "UCX_UD_ETH_DGID_CHECK=n"}};
}

// Peer programs lie in the build folder beside accl-perf's; empty where this one was not built.
std::string find_peer_program(const std::string& name) {
  const std::filesystem::path here = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  const std::string path = here.parent_path() / "peers" / name;
  return ::access(path.c_str(), X_OK) == 0 ? path : std::string();
}

// Reads exactly these bytes, or throws when the other end is gone or silent.
void read_all(const Fd& socket, void* target, std::size_t bytes, const Deadline& deadline,
              const std::string& name) {
  auto* at = static_cast<std::byte*>(target);
  while (bytes != 0) {
    pollfd wait{socket.get(), POLLIN, 0};
    if (::poll(&wait, 1, deadline.left_ms()) < 0 && errno != EINTR) fail_system(name, errno);
    if (wait.revents == 0 && deadline.passed()) {
      fail(ErrorKind::timeout, "{} does not answer; try again without it installed", name);
    }
    if (wait.revents == 0) continue;
    const ssize_t got = ::recv(socket.get(), at, bytes, 0);
    if (got <= 0) fail(ErrorKind::remote, "{} is gone", name);
    at += got;
    bytes -= static_cast<std::size_t>(got);
  }
}

}  // namespace

PrivateFolder::PrivateFolder() : path_("/tmp/accl-perf-XXXXXX") {
  if (::mkdtemp(path_.data()) == nullptr) fail_system("a folder in /tmp", errno);
}

void PrivateFolder::remove() {
  std::error_code ignored;  // A folder left in /tmp is no reason to fail.
  std::filesystem::remove_all(path_, ignored);
}

std::vector<PeerKind> peer_kinds(const std::string& transport) {
  const PeerKind gloo{"Gloo", "accl-peer-gloo", {}, {}, {}};
  if (transport == "verbs") return {open_mpi_over_ucx()};
  if (transport == "tcp" || transport == "ucx") {
    return {open_mpi("Open MPI", {"--mca", "btl", "self,tcp", "--mca", "btl_tcp_if_include", "lo"}),
            {"MPICH",
             "accl-peer-mpich",
             mpich_launchers,
             {},
             {"MPIR_CVAR_NOLOCAL=1", "UCX_TLS=tcp,self", "UCX_NET_DEVICES=lo", "FI_PROVIDER=tcp"}},
            gloo};
  }
  const PeerKind bare{"bare", "accl-peer-bare", {}, {}, {}};
  const std::string mechanism = "btl_vader_single_copy_mechanism";
  return {open_mpi("Open MPI", {"--mca", "btl", "self,vader", "--mca", mechanism, "cma"}),
          open_mpi("Open MPI no CMA", {"--mca", "btl", "self,vader", "--mca", mechanism, "none"}),
          {"MPICH", "accl-peer-mpich", mpich_launchers, {}, {}},
          gloo,
          bare};
}

Peer::Peer(const PeerKind& kind, std::uint32_t ranks) : name_(kind.name) {
  const std::string socket = folder_.path() + "/s";
  listener_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, socket.data(), socket.size());
  if (::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener_.get(), static_cast<int>(ranks)) != 0) {
    fail_system(socket, errno);
  }
  const std::string log = folder_.path() + "/log";
  log_.reset(::open(log.c_str(), O_CREAT | O_RDWR | O_APPEND | O_CLOEXEC, 0600));
  if (!log_) fail_system(log, errno);
  start(kind, ranks);
  accept_ranks(ranks);
  folder_.remove();  // All have met; whatever kills us from here on leaves nothing behind.
}

Peer::~Peer() {
  ranks_.clear();  // Its ranks read the end of file, finish their library, and exit.
  const Deadline asked(end_patience);
  for (Process& process : processes_) {
    if (!process.wait(asked)) process.kill(SIGTERM);
  }
  const Deadline told(end_patience);
  for (Process& process : processes_) static_cast<void>(process.wait(told));
}

void Peer::start(const PeerKind& kind, std::uint32_t ranks) {
  const std::string program = find_peer_program(kind.program);
  const std::string socket = folder_.path() + "/s";
  if (program.empty()) {
    fail(ErrorKind::system, "{} is not built; install the library and build again", kind.program);
  }
  Program start;
  start.environment = kind.environment;
  start.output = log_.get();
  if (kind.launcher.empty()) {
    for (std::uint32_t rank = 0; rank < ranks; ++rank) {
      start.path = program;
      start.arguments = {program, socket, fmt::format("{}", rank), fmt::format("{}", ranks),
                         folder_.path()};
      processes_.push_back(Process::start(start));
    }
    return;
  }
  start.path = find_program(kind.launcher);
  if (start.path.empty()) {
    fail(ErrorKind::system, "{} is not installed", kind.launcher.front());
  }
  start.death_signal = SIGTERM;  // Lets mpirun end its ranks.
  start.arguments = {start.path, "-np", fmt::format("{}", ranks)};
  start.arguments.insert(start.arguments.end(), kind.arguments.begin(), kind.arguments.end());
  start.arguments.insert(start.arguments.end(), {program, socket});
  processes_.push_back(Process::start(start));
}

bool Peer::any_ended() {
  return std::ranges::any_of(processes_, [](Process& process) { return !!process.status(); });
}

std::string Peer::last_words() const {
  std::string text(4096, '\0');
  const ssize_t bytes = ::pread(log_.get(), text.data(), text.size(), 0);
  std::istringstream lines(text.substr(0, bytes > 0 ? static_cast<std::size_t>(bytes) : 0));
  std::string line;
  while (std::getline(lines, line)) {
    const bool is_text = line.find_first_not_of("-= \t") != std::string::npos;
    if (is_text) return line;
  }
  return "it said nothing";
}

void Peer::accept_ranks(std::uint32_t ranks) {
  const Deadline deadline(start_patience);
  ranks_.resize(ranks);
  for (std::uint32_t joined = 0; joined < ranks;) {
    Fd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!socket) {
      if (any_ended() || deadline.passed()) {
        fail(ErrorKind::system, "did not start: {}", last_words());
      }
      pollfd wait{listener_.get(), POLLIN, 0};
      ::poll(&wait, 1, 100);
      continue;
    }
    Greeting greeting;
    read_all(socket, &greeting, sizeof greeting, deadline, name_);
    if (greeting.size != ranks || greeting.rank >= ranks || ranks_[greeting.rank]) {
      fail(ErrorKind::system, "started {} ranks instead of {}", greeting.size, ranks);
    }
    greeting.version[sizeof greeting.version - 1] = '\0';
    version_ = greeting.version;
    std::ranges::replace(version_, '\t', ' ');
    ranks_[greeting.rank] = std::move(socket);
    ++joined;
  }
}

std::optional<double> Peer::run_us(const Case& row, const Pace& pace) {
  Order order;
  order.collective = static_cast<std::uint32_t>(row.collective);
  order.type = static_cast<std::uint32_t>(row.type);
  order.op = static_cast<std::uint32_t>(has_operation(row.collective) ? row.op : ReduceOp::sum);
  order.root = index(row.root);
  order.count = total_count(row);
  order.warmup = pace.warmup;
  order.iterations = pace.iterations;
  order.batch = pace.batch;
  for (const Fd& rank : ranks_) {
    if (::send(rank.get(), &order, sizeof order, MSG_NOSIGNAL) !=
        static_cast<ssize_t>(sizeof order)) {
      fail(ErrorKind::remote, "{} is gone: {}", name_, last_words());
    }
  }
  const Deadline deadline(block_patience);
  std::vector<double> slowest;
  bool unsupported = false;
  for (const Fd& rank : ranks_) {
    Answer answer;
    read_all(rank, &answer, sizeof answer, deadline, name_);
    std::vector<double> batches(answer.batches);
    read_all(rank, batches.data(), batches.size() * sizeof(double), deadline, name_);
    unsupported |= answer.status == Answer::Status::unsupported;
    if (answer.status == Answer::Status::wrong) {
      fail(ErrorKind::system, "{} gives wrong sums", name_);
    }
    slowest.resize(std::max(slowest.size(), batches.size()));
    for (std::size_t i = 0; i < batches.size(); ++i) slowest[i] = std::max(slowest[i], batches[i]);
  }
  if (unsupported || slowest.empty()) return std::nullopt;
  return median(slowest) * 1e6;
}

std::vector<std::unique_ptr<Peer>> start_peers(const std::string& transport, std::uint32_t ranks,
                                               std::string& notes) {
  std::vector<std::unique_ptr<Peer>> peers;
  for (const PeerKind& kind : peer_kinds(transport)) {
    try {
      peers.push_back(std::make_unique<Peer>(kind, ranks));
      notes += fmt::format("# Peer {}: {}\n", kind.name, peers.back()->version());
    } catch (const Error& error) {
      notes += fmt::format("# Peer {}: left out, {}\n", kind.name, error.what());
    }
  }
  return peers;
}

}  // namespace accl::perf
