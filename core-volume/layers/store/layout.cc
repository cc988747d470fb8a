// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layers/store/layout.h"

#include <algorithm>
#include <charconv>
#include <cstring>

namespace polder::layout {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kMetaBytes = 1 + 16 + 8 + 8 + 4 + 8;
constexpr std::size_t kMetaMoreBytes = 1 + 8;  // bricks of earlier versions do not have these

template <typename Integer>
void put(std::string& out, Integer value) {
  for (std::size_t i = 0; i < sizeof value; ++i)
    out.push_back(static_cast<char>(static_cast<std::uint64_t>(value) >> (8 * i) & 0xff));
}

template <typename Integer>
Integer take(std::string_view& in) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < sizeof(Integer); ++i)
    value |= static_cast<std::uint64_t>(static_cast<std::uint8_t>(in[i])) << (8 * i);
  in.remove_prefix(sizeof(Integer));
  return static_cast<Integer>(value);
}

void put_gfid(std::string& out, const Gfid& gfid) {
  out.append(reinterpret_cast<const char*>(gfid.bytes.data()), gfid.bytes.size());
}

Gfid take_gfid(std::string_view& in) {
  Gfid gfid;
  std::memcpy(gfid.bytes.data(), in.data(), gfid.bytes.size());
  in.remove_prefix(gfid.bytes.size());
  return gfid;
}

/// Removes the version byte. EUCLEAN unless the rest has `at_least` bytes.
Result<void> open_packed(std::string_view& in, const std::string& key, std::size_t at_least) {
  if (in.size() < 1 + at_least) return Error(EUCLEAN).with("{} has {} bytes", key, in.size());
  auto version = take<std::uint8_t>(in);
  if (version != kVersion)
    return Error(EUCLEAN).with("{} has version {}, this program knows {}", key, version, kVersion);
  return {};
}

}  // namespace

std::string pack_meta(const Meta& meta) {
  std::string out;
  out.reserve(kMetaBytes + kMetaMoreBytes);
  put(out, kVersion);
  put_gfid(out, meta.gfid);
  put(out, meta.ctime_ns);
  put(out, static_cast<std::int64_t>(meta.mtime.tv_sec));
  put(out, static_cast<std::uint32_t>(meta.mtime.tv_nsec));
  put(out, meta.destructive_index);
  put(out, static_cast<std::uint8_t>(meta.plain));
  put(out, meta.destructive_hlc_ns);
  return out;
}

Result<Meta> unpack_meta(std::string_view bytes) {
  TRY(open_packed(bytes, kMetaKey, kMetaBytes - 1));
  Meta meta;
  meta.gfid = take_gfid(bytes);
  meta.ctime_ns = take<std::uint64_t>(bytes);
  meta.mtime.tv_sec = take<std::int64_t>(bytes);
  meta.mtime.tv_nsec = take<std::uint32_t>(bytes);
  meta.destructive_index = take<std::uint64_t>(bytes);
  if (bytes.size() < kMetaMoreBytes) return meta;
  meta.plain = take<std::uint8_t>(bytes) == 1;
  meta.destructive_hlc_ns = take<std::uint64_t>(bytes);
  return meta;
}

std::string pack_dir_mark(const Gfid& gfid) {
  std::string out;
  put(out, kVersion);
  put_gfid(out, gfid);
  return out;
}

Result<Gfid> unpack_dir_mark(std::string_view bytes) {
  TRY(open_packed(bytes, kDirKey, 16));
  return take_gfid(bytes);
}

std::string pack_entry_mark(const EntryMark& mark) {
  std::string out;
  put(out, kVersion);
  put_gfid(out, mark.gfid);
  put(out, mark.mode);
  return out;
}

Result<EntryMark> unpack_entry_mark(std::string_view bytes) {
  TRY(open_packed(bytes, kEntryKey, 20));
  EntryMark mark;
  mark.gfid = take_gfid(bytes);
  mark.mode = take<std::uint32_t>(bytes);
  return mark;
}

std::string pack_parent(const EntryName& entry) {
  std::string out;
  put(out, kVersion);
  put_gfid(out, entry.parent);
  out += entry.name;
  return out;
}

Result<EntryName> unpack_parent(std::string_view bytes) {
  TRY(open_packed(bytes, kParentKey, 17));
  EntryName entry;
  entry.parent = take_gfid(bytes);
  entry.name = bytes;
  return entry;
}

std::string replaced_file(const Gfid& gfid, const TxId& tx) {
  return fmt::format("{}.{}.{}", gfid.hex(), tx.set, tx.number);
}

std::string replaced_text(const ReplacedName& replaced) {
  return fmt::format("{}/{}/{}", replaced.name.parent.hex(), replaced.by.hex(), replaced.name.name);
}

Result<ReplacedName> parse_replaced(std::string_view file, std::string_view text) {
  constexpr std::size_t kHex = 32;
  auto wrong = [&] { return Error(EUCLEAN).with("{}/{} -> {}", kReplaced, file, text); };
  if (file.size() < kHex + 1 || text.size() < 2 * kHex + 3) return wrong();
  const auto gfid = Gfid::parse(file.substr(0, kHex)), parent = Gfid::parse(text.substr(0, kHex)),
             by = Gfid::parse(text.substr(kHex + 1, kHex));
  if (!gfid || !parent || !by) return wrong();
  ReplacedName replaced{*gfid, {*parent, std::string(text.substr(2 * kHex + 2))}, *by, {}};
  const auto* end = file.data() + file.size();
  auto [dot, set_ec] = std::from_chars(file.data() + kHex + 1, end, replaced.tx.set);
  if (set_ec != std::errc() || dot == end) return wrong();
  auto [last, number_ec] = std::from_chars(dot + 1, end, replaced.tx.number);
  if (number_ec != std::errc() || last != end) return wrong();
  return replaced;
}

std::string index_parent(const Gfid& gfid) {
  return gfid.hex().substr(0, 2);
}

std::string index_dir(const Gfid& gfid) {
  auto hex = gfid.hex();
  return hex.substr(0, 2) + "/" + hex.substr(2, 2);
}

timespec effective_ctime(const Meta& meta, const struct stat& native) {
  return same_time(meta.mtime, native.st_mtim) ? to_timespec(meta.ctime_ns) : native.st_mtim;
}

std::uint64_t newer_ctime(const Meta& meta, const struct stat& native, std::uint64_t time_ns) {
  auto ctime = effective_ctime(meta, native);
  if (ctime.tv_sec < 0) return time_ns;
  auto ctime_ns = static_cast<std::uint64_t>(ctime.tv_sec) * 1'000'000'000 + ctime.tv_nsec;
  return std::max(ctime_ns, time_ns);
}

}  // namespace polder::layout
