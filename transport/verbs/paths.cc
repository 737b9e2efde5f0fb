#include "transport/verbs/paths.h"

#include <arpa/inet.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "accl/base/error.h"
#include "accl/base/log.h"
#include "accl/base/text_file.h"

namespace accl::verbs {
namespace {

using Json = nlohmann::json;

constexpr const char* remedy =
    "make it with 'accl-topo paths --from ADDRESS --to ADDRESS,... --json > paths.json'";
constexpr std::size_t max_bytes = 64 << 20;
constexpr int max_depth = 8;
constexpr auto between_looks = std::chrono::seconds(1);
constexpr std::uint32_t most_label = 0x3FFF;  // Beyond, two labels have one port.

// A place in the file: what is complained about.
struct Place {
  const std::string& file;
  std::string at;  // "pairs[3].classes[0]".

  Place inside(const std::string& more) const { return {file, at + more}; }
  [[noreturn]] void complain(const std::string& what) const {
    fail(ErrorKind::invalid_argument, "{}: {} {}; {}", file, at, what, remedy);
  }
};

Json parse_json(std::string_view text, const std::string& file) {
  const auto refuse_depth = [&](int depth, Json::parse_event_t, Json&) {
    if (depth <= max_depth) return true;
    fail(ErrorKind::invalid_argument, "{}: nests deeper than paths do; {}", file, remedy);
  };
  try {
    return Json::parse(text, refuse_depth);
  } catch (const Json::parse_error& error) {
    const auto line = std::ranges::count(text.substr(0, error.byte), '\n') + 1;
    fail(ErrorKind::invalid_argument, "{}:{}: is no JSON here; {}", file, line, remedy);
  } catch (const Json::exception& error) {
    fail(ErrorKind::invalid_argument, "{}: {}; {}", file, error.what(), remedy);
  }
}

PathTable::Address read_address(const Json& pair, const char* key, const Place& place) {
  const auto found = pair.find(key);
  if (found == pair.end() || !found->is_string()) {
    place.complain(fmt::format("has no address '{}'", key));
  }
  const auto text = found->get<std::string>();
  PathTable::Address address{};
  if (::inet_pton(AF_INET6, text.c_str(), address.data()) == 1) return address;
  address = {};
  address[10] = address[11] = 0xFF;
  if (::inet_pton(AF_INET, text.c_str(), &address[12]) != 1) {
    place.complain(fmt::format("has '{}' for '{}', which is no address", text, key));
  }
  return address;
}

// The list of this name, with something in it.
const Json& list_of(const Json& object, const char* key, const Place& place) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  if (!object.is_object() || found == object.end() || !found->is_array() || found->empty()) {
    place.complain(fmt::format("has no list of {}", key));
  }
  return *found;
}

std::vector<std::uint32_t> read_class(const Json& json, const Place& place) {
  std::vector<std::uint32_t> labels;
  for (const Json& label : list_of(json, "labels", place)) {
    const bool is_label = label.is_number_unsigned() && label.get<std::uint64_t>() > 0 &&
                          label.get<std::uint64_t>() <= most_label;
    if (!is_label) {
      place.complain(fmt::format("has a label that is no number from 1 to {}", most_label));
    }
    labels.push_back(label.get<std::uint32_t>());
  }
  return labels;
}

}  // namespace

PathTable PathTable::parse(std::string_view text, const std::string& file) {
  const Json json = parse_json(text, file);
  const bool is_table = json.is_object() && json.contains("version") && json["version"] == 1 &&
                        json.contains("pairs") && json["pairs"].is_array();
  if (!is_table) {
    fail(ErrorKind::invalid_argument, "{}: is no version 1 list of paths; {}", file, remedy);
  }
  PathTable table;
  for (std::size_t i = 0; i < json["pairs"].size(); ++i) {
    const Json& pair = json["pairs"][i];
    const Place place{file, fmt::format("pairs[{}]", i)};
    if (!pair.is_object()) place.complain("is no object");
    const Address from = read_address(pair, "from", place);
    const Address to = read_address(pair, "to", place);
    Classes classes;
    const Json& list = list_of(pair, "classes", place);
    for (std::size_t k = 0; k < list.size(); ++k) {
      classes.push_back(read_class(list[k], place.inside(fmt::format(".classes[{}]", k))));
    }
    if (!table.pairs_.try_emplace({from, to}, std::move(classes)).second) {
      place.complain("is between two addresses that came before");
    }
  }
  return table;
}

PathTable PathTable::load(const std::string& file) {
  try {
    return parse(read_text(file, max_bytes), file);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::invalid_argument) throw;
    fail(ErrorKind::invalid_argument, "{}; {}", error.what(), remedy);
  }
}

std::optional<std::uint32_t> PathTable::label(const Address& from, const Address& to,
                                              const Choice& choice, std::uint32_t lane) const {
  const auto found = pairs_.find({from, to});
  if (found == pairs_.end()) return std::nullopt;
  const Classes& classes = found->second;
  const auto count = static_cast<std::uint32_t>(classes.size());
  const std::uint32_t step = choice.has_one_path ? 0 : lane % count;
  const std::vector<std::uint32_t>& labels = classes[(choice.first % count + step) % count];
  return labels[(choice.has_one_path ? lane : lane / count) % labels.size()];
}

PathFile::PathFile(std::string name) : name_(std::move(name)) {
  if (!name_.empty()) static_cast<void>(is_changed());
  next_look_ = Clock::now() + between_looks;
}

bool PathFile::is_changed() {
  struct stat now {};
  if (::stat(name_.c_str(), &now) != 0) return false;  // Perhaps it comes back.
  const bool is_same = now.st_mtim.tv_sec == seen_.st_mtim.tv_sec &&
                       now.st_mtim.tv_nsec == seen_.st_mtim.tv_nsec &&
                       now.st_size == seen_.st_size && now.st_ino == seen_.st_ino;
  seen_ = now;
  return !is_same;
}

std::shared_ptr<const PathTable> PathFile::news() {
  if (name_.empty() || Clock::now() < next_look_) return nullptr;
  next_look_ = Clock::now() + between_looks;
  if (!is_changed()) return nullptr;
  try {
    return std::make_shared<const PathTable>(PathTable::load(name_));
  } catch (const std::exception&
               error) {  // It may be half written: its end will be seen as a change, too.
    log(LogLevel::warning, "verbs: ACCL_IB_PATHS: {}; the paths known before stay", error.what());
    return nullptr;
  }
}

}  // namespace accl::verbs
