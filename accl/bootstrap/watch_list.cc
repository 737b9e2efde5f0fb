#include "accl/bootstrap/watch_list.h"

#include "accl/base/assert.h"
#include "accl/bootstrap/council.h"

namespace accl::bootstrap {
namespace {

constexpr std::size_t verdicts_kept = 1024;  // For communicators that are still to be opened.

}  // namespace

void WatchList::add(std::uint64_t topic, Watched& watched) {
  const std::lock_guard lock(mutex_);
  const bool fresh = watches_.emplace(topic, &watched).second;
  ACCL_ASSERT(fresh, topic);
  for (const Verdict& verdict : verdicts_) deliver(verdict, topic, watched);
}

void WatchList::remove(std::uint64_t topic) {
  const std::lock_guard lock(mutex_);
  watches_.erase(topic);
}

RankState WatchList::state_of(std::uint64_t topic) const {
  const std::lock_guard lock(mutex_);
  const auto found = watches_.find(topic);
  return found == watches_.end() ? RankState{} : found->second->state();
}

std::optional<Error> WatchList::failure_of(std::uint64_t topic) const {
  const std::lock_guard lock(mutex_);
  const auto found = watches_.find(topic);
  if (found == watches_.end()) return std::nullopt;
  return found->second->failure();
}

void WatchList::apply(const Verdict& verdict) {
  const std::lock_guard lock(mutex_);
  verdicts_.push_back(verdict);
  if (verdicts_.size() > verdicts_kept) verdicts_.erase(verdicts_.begin());
  for (const auto& [topic, watched] : watches_) deliver(verdict, topic, *watched);
}

void WatchList::deliver(const Verdict& verdict, std::uint64_t topic, Watched& watched) const {
  if (verdict.processes.empty()) {
    if (verdict.topic == topic) watched.fail(Error(verdict.kind, verdict.text));
    return;
  }
  const std::string sentence = process_sentence(verdict, watched.ranks(), members_);
  if (!sentence.empty()) watched.fail(Error(verdict.kind, sentence));
}

}  // namespace accl::bootstrap
