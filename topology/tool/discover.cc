// accl-topo discover - what is in this server, or in one that was saved, and who pairs with whom.
#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "accl/base/text_file.h"
#include "topology/machine/hwloc_reader.h"
#include "topology/machine/nccl_reader.h"
#include "topology/machine/nccl_writer.h"
#include "topology/machine/report.h"
#include "topology/tool/machine_commands.h"

namespace accl::topology {
namespace {

struct DiscoverOptions {
  std::string hwloc_file;
  std::string nccl_file;
  std::string write_nccl;
  bool json = false;
};

Machine machine_of(const DiscoverOptions& options) {
  if (!options.hwloc_file.empty()) {
    return read_hwloc_text(read_text(options.hwloc_file, max_topology_bytes), options.hwloc_file);
  }
  if (!options.nccl_file.empty()) {
    return read_nccl_text(read_text(options.nccl_file, max_topology_bytes), options.nccl_file);
  }
  return read_hwloc_live();
}

int discover(const DiscoverOptions& options) {
  const Machine machine = machine_of(options);
  if (!options.write_nccl.empty()) write_text(options.write_nccl, nccl_text(machine));
  fmt::print("{}", options.json ? json_report(machine) : text_report(machine));
  return 0;
}

}  // namespace

Command discover_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "discover", "Prints this server's GPUs, NICs and paths, and pairs each GPU with a NIC");
  const auto options = std::make_shared<DiscoverOptions>();
  CLI::Option* hwloc = command->add_option("--hwloc", options->hwloc_file,
                                           "Read FILE (`lstopo --of xml FILE`) instead of this "
                                           "machine; - is standard input");
  command->add_option("--nccl", options->nccl_file, "Read FILE, a topology of NCCL or RCCL")
      ->excludes(hwloc);
  command->add_flag("--json", options->json, "Print one JSON object");
  command->add_option("--write-nccl", options->write_nccl,
                      "Write the machine as a topology of NCCL, for NCCL_TOPO_FILE");
  return {command, [options] { return discover(*options); }};
}

}  // namespace accl::topology
