#include "topology/contention/volume.h"

#include <algorithm>
#include <map>

#include "accl/base/near_equal.h"

namespace accl::topology {
namespace {

// Elements of consecutive chunks; scratch chunk c is as large as chunk c modulo `chunks`.
std::uint64_t elements_of(const Slice& slice, std::uint64_t elements, std::uint32_t chunks) {
  const std::uint32_t first = slice.chunk % chunks;
  if (first + slice.count <= chunks) {
    const Range last = near_equal(elements, chunks, first + slice.count - 1);
    return last.begin + last.count - near_equal(elements, chunks, first).begin;
  }
  std::uint64_t sum = 0;
  for (std::uint32_t i = 0; i < slice.count; ++i) {
    sum += near_equal(elements, chunks, (first + i) % chunks).count;
  }
  return sum;
}

}  // namespace

std::vector<PairVolume> volume_by_pair(const Algorithm& algorithm, const Shape& shape,
                                       std::uint64_t elements, std::uint32_t element_bytes) {
  const std::uint32_t chunks = algorithm.chunks(shape);
  std::vector<PairVolume> pairs;
  for (std::uint32_t p = 0; p < shape.size; ++p) {
    StepList list;
    algorithm.emit(shape, Position{p}, list);
    std::map<Position, PairVolume> sent;
    for (const Step& step : list.steps()) {
      if (step.kind != Step::Kind::send) continue;
      const std::uint64_t size = elements_of(step.source, elements, chunks);
      if (size == 0) continue;
      PairVolume& pair =
          sent.try_emplace(step.peer, PairVolume{Position{p}, step.peer}).first->second;
      pair.bytes += size * element_bytes;
      ++pair.messages;
    }
    for (const auto& [peer, pair] : sent) pairs.push_back(pair);
  }
  return pairs;
}

std::vector<std::uint64_t> bytes_by_link(const Fabric& fabric, const Routes& routes,
                                         const Seats& seats, const std::vector<PairVolume>& pairs,
                                         const Sending& sending, std::uint32_t element_bytes) {
  Round all;
  for (const PairVolume& pair : pairs) all.messages.push_back({pair.from, pair.to, 1});
  const RoutedRound routed = route_round(fabric, routes, seats, all, sending);
  std::vector<std::uint64_t> bytes(fabric.graph.links().size());
  std::uint32_t qp = 0;
  for (std::size_t i = 0; i < routed.flows.size(); ++i) {
    const Routed& flow = routed.flows[i];
    qp = i > 0 && routed.flows[i - 1].message == flow.message ? qp + 1 : 0;
    const std::uint64_t elements = pairs[flow.message].bytes / element_bytes;
    const std::uint64_t size = near_equal(elements, sending.qps, qp).count * element_bytes;
    for (const LinkId link : routed.path(flow)) bytes[index(link)] += size;
  }
  return bytes;
}

std::vector<double> most_by_link(const Fabric& fabric, const Routes& routes, const Seats& seats,
                                 const Traffic& traffic, const Sending& sending) {
  std::vector<double> most(fabric.graph.links().size());
  for (const Round& round : traffic.rounds) {
    const std::vector<double> flows =
        flows_by_link(fabric, route_round(fabric, routes, seats, round, sending));
    for (std::size_t i = 0; i < most.size(); ++i) most[i] = std::max(most[i], flows[i]);
  }
  return most;
}

}  // namespace accl::topology
