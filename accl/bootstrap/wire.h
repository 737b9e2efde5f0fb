// wire.h - how the processes of a job write to each other while they find each other and while they
// look for who is to blame: numbers in little-endian order, texts with their length in front, a
// fixed preamble that proves the secret, then frames. Nothing here carries a collective's data.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace accl::bootstrap {

// No frame may be longer: room for the table of 4096 ranks and the settings, and no more.
constexpr std::size_t frame_bytes_limit = 64u << 20;
constexpr std::uint32_t rank_limit = 65536;

// 256 random bits that only the processes of a job share.
using Secret = std::array<std::uint8_t, 32>;

// Takes the same time wherever the first difference lies.
bool same_secret(const Secret& a, const Secret& b);

class Writer {
 public:
  template <std::unsigned_integral Number>
  Writer& number(Number value) {
    for (std::size_t i = 0; i < sizeof value; ++i) {
      bytes_ += static_cast<char>(static_cast<std::uint64_t>(value) >> (8 * i) & 0xff);
    }
    return *this;
  }
  Writer& text(std::string_view value) {
    number(static_cast<std::uint32_t>(value.size()));
    bytes_ += value;
    return *this;
  }
  Writer& raw(std::string_view value) {
    bytes_ += value;
    return *this;
  }
  Writer& secret(const Secret& value) {
    for (const std::uint8_t byte : value) number(byte);
    return *this;
  }
  std::string take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

// Reads what a Writer wrote. Never reads past the end: from the first byte that is missing on it
// gives zeros and empty texts, and good() is false.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  template <std::unsigned_integral Number>
  Number number() {
    std::uint64_t value = 0;
    const std::string_view bytes = raw(sizeof(Number));
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      value |= static_cast<std::uint64_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
    }
    return static_cast<Number>(value);
  }
  std::string_view raw(std::size_t bytes) {
    if (bytes > rest_.size()) {
      good_ = false;
      rest_ = {};
      return {};
    }
    const std::string_view taken = rest_.substr(0, bytes);
    rest_.remove_prefix(bytes);
    return taken;
  }
  std::string_view text() { return raw(number<std::uint32_t>()); }
  // How many items follow; false good() where they cannot all be there.
  std::uint32_t count(std::size_t bytes_each) {
    const auto items = number<std::uint32_t>();
    if (items * static_cast<std::uint64_t>(bytes_each) <= rest_.size()) return items;
    good_ = false;
    return 0;
  }
  Secret secret();
  bool good() const { return good_; }
  bool at_end() const { return rest_.empty(); }

 private:
  std::string_view rest_;
  bool good_ = true;
};

// What a newcomer is for.
enum class Purpose : std::uint16_t { join = 1, tree = 2, meet = 3 };

// The first bytes on every connection, of fixed size, so that a stranger is known by few bytes.
struct Preamble {
  Purpose purpose = Purpose::join;
  std::uint32_t from = 0;   // World rank.
  std::uint64_t topic = 0;  // Of a meeting.
  Secret secret{};
};

constexpr std::size_t preamble_bytes = 56;

std::string encode(const Preamble& preamble);

// Why these first bytes of a connection (at most preamble_bytes) can be no preamble with this
// secret; empty while they can. Judges as early as it can tell.
std::string objection(std::string_view bytes, const Secret& secret);

// Of preamble_bytes bytes without objection.
Preamble decode_preamble(std::string_view bytes);

enum class FrameType : std::uint8_t {
  request = 1,  // To the root: who I am.
  table,        // From the root: who all are, the session's secret, rank 0's settings.
  ready,        // To the root: my tree stands.
  go,           // From the root: everybody's does.
  refused,      // From the root: the sentence that says why not.
  fact,         // Between neighbours: see facts.h.
  goodbye,      // Between neighbours: I end, and nothing is wrong.
  ask,          // From the root, when the time is up: are you there?
  here,         // To the root: I am, and wait for others.
};

struct Frame {
  FrameType type{};
  std::string_view payload;
};

// FNV-1a with a strong finish: for ids and ports, not against attackers.
std::uint64_t hash_text(std::string_view text, std::uint64_t seed = 0);

}  // namespace accl::bootstrap
