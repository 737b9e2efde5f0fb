// Where a process stands, by variables that are set here and by launchers that are really run.

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <vector>

#include "accl/base/error.h"
#include "accl/bootstrap/unique_id.h"

namespace accl::test {
namespace {

using Variables = std::map<std::string, std::string>;

// Variables of any launcher are taken away for the test, those given are set.
class Environment {
 public:
  explicit Environment(const Variables& variables) {
    for (const char* const name :
         {"ACCL_RANK", "ACCL_WORLD_SIZE", "ACCL_ROOT", "RANK", "WORLD_SIZE", "MASTER_ADDR",
          "MASTER_PORT", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMI_SIZE", "PMI_PORT", "SLURM_PROCID",
          "SLURM_STEP_NODELIST", "SLURM_STEP_NUM_TASKS", "ACCL_SOCKET_FAMILY"}) {
      unsetenv(name);
    }
    for (const auto& [name, value] : variables) set(name, value);
  }
  ~Environment() {
    for (const std::string& name : set_) unsetenv(name.c_str());
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  void set(const std::string& name, const std::string& value) {
    setenv(name.c_str(), value.c_str(), 1);
    set_.push_back(name);
  }

  std::vector<std::string> set_;
};

std::string place(const Variables& variables) {
  const Environment environment(variables);
  try {
    const std::optional<Placement> found = find_placement();
    if (!found) return "nothing";
    return fmt::format("{}: {}/{} at {}", found->launcher, found->rank, found->size, found->root);
  } catch (const Error& error) {
    return error.what();
  }
}

std::string job_of(const Variables& variables) {
  const Environment environment(variables);
  return find_placement().value().job;
}

TEST(Placement, OfOurOwnVariables) {
  EXPECT_EQ(place({}), "nothing");
  EXPECT_EQ(place({{"ACCL_RANK", "1"}, {"ACCL_WORLD_SIZE", "3"}, {"ACCL_ROOT", "a:1"}}),
            "ACCL_RANK: 1/3 at a:1");
  EXPECT_EQ(place({{"ACCL_RANK", "1"}}),
            "ACCL_RANK is set but ACCL_WORLD_SIZE is not; set both, or neither");
  EXPECT_EQ(place({{"ACCL_WORLD_SIZE", "1"}}),
            "ACCL_WORLD_SIZE is set but ACCL_RANK is not; set both, or neither");
  EXPECT_EQ(place({{"ACCL_RANK", "3"}, {"ACCL_WORLD_SIZE", "3"}}),
            "ACCL_RANK=3 but ACCL_WORLD_SIZE=3: ranks go from 0 to 2");
  EXPECT_TRUE(place({{"ACCL_RANK", "x"}, {"ACCL_WORLD_SIZE", "3"}}).starts_with("ACCL_RANK='x': "));
}

TEST(Placement, OfTorchrun) {
  const Variables torchrun{
      {"RANK", "2"}, {"WORLD_SIZE", "4"}, {"MASTER_ADDR", "node1"}, {"MASTER_PORT", "29500"}};
  EXPECT_EQ(place(torchrun), "torchrun: 2/4 at node1:29501");
  Variables v6 = torchrun;
  v6["MASTER_ADDR"] = "fd00::2";
  EXPECT_EQ(place(v6), "torchrun: 2/4 at [fd00::2]:29501");
  Variables ours = torchrun;
  ours["ACCL_ROOT"] = "other:7";
  EXPECT_EQ(place(ours), "torchrun: 2/4 at other:7");
  ours["ACCL_RANK"] = "0";
  ours["ACCL_WORLD_SIZE"] = "1";
  EXPECT_EQ(place(ours), "ACCL_RANK: 0/1 at other:7");
  Variables restarted = torchrun;
  restarted["TORCHELASTIC_RESTART_COUNT"] = "1";
  EXPECT_NE(job_of(torchrun), job_of(restarted));
  Variables broken = torchrun;
  broken.erase("MASTER_PORT");
  EXPECT_EQ(place(broken), "MASTER_ADDR is set but MASTER_PORT is not; set both, or neither");
  EXPECT_EQ(place({{"RANK", "2"}}), "nothing");
}

TEST(Placement, OfSlurm) {
  Variables slurm{{"SLURM_PROCID", "5"},
                  {"SLURM_NTASKS", "8"},
                  {"SLURM_JOB_ID", "17"},
                  {"SLURM_STEP_ID", "0"},
                  {"SLURM_STEP_NODELIST", "rack[02-03,7]n[5-9],x"}};
  const std::string first = place(slurm);
  EXPECT_TRUE(first.starts_with("Slurm: 5/8 at rack02n5:")) << first;
  slurm["SLURM_STEP_ID"] = "1";
  EXPECT_NE(place(slurm), first);
  slurm["SLURM_STEP_NODELIST"] = "single";
  EXPECT_TRUE(place(slurm).starts_with("Slurm: 5/8 at single:"));
  slurm["PMI_RANK"] = "5";  // Slurm's own PMI.
  slurm["PMI_SIZE"] = "8";
  EXPECT_TRUE(place(slurm).starts_with("Slurm: 5/8 at single:"));
  slurm["SLURM_STEP_NODELIST"] = "bad[1-2";
  EXPECT_TRUE(place(slurm).starts_with("SLURM_STEP_NODELIST='bad[1-2'"));
  slurm.erase("SLURM_STEP_NODELIST");
  slurm.erase("PMI_RANK");
  EXPECT_EQ(place(slurm), "nothing");  // A batch script, no step.
}

TEST(Placement, OfRanksOnSeveralHostsNamesNoRoot) {
  EXPECT_EQ(place({{"OMPI_COMM_WORLD_RANK", "1"},
                   {"OMPI_COMM_WORLD_SIZE", "4"},
                   {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}}),
            "Open MPI: 1/4 at ");
  EXPECT_EQ(place({{"PMI_RANK", "1"}, {"PMI_SIZE", "4"}, {"MPI_LOCALNRANKS", "2"}}),
            "MPICH: 1/4 at ");
}

bool is_installed(const std::string& program) {
  return std::system(("command -v " + program + " > /dev/null").c_str()) == 0;
}

std::vector<std::string> lines_of(const std::string& command) {
  const Environment environment({});
  FILE* const pipe = popen((command + " 2>&1 < /dev/null").c_str(), "r");
  std::vector<std::string> lines;
  std::array<char, 1024> line;
  while (fgets(line.data(), line.size(), pipe) != nullptr) {
    lines.emplace_back(line.data());
    lines.back().pop_back();
  }
  EXPECT_EQ(pclose(pipe), 0) << command;
  std::sort(lines.begin(), lines.end());
  return lines;
}

std::string program() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / "placement_program";
}

TEST(Launchers, OpenMpi) {
  if (!is_installed("mpirun.openmpi")) GTEST_SKIP() << "Open MPI is not installed";
  const std::string mpirun = "timeout 60 mpirun.openmpi --allow-run-as-root --oversubscribe -np 3 ";
  const std::vector<std::string> expected{"Open MPI is 0 of 3", "Open MPI is 1 of 3",
                                          "Open MPI is 2 of 3"};
  EXPECT_EQ(lines_of(mpirun + program()), expected);
}

TEST(Launchers, Mpich) {
  if (!is_installed("mpirun.mpich")) GTEST_SKIP() << "MPICH is not installed";
  const std::vector<std::string> expected{"MPICH is 0 of 3", "MPICH is 1 of 3", "MPICH is 2 of 3"};
  EXPECT_EQ(lines_of("timeout 60 mpirun.mpich -np 3 " + program()), expected);
  // A shell between the launcher and the program.
  const std::string wrapped = "timeout 60 mpirun.mpich -np 3 sh -c '" + program() + "; true'";
  EXPECT_EQ(lines_of(wrapped), expected);
}

TEST(Launchers, None) { EXPECT_EQ(lines_of(program()), std::vector<std::string>{"nothing"}); }

}  // namespace
}  // namespace accl::test
