#include "accl/group.h"

#include <poll.h>

#include <algorithm>
#include <bit>
#include <new>

#include "accl/base/assert.h"
#include "accl/base/error.h"
#include "accl/base/mix.h"
#include "accl/base/units.h"
#include "accl/calls.h"
#include "accl/job_settings.h"
#include "accl/runs.h"
#include "accl/scalars.h"

namespace accl {
namespace {

// Of a slice of reduce: by ring, all but the root hold that much on their way.
constexpr std::size_t reduce_bytes = 4 << 20;

// From here on output goes round the cache: it would push out the rings.
constexpr std::size_t stream_bytes = 16u << 20;
// A verdict is due in a second, on a host with many more ranks than cores somewhat later; this is
// for a rank that is itself cut off from the others.
constexpr Milliseconds longest_verdict{6000};

Rank rank_in(std::span<const Rank> ranks, Rank in_session) {
  const auto at = std::ranges::find(ranks, in_session);
  ACCL_ASSERT(at != ranks.end(), index(in_session));
  return Rank{static_cast<std::uint32_t>(at - ranks.begin())};
}

// Positions per host where all hosts have the same number and theirs are neighbours; else 1. An
// order that is no permutation is refused later; here it only must do no harm.
std::uint32_t positions_per_host(const Session& session, std::span<const Rank> ranks,
                                 std::span<const Rank> order) {
  const auto members = session.members();
  const bool is_seated = order.size() == ranks.size();
  auto host = [&](std::size_t p) {
    const std::size_t rank = is_seated ? index(order[p]) % ranks.size() : p;
    return members[index(ranks[rank])].host_id;
  };
  std::size_t width = 1;
  while (width < ranks.size() && host(width) == host(0)) ++width;
  if (ranks.size() % width != 0) return 1;
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    const bool starts = r % width == 0;
    if (!starts && host(r) != host(r - 1)) return 1;
    if (starts && r > 0 && host(r) == host(r - 1)) return 1;
  }
  return static_cast<std::uint32_t>(width);
}

// Point to point is between two ranks, and has no number.
bool is_collective(const Call& call) { return call.to == -2 && call.from == -2; }

SelectionTable table_of(const Session& session) {
  const std::string table = JobSettings::unpack(session.settings()).selection;
  if (table.empty()) return SelectionTable::built_in();
  return SelectionTable::parse(table, "rank 0's selection table");
}

}  // namespace

Group::Group(std::shared_ptr<Session> session, std::vector<Rank> ranks, std::uint64_t topic,
             const CommunicatorOptions& options)
    : session_(std::move(session)),
      ranks_(std::move(ranks)),
      topic_(topic),
      options_(options),
      self_(rank_in(ranks_, session_->self())),
      watch_(session_->watch(topic, ranks_)),
      connections_(*session_, ranks_, self_,
                   {.transport = options.transport,
                    .intra_host = options.intra_host,
                    .fault = options.fault,
                    .topic = topic,
                    .lanes = options.lanes,
                    .nic = options.nic,
                    .counters = options.counters}),
      expected_transport_(connections_.expected()),
      routes_(self_, size(), positions_per_host(*session_, ranks_, options.order), options,
              table_of(*session_)),
      idle_(connections_, executor_, *watch_, session_->timeout()) {
  lifeline_->group = this;
  watch_->set_witness([this] { return connections_.dead_paths(); });
}

Group::~Group() {
  {
    const std::lock_guard lock(lifeline_->mutex);
    lifeline_->group = nullptr;
  }
  watch_->set_witness({});
  {
    const Lock lock(mutex_);
    is_stopping_ = true;
  }
  wake_.notify_all();
  if (server_.joinable()) server_.join();
}

void Group::run(const Call& call) {
  const Lock lock = enter();
  while (!pending_.empty()) {  // Calls happen in the order they were made.
    begin_next();
    drive_pending();
  }
  run_now(call);
}

// The lock, with the progress thread told to step back if it is in the way.
Group::Lock Group::enter() {
  Lock lock(mutex_, std::try_to_lock);
  if (lock.owns_lock()) return lock;
  waiters_.fetch_add(1, std::memory_order_relaxed);
  lock.lock();
  waiters_.fetch_sub(1, std::memory_order_relaxed);
  return lock;
}

