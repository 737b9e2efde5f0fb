// act.h - one call on one rank: memory of some kind with data of its own, the call through accl.h,
// and the check of every element afterwards.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "accl/accl.h"
#include "bench/perf/pattern.h"
#include "tests/random/draw.h"

namespace accl::test {

// Where this rank stands in the communicator.
struct Seat {
  accl_comm_t* comm = nullptr;
  std::uint32_t rank = 0, size = 1;
};

// Memory at any address: from malloc or accl_alloc, mostly unaligned on purpose, and with bytes
// round it that nobody may touch.
class Buffer {
 public:
  Buffer(std::size_t bytes, Dice& dice);
  ~Buffer();
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  std::span<std::byte> bytes() const { return {base_ + margin, size_}; }
  // Whether somebody wrote outside.
  bool is_spilled() const;

 private:
  static constexpr std::size_t margin = 64;
  const std::size_t size_;
  const bool is_shared_;
  void* memory_ = nullptr;
  std::byte* base_ = nullptr;
};

class Act {
 public:
  // `dice` is this rank's own: in place or not, and what memory, is nobody else's business.
  Act(const Seat& seat, const Draw& draw, Dice& dice);

  // Makes the call. Throws std::runtime_error with the library's words where it fails.
  void run();
  bool is_started() const { return request_ != nullptr; }
  // Ends a started call, by accl_wait or by asking with accl_test.
  void finish(bool asks);

  // What is wrong; empty if every element is right.
  std::string check() const;

  const Draw& draw() const { return draw_; }

 private:
  // Elements of the output, and whose data they must be.
  struct Expected {
    perf::Pattern pattern;
    std::size_t at = 0, count = 0, first = 0;
  };
  // For each rank: elements, and where they begin.
  struct Lists {
    std::vector<std::size_t> counts, offsets;
    std::size_t elements = 0;
    void add(std::size_t count, std::size_t gap);
  };

  void measure();
  void place();
  void expect();
  void expect_lists();
  accl_result_t call();
  accl_result_t call_rooted();
  accl_result_t call_exchange();
  accl_result_t call_started();
  accl_op_t op();
  void require(accl_result_t result) const;

  perf::PatternKey key() const;
  bool reduces() const;
  bool may_be_in_place() const;
  bool has_input() const;
  bool has_output() const;
  std::size_t width() const { return size_of(draw_.type); }
  accl_data_type_t type() const { return static_cast<accl_data_type_t>(draw_.type); }
  int root() const { return static_cast<int>(draw_.root); }
  std::uint32_t ahead() const { return (seat_.rank + draw_.shift) % seat_.size; }
  std::uint32_t behind() const { return (seat_.rank + seat_.size - draw_.shift) % seat_.size; }
  std::uint32_t partner() const { return seat_.rank ^ 1; }  // Of accl_send and accl_recv.
  bool has_partner() const { return partner() < seat_.size; }

  const Seat seat_;
  const Draw draw_;
  Dice& dice_;
  std::size_t send_elements_ = 0, recv_elements_ = 0;
  Lists sent_, got_;  // Of alltoallv.
  std::unique_ptr<Buffer> input_, output_;
  std::byte* send_ = nullptr;
  std::byte* recv_ = nullptr;
  std::vector<Expected> expected_;
  std::vector<std::byte> kept_;  // An input that must not change.
  accl_op_t made_op_ = ACCL_SUM;
  accl_request_t* request_ = nullptr;
};

}  // namespace accl::test
