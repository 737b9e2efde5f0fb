// Started by launchers in placement_test: finds its place, joins the others, prints one line.
#include <fmt/format.h>

#include "accl/base/error.h"
#include "accl/bootstrap/session.h"

int main() {
  try {
    const std::optional<accl::Placement> place = accl::find_placement();
    if (!place) {
      fmt::print("nothing\n");
      return 0;
    }
    accl::JoinOptions options;
    options.id = accl::unique_id_of(place->root, place->job);
    options.rank = accl::Rank{place->rank};
    options.size = place->size;
    options.timeout = accl::Milliseconds(15000);
    const auto session = accl::Session::join(options);
    fmt::print("{} is {} of {}\n", place->launcher, place->rank, session->members().size());
    return 0;
  } catch (const accl::Error& error) {
    fmt::print("error: {}\n", error.what());
    return 2;
  }
}
