#include "accl/bootstrap/facts.h"

namespace accl::bootstrap {
namespace {

using Ranks = std::vector<std::uint32_t>;

void write(Writer& writer, const Ranks& ranks) {
  writer.number(static_cast<std::uint32_t>(ranks.size()));
  for (const std::uint32_t rank : ranks) writer.number(rank);
}

Ranks read_ranks(Reader& reader) {
  Ranks ranks(reader.count(sizeof(std::uint32_t)));
  for (std::uint32_t& rank : ranks) rank = reader.number<std::uint32_t>();
  return ranks;
}

void write(Writer& writer, std::int32_t number) {
  writer.number(static_cast<std::uint32_t>(number));
}

std::int32_t read_signed(Reader& reader) {
  return static_cast<std::int32_t>(reader.number<std::uint32_t>());
}

void write(Writer& writer, const Verdict& verdict) {
  writer.number(static_cast<std::uint8_t>(verdict.kind));
  writer.number(static_cast<std::uint32_t>(verdict.processes.size()));
  for (const auto& [rank, how] : verdict.processes) {
    writer.number(rank).number(static_cast<std::uint8_t>(how));
  }
  writer.number(verdict.topic).text(verdict.text);
}

Verdict read_verdict(Reader& reader) {
  Verdict verdict;
  verdict.kind = static_cast<ErrorKind>(reader.number<std::uint8_t>());
  verdict.processes.resize(reader.count(5));
  for (auto& [rank, how] : verdict.processes) {
    rank = reader.number<std::uint32_t>();
    how = static_cast<Gone>(reader.number<std::uint8_t>());
  }
  verdict.topic = reader.number<std::uint64_t>();
  verdict.text = reader.text();
  return verdict;
}

void write_body(Writer& writer, const GoneFact& fact) {
  writer.number(fact.rank).number(static_cast<std::uint8_t>(fact.how));
}

void write_body(Writer& writer, const AbortFact& fact) {
  writer.number(fact.topic);
  write(writer, fact.ranks);
  writer.number(static_cast<std::uint8_t>(fact.kind)).text(fact.text);
}

void write_body(Writer& writer, const InquiryFact& fact) {
  writer.number(fact.topic);
  write(writer, fact.ranks);
  writer.number(fact.age_ms);
}

void write_body(Writer& writer, const StateFact& fact) {
  const RankState& state = fact.state;
  writer.number(fact.topic).number(fact.position).number(fact.revision);
  writer.number(static_cast<std::uint8_t>(state.open)).number(state.call).number(state.finished);
  writer.number(state.collective).number(state.type).number(state.op).number(state.root);
  writer.number(state.algorithm).number(state.count);
  write(writer, state.waiting_for);
  writer.number(static_cast<std::uint8_t>(state.report.kind));
  write(writer, state.report.peer);
  writer.text(state.report.reason);
  writer.number(static_cast<std::uint32_t>(state.dead.size()));
  for (const DeadLink& link : state.dead) {
    writer.number(link.peer).text(link.text);
    writer.number(static_cast<std::uint8_t>(link.is_open));
  }
}

void write_body(Writer& writer, const VerdictFact& fact) {
  writer.number(static_cast<std::uint32_t>(fact.verdicts.size()));
  for (const Verdict& verdict : fact.verdicts) write(writer, verdict);
}

GoneFact read_gone(Reader& reader) {
  GoneFact fact;
  fact.rank = reader.number<std::uint32_t>();
  fact.how = static_cast<Gone>(reader.number<std::uint8_t>());
  return fact;
}

AbortFact read_abort(Reader& reader) {
  AbortFact fact;
  fact.topic = reader.number<std::uint64_t>();
  fact.ranks = read_ranks(reader);
  fact.kind = static_cast<ErrorKind>(reader.number<std::uint8_t>());
  fact.text = reader.text();
  return fact;
}

InquiryFact read_inquiry(Reader& reader) {
  InquiryFact fact;
  fact.topic = reader.number<std::uint64_t>();
  fact.ranks = read_ranks(reader);
  fact.age_ms = reader.number<std::uint32_t>();
  return fact;
}

StateFact read_state(Reader& reader) {
  StateFact fact;
  fact.topic = reader.number<std::uint64_t>();
  fact.position = reader.number<std::uint32_t>();
  fact.revision = reader.number<std::uint32_t>();
  RankState& state = fact.state;
  state.open = reader.number<std::uint8_t>() != 0;
  state.call = reader.number<std::uint64_t>();
  state.finished = reader.number<std::uint64_t>();
  for (std::uint32_t* field :
       {&state.collective, &state.type, &state.op, &state.root, &state.algorithm}) {
    *field = reader.number<std::uint32_t>();
  }
  state.count = reader.number<std::uint64_t>();
  state.waiting_for = read_signed(reader);
  state.report.kind = static_cast<ReportKind>(reader.number<std::uint8_t>());
  state.report.peer = read_signed(reader);
  state.report.reason = reader.text();
  state.dead.resize(reader.count(2 * sizeof(std::uint32_t) + 1));
  for (DeadLink& link : state.dead) {
    link.peer = reader.number<std::uint32_t>();
    link.text = reader.text();
    link.is_open = reader.number<std::uint8_t>() != 0;
  }
  return fact;
}

VerdictFact read_verdicts(Reader& reader) {
  VerdictFact fact;
  const std::uint32_t count = reader.count(1);
  for (std::uint32_t i = 0; i < count && reader.good(); ++i) {
    fact.verdicts.push_back(read_verdict(reader));
  }
  return fact;
}

Fact read_fact(Reader& reader, std::uint8_t kind) {
  if (kind == 0) return read_gone(reader);
  if (kind == 1) return read_abort(reader);
  if (kind == 2) return read_inquiry(reader);
  if (kind == 3) return read_state(reader);
  return read_verdicts(reader);
}

}  // namespace

std::string encode(const Fact& fact) {
  Writer writer;
  writer.number(static_cast<std::uint8_t>(fact.index()));
  std::visit([&](const auto& body) { write_body(writer, body); }, fact);
  return writer.take();
}

std::optional<Fact> decode_fact(std::string_view bytes) {
  Reader reader(bytes);
  const auto kind = reader.number<std::uint8_t>();
  if (!reader.good() || kind >= std::variant_size_v<Fact>) return std::nullopt;
  Fact fact = read_fact(reader, kind);
  if (!reader.good() || !reader.at_end()) return std::nullopt;
  return fact;
}

}  // namespace accl::bootstrap
