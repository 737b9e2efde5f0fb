// fake_library.h - the controls of the fake libibverbs that ACCL_FAKE_VERBS names.
#pragma once

#include <cstdlib>
#include <string>
#include <vector>

#include "tests/cuda/controls.h"
#include "tests/verbs/fake/fake_verbs.h"

namespace accl::test {

struct FakeVerbs {
  FakeVerbs() {
    const Controls controls("ACCL_FAKE_VERBS");
    controls.find(living, "fake_verbs_living");
    controls.find(violation, "fake_verbs_violation");
    controls.find(reset, "fake_verbs_reset");
    controls.find(set_devices, "fake_verbs_set_devices");
    controls.find(fail_call, "fake_verbs_fail_call");
    controls.find(calls, "fake_verbs_calls");
    controls.find(break_request, "fake_verbs_break_request");
    controls.find(set_extended, "fake_verbs_set_extended");
    controls.find(set_drain, "fake_verbs_set_drain");
    controls.find(set_mlx5, "fake_verbs_set_mlx5");
    controls.find(draining, "fake_verbs_draining");
    controls.find(sent_by_label, "fake_verbs_sent_by_label");
    controls.find(set_ports, "fake_verbs_set_ports");
    controls.find(set_link, "fake_verbs_set_link");
    controls.find(hold, "fake_verbs_hold");
    controls.find(look_for, "fake_verbs_look_for");
    controls.find(raise, "fake_verbs_raise");
    controls.find(labels, "fake_verbs_labels");
    controls.find(counts, "fake_verbs_counts");
    controls.find(set_dma_buf, "fake_verbs_set_dma_buf");
    controls.find(set_peer_memory, "fake_verbs_set_peer_memory");
    controls.find(refuse_relaxed, "fake_verbs_refuse_relaxed");
    controls.find(set_recorder, "fake_verbs_set_recorder");
    controls.find(list_regions, "fake_verbs_regions");
    controls.find(read, "fake_verbs_read");
    reset();
  }

  static std::string library() {
    const char* const path = std::getenv("ACCL_FAKE_VERBS");
    return path != nullptr ? path : "";
  }

  std::vector<FakeVerbsRegion> regions() const {
    std::vector<FakeVerbsRegion> all(list_regions(nullptr, 0));
    list_regions(all.data(), static_cast<std::uint32_t>(all.size()));
    return all;
  }

  decltype(&fake_verbs_living) living;
  decltype(&fake_verbs_violation) violation;
  decltype(&fake_verbs_reset) reset;
  decltype(&fake_verbs_set_devices) set_devices;
  decltype(&fake_verbs_fail_call) fail_call;
  decltype(&fake_verbs_calls) calls;
  decltype(&fake_verbs_break_request) break_request;
  decltype(&fake_verbs_set_extended) set_extended;
  decltype(&fake_verbs_set_drain) set_drain;
  decltype(&fake_verbs_set_mlx5) set_mlx5;
  decltype(&fake_verbs_draining) draining;
  decltype(&fake_verbs_sent_by_label) sent_by_label;
  decltype(&fake_verbs_set_ports) set_ports;
  decltype(&fake_verbs_set_link) set_link;
  decltype(&fake_verbs_hold) hold;
  decltype(&fake_verbs_look_for) look_for;
  decltype(&fake_verbs_raise) raise;
  decltype(&fake_verbs_labels) labels;
  decltype(&fake_verbs_counts) counts;
  decltype(&fake_verbs_set_dma_buf) set_dma_buf;
  decltype(&fake_verbs_set_peer_memory) set_peer_memory;
  decltype(&fake_verbs_refuse_relaxed) refuse_relaxed;
  decltype(&fake_verbs_set_recorder) set_recorder;
  decltype(&fake_verbs_regions) list_regions;
  decltype(&fake_verbs_read) read;
};

}  // namespace accl::test
