// shm.h - messages between processes of one host, by memory that both map. A pull transport: the
// sender writes into its outbox, the receiver reads (and reduces) from there, nothing is copied in
// between. A peer's death is silence here; the session notices it.
#pragma once

#include <memory>

#include "transport/transport.h"

namespace accl {

// Endpoints need a unix domain socket to meet over: it carries the memory's descriptors.
std::unique_ptr<Transport> make_shm_transport(const Geometry& geometry);

}  // namespace accl