void Group::run_now(const Call& call) {
  if (failed_) throw *failed_;
  if (straights_.find(call) == nullptr) validate(call, size(), self_);
  if (is_nothing(call)) return;
  try {
    begin(call);
    drive();
    end();
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::invalid_argument) throw;
    failed_ = settle(error);
    throw *failed_;
  }
}

// What this rank gives for a failure from now on; its memory is the caller's again. What only this
// rank can know all others are told; for the rest the verdict is awaited that all ranks give: a
// peer that closed its connection may have done so because of a third one.
Error Group::settle(const Error& error) {
  Error settled = verdict_for(error);
  connections_.withdraw();
  return settled;
}

Error Group::verdict_for(const Error& error) {
  if (watch_->failed()) return watch_->verdict();
  if (error.kind() == ErrorKind::system || error.kind() == ErrorKind::invalid_usage) {
    watch_->give_up(error.what());
    return error;
  }
  const Deadline deadline(longest_verdict);
  pollfd wait{.fd = watch_->event_fd(), .events = POLLIN, .revents = 0};
  while (!watch_->failed() && !deadline.passed()) ::poll(&wait, 1, deadline.left_ms());
  return watch_->failed() ? watch_->verdict() : error;
}

void Group::open(Route& route) {
  connections_.open(route.ranks, *watch_);
  for (const Rank rank : route.ranks) route.peers.push_back(connections_.lanes(rank));
  route.is_open = true;
  if (connections_.needs_care()) ensure_server();
}

void Group::begin(const Call& call) {
  if (watch_->failed()) throw watch_->verdict();
  has_run_ = true;
  try {
    bind_and_begin(call);
  } catch (const std::bad_alloc&) {  // The others may be in the call already: they must be told.
    fail(ErrorKind::system, "out of memory for {} of {} {}", name_of(call.collective), call.count,
         name_of(call.type));
  }
}

void Group::bind_and_begin(const Call& call) {
  if (Straight* const straight = straights_.find(call)) {
    is_bound_ = false;
    current_ = &straight->route();
    publish(call, *current_);
    return begin_straight(call, *straight);
  }
  if (is_bound_ && is_same(call, bound_call_)) {
    publish(call, *current_);
    executor_.begin_again(tag_of(call, bound_shape_));
    return;
  }
  is_bound_ = false;
  Route& route = routes_.find(call, expected_transport_);
  current_ = &route;
  // Before connections open: where one does not, the others must see which call we are in.
  publish(call, route);
  if (!route.is_open) open(route);
  bound_shape_ = shape_of(call, route);
  Binding binding = bind(call, route);
  if (auto straight = Straight::make(call, route, binding, bound_shape_)) {
    held_.clear();  // It copies, so nobody looks at the user's memory.
    return begin_straight(call, *straights_.add(call, std::move(straight)));
  }
  binding.tag = tag_of(call, bound_shape_);
  executor_.begin(binding);
  // A shared buffer is looked up anew each time: it may have been freed.
  is_bound_ = held_.empty() && call.collective != Collective::alltoallv;
  bound_call_ = call;
}

void Group::begin_straight(const Call& call, Straight& straight) {
  straight.begin(call.send, call.recv, tag_of(call, straight.shape()));
  executor_.begin(straight);
}

void Group::end() {
  CallBoard& board = watch_->board();
  board.finished.store(calls_, std::memory_order_relaxed);
  board.waiting_for.store(-1, std::memory_order_relaxed);
  if (!held_.empty()) held_.clear();
}

void Group::drive() {
  idle_.moved();
  bool has_news = true;
  while (!drive_some(has_news)) has_news = idle_.wait(current_->peers);
}

// Goes on as far as it can; true when the call is done. `has_news`: something may have come since
// the executor last tried.
bool Group::drive_some(bool has_news) {
  while (connections_.poll() || has_news) {
    has_news = executor_.advance();
    if (executor_.is_done()) return true;
    if (!has_news) return false;
    idle_.moved();
  }
  return false;
}

