// SPDX-License-Identifier: GPL-3.0-or-later
#include "changelog/record/body.h"

#include <google/protobuf/unknown_field_set.h>

#include <cstring>

#include "proto/record.pb.h"

namespace polder {

namespace {

std::string gfid_bytes(const Gfid& gfid) {
  if (gfid.is_nil()) return {};
  return {reinterpret_cast<const char*>(gfid.bytes.data()), gfid.bytes.size()};
}

Result<Gfid> gfid_from(const std::string& bytes, std::string_view what) {
  Gfid gfid;
  if (bytes.empty()) return gfid;
  if (bytes.size() != gfid.bytes.size())
    return Error(EUCLEAN).with("{}: a gfid of {} bytes instead of 16", what, bytes.size());
  std::memcpy(gfid.bytes.data(), bytes.data(), bytes.size());
  return gfid;
}

bool is_empty(const EntryName& name) {
  return name.parent.is_nil() && name.name.empty();
}

bool is_empty(const ObjectState& s) {
  return s.mode == 0 && s.uid == 0 && s.gid == 0 && s.rdev_major == 0 && s.rdev_minor == 0 &&
         s.atime.tv_sec == 0 && s.atime.tv_nsec == 0 && s.mtime.tv_sec == 0 && s.mtime.tv_nsec == 0 &&
         s.target.empty() && s.xattrs.empty();
}

void put_name(const EntryName& name, changelog::EntryName& out) {
  out.set_parent(gfid_bytes(name.parent));
  out.set_name(name.name);
}

void put_time(const timespec& time, changelog::Time& out) {
  out.set_seconds(time.tv_sec);
  out.set_nanoseconds(static_cast<std::uint32_t>(time.tv_nsec));
}

void put_state(const ObjectState& state, changelog::ObjectState& out) {
  out.set_mode(state.mode);
  out.set_uid(state.uid);
  out.set_gid(state.gid);
  out.set_rdev_major(state.rdev_major);
  out.set_rdev_minor(state.rdev_minor);
  put_time(state.atime, *out.mutable_atime());
  put_time(state.mtime, *out.mutable_mtime());
  out.set_target(state.target);
  for (const auto& [key, value] : state.xattrs) {
    auto& xattr = *out.add_xattrs();
    xattr.set_key(key);
    xattr.set_value(value);
  }
}

/// Decoding would ignore what it does not know; we must not.
template <typename Message>
Result<void> all_known(const Message& message, std::string_view what) {
  if (message.GetReflection()->GetUnknownFields(message).empty()) return {};
  return Error(EUCLEAN).with("{}: fields that this version does not know", what);
}

Result<EntryName> name_from(const changelog::EntryName& in, std::string_view what) {
  TRY(all_known(in, what));
  TRY(auto parent, gfid_from(in.parent(), what));
  return EntryName{parent, in.name()};
}

Result<timespec> time_from(const changelog::Time& in, std::string_view what) {
  TRY(all_known(in, what));
  if (in.nanoseconds() > 999'999'999)
    return Error(EUCLEAN).with("{}: {} nanoseconds", what, in.nanoseconds());
  return timespec{static_cast<std::time_t>(in.seconds()), static_cast<long>(in.nanoseconds())};
}

Result<void> get_state(const changelog::ObjectState& in, ObjectState& state) {
  TRY(all_known(in, "state"));
  state.mode = in.mode();
  state.uid = in.uid();
  state.gid = in.gid();
  state.rdev_major = in.rdev_major();
  state.rdev_minor = in.rdev_minor();
  TRY(state.atime, time_from(in.atime(), "atime"));
  TRY(state.mtime, time_from(in.mtime(), "mtime"));
  state.target = in.target();
  for (const auto& xattr : in.xattrs()) {
    TRY(all_known(xattr, "xattr"));
    if (!state.xattrs.emplace(xattr.key(), xattr.value()).second)
      return Error(EUCLEAN).with("xattr '{}' is there twice", xattr.key());
  }
  return {};
}

void put_tx(const TxInfo& tx, changelog::Transaction& out) {
  out.set_set(tx.id.set);
  out.set_number(tx.id.number);
  out.set_locks_tree(tx.locks_tree);
  for (auto set : tx.sets) out.add_sets(set);
  out.set_mode(tx.mode);
  out.set_displaced_mode(tx.displaced_mode);
}

/// Its phase is in the record's flags.
Result<void> get_tx(const changelog::Transaction& in, TxInfo& tx) {
  TRY(all_known(in, "transaction"));
  if (in.number() == 0) return Error(EUCLEAN).with("a transaction without a number");
  tx.id = {in.set(), in.number()};
  tx.locks_tree = in.locks_tree();
  tx.sets.assign(in.sets().begin(), in.sets().end());
  tx.mode = in.mode();
  tx.displaced_mode = in.displaced_mode();
  return {};
}

}  // namespace

std::string encode_body(const Record& record) {
  changelog::RecordBody body;
  if (!is_empty(record.name)) put_name(record.name, *body.mutable_name());
  if (!is_empty(record.to)) put_name(record.to, *body.mutable_to());
  if (!record.displaced.is_nil()) body.set_displaced(gfid_bytes(record.displaced));
  if (!is_empty(record.state)) put_state(record.state, *body.mutable_state());
  if (!record.key.empty()) body.set_key(record.key);
  if (record.value) body.set_value(*record.value);
  if (!record.text.empty()) body.set_text(record.text);
  if (record.tx.id.number != 0) put_tx(record.tx, *body.mutable_tx());
  return body.SerializeAsString();
}

Result<void> decode_body(ConstBytes bytes, Record& record) {
  changelog::RecordBody body;
  if (!body.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    return Error(EUCLEAN).with("the body of {} bytes is not readable", bytes.size());
  TRY(all_known(body, "body"));
  TRY(record.name, name_from(body.name(), "name"));
  TRY(record.to, name_from(body.to(), "to"));
  TRY(record.displaced, gfid_from(body.displaced(), "displaced"));
  if (body.has_state()) {
    TRY(get_state(body.state(), record.state));
  }
  record.key = body.key();
  if (body.has_value()) record.value = body.value();
  record.text = body.text();
  if (body.has_tx()) {
    TRY(get_tx(body.tx(), record.tx));
  }
  return {};
}

}  // namespace polder
