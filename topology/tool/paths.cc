#include "topology/tool/paths.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "accl/base/error.h"
#include "accl/base/text_file.h"
#include "topology/probing/classes.h"
#include "topology/probing/udp_wire.h"

namespace accl::topology {
namespace {

constexpr std::size_t most_destinations = 4096;

struct Options {
  std::string from;
  std::vector<std::string> to;
  std::uint32_t labels = 64;
  std::uint32_t rate = 1000;
  std::uint32_t seconds = 100;
  bool json = false;
  std::string out;
};

Address address_of(const char* option, const std::string& text) {
  const std::optional<Address> address = parse_address(text);
  if (!address) {
    fail(ErrorKind::invalid_argument, "{} {}: is no address; give one as 10.0.0.1 or fd00::1",
         option, text);
  }
  if (address->is_link_local()) {
    fail(ErrorKind::invalid_argument,
         "{} {}: is known on its own link only, where no router is; give one that is routed",
         option, text);
  }
  return *address;
}

const char* kind_of(const Address& address) { return address.is_ipv4() ? "IPv4" : "IPv6"; }

std::vector<Address> destinations_of(const Options& options, const Address& from) {
  std::vector<Address> destinations;
  for (const std::string& text : options.to) {
    const Address to = address_of("--to", text);
    if (to.is_ipv4() != from.is_ipv4()) {
      fail(ErrorKind::invalid_argument,
           "--to {}: is {}, and --from {} is {}; give both of one kind", text, kind_of(to),
           options.from, kind_of(from));
    }
    if (to == from) {
      fail(ErrorKind::invalid_argument, "--to {}: is where probes start; give other ends", text);
    }
    if (std::ranges::count(destinations, to) > 0) {
      fail(ErrorKind::invalid_argument, "--to {}: comes twice; give each address once", text);
    }
    destinations.push_back(to);
  }
  if (destinations.size() > most_destinations) {
    fail(ErrorKind::invalid_argument, "--to: {} addresses are too many; give {} at a time",
         destinations.size(), most_destinations);
  }
  return destinations;
}

int run(const Options& options) {
  const Address from = address_of("--from", options.from);
  const std::vector<Address> destinations = destinations_of(options, from);
  UdpWire wire(from, options.labels);
  const auto longest = std::chrono::seconds(options.seconds);
  const std::vector<Trace> traces =
      trace(wire, destinations, {.per_second = options.rate, .longest = longest});
  std::vector<PairPaths> pairs;
  std::string doubts;
  for (const Trace& one : traces) {
    pairs.push_back(classify(from, one));
    if (pairs.back().classes.empty()) {
      fail(ErrorKind::timeout,
           "--to {}: after {} s no label was known; give more --seconds or fewer --labels",
           text_of(one.to), options.seconds);
    }
    doubts += print_doubts(pairs.back(), one);
  }
  const std::size_t probed = wire.labels().size();
  if (probed < options.labels) {
    doubts +=
        fmt::format("{}: only {} of {} labels could be probed; ports of the others are in use\n",
                    options.from, probed, options.labels);
  }
  const std::string text = options.json ? print_paths_json(pairs) : print_paths(pairs);
  if (options.out.empty()) std::fputs(text.c_str(), stdout);
  if (!options.out.empty()) write_text(options.out, text);
  fmt::print(stderr, "{}", doubts);
  return 0;
}

}  // namespace

Command paths_command(CLI::App& app) {
  const auto options = std::make_shared<Options>();
  CLI::App* const command = app.add_subcommand(
      "paths", "Which RoCE flow labels take which path to other NICs, found by probes");
  command->add_option("--from", options->from, "An address of this host, IPv4 or IPv6")->required();
  command->add_option("--to", options->to, "Addresses of other NICs: A,B,...")
      ->required()
      ->delimiter(',');
  command->add_option("--labels", options->labels, "How many to probe (64)")
      ->check(CLI::Range(1, 900));
  command->add_option("--rate", options->rate, "Probes a second, at most (1000)")
      ->check(CLI::Range(1, 100'000));
  command->add_option("--seconds", options->seconds, "The longest it may take (100)")
      ->check(CLI::Range(1, 3600));
  command->add_flag("--json", options->json, "As JSON, for ACCL_IB_PATHS");
  command->add_option("-o,--out", options->out, "Write it here (standard output)");
  return {command, [options] { return run(*options); }};
}

}  // namespace accl::topology
