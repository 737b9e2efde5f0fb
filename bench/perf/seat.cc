#include "bench/perf/seat.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <charconv>
#include <cstdlib>
#include <sstream>

#include "accl/base/error.h"
#include "accl/base/units.h"

namespace accl::perf {
namespace {

constexpr const char* seat_variable = "ACCL_PERF_SEAT";

std::string to_hex(const UniqueId& id) {
  std::string text;
  for (const char byte : id.bytes) text += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return text;
}

bool from_hex(const std::string& text, UniqueId& id) {
  if (text.size() != 2 * id.bytes.size()) return false;
  for (std::size_t i = 0; i < id.bytes.size(); ++i) {
    unsigned char byte = 0;
    const char* const at = text.data() + 2 * i;
    const auto [stop, problem] = std::from_chars(at, at + 2, byte, 16);
    if (problem != std::errc{} || stop != at + 2) return false;
    id.bytes[i] = static_cast<char>(byte);
  }
  return true;
}

Seat parse_seat(const std::string& text) {
  Seat seat;
  std::istringstream words(text);
  std::uint32_t rank = 0;
  int report = -1;
  std::string id;
  if (!(words >> rank >> seat.world >> report >> id) || !from_hex(id, seat.id)) {
    fail(ErrorKind::invalid_argument, "{} is set and is not what accl-perf writes: unset it",
         seat_variable);
  }
  seat.rank = Rank{rank};
  seat.report.reset(report);
  static_cast<void>(::fcntl(report, F_SETFD, FD_CLOEXEC));
  return seat;
}

}  // namespace

std::optional<Seat> find_seat(const Options& options) {
  const std::string passed = environment_text(seat_variable);
  if (!passed.empty()) {
    ::unsetenv(seat_variable);  // Whatever this process starts is no rank of ours.
    return parse_seat(passed);
  }
  if (options.ranks) return std::nullopt;
  Seat seat;
  if (options.rank) {
    seat.rank = Rank{*options.rank};
    seat.world = *options.world;
    seat.id = unique_id_of(options.root_address, "");
    return seat;
  }
  const std::optional<Placement> placement = find_placement();
  if (!placement) return std::nullopt;
  if (placement->root.empty()) {
    fail(ErrorKind::invalid_argument,
         "{} says which rank this is but not where rank 0 listens: set ACCL_ROOT=HOST:PORT",
         placement->launcher);
  }
  seat.rank = Rank{placement->rank};
  seat.world = placement->size;
  seat.id = unique_id_of(placement->root, placement->job);
  return seat;
}

std::string seat_entry(const Seat& seat, int report_fd) {
  return fmt::format("{}={} {} {} {}", seat_variable, index(seat.rank), seat.world, report_fd,
                     to_hex(seat.id));
}

bool is_quiet_rank() {
  if (!environment_text(seat_variable).empty()) return false;
  try {
    const std::optional<Placement> placement = find_placement();
    return placement && placement->rank != 0;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace accl::perf
