// run_ranks.h - ranks as threads, each with a communicator over a local session.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "accl/communicator.h"
#include "tests/executor/local_session.h"

namespace accl::testing {

// Runs `body` on every rank, each a thread with its communicator. Errors fail the test.
inline void run_ranks(std::uint32_t size, const CommunicatorOptions& options,
                      const std::vector<int>& hosts,
                      const std::function<void(Communicator&)>& body) {
  const auto meeting = std::make_shared<Meeting>();
  std::vector<std::thread> threads;
  std::vector<std::string> errors(size);
  for (std::uint32_t r = 0; r < size; ++r) {
    threads.emplace_back([&, r] {
      try {
        auto session = std::make_shared<LocalSession>(meeting, Rank{r}, hosts);
        const auto communicator = Communicator::create(session, options);
        body(*communicator);
        // Nobody closes its connections while another may still read from them.
        communicator->run({.collective = Collective::barrier});
      } catch (const Error& error) {
        errors[r] = error.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (std::uint32_t r = 0; r < size; ++r) EXPECT_EQ(errors[r], "") << "rank " << r;
}

}  // namespace accl::testing
