// table.h - every transport and every decorator that must behave as transport.h says. A new one is
// a row here, and nothing else.
#pragma once

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "transport/transport.h"

namespace accl::test {

struct TransportRow {
  std::string name;
  bool is_push = false;  // Takes pieces, has no outbox, and sees its peers leave.
  // Of that rank: where there are several NICs, each takes another one.
  std::function<std::unique_ptr<Transport>(const Geometry&, std::uint32_t me)> make;
  bool offers_targets = false;     // expect() may say yes.
  bool is_in_one_process = false;  // A stand-in that reaches no other process.
};

struct DecoratorRow {
  std::string name;
  std::function<std::unique_ptr<Transport>(std::unique_ptr<Transport>)> wrap;
};

// How GoogleTest prints them.
inline void PrintTo(const TransportRow& row, std::ostream* out) { *out << row.name; }
inline void PrintTo(const DecoratorRow& row, std::ostream* out) { *out << row.name; }

std::vector<TransportRow> transport_rows();
std::vector<DecoratorRow> decorator_rows();

}  // namespace accl::test
