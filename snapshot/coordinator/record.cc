// SPDX-License-Identifier: GPL-3.0-or-later
#include "snapshot/coordinator/record.h"

#include <array>
#include <ctime>

namespace polder {
namespace {

constexpr std::uint64_t kFormat = 1;
constexpr std::size_t kDescriptionMax_bytes = 1024;
constexpr std::array kOperations = {"create", "delete", "restore"};

Result<json::object> checked_object(const json::value& from) {
  TRY(auto fields, json::as_object(from));
  TRY(auto format, json::number_field(fields, "format"));
  if (format > kFormat) return Error(EPROTO).with("record format {} is of a newer version of Polder", format);
  return fields;
}

Result<SnapshotRecord> nested_snapshot(const json::object& from, std::string_view name) {
  TRY(auto fields, json::object_field(from, name));
  return snapshot_from_json(fields).with("the field '{}'", name);
}

Result<SnapshotIntent::Operation> operation_field(const json::object& from) {
  TRY(auto text, json::string_field(from, "operation"));
  for (std::size_t i = 0; i < kOperations.size(); ++i) {
    if (text == kOperations[i]) return static_cast<SnapshotIntent::Operation>(i);
  }
  return Error(EINVAL).with("unknown operation '{}'", text);
}

}  // namespace

json::value to_json(const SnapshotRecord& record) {
  return json::object{{"format", kFormat},
                      {"name", record.name},
                      {"id", record.id},
                      {"volume", record.volume},
                      {"volume_id", record.volume_id.hex()},
                      {"brick_path", record.brick_path},
                      {"mark_index", record.mark_index},
                      {"log_from", record.log_from},
                      {"hlc_ns", record.hlc_ns},
                      {"barrier_ns", record.barrier_ns},
                      {"created_ns", record.created_ns},
                      {"description", record.description},
                      {"backend", record.backend},
                      {"active", record.active},
                      {"pre_restore", record.pre_restore}};
}

json::value to_json(const SnapshotIntent& intent) {
  return json::object{{"format", kFormat},
                      {"operation", kOperations.at(static_cast<std::size_t>(intent.operation))},
                      {"snapshot", to_json(intent.snapshot)},
                      {"kept", to_json(intent.kept)},
                      {"committing", intent.committing},
                      {"place", intent.place}};
}

json::value to_json(const SnapshotLimits& limits) {
  return json::object{{"format", kFormat},
                      {"snap-max-hard-limit", limits.hard_limit},
                      {"activate-on-create", limits.activate_on_create}};
}

Result<SnapshotRecord> snapshot_from_json(const json::value& from) {
  TRY(auto fields, checked_object(from));
  SnapshotRecord record;
  TRY(record.name, json::string_field(fields, "name"));
  TRY(record.id, json::string_field(fields, "id"));
  TRY(record.volume, json::string_field(fields, "volume"));
  TRY(auto volume_id, json::string_field(fields, "volume_id"));
  TRY(record.volume_id, Gfid::parse(volume_id));
  TRY(record.brick_path, json::string_field(fields, "brick_path"));
  TRY(record.mark_index, json::number_field(fields, "mark_index"));
  TRY(record.log_from, json::number_field(fields, "log_from"));
  TRY(record.hlc_ns, json::number_field(fields, "hlc_ns"));
  TRY(record.barrier_ns, json::number_field(fields, "barrier_ns"));
  TRY(record.created_ns, json::number_field(fields, "created_ns"));
  TRY(record.description, json::string_field(fields, "description"));
  TRY(record.backend, json::string_field(fields, "backend"));
  TRY(record.active, json::bool_field(fields, "active"));
  TRY(record.pre_restore, json::bool_field(fields, "pre_restore"));
  return record;
}

Result<SnapshotIntent> intent_from_json(const json::value& from) {
  TRY(auto fields, checked_object(from));
  SnapshotIntent intent;
  TRY(intent.operation, operation_field(fields));
  TRY(intent.snapshot, nested_snapshot(fields, "snapshot"));
  TRY(intent.kept, nested_snapshot(fields, "kept"));
  TRY(intent.committing, json::bool_field(fields, "committing"));
  TRY(intent.place, json::string_field(fields, "place"));
  return intent;
}

Result<SnapshotLimits> limits_from_json(const json::value& from) {
  TRY(auto fields, checked_object(from));
  SnapshotLimits limits;
  TRY(limits.hard_limit, json::number_field(fields, "snap-max-hard-limit"));
  TRY(limits.activate_on_create, json::bool_field(fields, "activate-on-create"));
  return limits;
}

Result<std::string> final_snapshot_name(const std::string& name, bool timestamp, std::uint64_t now_ns) {
  TRY(check_name("snapshot name", name));
  if (!timestamp) {
    // `snapshot delete all` must never be about one.
    if (name == "all" || name == "volume")
      return Error(EINVAL).with("'{}' is a word of the commands; choose another name", name);
    return name;
  }
  const auto seconds = static_cast<std::time_t>(now_ns / 1'000'000'000);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  std::array<char, 40> text{};
  std::strftime(text.data(), text.size(), "_GMT-%Y.%m.%d-%H.%M.%S", &utc);
  auto whole = name + text.data();
  auto fits = check_name("snapshot name with its time stamp", whole);
  if (!fits) return std::move(fits).error().with("use a shorter name, or no-timestamp");
  return whole;
}

Result<void> check_description(const std::string& description) {
  if (description.size() <= kDescriptionMax_bytes) return {};
  return Error(EINVAL).with("the description has {} bytes; {} are the most", description.size(),
                            kDescriptionMax_bytes);
}

}  // namespace polder
