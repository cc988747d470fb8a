// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/cluster/records.h"

#include <array>

#include "base/coro.h"

namespace polder {

namespace {

constexpr std::uint64_t kFormat = 1;
constexpr std::uint64_t kVolumeFormat = 2;  // 1: one set, which has all slots, and nothing in the making
constexpr std::array kStates = {"Created", "Started", "Stopped"};

Result<Gfid> id_field(const json::object& from, std::string_view name) {
  TRY(auto hex, json::string_field(from, name));
  return Gfid::parse(hex).with("the field '{}'", name);
}

Result<json::object> checked_object(const json::value& from, std::uint64_t newest = kFormat) {
  TRY(auto fields, json::as_object(from));
  TRY(auto format, json::number_field(fields, "format"));
  if (format > newest) return Error(EPROTO).with("record format {} is of a newer version of Polder", format);
  return fields;
}

Result<VolumeState> state_field(const json::object& from) {
  TRY(auto text, json::string_field(from, "state"));
  for (std::size_t i = 0; i < kStates.size(); ++i) {
    if (text == kStates[i]) return static_cast<VolumeState>(i);
  }
  return Error(EINVAL).with("unknown state '{}'", text);
}

json::value to_json(const BrickSpec& brick) {
  return json::object{{"node", brick.node}, {"path", brick.path}, {"set", brick.set}, {"id", brick.id.hex()}};
}

Result<BrickSpec> brick_from_json(const json::value& from) {
  TRY(auto fields, json::as_object(from));
  BrickSpec brick;
  TRY(brick.node, json::string_field(fields, "node"));
  TRY(brick.path, json::string_field(fields, "path"));
  TRY(auto set, json::number_field(fields, "set", UINT32_MAX));
  brick.set = static_cast<std::uint32_t>(set);
  TRY(brick.id, id_field(fields, "id"));
  return brick;
}

json::value to_json(const BrickInMaking& making) {
  return json::object{{"brick", to_json(making.spec)}, {"had_directory", making.had_directory}};
}

Result<BrickInMaking> making_from_json(const json::value& from) {
  TRY(auto fields, json::as_object(from));
  TRY(auto spec, json::object_field(fields, "brick"));
  BrickInMaking making;
  TRY(making.spec, brick_from_json(spec));
  TRY(making.had_directory, json::bool_field(fields, "had_directory"));
  return making;
}

/// One run is [first, last, set]: a table that add-brick has cut up many times still fits into a record.
json::array to_json(const SlotRuns& runs) {
  json::array out;
  for (const auto& run : runs) out.push_back(json::array{run.first, run.last, run.set});
  return out;
}

Result<SlotRun> run_from_json(const json::value& from) {
  std::array<std::uint64_t, 3> numbers{};
  if (!from.is_array() || from.get_array().size() != numbers.size())
    return Error(EINVAL).with("a run of slots is not [first, last, set]");
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    boost::system::error_code failure;
    const auto& item = from.get_array()[i];
    numbers[i] = item.is_number() ? item.to_number<std::uint64_t>(failure) : kSlots;
    if (failure || numbers[i] >= kSlots) return Error(EINVAL).with("a number in the slot table is none");
  }
  return SlotRun{static_cast<std::uint16_t>(numbers[0]), static_cast<std::uint16_t>(numbers[1]),
                 static_cast<std::uint32_t>(numbers[2])};
}

Result<SlotRuns> slots_from_json(const json::object& from) {
  TRY(auto items, json::array_field(from, "slots"));
  SlotRuns runs;
  for (const auto& item : items) {
    TRY(auto run, run_from_json(item));
    runs.push_back(run);
  }
  TRY(check_slots(runs));
  return runs;
}

Result<void> read_sets(VolumeInfo& info, const json::object& from) {
  TRY(auto format, json::number_field(from, "format"));
  if (format == 1) {
    info.slots = even_slots(1);
    return {};
  }
  TRY(info.slots, slots_from_json(from));
  TRY(auto making, json::array_field(from, "making"));
  for (const auto& item : making) {
    TRY(auto one, making_from_json(item));
    info.making.push_back(std::move(one));
  }
  return {};
}

Result<json::value> parse_record(const VersionedValue& entry) {
  auto parsed = json::parse(entry.value);
  if (!parsed)
    return Error(EUCLEAN).with("{} in the cluster's store: {}", entry.key, parsed.error().message());
  return parsed;
}

/// A record that does not read as what it should be is damage of the store, not somebody's bad input.
template <typename T>
Result<Stored<T>> decoded(Result<T> value, const std::string& what, std::uint64_t version) {
  if (!value) return Error(EUCLEAN).with("{} in the cluster's store: {}", what, value.error().message());
  return Stored<T>{*std::move(value), version};
}

}  // namespace

