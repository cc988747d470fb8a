// SPDX-License-Identifier: GPL-3.0-or-later
#include "changelog/journal/journal_database.h"

#include "base/log.h"

namespace polder {

namespace {

constexpr const char* kFile = "index.db";

std::int64_t number(std::uint64_t value) {
  return static_cast<std::int64_t>(value);
}

SegmentInfo segment_of(const Database::Row& row) {
  auto value = [&](int column) { return static_cast<std::uint64_t>(row.integer(column)); };
  SegmentInfo info;
  info.first_index = value(0);
  info.last_index = value(1);
  info.first_hlc.ns = value(2);
  info.last_hlc.ns = value(3);
  info.bytes = value(4);
  info.stored_bytes = value(5);
  info.term = value(6);
  info.content_xxh3_128 = row.text(7);
  info.compressed = value(8) != 0;
  info.sealed = true;
  return info;
}

Result<void> put_aside(Disk& disk, int dir) {
  TRY(disk.rename(dir, kFile, dir, std::string(kFile) + ".damaged").with("put aside the damaged {}", kFile));
  for (const char* suffix : {"-wal", "-journal", "-shm"}) {
    auto gone = disk.unlink(dir, std::string(kFile) + suffix);
    if (!gone && !gone.error().is(ENOENT)) return std::move(gone).with("remove {}{}", kFile, suffix);
  }
  return disk.fsync(dir);
}

}  // namespace

Result<std::unique_ptr<JournalDatabase>> JournalDatabase::open(Disk& disk, int dir, const std::string& path) {
  auto opened = try_open(disk, dir, path);
  if (!opened.failed_with(EUCLEAN)) return opened;
  log::error("{}; it is made anew from the segments, and consumers whose cursors it held must rescan",
             opened.error().message());
  TRY(put_aside(disk, dir));
  return try_open(disk, dir, path);
}

Result<std::unique_ptr<JournalDatabase>> JournalDatabase::try_open(Disk& disk, int dir,
                                                                   const std::string& path) {
  TRY(auto database, Database::open(disk, path + "/" + kFile));
  std::unique_ptr<JournalDatabase> opened(new JournalDatabase(std::move(database), disk, dir));
  TRY(opened->prepare());
  return opened;
}

Result<void> JournalDatabase::prepare() {
  TRY(database_.script(
      "CREATE TABLE IF NOT EXISTS segments ("
      "first_index INTEGER PRIMARY KEY, last_index INTEGER NOT NULL, first_hlc INTEGER NOT NULL, "
      "last_hlc INTEGER NOT NULL, bytes INTEGER NOT NULL, stored_bytes INTEGER NOT NULL, "
      "term INTEGER NOT NULL, xxh3_128 TEXT NOT NULL, compressed INTEGER NOT NULL)"));
  std::string integrity;
  TRY(database_.query("PRAGMA quick_check(1)", {}, [&](const Database::Row& row) {
    integrity = row.text(0);
    return true;
  }));
  if (integrity != "ok") return Error(EUCLEAN).with("database {}: {}", kFile, integrity);
  TRY(auto lost, cursors_.open());
  if (lost > 0) log::warning("the places of {} cursors are lost: their consumers must rescan", lost);
  return {};
}

Result<std::map<std::uint64_t, SegmentInfo>> JournalDatabase::segments() {
  std::lock_guard lock(mutex_);
  std::map<std::uint64_t, SegmentInfo> segments;
  TRY(
      database_.query("SELECT first_index, last_index, first_hlc, last_hlc, bytes, stored_bytes, term, "
                      "xxh3_128, compressed FROM segments",
                      {}, [&](const Database::Row& row) {
                        auto info = segment_of(row);
                        segments.emplace(info.first_index, info);
                        return true;
                      }));
  return segments;
}

Result<void> JournalDatabase::put_segment(const SegmentInfo& info) {
  std::lock_guard lock(mutex_);
  TRY(database_.execute(
      "INSERT OR REPLACE INTO segments (first_index, last_index, first_hlc, last_hlc, bytes, "
      "stored_bytes, term, xxh3_128, compressed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
      {number(info.first_index), number(info.last_index), number(info.first_hlc.ns), number(info.last_hlc.ns),
       number(info.bytes), number(info.stored_bytes), number(info.term), info.content_xxh3_128,
       number(info.compressed)}));
  return {};
}

Result<void> JournalDatabase::drop_segment(std::uint64_t first_index) {
  std::lock_guard lock(mutex_);
  TRY(database_.execute("DELETE FROM segments WHERE first_index = ?", {number(first_index)}));
  return {};
}

}  // namespace polder
