// SPDX-License-Identifier: GPL-3.0-or-later
// OpKind: the operations of FileOps as data, for layers that treat them alike (faults, barrier, stats).
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace polder {

/// In the order of FileOps.
enum class OpKind : std::uint8_t {
  kLookup,
  kGetattr,
  kReadlink,
  kReaddir,
  kStatfs,
  kMknod,
  kMkdir,
  kSymlink,
  kCreate,
  kLink,
  kUnlink,
  kRmdir,
  kRename,
  kSetattr,
  kGetxattr,
  kListxattr,
  kSetxattr,
  kRemovexattr,
  kOpen,
  kRelease,
  kRead,
  kWrite,
  kFsync,
  kFallocate,
  kSeek,
  kCopyRange,
  kTestLock,
  kSetLock,
  kEndSession,
  kSync,
  kReplay,
};

struct OpInfo {
  OpKind kind;
  std::string_view name;  // as the method of FileOps
  bool is_change;         // changes the tree; open does so with O_TRUNC only, which the table cannot say
};

inline constexpr std::array kOpTable = {
    OpInfo{OpKind::kLookup, "lookup", false},
    OpInfo{OpKind::kGetattr, "getattr", false},
    OpInfo{OpKind::kReadlink, "readlink", false},
    OpInfo{OpKind::kReaddir, "readdir", false},
    OpInfo{OpKind::kStatfs, "statfs", false},
    OpInfo{OpKind::kMknod, "mknod", true},
    OpInfo{OpKind::kMkdir, "mkdir", true},
    OpInfo{OpKind::kSymlink, "symlink", true},
    OpInfo{OpKind::kCreate, "create", true},
    OpInfo{OpKind::kLink, "link", true},
    OpInfo{OpKind::kUnlink, "unlink", true},
    OpInfo{OpKind::kRmdir, "rmdir", true},
    OpInfo{OpKind::kRename, "rename", true},
    OpInfo{OpKind::kSetattr, "setattr", true},
    OpInfo{OpKind::kGetxattr, "getxattr", false},
    OpInfo{OpKind::kListxattr, "listxattr", false},
    OpInfo{OpKind::kSetxattr, "setxattr", true},
    OpInfo{OpKind::kRemovexattr, "removexattr", true},
    OpInfo{OpKind::kOpen, "open", false},
    OpInfo{OpKind::kRelease, "release", false},
    OpInfo{OpKind::kRead, "read", false},
    OpInfo{OpKind::kWrite, "write", true},
    OpInfo{OpKind::kFsync, "fsync", false},
    OpInfo{OpKind::kFallocate, "fallocate", true},
    OpInfo{OpKind::kSeek, "seek", false},
    OpInfo{OpKind::kCopyRange, "copy_range", true},
    OpInfo{OpKind::kTestLock, "test_lock", false},
    OpInfo{OpKind::kSetLock, "set_lock", false},
    OpInfo{OpKind::kEndSession, "end_session", false},
    OpInfo{OpKind::kSync, "sync", false},
    OpInfo{OpKind::kReplay, "replay", true},
};

consteval bool op_table_in_order() {
  for (std::size_t i = 0; i < kOpTable.size(); ++i)
    if (static_cast<std::size_t>(kOpTable[i].kind) != i) return false;
  return true;
}
static_assert(op_table_in_order());

constexpr std::size_t kOpKinds = kOpTable.size();

constexpr const OpInfo& op_info(OpKind kind) {
  return kOpTable[static_cast<std::size_t>(kind)];
}
constexpr std::string_view to_string(OpKind kind) {
  return op_info(kind).name;
}

constexpr std::optional<OpKind> parse_op_kind(std::string_view name) {
  for (const OpInfo& info : kOpTable)
    if (info.name == name) return info.kind;
  return std::nullopt;
}

}  // namespace polder
