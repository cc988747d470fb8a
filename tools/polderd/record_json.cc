// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/polderd/record_json.h"

#include "core-volume/cluster/units.h"

namespace polder {

namespace {

std::string printable(std::string_view bytes) {
  std::string out;
  for (char c : bytes) {
    auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte > 0x7e || c == '\\') {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out;
}

void add_entry(json::object& out, const char* prefix, const EntryName& entry) {
  if (entry.name.empty()) return;
  out[std::string(prefix) + "parent"] = entry.parent.hex();
  out[std::string(prefix) + "name"] = printable(entry.name);
}

void add_state(json::object& out, const Record& record) {
  if (record.kind != RecordKind::kCreate && record.kind != RecordKind::kSetattr) return;
  const auto& state = record.state;
  out["mode"] = fmt::format("{:o}", state.mode);
  out["uid"] = state.uid;
  out["gid"] = state.gid;
  if (!state.target.empty()) out["target"] = printable(state.target);
  if (!state.xattrs.empty()) out["xattrs"] = state.xattrs.size();
}

void add_extent(json::object& out, const Record& record) {
  switch (record.kind) {
    case RecordKind::kWrite:
    case RecordKind::kFallocate:
    case RecordKind::kPunch:
    case RecordKind::kZero:
      out["offset"] = record.offset;
      out["length"] = record.length;
      if (!record.data.empty()) out["inline"] = true;
      break;
    case RecordKind::kTruncate:
      out["size"] = record.length;
      break;
    default:
      break;
  }
}

}  // namespace

json::object to_json(const Record& record) {
  json::object out{{"index", record.index},
                   {"time", format_time(record.time_ns)},
                   {"time_ns", record.time_ns},
                   {"hlc", record.hlc.ns},
                   {"kind", to_string(record.kind)}};
  if (!record.gfid.is_nil()) out["gfid"] = record.gfid.hex();
  add_entry(out, "", record.name);
  add_entry(out, "to_", record.to);
  if (!record.displaced.is_nil()) out["displaced"] = record.displaced.hex();
  add_extent(out, record);
  add_state(out, record);
  if (!record.key.empty()) {
    out["key"] = printable(record.key);
    out["value_bytes"] = record.value ? json::value(record.value->size()) : json::value(nullptr);
  }
  if (!record.text.empty()) out["text"] = printable(record.text);
  if (record.last_link) out["last_link"] = true;
  if (record.exchange) out["exchange"] = true;
  if (record.session != 0) {
    out["session"] = record.session;
    out["sequence"] = record.sequence;
  }
  return out;
}

}  // namespace polder
