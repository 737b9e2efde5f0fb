// types_test.cc - every data type and operation through a whole collective, and what the kernels do
// not see: averages, premultiplied sums, which rank's rounding counts.
#include <cmath>
#include <cstring>

#include "accl/scalars.h"
#include "tests/executor/run_ranks.h"

namespace accl::testing {
namespace {

template <class Number>
void put(std::byte* at, double value) {
  const auto number = static_cast<Number>(value);
  std::memcpy(at, &number, sizeof number);
}

// The bits of a small half, bf16 or fp8 number: searched, since decoding is tested on its own.
void put_half(std::byte* at, DataType type, double value) {
  for (std::uint32_t bits = 0; bits < (1u << (8 * size_of(type))); ++bits) {
    std::memcpy(at, &bits, size_of(type));
    if (scalar_as_double(at, type) == value) return;
  }
}

void put_value(std::byte* at, DataType type, double value) {
  switch (type) {
    case DataType::int8:
      return put<std::int8_t>(at, value);
    case DataType::uint8:
      return put<std::uint8_t>(at, value);
    case DataType::int32:
      return put<std::int32_t>(at, value);
    case DataType::uint32:
      return put<std::uint32_t>(at, value);
    case DataType::int64:
      return put<std::int64_t>(at, value);
    case DataType::uint64:
      return put<std::uint64_t>(at, value);
    case DataType::float32:
      return put<float>(at, value);
    case DataType::float64:
      return put<double>(at, value);
    default:
      return put_half(at, type, value);
  }
}

double decode(DataType type, const std::byte* at) {
  return is_floating(type) ? scalar_as_double(at, type)
                           : static_cast<double>(scalar_as_integer(at, type));
}

double input_value(std::uint32_t rank, std::size_t i) {
  return static_cast<double>((rank + i) % 3 + 1);  // 1, 2, 3: products stay small, too.
}

double expected_value(ReduceOp op, std::uint32_t size, std::size_t i) {
  double result = input_value(0, i);
  for (std::uint32_t r = 1; r < size; ++r) {
    const double next = input_value(r, i);
    if (op == ReduceOp::prod) result *= next;
    if (op == ReduceOp::max) result = std::max(result, next);
    if (op == ReduceOp::min) result = std::min(result, next);
    if (op == ReduceOp::sum || op == ReduceOp::avg || op == ReduceOp::premul_sum) result += next;
  }
  return result;
}

double wanted(DataType type, ReduceOp op, std::uint32_t size, std::size_t i) {
  const double value = expected_value(op, size, i);
  if (op == ReduceOp::premul_sum) return 2 * value;
  if (op != ReduceOp::avg) return value;
  return is_floating(type) ? value / size : std::trunc(value / size);
}

void check_operation(Communicator& comm, DataType type, ReduceOp op, std::size_t count) {
  std::vector<std::byte> input(count * size_of(type)), output(count * size_of(type));
  for (std::size_t i = 0; i < count; ++i) {
    put_value(input.data() + i * size_of(type), type, input_value(index(comm.rank()), i));
  }
  Call call{.send = input.data(), .recv = output.data(), .count = count, .type = type, .op = op};
  call.scalar = 2;
  call.integer_scalar = 2;
  comm.run(call);
  const bool is_fp8 = size_of(type) == 1 && is_floating(type);
  for (std::size_t i = 0; i < count; ++i) {
    const double want = wanted(type, op, comm.size(), i);
    const double got = decode(type, output.data() + i * size_of(type));
    // fp8 has two or three bits of mantissa: sums round on their way.
    ASSERT_NEAR(got, want, is_fp8 ? want / 4 : 0)
        << name_of(type) << " " << name_of(op) << " element " << i;
  }
}

void check_operations(Communicator& comm, DataType type) {
  for (int o = 0; o < static_cast<int>(reduce_op_count); ++o) {
    const auto op = static_cast<ReduceOp>(o);
    // An average of thirds is exact in no floating type; four ranks divide exactly.
    if (op == ReduceOp::avg && comm.size() == 3) continue;
    for (const std::size_t count : {1u, 3u, 77u}) check_operation(comm, type, op, count);
  }
}

class EveryType : public ::testing::TestWithParam<int> {};

TEST_P(EveryType, EveryOperationOnThreeAndFourRanks) {
  const auto type = static_cast<DataType>(GetParam());
  for (const char* transport : {"shm", "tcp"}) {
    CommunicatorOptions options;
    options.transport = transport;
    for (const std::uint32_t size : {3u, 4u}) {
      run_ranks(size, options, std::vector<int>(size, 0),
                [&](Communicator& comm) { check_operations(comm, type); });
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, EveryType, ::testing::Range(0, static_cast<int>(data_type_count)),
                         [](const auto& info) {
                           return std::string(name_of(static_cast<DataType>(info.param)));
                         });

// Numbers of many sizes, whose sum depends on the order and on every rounding.
std::vector<float> uneven_numbers(std::uint32_t rank, std::size_t count) {
  std::vector<float> numbers(count);
  for (std::size_t i = 0; i < count; ++i) {
    const auto spread = static_cast<float>((rank * 7919 + i * 104729) % 1000);
    numbers[i] = std::ldexp(1.0f + spread / 999, static_cast<int>((rank + i) % 20));
  }
  return numbers;
}

class EveryAllreduce : public ::testing::TestWithParam<const char*> {};

TEST_P(EveryAllreduce, GivesTheSameBitsOnAllRanks) {
  CommunicatorOptions options;
  options.algorithm = GetParam();
  constexpr std::uint32_t size = 5;
  constexpr std::size_t count = 1001;
  std::vector<std::vector<float>> results(size, std::vector<float>(count));
  run_ranks(size, options, std::vector<int>(size, 0), [&](Communicator& comm) {
    const std::uint32_t rank = index(comm.rank());
    const std::vector<float> input = uneven_numbers(rank, count);
    Call call{.send = input.data(), .recv = results[rank].data(), .count = count};
    call.op = ReduceOp::avg;
    comm.run(call);
  });
  for (std::uint32_t r = 1; r < size; ++r) {
    EXPECT_EQ(std::memcmp(results[r].data(), results[0].data(), count * sizeof(float)), 0)
        << "rank " << r;
  }
}

INSTANTIATE_TEST_SUITE_P(Algorithms, EveryAllreduce,
                         ::testing::Values("ring", "hd", "bruck", "tree", "rd", "oneshot",
                                           "twolevel"));

}  // namespace
}  // namespace accl::testing
