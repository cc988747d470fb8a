// SPDX-License-Identifier: GPL-3.0-or-later
#include "georep/primary/scan.h"

#include <charconv>

#include "changelog/record/listed.h"
#include "georep/primary/restate.h"

namespace polder::georep {

namespace {
constexpr std::size_t kItemsAtOnce = 512;
constexpr std::uint32_t kNamesAtOnce = 1024;
constexpr std::uint64_t kOldTime_ns = 1;  // of data: finish_object() gives the real times
}  // namespace

// Cursor: "PASS HALF GFID PLACE": everything before that object, and of it everything before PLACE, is done.
// An item whose PLACE is "-" is done itself.
Result<std::unique_ptr<Scan>> Scan::begin(Store& store, const std::string& cursor, bool rescan) {
  std::unique_ptr<Scan> scan(new Scan(store, rescan));
  ScanCursor from;
  if (!cursor.empty()) {
    TRY(scan->parse(cursor));
    from = {scan->objects_half_, scan->item_.gfid};
  }
  if (scan->pass_ != Pass::kDone) scan->scan_ = store.scan(from);
  return scan;
}

Result<void> Scan::parse(const std::string& cursor) {
  unsigned pass = 0, half = 0;
  char gfid[33] = {}, place[24] = {};
  if (std::sscanf(cursor.c_str(), "%u %u %32s %23s", &pass, &half, gfid, place) != 4 || pass > 3) {
    return Error(EINVAL).with("scan cursor '{}'", cursor);
  }
  pass_ = static_cast<Pass>(pass);
  objects_half_ = half != 0;
  TRY(item_.gfid, Gfid::parse(gfid));
  item_.directory = !objects_half_;
  const std::string_view text(place);
  in_item_ = text != "-";
  if (in_item_ && std::from_chars(text.data(), text.data() + text.size(), place_).ec != std::errc()) {
    return Error(EINVAL).with("scan cursor '{}'", cursor);
  }
  return {};
}

std::string Scan::cursor() const {
  return fmt::format("{} {} {} {}", static_cast<int>(pass_), objects_half_ ? 1 : 0, item_.gfid.hex(),
                     in_item_ ? std::to_string(place_) : "-");
}

Result<ScanPiece> Scan::next() {
  ScanPiece piece;
  piece.plan.of_state = true;
  piece_bytes_ = 0;
  while (pass_ != Pass::kDone && !full(piece)) {
    TRY(step(piece));
  }
  if (part_ > 1) part_ /= 2;
  piece.done = pass_ == Pass::kDone;
  piece.cursor = cursor();
  return piece;
}

bool Scan::full(const ScanPiece& piece) const {
  return piece_bytes_ >= kPieceBytes / part_ || piece.plan.records.size() >= kPieceRecords / part_;
}

Result<void> Scan::step(ScanPiece& piece) {
  if (!in_item_) {
    TRY(const bool more, advance());
    if (!more) {
      pass_ = static_cast<Pass>(static_cast<int>(pass_) + 1);
      item_ = {};
      objects_half_ = false;
      items_.clear();
      if (pass_ != Pass::kDone) scan_ = store_.scan({});
      return {};
    }
    if (pass_ == Pass::kObjects) return add_object(piece);
    if (pass_ == Pass::kDirectories) {
      in_item_ = false;
      TRY(auto records, finish_object(store_, item_.gfid));
      add_records(piece, std::move(records));
      return {};
    }
  }
  return pass_ == Pass::kObjects ? add_data(piece) : add_names(piece);
}

Result<bool> Scan::advance() {
  while (true) {
    if (items_.empty()) {
      TRY(items_, scan_->next(kItemsAtOnce));
      if (items_.empty()) return false;
      std::reverse(items_.begin(), items_.end());
    }
    item_ = items_.back();
    items_.pop_back();
    objects_half_ = !item_.directory;
    // The later passes are about directories, which come first.
    if (pass_ != Pass::kObjects && !item_.directory) return false;
    in_item_ = true;
    place_ = 0;
    return true;
  }
}

Result<void> Scan::add_object(ScanPiece& piece) {
  TRY(auto records, begin_object(store_, item_.gfid));
  const bool has_data = !records.empty() && S_ISREG(records.front().state.mode);
  add_records(piece, std::move(records));
  if (!has_data) {
    in_item_ = false;
    ++piece.objects;
    return {};
  }
  TRY(const bool sent, add_delta(piece));
  return sent ? finish_file(piece) : Result<void>();
}

/// The whole file against what the secondary has of it, which stays as it was until this piece is applied.
Result<bool> Scan::add_delta(ScanPiece& piece) {
  if (!rescan_) return false;
  auto there = store_.attr(item_.gfid);
  if (there.failed_with(ESTALE)) return false;
  TRY(const auto attr, std::move(there));
  if (attr.size < kDeltaMin_bytes || attr.size > kDeltaMax_bytes) return false;
  const ExtentItem whole{0, item_.gfid, 0, attr.size, kOldTime_ns};
  piece.plan.items.emplace_back(DeltaItem{0, item_.gfid, item_.gfid, kOldTime_ns, {whole}});
  piece_bytes_ += attr.size;
  return true;
}

Result<void> Scan::add_data(ScanPiece& piece) {
  auto attr = store_.attr(item_.gfid);
  const std::uint64_t size = attr ? attr->size : 0;
  auto data = store_.seek(item_.gfid, place_, SEEK_DATA);
  if (attr && data && *data < size) {
    TRY(const auto hole, store_.seek(item_.gfid, *data, SEEK_HOLE));
    const std::uint64_t left = kPieceBytes / part_ - std::min(kPieceBytes / part_, piece_bytes_);
    const auto length = std::min<std::uint64_t>(hole - *data, std::max<std::uint64_t>(left, 1u << 20));
    piece.plan.items.emplace_back(ExtentItem{0, item_.gfid, *data, length, kOldTime_ns});
    piece_bytes_ += length;
    place_ = *data + length;
    return {};
  }
  return finish_file(piece);
}

Result<void> Scan::finish_file(ScanPiece& piece) {
  TRY(auto records, finish_object(store_, item_.gfid));
  add_records(piece, std::move(records));
  in_item_ = false;
  ++piece.objects;
  return {};
}

Result<void> Scan::add_names(ScanPiece& piece) {
  auto page = store_.list(item_.gfid, place_, kNamesAtOnce, true);
  if (page.failed_with(ESTALE)) {
    in_item_ = false;
    return {};
  }
  TRY(auto names, std::move(page));
  std::vector<Record> records;
  for (const auto& entry : names.entries) {
    records.push_back(link_record({item_.gfid, entry.name}, entry.attr.gfid));
    place_ = entry.cookie;
  }
  add_records(piece, std::move(records));
  if (!names.end && !names.entries.empty()) return {};
  in_item_ = false;
  return rescan_ ? add_listing(piece) : Result<void>();
}

/// What the secondary has besides goes. Names that change meanwhile are in the log.
Result<void> Scan::add_listing(ScanPiece& piece) {
  std::vector<std::string> names;
  for (std::uint64_t cookie = 0;;) {
    auto page = store_.list(item_.gfid, cookie, kNamesAtOnce, false);
    if (page.failed_with(ESTALE)) return {};
    TRY(auto some, std::move(page));
    for (auto& entry : some.entries) {
      cookie = entry.cookie;
      names.push_back(std::move(entry.name));
    }
    if (some.end || some.entries.empty()) break;
  }
  auto records = listed_records(item_.gfid, std::move(names));
  for (auto& record : records) record.time_ns = kNoTime_ns;
  add_records(piece, std::move(records));
  return {};
}

void Scan::add_records(ScanPiece& piece, std::vector<Record> records) {
  if (records.empty()) return;
  auto& plan = piece.plan;
  auto* last = plan.items.empty() ? nullptr : std::get_if<RecordsItem>(&plan.items.back());
  if (last && last->first + last->count == plan.records.size()) {
    last->count += records.size();
  } else {
    plan.items.emplace_back(RecordsItem{plan.records.size(), records.size()});
  }
  for (auto& record : records) plan.records.push_back(std::move(record));
}

}  // namespace polder::georep
