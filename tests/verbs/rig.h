// rig.h - a machine that is not there: RDMA devices, GPUs, and the sysfs that says where they are.
#pragma once

#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "accl/base/error.h"
#include "tests/cuda/controls.h"
#include "tests/verbs/fake_library.h"
#include "transport/verbs/memory.h"

namespace accl::test {

// A folder that is gone afterwards.
class Sysfs {
 public:
  Sysfs() {
    char pattern[] = "/tmp/accl-sysfs-XXXXXX";
    EXPECT_NE(::mkdtemp(pattern), nullptr);
    root_ = pattern;
  }
  Sysfs(const Sysfs&) = delete;
  Sysfs& operator=(const Sysfs&) = delete;
  ~Sysfs() { std::filesystem::remove_all(root_); }

  std::string root() const { return root_; }

  // `at` is a device's place, as "pci0000:16/0000:16:02.0/0000:17:00.0".
  void place(const std::string& at, int numa_node) const {
    const std::filesystem::path folder = root_ / "devices" / at;
    std::filesystem::create_directories(folder);
    std::ofstream(folder / "numa_node") << numa_node << '\n';
    link("bus/pci/devices/" + folder.filename().string(), folder);
  }
  void place_nic(const std::string& name, const std::string& at, int numa_node) const {
    place(at, numa_node);
    std::filesystem::create_directories(root_ / "class/infiniband" / name);
    link("class/infiniband/" + name + "/device", root_ / "devices" / at);
  }
  void write(const std::string& file, const std::string& text) const {
    std::filesystem::create_directories((root_ / file).parent_path());
    std::ofstream(root_ / file) << text;
  }

 private:
  void link(const std::string& from, const std::filesystem::path& to) const {
    std::filesystem::create_directories((root_ / from).parent_path());
    std::filesystem::remove(root_ / from);
    std::filesystem::create_symlink(to, root_ / from);
  }

  std::filesystem::path root_;
};

// Rails over the first devices of the fake, and what is registered with them.
class Rails {
 public:
  Rails(const verbs::Settings& settings, verbs::Api api)
      : api_(api), ports_(verbs::open_ports(api_, settings)), registry_(settings.gpu) {}
  explicit Rails(const verbs::Settings& settings)
      : Rails(settings, verbs::Api::load(FakeVerbs::library())) {}

  // Of the ports there are.
  void add_rails(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) registry_.add_rail(*ports_[i]);
  }
  verbs::Port& port(std::size_t number) { return *ports_[number]; }
  verbs::Registry& registry() { return registry_; }

 private:
  const verbs::Api api_;
  std::vector<std::unique_ptr<verbs::Port>> ports_;
  verbs::Registry registry_;
};

// Descriptors this process has open.
inline std::size_t open_files() {
  const std::filesystem::directory_iterator files("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(files), end(files)));
}

// The words of the Error that an action throws; empty: it throws none.
template <class Action>
std::string words_of_error(const Action& action, ErrorKind kind) {
  try {
    action();
    return {};
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
}

inline bool holds(const std::string& text, const std::string& word) {
  return text.find(word) != std::string::npos;
}

}  // namespace accl::test
