// SPDX-License-Identifier: GPL-3.0-or-later
// For the store's tests: a brick on the simulated disk or in a temporary directory of the kernel's, records
// with rising index and time, and the whole tree as text.
#pragma once
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>

#include "core-volume/layers/store/scan.h"
#include "core-volume/layers/store/store.h"
#include "tests/support/sim_disk.h"

namespace polder {

inline constexpr BrickIdentity kTestIdentity{
    .volume = Gfid{{1}}, .brick = Gfid{{2}}, .set = 0, .lineage = Gfid{{3}}};

/// "sim" or "kernel"; the latter needs root (trusted xattrs, device nodes).
class TestDisk {
 public:
  explicit TestDisk(const std::string& kind) {
    if (kind == "sim") {
      auto sim_disk = std::make_unique<SimDisk>();
      sim = sim_disk.get();
      disk_ = std::move(sim_disk);
      path_ = "/bricks";
      EXPECT_TRUE(disk_->mkdir(Disk::kNoDir, path_, 0755));
    } else {
      disk_ = make_kernel_disk();
      std::string name = std::filesystem::temp_directory_path() / "polder-store-XXXXXX";
      path_ = ::mkdtemp(name.data());
    }
  }
  ~TestDisk() {
    if (!sim) std::filesystem::remove_all(path_);
  }
  Disk& disk() { return *disk_; }
  std::string path(const std::string& name) const { return path_ + "/" + name; }

  SimDisk* sim = nullptr;

 private:
  std::unique_ptr<Disk> disk_;
  std::string path_;
};

template <typename T>
T must(Result<T> result) {
  EXPECT_TRUE(result) << result.error().message();
  if (!result) std::abort();
  return *std::move(result);
}
inline void must(Result<void> result) {
  EXPECT_TRUE(result) << result.error().message();
}

/// Makes records as a leader would; the caller decides whether they make sense.
class RecordMaker {
 public:
  Record make(RecordKind kind, const Gfid& gfid) {
    Record record;
    record.kind = kind;
    record.index = ++index_;
    record.time_ns = 1'700'000'000'000'000'000 + 1000 * record.index;
    record.hlc = {record.time_ns};
    record.gfid = gfid;
    return record;
  }
  Gfid new_gfid() {
    Gfid gfid;
    gfid.bytes[1] = static_cast<std::uint8_t>(gfids_ % 3);  // three slots
    gfid.bytes[14] = static_cast<std::uint8_t>(gfids_ >> 8);
    gfid.bytes[15] = static_cast<std::uint8_t>(gfids_);
    ++gfids_;
    return gfid;
  }
  Record create(const Gfid& parent, const std::string& name, std::uint32_t mode) {
    auto record = make(RecordKind::kCreate, new_gfid());
    record.name = {parent, name};
    record.state.mode = mode;
    record.state.atime = record.state.mtime = Hlc{record.time_ns}.to_timespec();
    if (S_ISLNK(mode)) record.state.target = "to/" + name;
    if (S_ISCHR(mode)) record.state.rdev_major = 1, record.state.rdev_minor = 3;
    return record;
  }
  Record link(const Gfid& gfid, const Gfid& parent, const std::string& name) {
    auto record = make(RecordKind::kLink, gfid);
    record.name = {parent, name};
    return record;
  }
  Record unlink(const Gfid& gfid, const Gfid& parent, const std::string& name, bool last = true) {
    auto record = make(RecordKind::kUnlink, gfid);
    record.name = {parent, name};
    record.last_link = last;
    return record;
  }
  Record rename(const Gfid& gfid, const EntryName& from, const EntryName& to) {
    auto record = make(RecordKind::kRename, gfid);
    record.name = from;
    record.to = to;
    return record;
  }
  Record write(const Gfid& gfid, std::uint64_t offset, const std::string& data) {
    auto record = make(RecordKind::kWrite, gfid);
    record.offset = offset;
    record.length = data.size();
    record.data = Buffer::copy_of(data);
    return record;
  }
  Record truncate(const Gfid& gfid, std::uint64_t size) {
    auto record = make(RecordKind::kTruncate, gfid);
    record.length = size;
    return record;
  }

 private:
  std::uint64_t index_ = 0;
  unsigned gfids_ = 100;
};

inline std::string describe(const FileAttr& attr) {
  auto ns = [](const timespec& t) { return t.tv_sec * 1'000'000'000 + t.tv_nsec; };
  return fmt::format("{} {:o} {}:{} links {} dev {}:{} size {} m {} c {}", attr.gfid.hex(), attr.mode,
                     attr.uid, attr.gid, attr.nlink, attr.rdev_major, attr.rdev_minor,
                     attr.is_directory() ? 0 : attr.size, ns(attr.mtime), ns(attr.ctime));
}

/// The volume as lines of text: everything a user could see.
inline std::string dump(Store& store, const Gfid& directory = Gfid::root(), const std::string& path = "") {
  std::string text = path + "/ " + describe(must(store.attr(directory))) + "\n";
  auto page = must(store.list(directory, 0, 1 << 20, true));
  EXPECT_TRUE(page.end);
  std::ranges::sort(page.entries, {}, &ListedEntry::name);
  for (const auto& entry : page.entries) {
    auto here = path + "/" + entry.name;
    if (entry.attr.is_directory()) {
      text += dump(store, entry.attr.gfid, here);
      continue;
    }
    text += here + " " + describe(entry.attr);
    auto state = must(store.state(entry.attr.gfid));
    for (const auto& [key, value] : state.xattrs) text += fmt::format(" {}={}", key, value.size());
    if (entry.attr.is_regular()) {
      auto data = must(store.read(entry.attr.gfid, 0, static_cast<std::uint32_t>(entry.attr.size)));
      text += fmt::format(" data {}", std::hash<std::string_view>()(data.text()));
    }
    text += state.target + "\n";
  }
  return text;
}

}  // namespace polder
