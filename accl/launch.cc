#include "accl/launch.h"

#include <algorithm>
#include <fstream>
#include <sstream>

#include "accl/accl.h"
#include "accl/base/error.h"
#include "accl/base/log.h"
#include "accl/base/units.h"
#include "accl/job_settings.h"
#include "algorithms/selection.h"

namespace accl {
namespace {

constexpr std::int64_t default_timeout_ms = 30000;
constexpr std::int64_t longest_timeout_ms = 7 * 24 * 3600 * 1000;

LaunchOptions with_environment(LaunchOptions options) {
  auto set = [](std::string& option, const char* variable) {
    const std::string text = environment_text(variable);
    if (option == "auto" && !text.empty()) option = text;
  };
  set(options.communicator.algorithm, "ACCL_ALGO");
  set(options.communicator.transport, "ACCL_TRANSPORT");
  set(options.communicator.intra_host, "ACCL_INTRA_HOST");
  if (!options.timeout) {
    options.timeout = Milliseconds(
        environment_number("ACCL_TIMEOUT_MS", default_timeout_ms, 1, longest_timeout_ms));
  }
  return options;
}

JobSettings read_settings(const LaunchOptions& options, std::uint32_t size) {
  JobSettings settings{.selection = read_selection(options.selection), .rank_map = {}};
  std::string path = options.rank_map;
  if (path.empty()) path = environment_text("ACCL_RANK_MAP");
  if (path.empty() || !options.communicator.order.empty()) return settings;
  settings.rank_map = topology::read_rank_map(path);
  topology::parse_rank_map(settings.rank_map, path, size);  // So that rank 0 names the file.
  return settings;
}

}  // namespace

std::string read_selection(std::string path) {
  if (path.empty()) path = environment_text("ACCL_SELECTION");
  if (path.empty()) return {};
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  if (!file || text.str().empty()) {
    fail(ErrorKind::invalid_argument, "cannot read the selection table '{}'", path);
  }
  SelectionTable::parse(text.str(), path);  // So that the rank that reads it names the line.
  return text.str();
}

const char* const version = ACCL_VERSION;

std::unique_ptr<Communicator> launch(const UniqueId& id, Rank rank, std::uint32_t size,
                                     const LaunchOptions& given) {
  const LaunchOptions options = with_environment(given);
  set_log_name(fmt::format("rank {}", index(rank)));
  JoinOptions join;
  join.id = id;
  join.rank = rank;
  join.size = size;
  join.timeout = *options.timeout;
  join.version = version;
  if (index(rank) == 0) join.settings = read_settings(options, size).pack();
  std::shared_ptr<Session> session = Session::join(join);
  const std::string map = JobSettings::unpack(session->settings()).rank_map;
  CommunicatorOptions communicator = options.communicator;
  if (!map.empty() && communicator.order.empty()) {
    const auto parsed = topology::parse_rank_map(map, "rank 0's rank map", size);
    communicator.order = order_of(parsed, session->members());
    communicator.lanes = lanes_of(parsed, communicator.order, rank);
    if (!communicator.first && parsed.first == "far") communicator.first = First::far;
    const auto place = std::ranges::find(communicator.order, rank) - communicator.order.begin();
    const topology::Seat& seat = parsed.seats[static_cast<std::size_t>(place)];
    communicator.nic = seat.nic;
    const std::string missing = missing_nic(seat);
    if (!missing.empty()) log(LogLevel::warning, "{}", missing);
  }
  return Communicator::create(std::move(session), communicator);
}

std::unique_ptr<Communicator> launch_from_environment(const LaunchOptions& options) {
  const auto placement = find_placement();
  if (!placement) {
    fail(ErrorKind::invalid_usage,
         "no launcher's variables are set; start with mpirun, srun or torchrun, or set ACCL_RANK, "
         "ACCL_WORLD_SIZE and ACCL_ROOT=host:port");
  }
  if (placement->root.empty()) {
    fail(ErrorKind::invalid_usage,
         "{} names no host that all ranks can reach; set ACCL_ROOT=host:port on all of them, the "
         "host being rank 0's",
         placement->launcher);
  }
  const UniqueId id = unique_id_of(placement->root, placement->job);
  return launch(id, Rank{placement->rank}, placement->size, options);
}

}  // namespace accl
