// accl-topo - pairs GPUs with NICs, plans a cluster's cabling, maps ranks, proves what they cost,
// checks what was built. `accl-topo --help`.
#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <vector>

#include "accl/base/error.h"
#include "topology/tool/explain.h"
#include "topology/tool/machine_commands.h"
#include "topology/tool/map.h"
#include "topology/tool/mend.h"
#include "topology/tool/paths.h"
#include "topology/tool/plan.h"
#include "topology/tool/report.h"
#include "topology/tool/verify.h"

namespace {

using accl::topology::Command;

std::vector<Command> commands_of(CLI::App& app) {
  using namespace accl::topology;
  return {discover_command(app), transplant_command(app), map_command(app),
          explain_command(app),  mend_command(app),       plan_command(app),
          verify_command(app),   report_command(app),     paths_command(app)};
}

int run(int argc, char** argv) {
  CLI::App app{"Pairs GPUs with NICs, plans cables, maps ranks, and proves what they cost"};
  app.name("accl-topo");
  app.require_subcommand(1);
  const std::vector<Command> commands = commands_of(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  for (const Command& command : commands) {
    if (!command.app->parsed()) continue;
    const int status = command.run();
    if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return status;
    accl::fail(accl::ErrorKind::system, "standard output cannot be written");
  }
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const accl::Error& error) {
    fmt::print(stderr, "accl-topo: {}\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    fmt::print(stderr, "accl-topo: {}\n", error.what());
    return 2;
  }
}
