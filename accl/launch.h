// launch.h - from an id, or from what a launcher left in the environment, to a communicator of all
// ranks. Settings come from the environment here and nowhere else: ACCL_ALGO, ACCL_TRANSPORT,
// ACCL_INTRA_HOST, ACCL_TIMEOUT_MS, ACCL_SELECTION and ACCL_RANK_MAP (files, which rank 0 reads and
// sends to all).
#pragma once

#include <memory>
#include <optional>

#include "accl/base/clock.h"
#include "accl/bootstrap/unique_id.h"
#include "accl/communicator.h"

namespace accl {

extern const char* const version;

struct LaunchOptions {
  CommunicatorOptions communicator;     // "auto" is overridden by the environment.
  std::optional<Milliseconds> timeout;  // Otherwise ACCL_TIMEOUT_MS, or 30 s.
  std::string selection;                // Path of a table; empty: ACCL_SELECTION, or built in.
  // Path of a rankmap.json; empty: ACCL_RANK_MAP, or rank r at position r. Not read where the
  // communicator's options have an order.
  std::string rank_map;
};

// The text of the table at this path (empty: of the one in ACCL_SELECTION); empty where none is
// named. Throws Error(invalid_argument) with file and line where it cannot be read or is no table.
std::string read_selection(std::string path);

// Throws Error naming the variable, file, rank or address that is wrong.
std::unique_ptr<Communicator> launch(const UniqueId& id, Rank rank, std::uint32_t size,
                                     const LaunchOptions& options);
std::unique_ptr<Communicator> launch_from_environment(const LaunchOptions& options);

}  // namespace accl
