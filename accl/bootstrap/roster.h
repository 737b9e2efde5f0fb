// roster.h - who takes part, as the root gathers it: requests come in, the table goes out. Pure
// bookkeeping, no sockets.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "accl/base/clock.h"
#include "accl/bootstrap/address.h"
#include "accl/bootstrap/session.h"
#include "accl/bootstrap/wire.h"

namespace accl::bootstrap {

// A process and where it listens.
struct Contact {
  Member member;
  Address address;
  Address data_address;   // For connections that carry data; often the same one.
  std::string unix_name;  // Of its abstract unix socket.
};

// What a process tells the root.
struct Request {
  Contact contact;
  std::uint32_t size = 0;
  std::string version;
  std::string settings;           // Rank 0's; empty from the others.
  std::uint32_t patience_ms = 0;  // How long it will wait from now on.
};

std::string encode(const Request& request);
std::optional<Request> decode_request(std::string_view bytes);

// What the root tells all.
struct Table {
  std::vector<Contact> contacts;  // By rank.
  Secret secret{};                // Of the session; the id's opens only the root.
  std::string settings;
};

std::string encode(const Table& table);
std::optional<Table> decode_table(std::string_view bytes);

// "rank 2 (host a, pid 123)".
std::string describe(const Member& member);

// "rank 3" or "ranks 1, 2, 5" or "ranks 0, 1, 2, 3, 4, 5, 6, 7 and 9 more".
std::string list_ranks(const std::vector<std::uint32_t>& ranks);

class Roster {
 public:
  // Takes a newcomer in. Where it does not fit to those before it: the sentence that all ranks get,
  // which names who differs in what; else empty.
  std::string add(Request request);

  std::uint32_t size() const { return size_; }  // 0 until somebody came.
  bool complete() const { return size_ != 0 && requests_.size() == size_; }
  const Member* find(std::uint32_t rank) const;

  // "ranks 2, 3 of 8 did not come within 5000 ms; ...".
  std::string missing_sentence(Milliseconds waited) const;

  Table table() const;  // Once complete().

 private:
  std::uint32_t size_ = 0;
  std::map<std::uint32_t, Request> requests_;
};

}  // namespace accl::bootstrap
