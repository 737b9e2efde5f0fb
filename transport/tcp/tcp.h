// tcp.h - the push transport over the meeting socket itself, whatever stream socket that is: TCP
// between hosts, a unix socket inside one. It needs nothing but the kernel and works everywhere.
//
// What goes on the wire is in frame.h. Every endpoint owns lanes * ring_bytes of inbox memory,
// which costs nothing until messages touch it. A release travels in front of the next message to
// the same peer, or by itself with the next poll() or arm().
#pragma once

#include <memory>

#include "transport/transport.h"

namespace accl {

struct TcpOptions {
  // Up to this many peers poll() asks every socket; from then on it asks epoll first.
  std::uint32_t few_peers = 3;
};

// Throws Error (invalid_argument) where lanes is not 1..64, or ring_bytes no multiple of 4096
// between 4096 and 1 GiB.
std::unique_ptr<Transport> make_tcp_transport(const Geometry& geometry,
                                              const TcpOptions& options = {});

}  // namespace accl