std::string_view to_string(VolumeState state) {
  return kStates.at(static_cast<std::size_t>(state));
}

json::value to_json(const ClusterInfo& info) {
  return json::object{{"format", kFormat},     {"id", info.id.hex()},
                      {"name", info.name},     {"ca_fingerprint", info.ca_fingerprint},
                      {"listen", info.listen}, {"created_ns", info.created_ns}};
}

json::value to_json(const NodeInfo& info) {
  return json::object{{"format", kFormat},
                      {"name", info.name},
                      {"id", info.id.hex()},
                      {"addresses", json::array(info.addresses.begin(), info.addresses.end())},
                      {"joined_ns", info.joined_ns}};
}

json::value to_json(const VolumeInfo& info) {
  json::array bricks;
  for (const auto& brick : info.bricks) bricks.push_back(to_json(brick));
  json::array making;
  for (const auto& brick : info.making) making.push_back(to_json(brick));
  json::object options;
  for (const auto& [key, value] : info.options) options[key] = value;
  return json::object{{"format", kVolumeFormat},
                      {"name", info.name},
                      {"id", info.id.hex()},
                      {"lineage", info.lineage.hex()},
                      {"incarnation", info.incarnation},
                      {"state", to_string(info.state)},
                      {"read_only", info.read_only},
                      {"role", info.role},
                      {"bricks", std::move(bricks)},
                      {"making", std::move(making)},
                      {"slots", to_json(info.slots)},
                      {"options", std::move(options)},
                      {"created_ns", info.created_ns}};
}

Result<ClusterInfo> cluster_from_json(const json::value& from) {
  TRY(auto fields, checked_object(from));
  ClusterInfo info;
  TRY(info.id, id_field(fields, "id"));
  TRY(info.name, json::string_field(fields, "name"));
  TRY(info.ca_fingerprint, json::string_field(fields, "ca_fingerprint"));
  TRY(info.listen, json::string_field(fields, "listen"));
  TRY(info.created_ns, json::number_field(fields, "created_ns"));
  return info;
}

Result<NodeInfo> node_from_json(const json::value& from) {
  TRY(auto fields, checked_object(from));
  NodeInfo info;
  TRY(info.name, json::string_field(fields, "name"));
  TRY(info.id, id_field(fields, "id"));
  TRY(info.addresses, json::strings_field(fields, "addresses"));
  TRY(info.joined_ns, json::number_field(fields, "joined_ns"));
  return info;
}

Result<VolumeInfo> volume_from_json(const json::value& from) {
  TRY(auto fields, checked_object(from, kVolumeFormat));
  VolumeInfo info;
  TRY(info.name, json::string_field(fields, "name"));
  TRY(info.id, id_field(fields, "id"));
  TRY(info.lineage, id_field(fields, "lineage"));
  TRY(info.incarnation, json::number_field(fields, "incarnation"));
  TRY(info.state, state_field(fields));
  TRY(info.read_only, json::bool_field(fields, "read_only"));
  TRY(info.role, json::string_field(fields, "role"));
  TRY(info.created_ns, json::number_field(fields, "created_ns"));
  TRY(auto bricks, json::array_field(fields, "bricks"));
  for (const auto& item : bricks) {
    TRY(auto brick, brick_from_json(item));
    info.bricks.push_back(std::move(brick));
  }
  TRY(read_sets(info, fields));
  TRY(auto options, json::object_field(fields, "options"));
  for (const auto& option : options) {
    TRY(auto value, json::string_field(options, option.key()));
    info.options[option.key()] = value;
  }
  return info;
}

