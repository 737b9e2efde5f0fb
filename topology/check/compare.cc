#include "topology/check/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <tuple>
#include <utility>

namespace accl::topology {
namespace {

using PortKey = std::pair<NodeId, std::uint32_t>;

PortKey key_of(const CableEnd& end) { return {end.node, end.port}; }

// An end that was seen: its words, and the port of the fabric they mean, if any.
struct SeenEnd {
  const NamedEnd* name = nullptr;
  std::optional<CableEnd> end;
};

struct SeenLink {
  const ObservedLink* link = nullptr;
  SeenEnd a;
  SeenEnd b;
  bool is_explained = false;
};

// Names come from the network; they must not steer the terminal that shows them.
std::string shown(const NamedEnd& end) {
  std::string text = end.device + ':' + end.port;
  std::ranges::replace_if(
      text, [](unsigned char c) { return c < ' ' || c == 0x7F; }, '?');
  return text;
}

// One end of a planned cable and what is at it instead.
struct Misplaced {
  CableId cable{};
  CableEnd stays;    // The end that is where it should be.
  CableEnd planned;  // Where the other end belongs.
  Mistake mistake{};
};

// Planned are e - f and g - h, seen e - g and f - h.
struct Swap {
  CableEnd e, f, g, h;
};

class Judge {
 public:
  Judge(const Fabric& fabric, const Ports& ports, const Observation& seen)
      : fabric_(fabric), ports_(ports), seen_(seen), is_settled_(fabric.cables.size()) {
    for (std::uint32_t i = 0; i < fabric.cables.size(); ++i) {
      const Cable& cable = fabric.cables[i];
      planned_[key_of(cable.a)] = CableId{i};
      planned_[key_of(cable.b)] = CableId{i};
    }
    for (const std::string& name : seen.reporters) {
      if (const auto id = ports.find_switch(name)) reporters_.insert(fabric.at(*id).name);
      if (const auto id = ports.find_server(name)) reporters_.insert(fabric.at(*id).name);
    }
    result_.planned = fabric.cables.size();
  }

