#include "accl/bootstrap/wire.h"

#include <algorithm>

#include "accl/base/assert.h"

namespace accl::bootstrap {
namespace {

constexpr std::string_view magic = "ACCLboot";
constexpr std::uint16_t protocol = 1;
constexpr std::size_t secret_at = 24;
static_assert(secret_at + sizeof(Secret) == preamble_bytes);

}  // namespace

bool same_secret(const Secret& a, const Secret& b) {
  volatile std::uint8_t difference = 0;  // Volatile: no early way out for the compiler either.
  for (std::size_t i = 0; i < a.size(); ++i) difference = difference | (a[i] ^ b[i]);
  return difference == 0;
}

Secret Reader::secret() {
  Secret value{};
  const std::string_view bytes = raw(value.size());
  std::copy(bytes.begin(), bytes.end(), value.begin());
  return value;
}

std::string encode(const Preamble& preamble) {
  return Writer()
      .raw(magic)
      .number(protocol)
      .number(static_cast<std::uint16_t>(preamble.purpose))
      .number(preamble.from)
      .number(preamble.topic)
      .secret(preamble.secret)
      .take();
}

std::string objection(std::string_view bytes, const Secret& secret) {
  const std::size_t begun = std::min(bytes.size(), magic.size());
  if (bytes.substr(0, begun) != magic.substr(0, begun)) return "it does not speak our protocol";
  if (bytes.size() < preamble_bytes) return "";
  const Preamble preamble = decode_preamble(bytes);
  if (!same_secret(preamble.secret, secret)) return "it does not know the secret of this job";
  Reader reader(bytes.substr(magic.size()));
  if (reader.number<std::uint16_t>() != protocol)
    return "it speaks another version of our protocol";
  if (preamble.purpose < Purpose::join || preamble.purpose > Purpose::meet) {
    return "it wants something unknown";
  }
  return "";
}

Preamble decode_preamble(std::string_view bytes) {
  ACCL_ASSERT(bytes.size() == preamble_bytes, bytes.size());
  Reader reader(bytes.substr(magic.size() + sizeof protocol));
  Preamble preamble;
  preamble.purpose = static_cast<Purpose>(reader.number<std::uint16_t>());
  preamble.from = reader.number<std::uint32_t>();
  preamble.topic = reader.number<std::uint64_t>();
  preamble.secret = reader.secret();
  return preamble;
}

std::uint64_t hash_text(std::string_view text, std::uint64_t seed) {
  std::uint64_t value = 0xcbf29ce484222325u ^ (seed * 0x9e3779b97f4a7c15u);
  for (const char byte : text) {
    value = (value ^ static_cast<unsigned char>(byte)) * 0x100000001b3u;
  }
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;  // splitmix64's finish.
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
  return value ^ (value >> 31);
}

}  // namespace accl::bootstrap
