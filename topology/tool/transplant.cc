// accl-topo transplant - the tree of a bare machine on the bus ids of a virtual one.
#include "topology/machine/transplant.h"

#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "accl/base/text_file.h"
#include "topology/machine/hwloc_reader.h"
#include "topology/machine/nccl_reader.h"
#include "topology/tool/machine_commands.h"

namespace accl::topology {
namespace {

struct TransplantOptions {
  std::string bare_file;
  std::string vm_file;
  std::string out_file;
};

// The document element tells hwloc's format from NCCL's.
Machine machine_of(const std::string& file) {
  const std::string text = read_text(file, max_topology_bytes);
  if (parse_xml(text, file).name == "topology") return read_hwloc_text(text, file);
  return read_nccl_text(text, file);
}

int run_transplant(const TransplantOptions& options) {
  const Transplant result = transplant(machine_of(options.bare_file), machine_of(options.vm_file));
  for (const std::string& sentence : result.sentences) fmt::print(stderr, "{}\n", sentence);
  if (options.out_file.empty()) {
    fmt::print("{}", result.nccl_text);
  } else {
    write_text(options.out_file, result.nccl_text);
  }
  return 0;
}

}  // namespace

Command transplant_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "transplant", "Puts the PCIe tree of a bare machine onto the bus ids a virtual one shows");
  const auto options = std::make_shared<TransplantOptions>();
  command->add_option("BARE", options->bare_file, "The bare machine: XML of NCCL, RCCL or hwloc")
      ->required();
  command->add_option("--onto", options->vm_file, "The virtual machine: XML of NCCL, RCCL or hwloc")
      ->required();
  command->add_option("-o,--out", options->out_file, "Write here instead of standard output");
  return {command, [options] { return run_transplant(*options); }};
}

}  // namespace accl::topology
