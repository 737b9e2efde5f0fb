// job_settings_test.cc - what rank 0 sends to all, and which rank takes which seat of a map.
#include "accl/job_settings.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "accl/base/error.h"

namespace accl::test {
namespace {

std::vector<Member> job(const std::vector<std::string>& hosts) {
  std::vector<Member> members;
  for (std::uint32_t r = 0; r < hosts.size(); ++r) {
    members.push_back({.rank = Rank{r}, .host = hosts[r], .address = {}});
  }
  return members;
}

topology::RankMap map_of(const std::vector<std::pair<std::string, std::uint32_t>>& seats) {
  topology::RankMap map;
  for (std::uint32_t p = 0; p < seats.size(); ++p) {
    topology::Seat seat;
    seat.rank = Rank{p};
    seat.host = seats[p].first;
    seat.gpu = seats[p].second;
    map.seats.push_back(seat);
  }
  return map;
}

std::string complaint(const topology::RankMap& map, const std::vector<Member>& members) {
  try {
    static_cast<void>(order_of(map, members));
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

TEST(JobSettings, ComeApartAsTheyWerePacked) {
  for (const JobSettings& each :
       {JobSettings{}, JobSettings{"table\n12\n", ""}, JobSettings{"", "{}"},
        JobSettings{"a table", "{\"version\": 1}\n"}}) {
    const JobSettings again = JobSettings::unpack(each.pack());
    EXPECT_EQ(again.selection, each.selection);
    EXPECT_EQ(again.rank_map, each.rank_map);
  }
}

// The map goes b:1, a:0, b:0, a:1; the launcher numbered hosts one after the other.
TEST(RankOrder, FollowsHostsAndGpusNotTheLaunchersNumbers) {
  const auto map = map_of({{"b", 1}, {"a", 0}, {"b", 0}, {"a", 1}});
  EXPECT_EQ(order_of(map, job({"a", "a", "b", "b"})),
            (std::vector{Rank{3}, Rank{0}, Rank{2}, Rank{1}}));
  EXPECT_EQ(order_of(map, job({"b", "a", "b", "a"})),
            (std::vector{Rank{2}, Rank{1}, Rank{0}, Rank{3}}));
}

TEST(RankOrder, DomainsOfHostNamesDoNotMatter) {
  const auto map = map_of({{"b.cluster", 0}, {"a", 0}});
  EXPECT_EQ(order_of(map, job({"a.cluster", "b"})), (std::vector{Rank{1}, Rank{0}}));
}

// Addresses are no names with domains, and two domains may each have a node1.
TEST(RankOrder, DotsThatTellHostsApartAreKept) {
  const auto addresses = map_of({{"10.0.0.2", 0}, {"10.0.0.1", 0}});
  EXPECT_EQ(order_of(addresses, job({"10.0.0.1", "10.0.0.2"})), (std::vector{Rank{1}, Rank{0}}));
  const auto domains = map_of({{"node1.b", 0}, {"node1.a", 0}});
  EXPECT_EQ(order_of(domains, job({"node1.a", "node1.b"})), (std::vector{Rank{1}, Rank{0}}));
  EXPECT_NE(complaint(domains, job({"node1", "node2"})).find("no host node1"), std::string::npos);
}

// GPUs 2 and 5 of a host: its two ranks take them in this order.
TEST(RankOrder, SomeOfTheGpusOfAHost) {
  const auto map = map_of({{"a", 5}, {"a", 2}, {"b", 0}});
  EXPECT_EQ(order_of(map, job({"a", "a", "b"})), (std::vector{Rank{1}, Rank{0}, Rank{2}}));
}

TEST(RankOrder, OnOneHostARehearsalGoesByNumbers) {
  auto map = map_of({{"b", 1}, {"a", 0}, {"b", 0}, {"a", 1}});
  map.seats[0].rank = Rank{3};
  map.seats[3].rank = Rank{0};
  EXPECT_EQ(order_of(map, job({"x", "x", "x", "x"})),
            (std::vector{Rank{3}, Rank{1}, Rank{2}, Rank{0}}));
}

TEST(RankOrder, WhereJobAndMapDifferTheHostIsNamed) {
  const auto map = map_of({{"b", 1}, {"a", 0}, {"b", 0}, {"a", 1}});
  EXPECT_NE(complaint(map, job({"a", "a", "c", "c"})).find("no host c, where rank 2 runs"),
            std::string::npos);
  EXPECT_NE(complaint(map, job({"a", "b", "b", "b"})).find("2 ranks on host a and the job runs 1"),
            std::string::npos)
      << complaint(map, job({"a", "b", "b", "b"}));
}

// Seats of ranks 1, 0, 2 in the map, of ranks 2, 0, 1 in the job.
TEST(RankMapLanes, GoByTheRanksOfTheJob) {
  auto map = map_of({{"b", 0}, {"a", 0}, {"a", 1}});
  map.seats[0].rank = Rank{1};
  map.seats[1].rank = Rank{0};
  const auto order = order_of(map, job({"a", "a", "b"}));
  ASSERT_EQ(order, (std::vector{Rank{2}, Rank{0}, Rank{1}}));
  EXPECT_EQ(lanes_of(map, order, Rank{0}), std::vector<std::uint32_t>()) << "all are alike";
  map.seats[1].lane = 3;
  map.seats[1].own_lanes = {{Rank{1}, 5}};
  EXPECT_EQ(lanes_of(map, order, Rank{0}), (std::vector<std::uint32_t>{3, 3, 5}));
  EXPECT_EQ(lanes_of(map, order, Rank{2}), (std::vector<std::uint32_t>{0, 0, 0}));
}

TEST(RankMapNic, ADeviceThatIsNotThereIsNamedWithThoseThatAre) {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / fmt::format("accl-devices-{}", ::getpid());
  std::filesystem::create_directories(folder / "mlx5_1");
  std::filesystem::create_directories(folder / "mlx5_0");
  topology::Seat seat;
  EXPECT_EQ(missing_nic(seat, folder), "");  // The map names none.
  seat.nic = "mlx5_1";
  EXPECT_EQ(missing_nic(seat, folder), "");
  seat.nic = "mlx5_7";
  EXPECT_NE(missing_nic(seat, folder).find("mlx5_7 and this host has mlx5_0, mlx5_1"),
            std::string::npos);
  EXPECT_EQ(missing_nic(seat, folder / "nowhere"), "");  // A host without RDMA.
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace accl::test
