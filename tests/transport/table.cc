#include "tests/transport/table.h"

#include <utility>

#include "transport/fault/fault.h"
#include "transport/shm/shm.h"
#include "transport/tcp/tcp.h"
#include "transport/trace/trace.h"
#include "transport/ucx/ucx.h"

namespace accl::test {

std::vector<TransportRow> transport_rows() {
  return {
      {"tcp", true, [](const Geometry& geometry) { return make_tcp_transport(geometry); }},
      {"ucx", true, [](const Geometry& geometry) { return make_ucx_transport(geometry); }},
      {"shm", false, [](const Geometry& geometry) { return make_shm_transport(geometry); }},
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
