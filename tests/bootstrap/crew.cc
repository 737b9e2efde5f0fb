#include "tests/bootstrap/crew.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <stdexcept>

#include "accl/base/error.h"

namespace accl::test {
namespace {

void write_line(int fd, const std::string& line) {
  const std::string bytes = line + "\n";
  if (write(fd, bytes.data(), bytes.size()) < 0) return;  // The other side has gone.
}

std::string run_body(const Crew::Body& body, Stage& stage) {
  try {
    return body(stage);
  } catch (const Error& error) {
    return text_of(error);
  } catch (const std::exception& error) {
    return std::string("exception: ") + error.what();
  }
}

}  // namespace

void Stage::say(const std::string& line) { write_line(out_.get(), line); }

std::string Stage::hear() {
  std::string line;
  char byte = 0;
  while (read(in_.get(), &byte, 1) == 1 && byte != '\n') line += byte;
  return line;
}

Crew::Crew(std::uint32_t ranks, const Body& body) {
  ::signal(SIGPIPE, SIG_IGN);  // Tests talk to ranks they have killed.
  for (std::uint32_t rank = 0; rank < ranks; ++rank) {
    int down[2];
    int up[2];
    if (pipe2(down, O_CLOEXEC) != 0 || pipe2(up, O_CLOEXEC) != 0) throw std::runtime_error("pipe");
    Fd down_read(down[0]), down_write(down[1]), up_read(up[0]), up_write(up[1]);
    const pid_t pid = fork();
    if (pid < 0) throw std::runtime_error("fork");
    if (pid == 0) {
      hands_.clear();
      down_write.reset();
      up_read.reset();
      Stage stage(rank, std::move(down_read), std::move(up_write));
      const std::string result = run_body(body, stage);
      stage.say(result);
      std::exit(0);  // As programs end: with what the library does then.
    }
    Hand hand;
    hand.pid = pid;
    hand.to = std::move(down_write);
    hand.from = std::move(up_read);
    hands_.push_back(std::move(hand));
  }
}

Crew::~Crew() {
  for (const Hand& hand : hands_) kill(hand.pid, SIGKILL);
  for (const Hand& hand : hands_) waitpid(hand.pid, nullptr, 0);
}

void Crew::signal(std::uint32_t rank, int number) const { kill(hands_[rank].pid, number); }

void Crew::stop(std::uint32_t rank) const {
  kill(hands_[rank].pid, SIGSTOP);
  waitpid(hands_[rank].pid, nullptr, WUNTRACED);
}

std::string Crew::hear(std::uint32_t rank, int timeout_ms) {
  Hand& hand = hands_[rank];
  const Deadline deadline{Milliseconds(timeout_ms)};
  while (true) {
    const std::size_t end = hand.text.find('\n');
    if (end != std::string::npos) {
      const std::string line = hand.text.substr(0, end);
      hand.text.erase(0, end + 1);
      return line;
    }
    pollfd wait{hand.from.get(), POLLIN, 0};
    if (poll(&wait, 1, deadline.left_ms()) <= 0) return "(silence)";
    char chunk[4096];
    const ssize_t got = read(hand.from.get(), chunk, sizeof chunk);
    if (got <= 0) return "(gone)";
    hand.text.append(chunk, static_cast<std::size_t>(got));
  }
}

void Crew::tell(std::uint32_t rank, const std::string& line) const {
  write_line(hands_[rank].to.get(), line);
}

std::vector<std::string> Crew::hear_all(int timeout_ms) {
  const Deadline deadline{Milliseconds(timeout_ms)};
  std::vector<std::string> lines;
  for (std::uint32_t rank = 0; rank < size(); ++rank) {
    lines.push_back(hear(rank, deadline.left_ms()));
  }
  return lines;
}

void Crew::tell_all(const std::string& line) const {
  for (std::uint32_t rank = 0; rank < size(); ++rank) tell(rank, line);
}

std::uint16_t free_port() {
  const Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t bytes = sizeof address;
  auto* const raw = reinterpret_cast<sockaddr*>(&address);
  if (bind(socket.get(), raw, bytes) != 0 || getsockname(socket.get(), raw, &bytes) != 0) {
    throw std::runtime_error("bind");
  }
  return ntohs(address.sin_port);
}

UniqueId fresh_id(const std::string& host) {
  static int count = 0;
  const std::string job = fmt::format("test {} {}", getpid(), ++count);
  return unique_id_of(fmt::format("{}:{}", host, free_port()), job);
}

JoinOptions options_for(const UniqueId& id, std::uint32_t rank, std::uint32_t size,
                        int timeout_ms) {
  JoinOptions options;
  options.id = id;
  options.rank = Rank{rank};
  options.size = size;
  options.timeout = Milliseconds(timeout_ms);
  options.version = "1.0";
  options.settings = rank == 0 ? "settings of rank 0" : "ignored";
  return options;
}

std::string text_of(const Error& error) {
  return fmt::format("error: {}: {}", static_cast<int>(error.kind()), error.what());
}

std::size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

}  // namespace accl::test
