// inputs.h - where the saved real machines are: ../shared/inputs beside the repository, or
// ACCL_INPUTS. They belong to others and are read, not copied.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace accl::topology {

// Empty where there are none; the test then says so and skips.
std::filesystem::path inputs_folder();

struct Input {
  std::string name;  // "hwloc/coral-lassen.xml"
  bool is_hwloc = false;
  std::string text;
};

// Every saved machine, by name.
std::vector<Input> machine_inputs();

}  // namespace accl::topology
