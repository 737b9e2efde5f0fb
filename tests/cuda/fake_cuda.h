// fake_cuda.h - a CUDA driver without GPUs. Their memory cannot be touched at its address, so
// whoever treats it as memory of the host crashes; the bytes lie in a file, which is also what the
// driver gives out as a dma-buf. It holds callers to their duties (a context must be current,
// ranges are whole pages) and does what it is told: fail a call, lack a feature. Loaded by path, as
// the real one is.
//
// These are its controls, to be looked up in the loaded library.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {

// Back to two GPUs (0000:1A:00.0 and 0000:1B:00.0) and a driver of version 12.8 that can all there
// is. Allocations live on.
void fake_cuda_reset();
// Allocations and contexts held.
std::uint32_t fake_cuda_living();
// The first duty a caller neglected, in words; empty: none.
const char* fake_cuda_violation();

// Zeroed memory of a GPU; at `where`, if that is not null and free. To be freed by fake_cuda_free.
void* fake_cuda_allocate(int device, std::size_t bytes, bool is_managed, void* where);
void fake_cuda_free(void* memory);
// Where the bytes of GPU memory are. Null: it is none.
std::byte* fake_cuda_bytes(const void* address, std::size_t bytes);

// What every GPU says of an attribute (a CUdevice_attribute).
void fake_cuda_set_attribute(int attribute, int value);
// As drivers older than it.
void fake_cuda_forget_attribute(int attribute);
void fake_cuda_set_version(int version);
// 0: dma-bufs are given (0); else the CUresult that every try gets.
void fake_cuda_refuse_handles(int result);
// Dma-bufs that are to be mapped through PCIe are refused.
void fake_cuda_refuse_pcie_mapping();

// The k-th call (from 1) of the driver that can fail does, with this CUresult; 0: none. Counts from
// now on.
void fake_cuda_fail_call(std::uint32_t k, int result);
std::uint32_t fake_cuda_calls();
// Hears the name of each call.
void fake_cuda_set_recorder(void (*recorder)(const char* call));
}
