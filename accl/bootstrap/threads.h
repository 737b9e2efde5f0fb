// threads.h - how this library starts its threads.
#pragma once

#include <functional>
#include <thread>

namespace accl::bootstrap {

// A thread with a name (at most 15 letters) and every signal blocked: the user's handlers run on
// the user's threads.
std::thread start_thread(const char* name, std::function<void()> body);

}  // namespace accl::bootstrap
