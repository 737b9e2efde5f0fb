// state.h - what the objects of the fake libibverbs are made of, and all that it knows.
#pragma once

#include <infiniband/verbs.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "tests/verbs/fake/fake_verbs.h"

#undef ibv_reg_mr
#undef ibv_query_port

namespace accl::fake {

constexpr std::uint32_t inline_bytes = 128;
constexpr int most_queue_depth = 4096;

// A queue of fixed length: nothing on the data path may allocate.
template <class Item>
class Line {
 public:
  explicit Line(std::size_t most) : items_(most) {}
  std::size_t size() const { return next_ - first_; }
  bool is_full() const { return size() == items_.size(); }
  bool is_empty() const { return next_ == first_; }
  Item& front() { return items_[first_ % items_.size()]; }
  void push(const Item& item) { items_[next_++ % items_.size()] = item; }
  void pop() { ++first_; }

 private:
  std::vector<Item> items_;
  std::size_t first_ = 0, next_ = 0;
};

struct Context;

struct Cq : ibv_cq {
  explicit Cq(std::size_t depth) : ibv_cq{}, done(depth) {}
  Line<ibv_wc> done;
  bool is_armed = false;
  int unacknowledged = 0;
  int users = 0;
};

struct Channel : ibv_comp_channel {
  Channel() : ibv_comp_channel{}, events(1024) {}
  Line<Cq*> events;
  int users = 0;
};

struct Mr : ibv_mr {
  Mr() : ibv_mr{} {}
  int access = 0;
  bool is_dma_buf = false;
  // Where the bytes are that `addr` names: what was mapped there at registration, whatever is now,
  // as a device sees it that has pinned the pages.
  std::byte* bytes = nullptr;
  void* mapping = nullptr;  // Ours, that has them; null: they are the caller's.
  std::size_t mapped = 0;
};

struct Pd : ibv_pd {
  Pd() : ibv_pd{} {}
  int users = 0;
};

struct Request {
  std::uint64_t id = 0;
  bool is_signalled = false;
};

struct Qp;

// The side of a queue pair that takes requests by ibv_wr_*: what was said since ibv_wr_start.
struct Extended : ibv_qp_ex {
  struct Said {
    ibv_send_wr request{};
    std::array<ibv_sge, 4> pieces{};
    std::array<std::byte, inline_bytes> inlined{};
    bool has_data = false;
  };
  explicit Extended(Qp& owner) : ibv_qp_ex{}, owner(owner) {}
  Qp& owner;
  std::uint64_t operations = 0;  // That were asked for.
  bool is_open = false;          // Between start and complete or abort.
  int error = 0;
  std::vector<Said> said;  // It never grows.
  std::size_t count = 0;
};

struct Qp : ibv_qp {
  Qp(std::size_t sends, std::size_t receives)
      : ibv_qp{}, sends(sends), receives(receives), waiting(sends) {}
  std::unique_ptr<Extended> extended{};  // Null: only ibv_post_send will do.
  Line<Request> sends;                   // That have left and whose place nobody knows to be free.
  Line<std::uint64_t> receives;
  struct Late {  // A message for which the peer had no receive.
    ibv_wc_opcode opcode{};
    std::uint32_t value = 0;
    std::uint32_t bytes = 0;
    Request request;
  };
  Line<Late> waiting;
  std::uint32_t peer = 0;
  std::uint32_t first_sent = 0, first_awaited = 0;
  ibv_ah_attr path{};
  std::uint32_t looks_until_drained = 0;
  std::size_t gathers = 0;
};

struct Context {
  verbs_context extended{};  // Its last member is what callers hold.
  std::deque<ibv_event_type> events;
  std::uint32_t index = 0;
  int users = 0;
};

// A request that is under way, with what it gathers; the bytes stay where they are.
struct Held {
  std::uint32_t queue = 0;
  ibv_send_wr wr{};
  std::array<ibv_sge, 4> pieces{};
};

ibv_context& base_of(Context& context);
Context& context_of(const ibv_context* context);

struct State {
  std::mutex mutex;
  std::array<ibv_device, 16> devices{};
  std::uint32_t device_count = 1;
  std::uint8_t port_count = 1;
  std::map<std::uint32_t, Qp*> queues;   // By number.
  std::map<std::uint32_t, Mr*> regions;  // By key.
  std::vector<Context*> contexts;
  std::vector<std::uint32_t> labels;
  std::uint32_t next_number = 100;
  std::uint32_t living = 0;
  std::string violation;
  std::uint32_t calls = 0, failing_call = 0;
  int failing_errno = 0;
  std::uint32_t posted = 0, breaking_request = 0;
  int breaking_status = 0;
  bool is_broken_delivered = false;
  std::uint32_t dead_links = 0, down_ports = 0;  // By device, a bit each.
  std::uint32_t looking_ms = 0;
  int holding = 0;  // As fake_verbs_hold says.
  std::deque<Held> held;
  FakeVerbsCounts counts{};
  int dma_buf_error = 0;
  int extended_error = 0;
  int looks_until_drained = 0;
  int mlx5 = 0;  // As fake_verbs_set_mlx5 says.
  std::array<std::uint64_t, 1 << 14> sent_by_label{};
  bool refuses_relaxed = false;
  FakePeerMemory* peer_memory = nullptr;
  FakeRecorder* recorder = nullptr;
};

State& state();

using Lock = std::lock_guard<std::mutex>;

// Notes a duty that the caller neglected: the first one counts.
void violate(const char* what);

bool has_link(const ibv_context* context);

// To every context of the device.
void raise_event(std::uint32_t device, ibv_event_type type);

// Whether this call is the one that must fail; errno is set then.
bool fails();

// The region of this key if it holds these bytes; null otherwise.
const Mr* region_of(std::uint32_t key, std::uint64_t address, std::uint64_t bytes);

// Of an address in a region: where the bytes are.
std::byte* bytes_at(const Mr& region, std::uint64_t address);

// Counts an object out. EBUSY, and a neglected duty, while others use it.
template <class Object>
int end_object(Object* object, int users) {
  if (users > 0) {
    violate("an object ended before those that use it");
    return EBUSY;
  }
  --state().living;
  delete object;
  return 0;
}

// A queue pair of the new calls; null, and errno, where there shall be none.
ibv_qp* create_qp_ex(ibv_context* context, ibv_qp_init_attr_ex* attributes);
// The part that both kinds have in common.
Qp* make_queue_pair(ibv_pd* pd, ibv_qp_init_attr& attributes);

// Whoever holds the lock posts a chain. Gives errno, and what it was that was refused.
int post_chain(Qp& qp, ibv_send_wr* wr, ibv_send_wr** refused);

// The data path, as a context's operations.
int post_send(ibv_qp* pair, ibv_send_wr* wr, ibv_send_wr** refused);
int post_recv(ibv_qp* pair, ibv_recv_wr* wr, ibv_recv_wr** refused);
int poll_cq(ibv_cq* queue, int most, ibv_wc* wc);
int req_notify_cq(ibv_cq* queue, int solicited_only);

// What was under way arrives.
void let_go();

// All that is posted ends, as hardware does it.
void fall_into_error(Qp& qp);

}  // namespace accl::fake
