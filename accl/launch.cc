#include "accl/launch.h"

#include <fstream>
#include <sstream>

#include "accl/accl.h"
#include "accl/base/error.h"
#include "accl/base/log.h"
#include "accl/base/units.h"
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
  if (!options.timeout) {
    options.timeout = Milliseconds(
        environment_number("ACCL_TIMEOUT_MS", default_timeout_ms, 1, longest_timeout_ms));
  }
  return options;
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
  if (index(rank) == 0) join.settings = read_selection(options.selection);
  return Communicator::create(Session::join(join), options.communicator);
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
