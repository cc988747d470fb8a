// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/graph/restore_marker.h"

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "base/crash_point.h"
#include "base/log.h"
#include "core-volume/layers/store/identity.h"
#include "core-volume/layers/store/layout.h"

namespace polder {
namespace {

constexpr int kOpenDir = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;

Result<RestoreMarker> parse_marker(const std::string& text) {
  boost::system::error_code failure;
  auto value = boost::json::parse(text, failure);
  const auto* object = failure ? nullptr : value.if_object();
  const auto* mark = object ? object->if_contains("mark") : nullptr;
  const auto* index = object ? object->if_contains("index") : nullptr;
  const auto* upto = object ? object->if_contains("carried_upto") : nullptr;
  const bool whole = mark && mark->is_string() && index && index->is_int64() && upto && upto->is_int64();
  if (!whole || index->get_int64() < 0 || upto->get_int64() < index->get_int64())
    return Error(EUCLEAN).with("the note of a restore is damaged");
  return RestoreMarker{std::string(mark->get_string()), static_cast<std::uint64_t>(index->get_int64()),
                       static_cast<std::uint64_t>(upto->get_int64())};
}

Result<void> append_restored(Journal& journal, const RestoreMarker& marker) {
  Record record;
  record.kind = RecordKind::kRestored;
  record.text = marker.mark;
  record.offset = marker.mark_index;
  TRY(auto index, journal.append(record));
  TRY(journal.sync());
  return journal.applied(index);
}

/// Whether a start that was killed has appended it already.
Result<bool> is_appended(Journal& journal, const RestoreMarker& marker) {
  if (journal.appended_index() < marker.carried_upto)
    return Error(EUCLEAN).with("the log ends at record {}, but {} were carried into the restored brick",
                               journal.appended_index(), marker.carried_upto);
  if (journal.appended_index() == marker.carried_upto) return false;
  TRY(auto reader, journal.read_from(marker.carried_upto + 1, true));
  TRY(auto next, reader->next());
  if (next && next->kind == RecordKind::kRestored && next->text == marker.mark) return true;
  return Error(EUCLEAN).with("record {} follows the restore, and does not say so", marker.carried_upto + 1);
}

}  // namespace

Result<void> write_restore_marker(Disk& disk, const std::string& brick_path, const RestoreMarker& marker) {
  auto text = boost::json::serialize(boost::json::object{
      {"mark", marker.mark}, {"index", marker.mark_index}, {"carried_upto", marker.carried_upto}});
  TRY(auto root, disk.open(Disk::kNoDir, brick_path, kOpenDir).with("open {}", brick_path));
  const std::string temporary = std::string(layout::kRestored) + ".new";
  {
    TRY(auto file, disk.open(root.fd(), temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600));
    TRY(disk.pwrite(file.fd(), as_bytes(text), 0));
    TRY(disk.fsync(file.fd()));
  }
  TRY(disk.rename(root.fd(), temporary, root.fd(), layout::kRestored));
  return disk.syncfs(root.fd()).with("note the restore in {}", brick_path);
}

Result<std::optional<RestoreMarker>> read_restore_marker(Disk& disk, const std::string& brick_path) {
  TRY(auto root, disk.open(Disk::kNoDir, brick_path, kOpenDir).with("open {}", brick_path));
  auto text = read_text_file(disk, root.fd(), layout::kRestored);
  if (text.failed_with(ENOENT)) return std::optional<RestoreMarker>();
  if (!text) return std::move(text).error().with("read {}/{}", brick_path, layout::kRestored);
  TRY(auto marker, parse_marker(*text).with("{}/{}", brick_path, layout::kRestored));
  return std::optional(std::move(marker));
}

Result<void> settle_restore(Disk& disk, const std::string& brick_path, Journal& journal) {
  TRY(auto marker, read_restore_marker(disk, brick_path));
  if (!marker) return {};
  TRY(const bool appended, is_appended(journal, *marker).with("brick {}", brick_path));
  if (!appended) {
    TRY(append_restored(journal, *marker).with("note the restore in the log of brick {}", brick_path));
  }
  crash_point("snapshot/after-restored");
  TRY(auto root, disk.open(Disk::kNoDir, brick_path, kOpenDir));
  TRY(disk.unlink(root.fd(), layout::kRestored).with("remove {}/{}", brick_path, layout::kRestored));
  TRY(auto state, disk.open(root.fd(), layout::kState, kOpenDir));
  TRY(disk.fsync(state.fd()));
  log::info("brick {}: restored to mark {} (record {}); the log goes on from record {}", brick_path,
            marker->mark, marker->mark_index, marker->carried_upto + 1);
  return {};
}

}  // namespace polder
