#include "tests/transport/table.h"

#include <cstdlib>
#include <utility>

#include "transport/fault/fault.h"
#include "transport/shm/shm.h"
#include "transport/tcp/tcp.h"
#include "transport/trace/trace.h"
#include "transport/ucx/ucx.h"
#include "transport/verbs/verbs.h"

namespace accl::test {
namespace {

// Over the fake libibverbs where ACCL_FAKE_VERBS names it, else over real devices.
TransportRow verbs_row() {
  const char* const fake = std::getenv("ACCL_FAKE_VERBS");
  VerbsOptions options;
  if (fake != nullptr) options.shared_object = fake;
  const auto make = [options](const Geometry& geometry, std::uint32_t me) {
    VerbsOptions own = options;
    own.turn = me;
    return make_verbs_transport(geometry, own);
  };
  return {"verbs", true, make, false, fake != nullptr};
}

}  // namespace

std::vector<TransportRow> transport_rows() {
  return {
      {"tcp", true,
       [](const Geometry& geometry, std::uint32_t) { return make_tcp_transport(geometry); }, true},
      {"ucx", true,
       [](const Geometry& geometry, std::uint32_t) { return make_ucx_transport(geometry); }, true},
      verbs_row(),
      {"shm", false,
       [](const Geometry& geometry, std::uint32_t) { return make_shm_transport(geometry); }},
  };
}

std::vector<DecoratorRow> decorator_rows() {
  using Inner = std::unique_ptr<Transport>;
  const auto fault = [](const char* plan) {
    return
        [plan](Inner inner) { return make_fault_transport(std::move(inner), parse_fault(plan)); };
  };
  return {
      {"plain", [](Inner inner) { return inner; }},
      {"trace",
       [](Inner inner) {
         return make_trace_transport(std::move(inner), std::make_shared<TransportCounters>());
       }},
      {"delay", fault("delay:7")},
      {"refuse", fault("refuse:7")},
  };
}

}  // namespace accl::test
