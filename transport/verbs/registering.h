// registering.h - the ways a device comes to know a piece of user memory: by its pages, or, for the
// memory of a GPU, through the kernel's dma-buf or through nvidia-peermem. None of these throws for
// what the device refuses: there is often another way.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "transport/verbs/port.h"

namespace accl::verbs {

// Data of users: peers write it, and our device reads and writes it. PCIe may reorder those writes
// where the settings and the library allow: the completion that follows them is not reordered.
// Throws Error (invalid_argument) where the settings want what the library cannot. Otherwise null,
// and errno says why.
Owned<ibv_mr> register_pages(const Port& port, std::span<std::byte> memory);

// The same of GPU memory, which has no pages here; such memory may also be read by the device over
// itself, which is how its writes are flushed.
Owned<ibv_mr> register_by_peermem(const Port& port, std::span<std::byte> memory);

// `file` is a dma-buf in which the memory begins at `offset`; it may be closed afterwards.
Owned<ibv_mr> register_dma_buf(const Port& port, std::span<std::byte> memory, int file,
                               std::size_t offset);

// Why neither this memory nor any other can be registered so, in words; empty where it can be
// tried.
std::string why_no_dma_buf(const Port& port);
std::string why_no_peermem(const std::string& sysfs);

// Whether an errno of the above means that no memory will ever be taken this way.
bool is_hopeless(int error);

}  // namespace accl::verbs
