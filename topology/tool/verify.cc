#include "topology/tool/verify.h"

#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "accl/base/text_file.h"
#include "topology/cabling/advice.h"
#include "topology/check/compare.h"
#include "topology/check/readers.h"
#include "topology/fabric/spec.h"

namespace accl::topology {
namespace {

using Json = nlohmann::ordered_json;

struct Options {
  std::string spec;
  std::string lldp;
  std::string ibnetdiscover;
  std::string cables;
  bool as_json = false;
};

Observation observe(const Options& options) {
  if (!options.lldp.empty()) return read_lldp(options.lldp);
  if (!options.ibnetdiscover.empty()) {
    return parse_ibnetdiscover(read_text(options.ibnetdiscover), options.ibnetdiscover);
  }
  return parse_cables(read_text(options.cables), options.cables);
}

Json json_of(const Comparison& result, const Fabric& fabric, const Observation& seen) {
  Json findings = Json::array();
  for (const Finding& finding : result.findings) {
    Json cables = Json::array();
    for (const CableId id : finding.cables) cables.push_back(label_of(id));
    findings.push_back({{"mistake", name_of(finding.mistake)},
                        {"cables", cables},
                        {"what", finding.what},
                        {"fix", finding.fix},
                        {"place", finding.place}});
  }
  Json advice = Json::array();
  for (const Advice& piece : advice_for(fabric)) {
    advice.push_back({{"topic", piece.topic}, {"text", piece.text}});
  }
  return {{"matches", result.matches()},
          {"source", seen.source},
          {"planned", result.planned},
          {"right", result.right},
          {"ignored", result.ignored},
          {"findings", findings},
          {"advice", advice}};
}

void print_text(const Comparison& result, const Fabric& fabric, const Observation& seen) {
  for (const Finding& finding : result.findings) {
    const std::string place = finding.place.empty() ? "" : fmt::format(" [{}]", finding.place);
    fmt::print("{}: {}{}\n  fix: {}\n", name_of(finding.mistake), finding.what, place, finding.fix);
  }
  fmt::print("{}: {} of {} cables are as planned, {} differences ({}", fabric.name, result.right,
             result.planned, result.findings.size(), seen.source);
  if (result.ignored > 0) fmt::print("; {} links of other networks ignored", result.ignored);
  fmt::print(")\n\n{}", text_of(advice_for(fabric)));
}

int run(const Options& options) {
  Section spec = Section::load(options.spec);
  const Fabric fabric = read_fabric(spec);
  Section cabling = spec.section("cabling");
  const Ports ports(fabric, read_cabling(cabling).ports);
  const Observation seen = observe(options);
  const Comparison result = compare(fabric, ports, seen);
  if (options.as_json) {
    const Json json = json_of(result, fabric, seen);
    fmt::print("{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
  } else {
    print_text(result, fabric, seen);
  }
  return result.matches() ? 0 : 1;
}

}  // namespace

Command verify_command(CLI::App& app) {
  const auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "verify", "Names every cable that is not as planned, and the fix; exit status 1 if one is");
  command->add_option("spec", options->spec, "The cluster, in YAML")->required();
  CLI::Option_group* source = command->add_option_group("source", "What was seen, one of");
  source->add_option("--lldp", options->lldp,
                     "lldpcli -f json show neighbors: {HOST: OUTPUT} or a folder of HOST.json");
  source->add_option("--ibnetdiscover", options->ibnetdiscover, "The output of ibnetdiscover");
  source->add_option("--cables", options->cables, "A CSV list: our cut sheet, or from NetBox");
  source->require_option(1);
  command->add_flag("--json", options->as_json, "Print one JSON object");
  return {.app = command, .run = [options] { return run(*options); }};
}

}  // namespace accl::topology
