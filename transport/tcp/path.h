// path.h - the way a connection takes, in words, for people who look for the cable.
#pragma once

#include <map>
#include <string>

namespace accl::tcp {

class Paths {
 public:
  // "10.0.1.2:41234 on eth0 to 10.0.3.2:35555" of a connected socket; without "on eth0" where no
  // interface has that address. Empty for sockets of other families: those leave no host.
  std::string of(int socket);

 private:
  // Listing them is slow on hosts with hundreds.
  std::map<std::string, std::string> interfaces_;  // Names by address; empty: none has it.
};

}  // namespace accl::tcp
