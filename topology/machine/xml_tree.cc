#include "topology/machine/xml_tree.h"

#include <libxml/parser.h>
#include <libxml/tree.h>
#include <libxml/xmlerror.h>

#include <charconv>
#include <limits>
#include <memory>

#include "accl/base/error.h"

namespace accl::topology {
namespace {

using Document = std::unique_ptr<xmlDoc, decltype(&xmlFreeDoc)>;
using Context = std::unique_ptr<xmlParserCtxt, decltype(&xmlFreeParserCtxt)>;

void say_nothing(void*, const char*, ...) {}

std::string text_of(const xmlChar* text) {
  return text == nullptr ? std::string{} : reinterpret_cast<const char*>(text);
}

[[noreturn]] void fail_at(const std::string& name, int line, std::string_view what) {
  fail(ErrorKind::invalid_argument, "{}:{}: {}", name, line, what);
}

[[noreturn]] void fail_parse(const std::string& name, xmlParserCtxt* context) {
  const xmlError* error = xmlCtxtGetLastError(context);
  std::string what = error != nullptr && error->message != nullptr ? error->message : "unreadable";
  while (!what.empty() && (what.back() == '\n' || what.back() == ' ')) what.pop_back();
  fail_at(name, error != nullptr ? error->line : 1, "this is no whole XML (" + what + ")");
}

XmlAttributes attributes_of(const xmlNode* node) {
  XmlAttributes attributes;
  for (const xmlAttr* attribute = node->properties; attribute != nullptr;
       attribute = attribute->next) {
    std::string value;
    for (const xmlNode* part = attribute->children; part != nullptr; part = part->next) {
      if (part->type == XML_TEXT_NODE) value += text_of(part->content);
    }
    attributes.emplace_back(text_of(attribute->name), std::move(value));
  }
  return attributes;
}

class Converter {
 public:
  Converter(const std::string& name, const XmlLimits& limits) : name_(name), limits_(limits) {}

  XmlElement convert(const xmlNode* node, unsigned depth) {
    const int line = node->line;
    if (depth > limits_.depth) fail_at(name_, line, "elements are nested too deep");
    if (++elements_ > limits_.elements) fail_at(name_, line, "there are too many elements");
    XmlElement element{text_of(node->name), attributes_of(node), {}, {}, line};
    for (const xmlNode* child = node->children; child != nullptr; child = child->next) {
      if (child->type == XML_ELEMENT_NODE) element.children.push_back(convert(child, depth + 1));
      if (child->type == XML_TEXT_NODE) element.text += text_of(child->content);
    }
    return element;
  }

 private:
  const std::string& name_;
  const XmlLimits limits_;
  std::size_t elements_ = 0;
};

}  // namespace

QuietXml::QuietXml() { xmlSetGenericErrorFunc(nullptr, &say_nothing); }
QuietXml::~QuietXml() { xmlSetGenericErrorFunc(nullptr, nullptr); }

std::string_view XmlElement::get(std::string_view attribute) const {
  for (const auto& [key, value] : attributes) {
    if (key == attribute) return value;
  }
  return {};
}

bool XmlElement::has(std::string_view attribute) const {
  for (const auto& [key, value] : attributes) {
    if (key == attribute) return true;
  }
  return false;
}

XmlElement parse_xml(std::string_view text, const std::string& name, const XmlLimits& limits) {
  if (text.empty()) fail_at(name, 1, "the file is empty");
  if (text.find('\0') != std::string_view::npos) fail_at(name, 1, "this is no XML in UTF-8");
  if (text.find("<!ENTITY") != std::string_view::npos) {
    fail_at(name, 1, "it declares entities, which no topology file does");
  }
  if (text.size() > std::numeric_limits<int>::max()) fail_at(name, 1, "the file is too large");
  xmlInitParser();
  const QuietXml quiet;
  const Context context(xmlNewParserCtxt(), &xmlFreeParserCtxt);
  if (context == nullptr) throw std::bad_alloc();
  const Document document(
      xmlCtxtReadMemory(context.get(), text.data(), static_cast<int>(text.size()), name.c_str(),
                        nullptr, XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING),
      &xmlFreeDoc);
  const xmlNode* top = document == nullptr ? nullptr : xmlDocGetRootElement(document.get());
  if (top == nullptr) fail_parse(name, context.get());
  return Converter(name, limits).convert(top, 0);
}

std::optional<std::uint64_t> parse_number(std::string_view text) {
  int base = 10;
  if (text.starts_with("0x") || text.starts_with("0X")) {
    text.remove_prefix(2);
    base = 16;
  }
  std::uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value, base);
  if (text.empty() || error != std::errc{} || stop != end) return std::nullopt;
  return value;
}

std::optional<int> parse_int(std::string_view text) {
  int value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (text.empty() || error != std::errc{} || stop != end) return std::nullopt;
  return value;
}

std::string xml_escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&apos;";
        break;
      default:
        if (static_cast<unsigned char>(c) >= 0x20) out += c;
    }
  }
  return out;
}

}  // namespace accl::topology
