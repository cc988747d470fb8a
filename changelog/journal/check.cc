// SPDX-License-Identifier: GPL-3.0-or-later
// verify(), and reading a changelog directory without its daemon.
#include <algorithm>

#include "base/log.h"
#include "base/page_cache.h"
#include "changelog/journal/journal_impl.h"
#include "changelog/journal/segment_stream.h"

namespace polder {

namespace {

/// A segment may be compressed or dropped while we get to it.
constexpr int kOpenAttempts = 4;

/// What a directory holds, by the names and headers of its segments and by reading the newest.
struct Directory {
  SharedDir dir;
  std::shared_ptr<Catalogue> catalogue = std::make_shared<Catalogue>();
  std::vector<JournalDamage> damage;
};

/// The place is in the context already.
std::string damage_text(const Error& error) {
  std::string_view text = error.context();
  auto place_end = text.find(": ");
  return std::string(place_end == text.npos ? text : text.substr(place_end + 2));
}

/// Only the newest can have a torn tail, and it is what says where the log ends.
Result<void> look_at_newest(Disk& disk, const SegmentName& name, Directory& found) {
  auto scanned = scan_segment(disk, found.dir->fd(), name);
  if (scanned.failed_with(EUCLEAN)) {
    found.damage.push_back({name.text(), 0, damage_text(scanned.error())});
    found.catalogue->set_stable(name.first_index - 1);
    return {};
  }
  TRY(auto newest, std::move(scanned));
  if (newest.stop) {
    const auto& identity = newest.header.identity;
    TRY(auto cache, page_cache(disk, {identity.lineage, identity.set}));
    auto torn = check_torn_tail(disk, found.dir->fd(), newest, {cache.id, 0});
    if (!torn && !torn.error().is(EUCLEAN)) return torn.error();
    if (!torn) found.damage.push_back({name.text(), newest.info.bytes, newest.stop->what});
  }
  found.catalogue->add(newest.info, std::move(newest.points));
  found.catalogue->set_stable(newest.info.last_index);
  return {};
}

Result<Directory> look_at_directory(Disk& disk, const std::string& path) {
  Directory found;
  TRY(auto dir, disk.open(Disk::kNoDir, path, O_RDONLY | O_DIRECTORY).with("open changelog {}", path));
  found.dir = std::make_shared<DiskFile>(std::move(dir));
  TRY(auto listing, list_segments(disk, found.dir->fd()));
  if (listing.segments.empty()) return Error(ENOENT).with("no changelog segments in {}", path);
  for (auto at = listing.segments.begin(); std::next(at) != listing.segments.end(); ++at) {
    SegmentInfo info;
    info.first_index = at->first;
    info.last_index = std::next(at)->first - 1;
    info.bytes = UINT64_MAX;  // not known: to its end
    info.compressed = at->second.compressed;
    info.sealed = true;
    found.catalogue->add(info);
  }
  TRY(look_at_newest(disk, listing.segments.rbegin()->second, found));
  return found;
}

/// Where the stream stopped, if not where it should have.
std::optional<std::string> wrong_end(const SegmentStep& last, const SegmentStream& stream,
                                     const SegmentInfo& expected) {
  if (last.kind != SegmentStep::Kind::kEnd) return last.what;
  if (stream.next_index() != expected.last_index + 1)
    return fmt::format("ends before record {}; record {} was the last", stream.next_index(),
                       expected.last_index);
  if (!expected.content_xxh3_128.empty() && stream.hash().hex() != expected.content_xxh3_128)
    return fmt::format("the content's XXH3-128 is {}, not {}", stream.hash().hex(),
                       expected.content_xxh3_128);
  return std::nullopt;
}

}  // namespace

Result<void> check_segment(Disk& disk, int dir, const SegmentInfo& expected, JournalCheck& check) {
  const std::string name = expected.name().text();
  auto stream = SegmentStream::open(disk, dir, expected.name());
  if (stream.failed_with(EUCLEAN)) {
    check.damage.push_back({name, 0, damage_text(stream.error())});
    return {};
  }
  TRY(auto opened, std::move(stream));
  opened.hash_content();
  SegmentStep last;
  do {
    auto step = opened.next(expected.bytes);
    if (step.failed_with(EUCLEAN)) {
      check.damage.push_back({name, opened.byte(), damage_text(step.error())});
      return {};
    }
    TRY(last, std::move(step));
    if (last.kind == SegmentStep::Kind::kRecord) ++check.records;
  } while (last.kind == SegmentStep::Kind::kRecord);
  if (auto what = wrong_end(last, opened, expected))
    check.damage.push_back({name, opened.byte(), std::move(*what)});
  return {};
}

Result<JournalCheck> JournalImpl::verify() {
  JournalCheck check;
  check.first_index = catalogue_->first_index();
  check.last_index = catalogue_->appended();
  for (const SegmentInfo& listed : catalogue_->list()) {
    for (int attempt = 1;; ++attempt) {
      auto segment = catalogue_->find(listed.first_index);
      if (!segment || segment->first_index != listed.first_index) break;  // dropped meanwhile
      JournalCheck one;
      auto checked = check_segment(disk(), dir(), *segment, one);
      if (checked.failed_with(ENOENT) && attempt < kOpenAttempts) continue;
      if (checked.failed_with(ENOENT))
        one.damage.push_back({segment->name().text(), 0, "the file is missing"});
      if (!checked && !checked.error().is(ENOENT)) return checked.error();
      ++check.segments;
      check.records += one.records;
      std::ranges::move(one.damage, std::back_inserter(check.damage));
      break;
    }
  }
  return check;
}

Result<std::unique_ptr<JournalReader>> read_journal_directory(Disk& disk, const std::string& path,
                                                              std::uint64_t index) {
  TRY(auto found, look_at_directory(disk, path));
  for (const JournalDamage& damage : found.damage)
    log::error("{}; only what is before it can be read", damage_error(damage).message());
  return make_journal_reader(found.dir, found.catalogue, index, false);
}

Result<JournalCheck> verify_journal_directory(Disk& disk, const std::string& path) {
  TRY(auto found, look_at_directory(disk, path));
  JournalCheck check;
  check.first_index = found.catalogue->first_index();
  check.last_index = found.catalogue->appended();
  check.damage = found.damage;
  for (const SegmentInfo& segment : found.catalogue->list()) {
    TRY(check_segment(disk, found.dir->fd(), segment, check));
    ++check.segments;
  }
  return check;
}

}  // namespace polder