// Point to point is no call of all ranks, so it has no number and nothing to compare.
void Group::publish(const Call& call, const Route& route) {
  if (!is_collective(call)) return;
  CallBoard& board = watch_->board();
  ++calls_;
  constexpr auto relaxed = std::memory_order_relaxed;
  board.collective.store(static_cast<std::uint32_t>(call.collective), relaxed);
  board.type.store(static_cast<std::uint32_t>(call.type), relaxed);
  board.op.store(is_reduction(call.collective) ? static_cast<std::uint32_t>(call.op) : 0, relaxed);
  board.root.store(has_root(call.collective) ? index(call.root) : 0, relaxed);
  board.count.store(call.count, relaxed);
  board.algorithm.store(static_cast<std::uint32_t>(route.algorithm - algorithms().data()), relaxed);
  board.call.store(calls_, std::memory_order_release);
}

std::string Group::algorithm_for(const Call& call) const {
  return routes_.choose(call, expected_transport_).algorithm;
}

std::unique_ptr<Communicator> Group::split(int color, int key) {
  // Everyone adds its own two numbers to zeros: every algorithm that a user may have asked for can
  // allreduce, while some of them gather only among an even number of ranks.
  std::vector<std::int64_t> all(std::size_t{2} * size());
  all[2 * index(self_)] = color;
  all[2 * index(self_) + 1] = key;
  run({.collective = Collective::allreduce,
       .send = all.data(),
       .recv = all.data(),
       .count = all.size(),
       .type = DataType::int64});
  const std::uint32_t number = ++splits_;
  if (color < 0) return nullptr;
  std::vector<std::pair<std::int64_t, Rank>> chosen;  // Key, rank here.
  for (std::uint32_t r = 0; r < size(); ++r) {
    if (all[2 * r] == color) chosen.emplace_back(all[2 * r + 1], Rank{r});
  }
  std::ranges::sort(chosen);
  std::vector<Rank> ranks;
  for (const auto& [order_key, rank] : chosen) ranks.push_back(ranks_[index(rank)]);
  CommunicatorOptions options = options_;
  if (!options.order.empty()) options.first.reset();  // It was the map's, as the order:
  options.order.clear();                              // that one names the parent's ranks.
  options.counters.reset();
  const std::uint64_t topic = mix(mix(topic_ + number) + static_cast<std::uint64_t>(color));
  return std::make_unique<Group>(session_, std::move(ranks), topic, options);
}

std::unique_ptr<Communicator> Group::counting(std::shared_ptr<TransportCounters> counters) {
  CommunicatorOptions options = options_;
  options.counters = std::move(counters);
  return std::make_unique<Group>(session_, ranks_, mix(mix(topic_ + ++splits_)), options);
}

// --- Binding a call to memory -------------------------------------------------------------------

Binding Group::bind(const Call& call, Route& route) {
  Binding binding;
  binding.program = route.program.get();
  binding.peers = route.peers;
  binding.type = call.type;
  binding.width = std::min(route.choice.in_flight, most_lanes);
  lay_out(call, route, binding);
  bind_memory(call, binding);
  if (is_reduction(call.collective)) bind_arithmetic(call, binding);
  if (call.collective == Collective::barrier) {
    binding.kernel = reduce_kernel(DataType::uint8, ReduceOp::max);
  }
  return binding;
}

// What all ranks of a call must have alike, but for its number.
std::uint64_t Group::shape_of(const Call& call, const Route& route) const {
  const bool has_counts = call.collective == Collective::alltoallv || !is_collective(call);
  std::uint64_t shape = static_cast<std::uint64_t>(call.collective) << 40 |
                        static_cast<std::uint64_t>(call.type) << 32 | index(call.root);
  if (!has_counts) shape = mix(shape ^ call.count);
  if (!is_collective(call)) return mix(shape);
  return mix(shape + (static_cast<std::uint64_t>(call.op) << 16) +
             static_cast<std::uint64_t>(route.algorithm - algorithms().data()));
}

std::uint32_t Group::tag_of(const Call& call, std::uint64_t shape) const {
  const std::uint64_t number = is_collective(call) ? calls_ : 0;
  return static_cast<std::uint32_t>(mix(shape + number * 0x9e3779b97f4a7c15) >> 32);
}

