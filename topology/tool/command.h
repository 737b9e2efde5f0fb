// command.h - the commands of accl-topo, one file each. A command adds its subcommand to the
// application; main runs the one that was named.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace accl::topology {

struct Command {
  CLI::App* app = nullptr;
  // The exit status: 0 good, 1 it differs or is contended. Throws Error for bad input (status 2).
  std::function<int()> run;
};

}  // namespace accl::topology
