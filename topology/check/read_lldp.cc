#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "accl/base/error.h"
#include "accl/base/text_file.h"
#include "topology/check/readers.h"

namespace accl::topology {
namespace {

using Json = nlohmann::json;

constexpr int max_depth = 32;
// A tree of JSON takes about 50 times the bytes of its text in the worst case.
constexpr std::size_t max_bytes = 16 << 20;

Json parse_json(std::string_view text, const std::string& path) {
  if (text.size() > max_bytes) {
    fail(ErrorKind::invalid_argument, "{}: holds more than {} MiB; give a file a device", path,
         max_bytes >> 20);
  }
  const auto refuse_depth = [&](int depth, Json::parse_event_t, Json&) {
    if (depth <= max_depth) return true;
    fail(ErrorKind::invalid_argument, "{}: nests deeper than lldpcli does", path);
  };
  try {
    return Json::parse(text, refuse_depth);
  } catch (const Json::parse_error& error) {
    const std::string_view before = text.substr(0, error.byte);
    fail(ErrorKind::invalid_argument, "{}:{}: is no JSON here; run lldpcli -f json show neighbors",
         path, std::ranges::count(before, '\n') + 1);
  } catch (const Json::exception& error) {
    fail(ErrorKind::invalid_argument, "{}: {}", path, error.what());
  }
}

// json0 puts every value into a list, json only where there are several.
template <class Action>
void for_each(const Json& value, const Action& action) {
  if (!value.is_array()) {
    action(value);
    return;
  }
  for (const Json& entry : value) action(entry);
}

const Json& first_of(const Json& value) {
  return value.is_array() && !value.empty() ? value.front() : value;
}

const Json& member(const Json& value, const char* key) {
  static const Json nothing;
  const Json& object = first_of(value);
  const auto found = object.is_object() ? object.find(key) : object.end();
  return object.is_object() && found != object.end() ? *found : nothing;
}

// A string, or the "value" of json0.
std::string text_of(const Json& value) {
  const Json& one = first_of(value);
  if (one.is_string()) return one.get<std::string>();
  const Json& inner = first_of(member(one, "value"));
  return inner.is_string() ? inner.get<std::string>() : "";
}

// "100GBaseCR4 - ...", "10GigBaseLR", "1000BaseTFD - Four-pair ...": 0 where it begins otherwise.
double gbps_of_mau(const std::string& text) {
  double value = 0;
  std::size_t at = 0;
  for (; at < text.size() && at < 6 && std::isdigit(static_cast<unsigned char>(text[at])) != 0;
       ++at) {
    value = value * 10 + (text[at] - '0');
  }
  std::string rest = text.substr(at, 7);
  std::ranges::transform(rest, rest.begin(), [](unsigned char c) { return std::tolower(c); });
  if (at == 0) return 0;
  if (rest.starts_with("gbase") || rest.starts_with("gigbase")) return value;
  return rest.starts_with("base") ? value / 1000 : 0;
}

class Reader {
 public:
  explicit Reader(const std::string& path) : path_(path) { seen_.source = "lldpcli"; }

  void read_file(const Json& root, const std::string& host) {
    if (root.is_array()) {
      for (const Json& entry : root) read_named(entry);
      return;
    }
    if (!root.is_object()) complain("holds no object; run lldpcli -f json show neighbors");
    if (root.contains("lldp")) {
      read_output(root, root.contains("host") ? text_of(root["host"]) : host);
      return;
    }
    for (const auto& [name, output] : root.items()) read_output(output, name);
  }

  Observation finish() { return std::move(seen_); }

 private:
  [[noreturn]] void complain(const std::string& what) const {
    fail(ErrorKind::invalid_argument, "{}: {}", path_, what);
  }

  void read_named(const Json& entry) {
    if (!entry.is_object() || !entry.contains("host") || text_of(entry["host"]).empty()) {
      complain("a list must hold objects {\"host\": NAME, \"lldp\": ...}");
    }
    read_output(entry, text_of(entry["host"]));
  }

