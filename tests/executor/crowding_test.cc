// Who shares cores is counted over the machine, whatever hosts and networks its ranks are on.
#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <cstdlib>

#include "accl/bootstrap/identity.h"
#include "accl/connections.h"
#include "tests/bootstrap/crew.h"

namespace accl::test {
namespace {

// Leaves this process the first `count` of its cores; false where it has fewer.
bool keep_cores(int count) {
  cpu_set_t all, kept;
  CPU_ZERO(&kept);
  if (::sched_getaffinity(0, sizeof all, &all) != 0) return false;
  for (int core = 0; core < CPU_SETSIZE && CPU_COUNT(&kept) < count; ++core) {
    if (CPU_ISSET(core, &all)) CPU_SET(core, &kept);
  }
  return CPU_COUNT(&kept) == count && ::sched_setaffinity(0, sizeof kept, &kept) == 0;
}

// What each of two ranks on hosts of their own finds, all of them on the same `cores`.
std::vector<std::string> verdicts(int cores) {
  const UniqueId id = fresh_id();
  Crew crew(2, [&](Stage& stage) -> std::string {
    if (!keep_cores(cores)) return "too few cores";
    ::setenv("ACCL_HOST_ID", fmt::format("host {}", stage.rank()).c_str(), 1);
    const auto session = Session::join(options_for(id, stage.rank(), 2));
    const Connections connections(*session, {Rank{0}, Rank{1}}, session->self(), {});
    stage.say(connections.is_one_host() ? "one host" : "two hosts");
    return connections.is_crowded() ? "crowded" : "free";
  });
  std::vector<std::string> found;
  for (std::uint32_t rank = 0; rank < crew.size(); ++rank) {
    found.push_back(crew.hear(rank));
    if (found.back().ends_with("host") || found.back().ends_with("hosts")) {
      found.back() += ", " + crew.hear(rank);
    }
  }
  return found;
}

using Words = std::vector<std::string>;

TEST(Crowding, RanksOfTwoHostsOnOneCoreYieldToEachOther) {
  EXPECT_EQ(verdicts(1), Words(2, "two hosts, crowded"));
}

TEST(Crowding, RanksWithACoreEachDoNot) {
  const Words found = verdicts(2);
  if (found[0] == "too few cores") GTEST_SKIP() << "this machine gives us one core only";
  EXPECT_EQ(found, Words(2, "two hosts, free"));
}

TEST(Crowding, AnotherNetworkNamespaceIsAnotherHostOnTheSameKernel) {
  Crew crew(1, [](Stage&) -> std::string {
    const std::uint64_t host = bootstrap::host_id();
    const std::uint64_t kernel = bootstrap::kernel_id();
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return "no namespaces here";
    return fmt::format("{} {}", host != bootstrap::host_id(), kernel == bootstrap::kernel_id());
  });
  const std::string found = crew.hear(0);
  if (found == "no namespaces here") GTEST_SKIP() << "this machine gives us no network namespace";
  EXPECT_EQ(found, "true true");
}

}  // namespace
}  // namespace accl::test
