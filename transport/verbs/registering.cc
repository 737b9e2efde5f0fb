#include "transport/verbs/registering.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include "accl/base/error.h"

namespace accl::verbs {
namespace {

constexpr int for_peers = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE;
constexpr int of_gpu = for_peers | IBV_ACCESS_REMOTE_READ;

bool is_relaxed(const Port& port) {
  const RelaxedOrdering wanted = port.settings().relaxed_ordering;
  const bool is_known = port.api().reg_mr_iova2 != nullptr;
  if (wanted == RelaxedOrdering::always && !is_known) {
    fail(ErrorKind::invalid_argument,
         "ACCL_IB_PCI_RELAXED_ORDERING=1: this libibverbs has no ibv_reg_mr_iova2; install "
         "rdma-core 28 or newer");
  }
  return wanted != RelaxedOrdering::never && is_known;
}

// `action` registers with these rights. Some drivers, in virtual machines above all, refuse the
// order they do not know instead of ignoring it.
template <class Action>
Owned<ibv_mr> with_order(const Port& port, int access, const Action& action) {
  if (is_relaxed(port)) {
    Owned<ibv_mr> region(action(access | IBV_ACCESS_RELAXED_ORDERING), port.api().dereg_mr);
    const bool must_be = port.settings().relaxed_ordering == RelaxedOrdering::always;
    if (region || errno != EINVAL || must_be) return region;
  }
  return {action(access), port.api().dereg_mr};
}

Owned<ibv_mr> register_addresses(const Port& port, std::span<std::byte> memory, int rights) {
  const Api& api = port.api();
  return with_order(port, rights, [&](int access) {
    const bool has_options = (access & IBV_ACCESS_OPTIONAL_RANGE) != 0;
    if (!has_options) return api.reg_mr(port.domain(), memory.data(), memory.size(), access);
    return api.reg_mr_iova2(port.domain(), memory.data(), memory.size(),
                            reinterpret_cast<std::uint64_t>(memory.data()),
                            static_cast<unsigned>(access));
  });
}

}  // namespace

Owned<ibv_mr> register_pages(const Port& port, std::span<std::byte> memory) {
  return register_addresses(port, memory, for_peers);
}

Owned<ibv_mr> register_by_peermem(const Port& port, std::span<std::byte> memory) {
  return register_addresses(port, memory, of_gpu);
}

// The address of the memory is also the address that peers write to, so that keys and addresses are
// told in the same way however memory was registered.
Owned<ibv_mr> register_dma_buf(const Port& port, std::span<std::byte> memory, int file,
                               std::size_t offset) {
  return with_order(port, of_gpu, [&](int access) {
    return port.api().reg_dmabuf_mr(port.domain(), offset, memory.size(),
                                    reinterpret_cast<std::uint64_t>(memory.data()), file, access);
  });
}

bool is_hopeless(int error) {
  return error == EOPNOTSUPP || error == EPROTONOSUPPORT || error == ENOSYS;
}

// A kernel whose driver for this device knows dma-bufs looks at the descriptor, and finds it bad.
std::string why_no_dma_buf(const Port& port) {
  if (port.api().reg_dmabuf_mr == nullptr) {
    return "this libibverbs has no ibv_reg_dmabuf_mr (rdma-core 34 has)";
  }
  const Owned<ibv_mr> none(port.api().reg_dmabuf_mr(port.domain(), 0, 0, 0, -1, 0),
                           port.api().dereg_mr);
  if (none || !is_hopeless(errno)) return {};
  return fmt::format("the kernel's driver of {} takes none ({})", port.device(),
                     std::generic_category().message(errno));
}

std::string why_no_peermem(const std::string& sysfs) {
  constexpr std::array signs{"/module/nvidia_peermem/version",
                             "/kernel/mm/memory_peers/nv_mem/version",
                             "/kernel/mm/memory_peers/nv_mem_nc/version"};
  const bool is_there = std::ranges::any_of(signs, [&](const char* sign) {
    std::error_code error;
    return std::filesystem::exists(sysfs + sign, error);
  });
  return is_there ? "" : "the kernel module nvidia_peermem is not loaded";
}

}  // namespace accl::verbs