void Group::lay_out(const Call& call, const Route& route, Binding& binding) {
  const std::size_t element = size_of(call.type);
  const std::uint32_t chunks = route.program->chunks;
  const std::uint32_t most = Lane::largest_message(connections_.ring_bytes());
  const std::uint32_t slice = route.choice.slice_bytes;
  const std::size_t message = slice == 0 ? most : std::min(slice, most);
  // Elements of a chunk in one slice, whole cache lines where it can be.
  std::size_t per_chunk = std::max<std::size_t>(1, message / route.program->largest / element);
  if (call.collective == Collective::reduce) {
    per_chunk = std::min(per_chunk, std::max<std::size_t>(1, reduce_bytes / chunks / element));
  }
  const std::size_t line = ring_unit_bytes / element;
  if (per_chunk > line) per_chunk = per_chunk / line * line;
  const std::span<const Rank> order = routes_.seating().order;
  if (call.collective == Collective::alltoallv) {
    binding.input_layout = Layout::extents(call.send_counts, call.send_offsets, per_chunk, order);
    binding.output_layout = Layout::extents(call.recv_counts, call.recv_offsets, per_chunk, order);
  } else if (is_blocks(call.collective)) {
    binding.input_layout = Layout::blocks(call.count, chunks, size(), per_chunk, order);
    binding.output_layout = binding.input_layout;
  } else {
    const bool is_barrier = call.collective == Collective::barrier;
    binding.input_layout = Layout::whole(is_barrier ? 1 : call.count, chunks, per_chunk);
    const bool own_count = call.collective == Collective::sendrecv && call.from >= -1;
    binding.output_layout =
        own_count ? Layout::whole(call.recv_count, chunks, per_chunk) : binding.input_layout;
  }
}

void Group::bind_memory(const Call& call, Binding& binding) {
  if (call.collective == Collective::barrier) {
    binding.type = DataType::uint8;
    binding.input = {.base = reinterpret_cast<std::byte*>(&barrier_bytes_[0])};
    binding.output = {.base = reinterpret_cast<std::byte*>(&barrier_bytes_[1])};
    return;
  }
  binding.input = user_buffer(input_base(call, self_), call.send);
  binding.output = user_buffer(output_base(call, self_), call.recv);
  binding.is_in_place = binding.input.base == binding.output.base;
  if (call_bytes(call, size()) >= stream_bytes) binding.store = Store::stream;
}

UserBuffer Group::user_buffer(std::byte* base, const void* memory) {
  UserBuffer buffer{.base = base};
  auto block = process_heap().find(memory, 1);
  if (block == nullptr) return buffer;
  const Region* const region = know(block);
  if (region != nullptr) {
    buffer.is_shared = true;
    buffer.key = region->key();
    buffer.region = block->segment.bytes().data();
  }
  held_.push_back(std::move(block));
  return buffer;
}

// Tells the transports of the block, and drops those that were freed. Gives how ranks of this host
// may look at it; null: they cannot.
const Region* Group::know(const std::shared_ptr<const HeapBlock>& block) {
  std::erase_if(blocks_, [](const auto& entry) { return entry.second.block.use_count() == 1; });
  KnownBlock& known = blocks_[block->segment.cookie];
  known.block = block;
  if (known.shared == nullptr) known.shared = connections_.share(block->memory());
  if (!known.was_offered && connections_.has_network()) {
    known.was_offered = true;
    known.network = connections_.offer_to_network(block->memory());
  }
  return known.shared.get();
}

void Group::bind_arithmetic(const Call& call, Binding& binding) {
  binding.kernel = reduce_kernel(call.type, call.op);
  if (call.op == ReduceOp::premul_sum) {
    binding.scaling = {true, call.scalar, call.integer_scalar};
  }
  if (call.op != ReduceOp::avg) return;
  if (is_floating(call.type)) {
    binding.scaling = {true, 1.0 / size(), 1};
    return;
  }
  binding.divide_by = size();
  const std::uint32_t chunks = binding.program->chunks;
  const std::uint32_t seat = index(routes_.seating().seat_of(self_));
  if (call.collective == Collective::allreduce) binding.divided = output(0, chunks);
  if (call.collective == Collective::reduce_scatter) {
    binding.divided = output(seat * (chunks / size()), chunks / size());
  }
  if (call.collective == Collective::reduce && call.root == self_) {
    binding.divided = output(0, chunks);
  }
  if (binding.divided.count == 0) binding.divide_by = 0;
}

}  // namespace accl
