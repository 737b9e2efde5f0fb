#include "tests/topology/inputs.h"

#include <algorithm>
#include <cstdlib>

#include "accl/base/text_file.h"

namespace accl::topology {

std::filesystem::path inputs_folder() {
  const char* chosen = std::getenv("ACCL_INPUTS");
  const std::filesystem::path folder =
      chosen != nullptr ? chosen : "../shared/inputs";  // Tests run in the source folder.
  return std::filesystem::is_directory(folder / "hwloc") ? folder : std::filesystem::path{};
}

std::vector<Input> machine_inputs() {
  std::vector<Input> inputs;
  const std::filesystem::path folder = inputs_folder();
  if (folder.empty()) return inputs;
  for (const char* kind : {"hwloc", "nccl-topo"}) {
    for (const auto& entry : std::filesystem::directory_iterator(folder / kind)) {
      if (entry.path().extension() != ".xml") continue;
      const std::string name = std::string(kind) + "/" + entry.path().filename().string();
      inputs.push_back({name, std::string(kind) == "hwloc", read_text(entry.path().string())});
    }
  }
  std::sort(inputs.begin(), inputs.end(),
            [](const Input& a, const Input& b) { return a.name < b.name; });
  return inputs;
}

}  // namespace accl::topology
