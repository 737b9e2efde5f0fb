// gate.h - lets in who knows the secret. It accepts connections, reads a preamble of bounded length
// within a bounded time from each, hands the good ones on, and turns the others away with a line in
// the log that names their address. Nobody at the gate can hold up anybody else.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "accl/base/fd.h"
#include "accl/bootstrap/reactor.h"
#include "accl/bootstrap/wire.h"

namespace accl::bootstrap {

class Gate {
 public:
  // The socket's next bytes are those behind the preamble.
  using Admit = std::function<void(Fd socket, const Preamble& preamble)>;

  // At most `limit` newcomers wait at once; one more sends the oldest away.
  Gate(Reactor& reactor, const Secret& secret, std::size_t limit, Admit admit);
  ~Gate();
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  void open(Fd listener);
  void close();  // No more listeners, and nobody at the gate.

 private:
  struct Newcomer {
    Fd socket;
    std::string from;  // Its address.
    std::string bytes;
    Reactor::Timer timer{};
  };

  // A listener's event; then a newcomer's, until it is admitted or turned away.
  void accept_all(int listener);
  bool accept_one(int listener);
  void welcome(Fd socket);
  void read_some(int socket);
  void turn_away(int socket, const std::string& reason);
  void forget(int socket);
  // Out of descriptors: listeners rest a little, instead of spinning on what cannot be accepted.
  void pause();
  int oldest() const;

  Reactor& reactor_;
  const Secret secret_;
  const std::size_t limit_;
  const Admit admit_;
  std::vector<Fd> listeners_;
  std::map<int, Newcomer> newcomers_;
  std::uint64_t turned_away_ = 0;
  Reactor::Timer pause_ = 0;
};

}  // namespace accl::bootstrap
