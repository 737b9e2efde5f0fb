#include "accl/bootstrap/unique_id.h"

#include <algorithm>

#include "accl/base/assert.h"
#include "accl/base/error.h"
#include "accl/bootstrap/identity.h"
#include "accl/bootstrap/interface.h"
#include "accl/bootstrap/root.h"

namespace accl {
namespace {

using bootstrap::Address;
using bootstrap::RootPlace;

constexpr std::string_view magic = "ACCLid01";

// Magic, two flags, address, secret: the rest of the 128 bytes is zero.
UniqueId write_unique_id(const RootPlace& place) {
  bootstrap::Writer writer;
  writer.raw(magic);
  writer.number(static_cast<std::uint8_t>(place.rank_zero_listens));
  writer.number(static_cast<std::uint8_t>(place.any_interface));
  place.address.write(writer);
  const std::string bytes = writer.secret(place.secret).take();
  UniqueId id;
  ACCL_ASSERT(bytes.size() <= id.bytes.size(), bytes.size());
  std::copy(bytes.begin(), bytes.end(), id.bytes.begin());
  return id;
}

}  // namespace

namespace bootstrap {

RootPlace read_unique_id(const UniqueId& id) {
  Reader reader(std::string_view(id.bytes.data(), id.bytes.size()));
  RootPlace place;
  const bool ours = reader.raw(magic.size()) == magic;
  place.rank_zero_listens = reader.number<std::uint8_t>() != 0;
  place.any_interface = reader.number<std::uint8_t>() != 0;
  const std::optional<Address> address = Address::read(reader);
  place.secret = reader.secret();
  if (!ours || !address || !reader.good()) {
    fail(ErrorKind::invalid_argument,
         "these 128 bytes are no unique id: pass what make_unique_id gave, unchanged, to every "
         "rank");
  }
  place.address = *address;
  return place;
}

}  // namespace bootstrap

UniqueId make_unique_id() {
  RootPlace place;
  place.address = bootstrap::choose_address();
  place.address.set_port(0);
  place.secret = bootstrap::random_secret();
  place.address.set_port(bootstrap::roots_of_process().open(place.address, place.secret));
  return write_unique_id(place);
}

UniqueId unique_id_of(const std::string& root, const std::string& job) {
  const bootstrap::HostPort where = bootstrap::parse_host_port(root, "root");
  RootPlace place;
  place.address = bootstrap::resolve(where, "root '" + root + "'");
  place.rank_zero_listens = true;
  // A name may lead rank 0 to a loopback address of its own, as Debian's /etc/hosts does.
  place.any_interface = !bootstrap::is_numeric_host(where.host) && where.host != "localhost";
  place.secret = bootstrap::derived_secret(fmt::format("{} {}", where.port, job));
  return write_unique_id(place);
}

}  // namespace accl