  void read_output(const Json& output, const std::string& host) {
    if (!output.is_object() || !output.contains("lldp")) {
      complain(fmt::format("of {} there is no \"lldp\"; run lldpcli -f json show neighbors", host));
    }
    seen_.reporters.insert(host);
    for_each(output["lldp"], [&](const Json& lldp) {
      for_each(member(lldp, "interface"), [&](const Json& entry) { read_entry(entry, host); });
    });
  }

  // json0: {"name": "eth0", ...}; json: {"eth0": {...}}, several in one object or in a list.
  void read_entry(const Json& entry, const std::string& host) {
    if (!entry.is_object()) return;
    if (entry.contains("chassis") && entry.contains("name")) {
      read_interface(entry, host, text_of(entry["name"]));
      return;
    }
    for (const auto& [name, value] : entry.items()) read_interface(value, host, name);
  }

  void read_interface(const Json& value, const std::string& host, const std::string& name) {
    const Json& chassis = first_of(member(value, "chassis"));
    if (!chassis.is_object() || name.empty()) return;
    NamedEnd far{text_of(member(chassis, "name")), ""};
    const bool is_by_name = far.device.empty() && chassis.size() == 1 && !chassis.contains("id");
    if (is_by_name) far.device = chassis.begin().key();
    const Json& port = first_of(member(value, "port"));
    far.port = port_of(port);
    if (far.device.empty() || far.port.empty()) return;
    const std::string mau = text_of(member(member(port, "auto-negotiation"), "current"));
    add({.a = {host, name},
         .b = std::move(far),
         .gbps = gbps_of_mau(mau),
         .speed = mau.substr(0, mau.find(' ')),
         .place = fmt::format("{}: {} {}", path_, host, name)});
  }

  // The name of the interface; what switches send instead of it (a MAC address) says nothing, then
  // the description is the name.
  static std::string port_of(const Json& port) {
    const Json& id = first_of(member(port, "id"));
    const std::string type = text_of(member(id, "type"));
    const bool is_name = type == "ifname" || type == "local" || type == "ifalias";
    std::string name = is_name ? text_of(id) : text_of(member(port, "descr"));
    return name.empty() ? text_of(id) : name;
  }

  void add(ObservedLink link) {
    const auto [entry, is_new] = known_.emplace(std::minmax(link.a, link.b), seen_.links.size());
    if (is_new) {
      seen_.links.push_back(std::move(link));
      return;
    }
    ObservedLink& first = seen_.links[entry->second];
    const bool is_slower = link.gbps != 0 && (first.gbps == 0 || link.gbps < first.gbps);
    if (is_slower) first.gbps = link.gbps;
    if (is_slower) first.speed = link.speed;
  }

  const std::string& path_;
  std::map<std::pair<NamedEnd, NamedEnd>, std::size_t> known_;
  Observation seen_;
};

}  // namespace

Observation parse_lldp(std::string_view text, const std::string& path, const std::string& host) {
  Reader reader(path);
  reader.read_file(parse_json(text, path), host);
  return reader.finish();
}

Observation read_lldp(const std::string& path) {
  namespace fs = std::filesystem;
  std::vector<fs::path> files;
  if (!fs::is_directory(path)) {
    files.emplace_back(path);
  } else {
    for (const auto& entry : fs::directory_iterator(path)) {
      if (entry.path().extension() == ".json") files.push_back(entry.path());
    }
    if (files.empty()) fail(ErrorKind::invalid_argument, "{}: holds no file HOST.json", path);
  }
  std::ranges::sort(files);
  Reader reader(path);
  for (const fs::path& file : files) {
    reader.read_file(parse_json(read_text(file.string(), max_bytes), file.string()),
                     file.stem().string());
  }
  return reader.finish();
}

}  // namespace accl::topology
