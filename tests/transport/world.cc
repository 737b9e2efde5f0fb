#include "tests/transport/world.h"

#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <exception>
#include <thread>
#include <utility>
#include <vector>

#include "accl/base/error.h"

namespace accl::test {
namespace {

using Body = std::function<void(std::uint32_t, Meetings)>;

void run_guarded(const Body& body, std::uint32_t me, Meetings meetings) {
  try {
    body(me, std::move(meetings));
  } catch (const std::exception& error) {
    ADD_FAILURE() << "rank " << me << ": " << error.what();
  }
}

std::vector<Meetings> make_meetings(std::uint32_t count) {
  std::vector<Meetings> meetings(count);
  for (std::uint32_t low = 0; low < count; ++low) {
    for (std::uint32_t high = low + 1; high < count; ++high) {
      std::tie(meetings[low][high], meetings[high][low]) = connected_pair();
    }
  }
  return meetings;
}

void run_threads(std::vector<Meetings> meetings, const Body& body) {
  std::vector<std::thread> threads;
  for (std::uint32_t me = 0; me < meetings.size(); ++me) {
    threads.emplace_back([&body, me, mine = std::move(meetings[me])]() mutable {
      run_guarded(body, me, std::move(mine));
    });
  }
  for (std::thread& thread : threads) thread.join();
}

pid_t start_process(std::vector<Meetings>& meetings, std::uint32_t me, const Body& body) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  Meetings mine = std::move(meetings[me]);
  meetings.clear();
  run_guarded(body, me, std::move(mine));
  std::fflush(nullptr);
  ::_exit(testing::Test::HasFailure() ? 1 : 0);
}

void run_processes(std::vector<Meetings> meetings, const Body& body) {
  const auto count = static_cast<std::uint32_t>(meetings.size());
  std::vector<pid_t> children;
  for (std::uint32_t me = 0; me < count; ++me) {
    children.push_back(start_process(meetings, me, body));
    ASSERT_GT(children.back(), 0);
  }
  meetings.clear();
  for (std::uint32_t me = 0; me < count; ++me) {
    int status = 0;
    ASSERT_EQ(::waitpid(children[me], &status, 0), children[me]);
    EXPECT_EQ(status, 0) << "rank " << me;
  }
}

}  // namespace

std::pair<Fd, Fd> connected_pair() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    fail_system("socketpair", errno);
  }
  return {Fd(ends[0]), Fd(ends[1])};
}

void run_ranks(std::uint32_t count, As as, const Body& body) {
  std::vector<Meetings> meetings = make_meetings(count);
  as == As::threads ? run_threads(std::move(meetings), body)
                    : run_processes(std::move(meetings), body);
}

std::pair<Joined, Joined> open_pair(std::unique_ptr<Transport> first,
                                    std::unique_ptr<Transport> second) {
  std::pair<Joined, Joined> joined;
  auto [here, there] = connected_pair();
  joined.first.transport = std::move(first);
  joined.second.transport = std::move(second);
  joined.first.endpoint = joined.first.transport->open(Rank(1), std::move(here));
  joined.second.endpoint = joined.second.transport->open(Rank(0), std::move(there));
  return joined;
}

// finish() waits for the other side's finish() in no transport but for its open(); where one needs
// more, this thread alone cannot do, hence the second.
std::pair<Joined, Joined> join_pair(std::unique_ptr<Transport> first,
                                    std::unique_ptr<Transport> second) {
  std::pair<Joined, Joined> joined = open_pair(std::move(first), std::move(second));
  std::thread other([&] { joined.second.endpoint->finish(Deadline(patience)); });
  joined.first.endpoint->finish(Deadline(patience));
  other.join();
  return joined;
}

}  // namespace accl::test
