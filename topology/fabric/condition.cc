#include "topology/fabric/condition.h"

#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "accl/base/error.h"
#include "accl/base/text_file.h"
#include "topology/fabric/lines.h"

namespace accl::topology {
namespace {

// What a name stands for.
struct Named {
  std::vector<CableId> cables;
  std::vector<NicId> nics;
};

class Directory {
 public:
  explicit Directory(const Fabric& fabric) : fabric_(fabric) {
    for (std::uint32_t i = 0; i < fabric.cables.size(); ++i) add_cable(CableId{i});
    for (std::uint32_t i = 0; i < fabric.nics.size(); ++i) add_nic(NicId{i});
  }

  const Named* find(const std::string& name) const {
    const auto found = names_.find(name);
    return found == names_.end() ? nullptr : &found->second;
  }

 private:
  void add_cable(CableId id) {
    const Cable& cable = fabric_.at(id);
    const std::string& a = fabric_.graph.node(cable.a.node).name;
    const std::string& b = fabric_.graph.node(cable.b.node).name;
    names_[label_of(id)].cables.push_back(id);
    names_[a].cables.push_back(id);
    names_[b].cables.push_back(id);
    names_[fabric_.name_of(cable.b)].cables.push_back(id);
    if (!cable.joins_switches) return;
    names_[fabric_.name_of(cable.a)].cables.push_back(id);
    names_[a + "--" + b].cables.push_back(id);
    names_[b + "--" + a].cables.push_back(id);
  }
  void add_nic(NicId id) {
    const Nic& nic = fabric_.at(id);
    const std::string& server = fabric_.at(nic.server).name;
    names_[server].nics.push_back(id);
    names_[server].cables.push_back(nic.cable);
    names_[server + "/" + nic.name].nics.push_back(id);
    Named& other_form = names_[server + ":" + nic.name];
    other_form.nics.push_back(id);
    other_form.cables.push_back(nic.cable);
  }

  const Fabric& fabric_;
  std::map<std::string, Named> names_;
};

using Take = std::function<bool(const Named&)>;  // False: not the kind that is wanted.

// A name per line; a second word ("slots=4", as host lists have) is refused.
void read_names(const Fabric& fabric, std::string_view text, const std::string& path,
                const Take& take) {
  const Directory directory(fabric);
  for_each_line(text, [&](int line, std::string_view name) {
    const Named* const named = directory.find(std::string(name));
    if (named == nullptr) {
      fail(ErrorKind::invalid_argument,
           "{}:{}: '{}' is no server, NIC, switch, port or cable of {}; one name a line, such as "
           "{}, {} or {}",
           path, line, printable(name), fabric.name, fabric.servers.front().name,
           fabric.switches.front().name, label_of(CableId{0}));
    }
    if (take(*named)) return;
    fail(ErrorKind::invalid_argument,
         "{}:{}: '{}' is neither server nor NIC; name those that take part", path, line, name);
  });
}

// NICs whose cable is dead take no part.
void drop_dead_nics(const Fabric& fabric, Condition& condition) {
  std::erase_if(condition.nics, [&](NicId id) { return condition.is_dead(fabric.at(id).cable); });
}

}  // namespace

Condition whole(const Fabric& fabric) {
  Condition condition;
  condition.dead_cables.assign(fabric.cables.size(), false);
  condition.occupied.assign(fabric.cables.size(), false);
  for (std::uint32_t i = 0; i < fabric.nics.size(); ++i) condition.nics.push_back(NicId{i});
  return condition;
}

std::vector<ServerId> keep_whole_servers(const Fabric& fabric, Condition& condition) {
  std::map<ServerId, std::size_t> count;
  for (const NicId nic : condition.nics) ++count[fabric.at(nic).server];
  std::erase_if(count,
                [&](const auto& each) { return each.second == fabric.at(each.first).nics.size(); });
  std::erase_if(condition.nics, [&](NicId nic) { return count.contains(fabric.at(nic).server); });
  std::vector<ServerId> left_out;
  for (const auto& [server, nics] : count) left_out.push_back(server);
  return left_out;
}

void apply_hosts(const Fabric& fabric, std::string_view text, const std::string& path,
                 Condition& condition) {
  std::set<NicId> chosen;
  read_names(fabric, text, path, [&](const Named& named) {
    chosen.insert(named.nics.begin(), named.nics.end());
    return !named.nics.empty();
  });
  if (chosen.empty()) {
    fail(ErrorKind::invalid_argument, "{}: names no server; give one a line", path);
  }
  std::erase_if(condition.nics, [&](NicId id) { return !chosen.contains(id); });
}

void apply_dead(const Fabric& fabric, std::string_view text, const std::string& path,
                Condition& condition) {
  read_names(fabric, text, path, [&](const Named& named) {
    for (const CableId id : named.cables) condition.dead_cables[index(id)] = true;
    return true;
  });
  drop_dead_nics(fabric, condition);
}

void apply_occupied(const Fabric& fabric, std::string_view text, const std::string& path,
                    Condition& condition) {
  read_names(fabric, text, path, [&](const Named& named) {
    for (const CableId id : named.cables) condition.occupied[index(id)] = true;
    return true;
  });
}

void take_hosts(const Fabric& fabric, const std::string& path, Condition& condition) {
  apply_hosts(fabric, read_text(path, max_list_bytes), path, condition);
}

void take_dead(const Fabric& fabric, const std::string& path, Condition& condition) {
  apply_dead(fabric, read_text(path, max_list_bytes), path, condition);
}

void take_occupied(const Fabric& fabric, const std::string& path, Condition& condition) {
  apply_occupied(fabric, read_text(path, max_list_bytes), path, condition);
}

}  // namespace accl::topology
