// ucx.h - the push transport over whatever fabric UCX finds: verbs, shared memory, tcp. UCX_TLS,
// UCX_NET_DEVICES and the like stay the user's choice.
//
// Every message is one active message of UCX: a note that says which lane, place and position, and
// the payload. UCX sends small payloads along with the note and fetches large ones by rendezvous,
// straight into the ring. Messages may overtake each other inside UCX; `arrived` only ever covers
// what lies in the inbox without a gap. The meeting socket stays open: it carries the addresses,
// then a farewell, and its end tells of a peer that died.
#pragma once

#include <memory>
#include <string>

#include "transport/transport.h"

namespace accl {

struct UcxOptions {
  std::string shared_object = "libucp.so.0";
  // Longest that the endpoints of a transport together wait, at their end, for peers to take what
  // is on its way to them. Only a peer that lives and does not poll uses it up.
  Milliseconds farewell{500};
};

// Throws Error (system) where UCX is not installed, is too old, or finds no device; Error
// (invalid_argument) where lanes is not 1..64, or ring_bytes no multiple of 4096 between 4096 and
// 1 GiB.
std::unique_ptr<Transport> make_ucx_transport(const Geometry& geometry,
                                              const UcxOptions& options = {});

}  // namespace accl
