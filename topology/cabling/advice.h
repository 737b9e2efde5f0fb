// advice.h - what whoever configures the switches must know of this fabric: which routing engines
// of OpenSM work, where lossless traffic can deadlock, what to set for RoCE, what a failure takes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "topology/fabric/fabric.h"

namespace accl::topology {

struct Advice {
  std::string topic;  // One word or two: "InfiniBand", "deadlock".
  std::string text;   // Whole sentences.
};

std::vector<Advice> advice_for(const Fabric& fabric);

// "topic: text" a piece, in lines of at most 100 columns with the later lines indented.
std::string text_of(const std::vector<Advice>& advice);

}  // namespace accl::topology
