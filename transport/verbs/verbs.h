// verbs.h - the push transport this library exists for: RDMA writes over queue pairs of its own,
// on InfiniBand or RoCE, by libibverbs. docs/rdma.md tells users about it; settings.h has what the
// environment may say.
//
// The meeting socket stays open: it carries the addresses of the queues, then a farewell, and its
// end tells of a peer that died, whatever the device's timers do.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "transport/transport.h"
#include "transport/verbs/settings.h"

namespace accl {

struct VerbsOptions {
  std::string shared_object = "libibverbs.so.1";
  std::optional<verbs::Settings> settings{};  // Empty: the environment's.
  // Of the ports the settings admit, this rank uses that of `device`, where there is such a one;
  // else number `turn` modulo their count, or, where `uses_all` is set, all of them.
  std::string device{};
  std::uint32_t turn = 0;
  bool uses_all = false;
  // By peer: the path of ACCL_IB_PATHS that all lanes to it take. Empty: each lane takes another.
  std::vector<std::uint32_t> network_paths{};
  // Longest that the endpoints of a transport together wait, at their end, for acknowledgements.
  Milliseconds farewell{500};
};

// Throws Error (system) where libibverbs is not installed or there is no port whose link is up;
// Error (invalid_argument) for settings that cannot be and for a geometry as in greeting.h.
std::unique_ptr<Transport> make_verbs_transport(const Geometry& geometry,
                                                const VerbsOptions& options = {});

}  // namespace accl
