#include "topology/fabric/lines.h"

#include <algorithm>

namespace accl::topology {
namespace {

std::string_view trimmed(std::string_view line) {
  line = line.substr(0, line.find('#'));
  const std::size_t first = line.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  const std::size_t last = line.find_last_not_of(" \t\r");
  return line.substr(first, last - first + 1);
}

}  // namespace

void for_each_line(std::string_view text, const std::function<void(int, std::string_view)>& visit) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);  // The mark of UTF-8.
  for (int number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = trimmed(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!line.empty()) visit(number, line);
  }
}

std::string printable(std::string_view word) {
  std::string text(word.substr(0, 80));
  for (char& c : text) c = c < ' ' || c > '~' ? '?' : c;
  return text;
}

}  // namespace accl::topology
