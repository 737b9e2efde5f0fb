#include "accl/routes.h"

#include <algorithm>
#include <bit>

#include "accl/base/error.h"
#include "accl/calls.h"

namespace accl {
namespace {

Seating seat(const std::vector<Rank>& order, std::uint32_t size) {
  Seating seating;
  if (order.empty()) return seating;
  std::vector<bool> is_seated(size);
  for (const Rank rank : order) {
    if (index(rank) >= size || is_seated[index(rank)] || order.size() != size) {
      fail(ErrorKind::invalid_argument,
           "the order of ranks must name each of 0 to {} once; it has {} entries, one of them {}",
           size - 1, order.size(), index(rank));
    }
    is_seated[index(rank)] = true;
  }
  seating.order = order;
  seating.position.resize(size);
  for (std::uint32_t p = 0; p < size; ++p) seating.position[index(order[p])] = Position{p};
  return seating;
}

void check_algorithm(const std::string& name) {
  if (name == "auto") return;
  for (const Algorithm& algorithm : algorithms()) {
    if (algorithm.name == name) return;
  }
  fail(ErrorKind::invalid_argument, "no algorithm '{}'; allreduce has auto, {}", name,
       algorithm_names(Collective::allreduce));
}

bool is_point_to_point(const Call& call) {
  return call.collective == Collective::sendrecv && (call.to != -2 || call.from != -2);
}

// Steps of one rank for a send to `to` and a receive from `from`, each unless negative.
std::vector<Step> exchange_steps(const Call& call, Rank self) {
  StepList list;
  const bool to_self = call.to == index(self);
  if (to_self != (call.from == index(self))) {
    fail(ErrorKind::invalid_argument,
         "sendrecv: rank {} exchanges with itself one way only; give itself as both peers",
         index(self));
  }
  if (to_self) {
    list.copy(output(0), input(0));
    return list.steps();
  }
  if (call.to >= 0) list.send(input(0), Position{static_cast<std::uint32_t>(call.to)}, output(0));
  if (call.from >= 0) list.recv(output(0), Position{static_cast<std::uint32_t>(call.from)});
  return list.steps();
}

}  // namespace

Routes::Routes(Rank self, std::uint32_t size, std::uint32_t ranks_per_host,
               const CommunicatorOptions& options, SelectionTable table)
    : self_(self),
      size_(size),
      width_(ranks_per_host),
      options_(options),
      table_(std::move(table)),
      seating_(seat(options.order, size)) {
  check_algorithm(options_.algorithm);
}

Routes::Key Routes::key_of(const Call& call) const {
  const std::size_t bytes = call_bytes(call, size_);
  return {.collective = call.collective,
          .root = has_root(call.collective) ? index(call.root) : 0,
          .size_class = bytes <= 1 ? 0u : static_cast<std::uint32_t>(std::bit_width(bytes - 1)),
          .to = call.to,
          .from = call.from};
}

Route& Routes::find(const Call& call, std::string_view transport) {
  const Key key = key_of(call);
  if (last_ != nullptr && key == last_key_) return *last_;
  auto known = std::ranges::find(routes_, key, &std::pair<Key, std::unique_ptr<Route>>::first);
  if (known == routes_.end()) {
    routes_.emplace_back(key, make(call, transport));
    known = routes_.end() - 1;
  }
  last_key_ = key;
  last_ = known->second.get();
  return *last_;
}

Choice Routes::choose(const Call& call, std::string_view transport) const {
  // How much ranks exchange in alltoallv no rank knows alone: it is taken for large.
  constexpr std::uint64_t large = std::uint64_t{1} << 40;
  const std::size_t bytes =
      call.collective == Collective::alltoallv ? large : call_bytes(call, size_);
  const std::uint64_t rounded = bytes <= 1 ? 1 : std::bit_ceil(bytes);
  const bool is_tuned =
      options_.choice && find_algorithm(call.collective, options_.choice->algorithm) != nullptr;
  if (is_tuned && !is_point_to_point(call)) return *options_.choice;
  // A name that this collective does not have was meant for others; it keeps its own choice.
  if (options_.algorithm == "auto" || is_point_to_point(call) ||
      find_algorithm(call.collective, options_.algorithm) == nullptr) {
    return table_.choose(call.collective, size_, rounded, transport);
  }
  return table_.settings_for(options_.algorithm, call.collective, size_, rounded, transport);
}

std::unique_ptr<Route> Routes::make(const Call& call, std::string_view transport) {
  auto route = std::make_unique<Route>();
  route->choice = choose(call, transport);
  route->algorithm = find_algorithm(call.collective, route->choice.algorithm);
  if (is_point_to_point(call)) {
    route->program = std::make_shared<Program>(lower(exchange_steps(call, self_), 1));
  } else {
    route->program = program_for(call, *route->algorithm);
  }
  for (const Position peer : route->program->peers) {
    route->ranks.push_back(is_point_to_point(call) ? Rank{index(peer)} : seating_.rank_at(peer));
  }
  return route;
}

std::shared_ptr<const Program> Routes::program_for(const Call& call, const Algorithm& algorithm) {
  const Rank root = has_root(call.collective) ? call.root : Rank{};
  for (const KnownProgram& known : programs_) {
    if (known.algorithm == &algorithm && known.root == index(root)) return known.program;
  }
  const Shape shape{.size = size_,
                    .root = seating_.seat_of(root),
                    .width = width_,
                    .first = options_.first.value_or(First::near)};
  if (!algorithm.fits(shape)) {
    fail(ErrorKind::invalid_argument, "{} '{}' does not work for {} ranks; use auto or one of {}",
         name_of(call.collective), algorithm.name, size_, algorithm_names(algorithm.collective));
  }
  auto program = std::make_shared<const Program>(lower(algorithm, shape, seating_.seat_of(self_)));
  programs_.push_back({&algorithm, index(root), program});
  return program;
}

}  // namespace accl
