#include "accl/base/log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <mutex>

namespace accl {
namespace {

std::string log_path() {
  const char* pattern = std::getenv("ACCL_DEBUG_FILE");
  std::string path;
  for (const char* at = pattern; at != nullptr && *at != '\0'; ++at) {
    if (*at != '%' || at[1] == '\0') {
      path += *at;
      continue;
    }
    ++at;
    char host[256] = "host";
    if (*at == 'h') path += gethostname(host, sizeof host) == 0 ? host : "host";
    if (*at == 'p') path += std::to_string(getpid());
    if (*at == '%') path += '%';
  }
  return path;
}

LogLevel chosen_level() {
  const char* word = std::getenv("ACCL_DEBUG");
  const std::string_view level = word != nullptr ? word : "";
  if (level == "error") return LogLevel::error;
  if (level == "info") return LogLevel::info;
  if (level == "trace") return LogLevel::trace;
  return LogLevel::warning;
}

spdlog::sink_ptr make_sink(const std::string& path) {
  if (path.empty()) return std::make_shared<spdlog::sinks::stderr_sink_mt>();
  try {
    return std::make_shared<spdlog::sinks::basic_file_sink_mt>(path);
  } catch (const spdlog::spdlog_ex&) {  // A log that cannot be opened must not stop the job.
    return std::make_shared<spdlog::sinks::stderr_sink_mt>();
  }
}

struct Log {
  LogLevel level = chosen_level();
  spdlog::logger logger{"accl", make_sink(log_path())};
  std::mutex mutex;
  std::string name = fmt::format("pid {}", getpid());

  Log() {
    logger.set_pattern("%v");
    logger.set_level(spdlog::level::trace);
    logger.flush_on(spdlog::level::trace);
  }
};

Log& the_log() {
  static Log* log = new Log;  // Never destroyed: threads may log while the process exits.
  return *log;
}

}  // namespace

bool log_enabled(LogLevel level) { return level <= the_log().level; }

void set_log_name(const std::string& name) {
  Log& log = the_log();
  const std::lock_guard lock(log.mutex);
  log.name = name;
}

void write_log(LogLevel level, const std::string& text) {
  constexpr const char* words[] = {"error", "warning", "info", "trace"};
  Log& log = the_log();
  std::string line;
  {
    const std::lock_guard lock(log.mutex);
    line = fmt::format("accl[{}] {}: {}", log.name, words[static_cast<int>(level)], text);
  }
  log.logger.info(line);
}

}  // namespace accl
