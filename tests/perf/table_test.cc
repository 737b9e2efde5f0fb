// Rows, table and JSON file, as scripts that know nccl-tests read them.
#include "bench/perf/table.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "accl/base/error.h"
#include "bench/perf/cases.h"
#include "bench/perf/report.h"
#include "bench/perf/workload.h"
#include "tests/perf/invocation.h"

namespace accl::perf {
namespace {

Measurement measured(double us) {
  Measurement result;
  result.time_us = result.median_us = result.min_us = result.max_us = us;
  result.iterations = 20;
  result.by_rank_us = {{us, us + 2}, {us + 1, us}};
  return result;
}

Row row_of(double us) {
  Row row;
  row.size_bytes = 1048576;
  row.count = 262144;
  row.type = "float";
  row.operation = "sum";
  row.bandwidth_factor = 1.75;
  row.algorithm = "ring";
  row.out_of_place = measured(us);
  row.in_place = measured(us);
  return row;
}

TEST(Table, RowsAreNcclTestsToTheByte) {
  // The line of nccl-tests' documentation for these numbers.
  EXPECT_EQ(row_text({}, row_of(12.34), true),
            "     1048576        262144     float     sum      -1"
            "    12.34   84.97  148.70       0    12.34   84.97  148.70       0\n");
}

TEST(Table, UncheckedRowsSayNotAvailable) {
  const std::string text = row_text({}, row_of(12.34), false);
  EXPECT_NE(text.find("148.70    N/A"), std::string::npos) << text;
}

TEST(Table, PeersFollowTheColumnsThatScriptsRead) {
  Row row = row_of(12.34);
  row.peers = {{"Open MPI", 24.68, 2.0}, {"Gloo", std::nullopt, 0}};
  const std::string plain = row_text({}, row_of(12.34), true);
  EXPECT_EQ(row_text({}, row, true),
            plain.substr(0, plain.size() - 1) + "      24.68   2.00        N/A    N/A\n");
}

TEST(Table, NumbersLoseDigitsBeforeTheyLoseTheirColumn) {
  EXPECT_EQ(number_text(1.234, 7), "   1.23");
  EXPECT_EQ(number_text(12345.67, 7), "12345.7");
  EXPECT_EQ(number_text(1234567.8, 7), "1234568");
  EXPECT_EQ(number_text(123456789.0, 7), "1.2e+08");
}

TEST(Table, FooterIsWhatScriptsLookFor) {
  Totals totals;
  totals.measurements = 2;
  totals.bus_bandwidth_sum = 3;
  EXPECT_NE(
      footer_text({}, totals).find("# Out of bounds values : 0 OK\n# Avg bus bandwidth    : 1.5"),
      std::string::npos)
      << footer_text({}, totals);
  totals.bad_measurements = 1;
  EXPECT_NE(footer_text({}, totals).find(": 1 FAILED"), std::string::npos);
}

TEST(Table, IterationsAreSummedUpOverTheSlowestRank) {
  const IterationStatistics all = iteration_statistics(measured(10), 0);
  EXPECT_DOUBLE_EQ(all.min_us, 11);
  EXPECT_DOUBLE_EQ(all.max_us, 12);
  EXPECT_DOUBLE_EQ(all.average_us, 11.5);
  EXPECT_DOUBLE_EQ(iteration_statistics(measured(10), 1).min_us, 12);
}

const Member members[] = {{.rank = Rank{0},
                           .host = "here",
                           .host_id = 1,
                           .kernel_id = 1,
                           .pid_space = 1,
                           .pid = 4711,
                           .address = "here:1"}};

TEST(Report, HasTheKeysOfNcclTestsAndOurs) {
  const Scratch scratch;
  Options options;
  options.json_path = scratch.path("out.json");
  options.arguments = {"accl-perf", "allreduce"};
  Report report(options, members);
  report.add(row_of(12.34));
  const PeerVersion peers[] = {{"MPICH", "4.0"}};
  report.describe("shm", peers, {});
  EXPECT_EQ(report.write({}), options.json_path);
  const auto json = nlohmann::json::parse(read_whole(options.json_path));
  for (const char* key :
       {"version", "start_time", "args", "env", "nccl_version", "config", "results",
        "out_of_bounds", "average_bus_bandwidth", "errors", "end_time", "accl"}) {
    EXPECT_TRUE(json.contains(key)) << key;
  }
  EXPECT_EQ(json["version"], 3);
  EXPECT_EQ(json["config"]["devices"][0]["pid"], 4711);
  EXPECT_EQ(json["config"]["parallel_init"], "false");
  const auto& result = json["results"][0];
  EXPECT_EQ(result["size"], 1048576);
  EXPECT_EQ(result["redop"], "sum");
  EXPECT_DOUBLE_EQ(result["out_of_place"]["time"], 12.34);
  EXPECT_EQ(result["in_place"]["nwrong"], 0);
  EXPECT_EQ(result["accl"]["algorithm"], "ring");
  EXPECT_DOUBLE_EQ(result["accl"]["time_us_median"], 12.34);
  EXPECT_EQ(json["accl"]["transport"], "shm");
  EXPECT_EQ(json["accl"]["peers"][0]["name"], "MPICH");
}

TEST(Report, NeverOverwrites) {
  const Scratch scratch;
  Options options;
  options.json_path = scratch.write("out.json", "mine");
  EXPECT_EQ(Report(options, members).write({}), options.json_path + ".0");
  EXPECT_EQ(Report(options, members).write({}), options.json_path + ".1");
  EXPECT_EQ(read_whole(options.json_path), "mine");
  EXPECT_EQ(scratch.names(), (std::vector<std::string>{"out.json", "out.json.0", "out.json.1"}));
}

TEST(Workload, ReadsTensorsInOrder) {
  const Scratch scratch;
  const std::string path = scratch.write("w.csv", "# model\nname,elements\nb,3\na,5\n");
  const std::vector<Tensor> tensors = read_workload(path);
  ASSERT_EQ(tensors.size(), 2u);
  EXPECT_EQ(tensors[0].name, "b");
  EXPECT_EQ(tensors[1].elements, 5u);
}

TEST(Workload, BadLinesAreNamed) {
  const Scratch scratch;
  for (const char* text :
       {"", "# nothing\n", "a;5\n", "a,\n", "a,-5\n", "a,0\n", ",5\n", "a,5x\n"}) {
    const std::string path = scratch.write("w.csv", text);
    EXPECT_THROW(read_workload(path), Error) << text;
  }
  const std::string path = scratch.write("w.csv", "a,5\nb,x\n");
  try {
    read_workload(path);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("line 2"), std::string::npos) << error.what();
  }
}

TEST(Workload, FusionKeepsOrderAndLimit) {
  const std::vector<Tensor> tensors{{"a", 4}, {"b", 4}, {"c", 3}, {"d", 20}, {"e", 1}};
  EXPECT_EQ(fuse(tensors, 8), (std::vector<std::size_t>{8, 3, 20, 1}));
  EXPECT_EQ(fuse(tensors, 1), (std::vector<std::size_t>{4, 4, 3, 20, 1}));
  EXPECT_EQ(fuse(tensors, 100), (std::vector<std::size_t>{32}));
}

Options options_for(Collective collective, std::uint64_t from, std::uint64_t to) {
  Options options;
  options.collective = collective;
  options.min_bytes = from;
  options.max_bytes = to;
  return options;
}

TEST(Cases, SizesGrowAsAsked) {
  Options options = options_for(Collective::allreduce, 8, 64);
  EXPECT_EQ(make_cases(options, 4).size(), 4u);
  options.step_factor = 1;
  options.step_bytes = 8;
  EXPECT_EQ(make_cases(options, 4).size(), 8u);
  options.types = {DataType::int8, DataType::float64};
  options.ops = {ReduceOp::sum, ReduceOp::max, ReduceOp::min};
  EXPECT_EQ(make_cases(options, 4).size(), 48u);
  EXPECT_EQ(make_cases(options, 4).back().counts, std::vector<std::size_t>{8});
}

TEST(Cases, SizesAreTotalsWhereRanksHaveBlocks) {
  const Case row = make_cases(options_for(Collective::allgather, 4096, 4096), 4).front();
  EXPECT_EQ(row.counts, std::vector<std::size_t>{256});
  EXPECT_EQ(size_bytes(row, 4), 4096u);
  EXPECT_EQ(send_elements(row, 4), 256u);
  EXPECT_EQ(recv_elements(row, 4), 1024u);
  EXPECT_EQ(operation_name(row), "none");
  EXPECT_EQ(root_number(row), -1);
}

TEST(Cases, BandwidthFactorsAreThoseOfNcclTests) {
  EXPECT_DOUBLE_EQ(bandwidth_factor(Collective::allreduce, 4), 1.5);
  EXPECT_DOUBLE_EQ(bandwidth_factor(Collective::reduce_scatter, 4), 0.75);
  EXPECT_DOUBLE_EQ(bandwidth_factor(Collective::gather, 4), 0.75);
  EXPECT_DOUBLE_EQ(bandwidth_factor(Collective::broadcast, 4), 1);
  EXPECT_DOUBLE_EQ(bandwidth_factor(Collective::sendrecv, 4), 1);
}

TEST(Cases, InPlaceBuffersLieAsTheInterfaceSays) {
  std::byte buffer[64];
  const auto call = [&](Collective collective) {
    const Case row{collective, DataType::float32, ReduceOp::sum, Rank{0}, {2}, {}};
    return make_call(row, 0, Rank{1}, 4, nullptr, buffer, true);
  };
  EXPECT_EQ(call(Collective::allreduce).send, buffer);
  EXPECT_EQ(call(Collective::allreduce).recv, buffer);
  EXPECT_EQ(call(Collective::reduce_scatter).send, buffer);
  EXPECT_EQ(call(Collective::reduce_scatter).recv, buffer + 8);
  EXPECT_EQ(call(Collective::allgather).send, buffer + 8);
  EXPECT_EQ(call(Collective::allgather).recv, buffer);
  EXPECT_EQ(call(Collective::gather).send, buffer + 8);
  EXPECT_EQ(call(Collective::scatter).recv, buffer + 8);
}

}  // namespace
}  // namespace accl::perf
