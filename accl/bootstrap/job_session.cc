#include "accl/bootstrap/job_session.h"

#include <unistd.h>

#include "accl/bootstrap/meeting.h"
#include "accl/bootstrap/session_watch.h"

namespace accl::bootstrap {
namespace {

std::vector<Member> members_of(const std::vector<Contact>& contacts) {
  std::vector<Member> members;
  members.reserve(contacts.size());
  for (const Contact& contact : contacts) members.push_back(contact.member);
  return members;
}

}  // namespace

JobSession::JobSession(Table table, Rank self, Milliseconds timeout, std::vector<Fd> listeners)
    : self_(self),
      timeout_(timeout),
      settings_(std::move(table.settings)),
      secret_(table.secret),
      contacts_(std::move(table.contacts)),
      members_(members_of(contacts_)),
      owner_(getpid()),
      engine_(std::make_unique<Engine>(contacts_, members_, self, secret_, std::move(listeners))) {}

JobSession::~JobSession() {
  // A forked child has no such thread, shares the epoll set with its parent, and must not say
  // goodbye in its name.
  if (getpid() != owner_) static_cast<void>(engine_.release());
}

std::vector<Fd> JobSession::meet(std::span<const Rank> peers, std::uint64_t topic,
                                 const Deadline& deadline, MeetOver over) {
  return Meeting(*this, peers, topic, over).run(deadline);
}

std::unique_ptr<Watch> JobSession::watch(std::uint64_t topic, std::span<const Rank> ranks) {
  return std::make_unique<SessionWatch>(shared_from_this(), topic, ranks);
}

}  // namespace accl::bootstrap