  Comparison run() {
    take_links();
    for (SeenLink& link : links_) settle_right(link);
    for (std::uint32_t i = 0; i < is_settled_.size(); ++i) find_swap(CableId{i});
    // What needs the fewest wrong turns to explain goes first.
    for (const Mistake mistake :
         {Mistake::wrong_port, Mistake::wrong_switch, Mistake::wrong_layer}) {
      for (SeenLink& link : links_) find_misplaced(link, mistake);
    }
    for (SeenLink& link : links_) report_extra(link);
    for (std::uint32_t i = 0; i < is_settled_.size(); ++i) report_missing(CableId{i});
    std::ranges::stable_sort(result_.findings, {}, [](const Finding& finding) {
      return finding.cables.empty() ? CableId{0xFFFF'FFFF} : finding.cables.front();
    });
    return std::move(result_);
  }

 private:
  SeenEnd resolve(const NamedEnd& name) const { return {.name = &name, .end = ports_.find(name)}; }

  // Links with a port of the fabric at an end; each only once, under whatever names.
  void take_links() {
    std::map<std::tuple<PortKey, PortKey>, std::size_t> known;
    for (const ObservedLink& link : seen_.links) {
      SeenLink taken{.link = &link, .a = resolve(link.a), .b = resolve(link.b)};
      if (!is_of_fabric(taken)) {
        ++result_.ignored;
        continue;
      }
      const bool is_known =
          taken.a.end && taken.b.end &&
          !known.emplace(std::minmax(key_of(*taken.a.end), key_of(*taken.b.end)), 0).second;
      if (is_known) continue;
      links_.push_back(taken);
      note_port(taken.a, link);
      note_port(taken.b, link);
    }
  }

  // An unknown device at a port that the plan leaves free is no business of ours.
  bool is_of_fabric(const SeenLink& link) const {
    if (link.a.end && link.b.end) return true;
    const SeenEnd& known = link.a.end ? link.a : link.b;
    if (!known.end) return false;
    return planned_.contains(key_of(*known.end)) || ports_.knows(other(link, known).name->device);
  }

  static const SeenEnd& other(const SeenLink& link, const SeenEnd& end) {
    return &end == &link.a ? link.b : link.a;
  }

  void note_port(const SeenEnd& end, const ObservedLink& link) {
    if (!end.end) return;
    const std::size_t number = links_.size() - 1;
    const auto [entry, is_new] = seen_at_.emplace(key_of(*end.end), number);
    if (is_new || entry->second == number) return;  // A loop has one port at both ends.
    const ObservedLink& first = *links_[entry->second].link;
    result_.findings.push_back(
        {.mistake = Mistake::contradiction,
         .cables = {},
         .what = fmt::format("{} is said to be at two places: {} and {}", ports_.text_of(*end.end),
                             far_text(first, *end.end), far_text(link, *end.end)),
         .fix = "look which is true, or read both devices again",
         .place = link.place});
  }

  std::string far_text(const ObservedLink& link, const CableEnd& near) const {
    const auto a = ports_.find(link.a);
    return shown(a && key_of(*a) == key_of(near) ? link.b : link.a);
  }

  const CableEnd& partner(CableId id, const CableEnd& end) const {
    const Cable& cable = fabric_.at(id);
    return key_of(cable.a) == key_of(end) ? cable.b : cable.a;
  }

  std::optional<CableId> open_cable_at(const CableEnd& end) const {
    const auto found = planned_.find(key_of(end));
    if (found == planned_.end() || is_settled_[index(found->second)]) return {};
    return found->second;
  }

  void settle_right(SeenLink& link) {
    if (!link.a.end || !link.b.end) return;
    const auto id = open_cable_at(*link.a.end);
    if (!id || key_of(partner(*id, *link.a.end)) != key_of(*link.b.end)) return;
    link.is_explained = true;
    is_settled_[index(*id)] = true;
    const double gbps = link.link->gbps;
    if (gbps == 0 || gbps == fabric_.at(*id).gbps) {
      ++result_.right;
      return;
    }
    const std::string read = link.link->speed.empty() ? "" : fmt::format(" ({})", link.link->speed);
    result_.findings.push_back(
        {.mistake = Mistake::wrong_speed,
         .cables = {*id},
         .what = fmt::format("{} runs at {} Gb/s{} and not at {}", cable_text(*id), gbps, read,
                             fabric_.at(*id).gbps),
         .fix = "clean and seat its plugs, then change the cable; look at the settings of both "
                "ports",
         .place = link.link->place});
  }

  std::string cable_text(CableId id) const {
    const Cable& cable = fabric_.at(id);
    return fmt::format("{} ({} to {})", label_of(id), ports_.text_of(cable.a),
                       ports_.text_of(cable.b));
  }

  std::string device_of(const CableEnd& end) const { return ports_.name_of(end).device; }

  // The unexplained link at this port.
  SeenLink* link_at(const CableEnd& end) {
    const auto found = seen_at_.find(key_of(end));
    if (found == seen_at_.end() || links_[found->second].is_explained) return nullptr;
    return &links_[found->second];
  }

  std::optional<CableEnd> far_end(const SeenLink& link, const CableEnd& near) const {
    return link.a.end && key_of(*link.a.end) == key_of(near) ? link.b.end : link.a.end;
  }

  void find_swap(CableId first) {
    if (is_settled_[index(first)]) return;
    const CableEnd& e = fabric_.at(first).a;
    const CableEnd& f = fabric_.at(first).b;
    SeenLink* at_e = link_at(e);
    SeenLink* at_f = link_at(f);
    if (at_e == nullptr || at_f == nullptr || at_e == at_f) return;
    const auto g = far_end(*at_e, e);
    const auto h = far_end(*at_f, f);
    if (!g || !h) return;
    const auto second = open_cable_at(*g);
    if (!second || *second == first || key_of(partner(*second, *g)) != key_of(*h)) return;
    at_e->is_explained = at_f->is_explained = true;
    is_settled_[index(first)] = is_settled_[index(*second)] = true;
    report_swap({.e = e, .f = f, .g = *g, .h = *h}, at_e->link->place);
  }

  // Either pair of plugs can be changed over: f with g, or e with h; at one device that is the
  // least work.
  void report_swap(const Swap& swap, const std::string& place) {
    const auto& [e, f, g, h] = swap;
    const bool is_near_e = device_of(e) == device_of(h) && device_of(f) != device_of(g);
    const CableEnd& one = is_near_e ? e : f;
    const CableEnd& other = is_near_e ? h : g;
    const CableId first = planned_.at(key_of(e));
    const CableId second = planned_.at(key_of(g));
    std::string what = fmt::format("{} and {} are swapped", cable_text(first), cable_text(second));
    for (const auto& [end, planned, actual] : {std::tuple{e, f, g}, {h, g, f}, {g, h, e}}) {
      if (!is_off_layer(end, planned, actual)) continue;
      what += fmt::format("; {}", layer_text(end, planned, actual));
    }
    const std::string fix = device_of(one) == device_of(other)
                                ? fmt::format("swap the plugs of {} and {} at {} (ports {} and {})",
                                              label_of(first), label_of(second), device_of(one),
                                              ports_.name_of(one).port, ports_.name_of(other).port)
                                : fmt::format("swap the plug at {} with the one at {}",
                                              ports_.text_of(one), ports_.text_of(other));
    result_.findings.push_back({.mistake = Mistake::swapped,
                                .cables = {std::min(first, second), std::max(first, second)},
                                .what = std::move(what),
                                .fix = fix,
                                .place = place});
  }

  // Whether a NIC whose cable belongs at `planned` is at the other layer instead.
  bool is_off_layer(const CableEnd& nic, const CableEnd& planned, const CableEnd& actual) const {
    const auto right = ports_.switch_of(planned.node);
    const auto wrong = ports_.switch_of(actual.node);
    return fabric_.kind == FabricKind::bigraph && ports_.nic_of(nic.node) && right && wrong &&
           fabric_.at(*right).side != fabric_.at(*wrong).side;
  }

  std::string layer_text(const CableEnd& nic, const CableEnd& planned,
                         const CableEnd& actual) const {
    return fmt::format(
        "{} is at the {} layer and belongs to the {}: that breaks the parity rule, and its rank "
        "would meet partners on its own layer over two cables",
        ports_.text_of(nic), name_of(fabric_.at(*ports_.switch_of(actual.node)).side),
        name_of(fabric_.at(*ports_.switch_of(planned.node)).side));
  }

  Mistake mistake_of(const CableEnd& stays, const CableEnd& planned, const SeenEnd& actual) const {
    if (actual.name == nullptr || !ports_.knows(actual.name->device)) return Mistake::wrong_switch;
    const std::string right = device_of(planned);
    const auto wrong_switch = ports_.find_switch(actual.name->device);
    const auto wrong_server = ports_.find_server(actual.name->device);
    const std::string wrong =
        wrong_switch ? fabric_.at(*wrong_switch).name : fabric_.at(*wrong_server).name;
    if (right == wrong) return Mistake::wrong_port;
    if (actual.end && is_off_layer(stays, planned, *actual.end)) return Mistake::wrong_layer;
    return Mistake::wrong_switch;
  }

  // As if the cable of `near` had its other end at `far`.
  std::optional<Misplaced> explain(const SeenEnd& near, const SeenEnd& far) const {
    if (!near.end) return {};
    const auto id = open_cable_at(*near.end);
    if (!id) return {};
    const CableEnd& planned = partner(*id, *near.end);
    return Misplaced{.cable = *id,
                     .stays = *near.end,
                     .planned = planned,
                     .mistake = mistake_of(*near.end, planned, far)};
  }

  void find_misplaced(SeenLink& link, Mistake wanted) {
    if (link.is_explained) return;
    for (const auto& [near, far] : {std::pair{&link.a, &link.b}, std::pair{&link.b, &link.a}}) {
      const auto found = explain(*near, *far);
      if (!found || found->mistake != wanted) continue;
      link.is_explained = true;
      is_settled_[index(found->cable)] = true;
      report_misplaced(*found, *far, link.link->place);
      return;
    }
  }

  void report_misplaced(const Misplaced& found, const SeenEnd& far, const std::string& place) {
    const std::string actual = shown(*far.name);
    std::string what =
        fmt::format("{} from {} goes to {} and not to {}", label_of(found.cable),
                    ports_.text_of(found.stays), actual, ports_.text_of(found.planned));
    if (found.mistake == Mistake::wrong_layer) {
      what += fmt::format("; {}", layer_text(found.stays, found.planned, *far.end));
    }
    if (!far.end && ports_.knows(far.name->device)) what += ", which is no port of the plan";
    result_.findings.push_back(
        {.mistake = found.mistake,
         .cables = {found.cable},
         .what = std::move(what),
         .fix = fmt::format("move the plug of {} from {} to {}", label_of(found.cable), actual,
                            ports_.text_of(found.planned)),
         .place = place});
  }

  void report_extra(const SeenLink& link) {
    if (link.is_explained) return;
    const std::string a = shown(link.link->a);
    const std::string b = shown(link.link->b);
    result_.findings.push_back({.mistake = Mistake::extra,
                                .cables = {},
                                .what = fmt::format("a cable from {} to {} is not planned", a, b),
                                .fix = "remove it, or add it to the spec",
                                .place = link.link->place});
  }

  void report_missing(CableId id) {
    if (is_settled_[index(id)]) return;
    const Cable& cable = fabric_.at(id);
    const std::string a = device_of(cable.a);
    const std::string b = device_of(cable.b);
    const bool is_blind = !reporters_.contains(a) && !reporters_.contains(b);
    const std::string fix =
        is_blind ? fmt::format("give what {} or {} sees", a, b)
                 : fmt::format("plug it in; if it is, look at both plugs, then change the cable");
    const std::string why = is_blind ? fmt::format("; neither {} nor {} was heard", a, b) : "";
    result_.findings.push_back({.mistake = Mistake::missing,
                                .cables = {id},
                                .what = fmt::format("{} is not seen{}", cable_text(id), why),
                                .fix = fix,
                                .place = {}});
  }

  const Fabric& fabric_;
  const Ports& ports_;
  const Observation& seen_;
  std::map<PortKey, CableId> planned_;
  std::set<std::string> reporters_;
  std::vector<SeenLink> links_;
  std::map<PortKey, std::size_t> seen_at_;
  std::vector<bool> is_settled_;  // By cable: right, or its mistake is reported.
  Comparison result_;
};

}  // namespace

std::string_view name_of(Mistake mistake) {
  constexpr std::array<std::string_view, 8> names{"missing",     "extra",        "swapped",
                                                  "wrong port",  "wrong switch", "wrong layer",
                                                  "wrong speed", "contradiction"};
  return names[static_cast<std::size_t>(mistake)];
}

Comparison compare(const Fabric& fabric, const Ports& ports, const Observation& seen) {
  return Judge(fabric, ports, seen).run();
}

}  // namespace accl::topology
