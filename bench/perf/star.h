// star.h - sockets between rank 0 and every other rank, for commands and results. They are the
// benchmark's own, not the library's collectives: what is measured must not carry the measuring,
// and a rank that waits here sleeps, so that somebody else can be measured meanwhile.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "accl/base/fd.h"
#include "accl/bootstrap/session.h"

namespace accl::perf {

class Star {
 public:
  // Collective over the session's ranks; the session must live longer.
  explicit Star(Session& session);

  // At rank 0: sends these bytes to every other rank. Elsewhere: receives as many. Throws
  // Error(remote) that names the rank that is gone.
  void broadcast(std::span<std::byte> bytes);

  // Every rank gives its bytes, any number of them; rank 0 gets all, by rank. Elsewhere empty.
  std::vector<std::vector<std::byte>> gather(std::span<const std::byte> mine);

  Rank self() const { return session_.self(); }
  std::uint32_t size() const { return static_cast<std::uint32_t>(session_.members().size()); }

 private:
  Rank peer(std::size_t socket) const;
  void read_all(std::size_t socket, std::span<std::byte> bytes);
  void write_all(std::size_t socket, std::span<const std::byte> bytes);
  [[noreturn]] void fail_gone(std::size_t socket) const;

  Session& session_;
  std::vector<Fd> sockets_;  // At rank 0: to 1, 2, ...; elsewhere one, to 0.
};

}  // namespace accl::perf