Result<void> check_name(std::string_view what, std::string_view name) {
  constexpr std::size_t kMax = 63;
  auto alphanumeric = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  if (name.empty()) return Error(EINVAL).with("the {} is empty", what);
  if (name.size() > kMax)
    return Error(EINVAL).with("the {} has {} characters; {} are allowed", what, name.size(), kMax);
  if (!alphanumeric(name[0])) return Error(EINVAL).with("the {} must begin with a letter or a digit", what);
  for (char c : name) {
    if (!alphanumeric(c) && c != '.' && c != '_' && c != '-') {
      return Error(EINVAL).with("the {} may have letters, digits, '.', '_' and '-' only", what);
    }
  }
  return {};
}

Task<Result<Stored<json::value>>> get_record(ClusterStore& store, std::string kind, std::string name) {
  CO_TRY(auto entry, co_await store.get(kind + "/" + name));
  if (!entry) co_return Error(ENOENT).with("there is no {} '{}'", kind, name);
  CO_TRY(auto record, parse_record(*entry));
  co_return Stored<json::value>{std::move(record), entry->version};
}

Task<Result<std::vector<std::pair<std::string, Stored<json::value>>>>> list_records(ClusterStore& store,
                                                                                    std::string kind) {
  auto prefix = kind + "/";
  CO_TRY(auto entries, co_await store.list(prefix));
  std::vector<std::pair<std::string, Stored<json::value>>> out;
  for (const auto& entry : entries) {
    CO_TRY(auto record, parse_record(entry));
    out.emplace_back(entry.key.substr(prefix.size()), Stored<json::value>{std::move(record), entry.version});
  }
  co_return out;
}

Task<Result<std::uint64_t>> put_record(ClusterStore& store, std::string kind, std::string name,
                                       json::value record, std::uint64_t version) {
  auto key = kind + "/" + name;
  ClusterTransaction transaction;
  transaction.expect(key, version).put(key, json::text(record));
  auto revision = co_await store.commit(std::move(transaction));
  if (version == 0 && revision.failed_with(EAGAIN)) {
    co_return Error(EEXIST).with("there is a {} '{}' already", kind, name);
  }
  co_return revision;
}

Task<Result<void>> delete_record(ClusterStore& store, std::string kind, std::string name,
                                 std::uint64_t version) {
  auto key = kind + "/" + name;
  ClusterTransaction transaction;
  transaction.expect(key, version).remove(key);
  CO_TRY(co_await store.commit(std::move(transaction)));
  co_return Result<void>();
}

Task<Result<Stored<ClusterInfo>>> get_cluster(ClusterStore& store) {
  CO_TRY(auto record, co_await get_record(store, "cluster", "self"));
  co_return decoded(cluster_from_json(record.value), "cluster/self", record.version);
}

Task<Result<std::vector<NodeInfo>>> list_nodes(ClusterStore& store) {
  CO_TRY(auto records, co_await list_records(store, "node"));
  std::vector<NodeInfo> out;
  for (const auto& [name, record] : records) {
    CO_TRY(auto node, decoded(node_from_json(record.value), "node/" + name, record.version));
    out.push_back(std::move(node.value));
  }
  co_return out;
}

Task<Result<Stored<VolumeInfo>>> get_volume(ClusterStore& store, std::string name) {
  CO_TRY(auto record, co_await get_record(store, "volume", name));
  co_return decoded(volume_from_json(record.value), "volume/" + name, record.version);
}

Task<Result<std::vector<Stored<VolumeInfo>>>> list_volumes(ClusterStore& store) {
  CO_TRY(auto records, co_await list_records(store, "volume"));
  std::vector<Stored<VolumeInfo>> out;
  for (const auto& [name, record] : records) {
    CO_TRY(auto volume, decoded(volume_from_json(record.value), "volume/" + name, record.version));
    out.push_back(std::move(volume));
  }
  co_return out;
}

Task<Result<std::uint64_t>> put_volume(ClusterStore& store, VolumeInfo volume, std::uint64_t version) {
  auto name = volume.name;
  co_return co_await put_record(store, "volume", std::move(name), to_json(volume), version);
}

}  // namespace polder
