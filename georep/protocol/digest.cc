// SPDX-License-Identifier: GPL-3.0-or-later
#include "georep/protocol/digest.h"

#include "georep/protocol/delta.h"

namespace polder::georep {

namespace {

constexpr std::uint32_t kRead_bytes = 1u << 20;
constexpr std::uint32_t kPageEntries = 4096;

void add_number(ContentHash& hash, std::uint64_t number) {
  std::array<std::byte, 8> bytes;
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(number >> (8 * i));
  hash.update(bytes);
}

/// With its length, so that no two lists of texts look the same.
void add_text(ContentHash& hash, std::string_view text) {
  add_number(hash, text.size());
  hash.update(text);
}

Result<void> add_content(ContentHash& hash, Store& store, const Gfid& gfid, std::uint64_t size) {
  add_number(hash, size);
  for (std::uint64_t offset = 0; offset < size;) {
    TRY(auto data, store.read(gfid, offset, kRead_bytes));
    if (data.empty()) return {};
    hash.update(data.bytes());
    offset += data.size();
  }
  return {};
}

Result<void> add_names(ContentHash& hash, Store& store, const Gfid& gfid) {
  std::uint64_t cookie = 0;
  while (true) {
    TRY(auto page, store.list(gfid, cookie, kPageEntries, false));
    for (const auto& entry : page.entries) {
      add_text(hash, entry.name);
      hash.update(std::as_bytes(std::span(entry.attr.gfid.bytes)));
      cookie = entry.cookie;
    }
    if (page.end) return {};
  }
}

Result<std::string> digest_of(Store& store, const Gfid& gfid) {
  TRY(const auto attr, store.attr(gfid));
  if (!attr.is_directory() && attr.nlink == 0) return Error(ESTALE);
  TRY(const auto state, store.state(gfid));
  ContentHash hash;
  for (const std::uint64_t number :
       {std::uint64_t{state.mode}, std::uint64_t{state.uid}, std::uint64_t{state.gid},
        std::uint64_t{state.rdev_major}, std::uint64_t{state.rdev_minor},
        static_cast<std::uint64_t>(state.mtime.tv_sec), static_cast<std::uint64_t>(state.mtime.tv_nsec),
        std::uint64_t{attr.nlink}}) {
    add_number(hash, number);
  }
  add_text(hash, state.target);
  for (const auto& [key, value] : state.xattrs) {
    add_text(hash, key);
    add_text(hash, value);
  }
  if (attr.is_regular()) {
    TRY(add_content(hash, store, gfid, attr.size));
  }
  if (attr.is_directory()) {
    TRY(add_names(hash, store, gfid));
  }
  return hash.digest();
}

}  // namespace

Result<std::optional<std::string>> digest_object(Store& store, const Gfid& gfid) {
  auto digest = digest_of(store, gfid);
  if (digest.failed_with(ESTALE)) return std::optional<std::string>();
  TRY(auto value, std::move(digest));
  return std::optional(std::move(value));
}

}  // namespace polder::georep
