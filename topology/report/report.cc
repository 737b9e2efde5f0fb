#include "topology/report/report.h"

#include <string_view>

#include "accl/base/assert.h"
#include "topology/report/data.h"
#include "topology/report/page.h"

namespace accl::topology {
namespace {

void put(std::string& page, std::string_view mark, std::string_view text) {
  const std::size_t at = page.find(mark);
  ACCL_ASSERT(at != std::string::npos, mark);
  page.replace(at, mark.size(), text);
}

// In a script element only '<' can end it or start a comment, and JSON may spell it otherwise.
// Names are bytes of the user's files: what is no UTF-8 becomes a replacement character.
std::string print_safely(const ReportJson& json) {
  const std::string plain = json.dump(-1, ' ', false, ReportJson::error_handler_t::replace);
  std::string safe;
  safe.reserve(plain.size());
  for (const char c : plain) {
    if (c == '<') safe += "\\u003c";
    if (c != '<') safe += c;
  }
  return safe;
}

}  // namespace

std::string print_report(const ReportInput& input) {
  std::string scripts;
  for (const std::string_view script : page_scripts) scripts += script;
  std::string page(page_html);
  put(page, "/*SCRIPTS*/", scripts);
  put(page, "/*STYLE*/", page_css);
  put(page, "/*DATA*/", print_safely(report_data(input)));
  return page;
}

}  // namespace accl::topology
