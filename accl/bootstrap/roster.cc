#include "accl/bootstrap/roster.h"

#include <fmt/format.h>

#include <algorithm>

#include "accl/base/assert.h"
#include "accl/bootstrap/identity.h"

namespace accl::bootstrap {
namespace {

constexpr std::size_t ranks_listed = 8;

// Addresses travel as numbers; their text is made again where it is needed.
void write(Writer& writer, const Contact& contact) {
  const Member& member = contact.member;
  writer.number(index(member.rank)).text(member.host);
  writer.number(member.host_id).number(member.kernel_id).number(member.pid_space);
  writer.number(static_cast<std::uint32_t>(member.pid));
  contact.address.write(writer);
  contact.data_address.write(writer);
  writer.text(contact.unix_name);
}

std::optional<Contact> read_contact(Reader& reader) {
  Contact contact;
  Member& member = contact.member;
  member.rank = Rank{reader.number<std::uint32_t>()};
  member.host = reader.text();
  member.host_id = reader.number<std::uint64_t>();
  member.kernel_id = reader.number<std::uint64_t>();
  member.pid_space = reader.number<std::uint64_t>();
  member.pid = static_cast<std::int32_t>(reader.number<std::uint32_t>());
  const std::optional<Address> address = Address::read(reader);
  const std::optional<Address> data_address = Address::read(reader);
  contact.unix_name = reader.text();
  const bool has_addresses = address && data_address;
  if (!reader.good() || !has_addresses || contact.unix_name.size() > 100) return std::nullopt;
  contact.address = *address;
  contact.data_address = *data_address;
  member.address = address->text();
  return contact;
}

}  // namespace

std::string encode(const Request& request) {
  Writer writer;
  write(writer, request.contact);
  writer.number(request.size).text(request.version).text(request.settings);
  return writer.number(request.patience_ms).take();
}

std::optional<Request> decode_request(std::string_view bytes) {
  Reader reader(bytes);
  std::optional<Contact> contact = read_contact(reader);
  if (!contact) return std::nullopt;
  Request request;
  request.contact = std::move(*contact);
  request.size = reader.number<std::uint32_t>();
  request.version = reader.text();
  request.settings = reader.text();
  request.patience_ms = reader.number<std::uint32_t>();
  if (!reader.good() || !reader.at_end()) return std::nullopt;
  return request;
}

std::string encode(const Table& table) {
  Writer writer;
  writer.secret(table.secret).text(table.settings);
  writer.number(static_cast<std::uint32_t>(table.contacts.size()));
  for (const Contact& contact : table.contacts) write(writer, contact);
  return writer.take();
}

std::optional<Table> decode_table(std::string_view bytes) {
  Reader reader(bytes);
  Table table;
  table.secret = reader.secret();
  table.settings = reader.text();
  const std::uint32_t count = reader.count(1);
  for (std::uint32_t i = 0; i < count && reader.good(); ++i) {
    std::optional<Contact> contact = read_contact(reader);
    if (!contact || index(contact->member.rank) != i) return std::nullopt;
    table.contacts.push_back(std::move(*contact));
  }
  if (!reader.good() || !reader.at_end()) return std::nullopt;
  return table;
}

std::string describe(const Member& member) {
  return fmt::format("rank {} (host {}, pid {})", index(member.rank), member.host, member.pid);
}

std::string list_ranks(const std::vector<std::uint32_t>& ranks) {
  if (ranks.size() == 1) return fmt::format("rank {}", ranks[0]);
  const std::size_t shown = std::min(ranks.size(), ranks_listed);
  std::string text = "ranks ";
  for (std::size_t i = 0; i < shown; ++i) {
    text += fmt::format("{}{}", i == 0 ? "" : ", ", ranks[i]);
  }
  if (shown < ranks.size()) text += fmt::format(" and {} more", ranks.size() - shown);
  return text;
}

// The first that came sets size and version; which of two is wrong nobody can know, so both are
// named.
std::string Roster::add(Request request) {
  const std::uint32_t rank = index(request.contact.member.rank);
  const std::string who = describe(request.contact.member);
  if (const auto twin = requests_.find(rank); twin != requests_.end()) {
    const Member& other = twin->second.contact.member;
    return fmt::format(
        "rank {} came twice: from host {}, pid {} and from host {}, pid {}; give every process a "
        "rank of its own",
        rank, other.host, other.pid, request.contact.member.host, request.contact.member.pid);
  }
  if (!requests_.empty()) {
    const Request& first = requests_.begin()->second;
    const std::string other = describe(first.contact.member);
    if (request.size != first.size) {
      return fmt::format("{} was started for {} ranks, but {} for {}; start all with one number",
                         who, request.size, other, first.size);
    }
    if (request.version != first.version) {
      return fmt::format("{} has version {}, but {} has {}; install one version everywhere", who,
                         request.version, other, first.version);
    }
  }
  if (request.size == 0 || request.size > rank_limit || rank >= request.size) {
    return fmt::format("{} cannot be one of {} ranks", who, request.size);
  }
  size_ = request.size;
  requests_.emplace(rank, std::move(request));
  return "";
}

const Member* Roster::find(std::uint32_t rank) const {
  const auto found = requests_.find(rank);
  return found == requests_.end() ? nullptr : &found->second.contact.member;
}

std::string Roster::missing_sentence(Milliseconds waited) const {
  std::vector<std::uint32_t> missing;
  for (std::uint32_t rank = 0; rank < size_; ++rank) {
    if (!requests_.contains(rank)) missing.push_back(rank);
  }
  return fmt::format(
      "{} of {} did not come within {} ms ({} missing); look whether they were started and what "
      "they printed",
      list_ranks(missing), size_, waited.count(), missing.size());
}

Table Roster::table() const {
  ACCL_ASSERT(complete(), requests_.size(), size_);
  Table table;
  table.secret = random_secret();
  table.settings = requests_.begin()->second.settings;
  for (const auto& [rank, request] : requests_) table.contacts.push_back(request.contact);
  return table;
}

}  // namespace accl::bootstrap
