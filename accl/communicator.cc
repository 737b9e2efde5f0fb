#include "accl/communicator.h"

#include "accl/group.h"

namespace accl {

std::unique_ptr<Communicator> Communicator::create(std::shared_ptr<Session> session,
                                                   const CommunicatorOptions& options,
                                                   std::uint32_t number) {
  std::vector<Rank> ranks;
  for (const Member& member : session->members()) ranks.push_back(member.rank);
  return std::make_unique<Group>(std::move(session), std::move(ranks), number, options);
}

}  // namespace accl
