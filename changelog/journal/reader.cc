// SPDX-License-Identifier: GPL-3.0-or-later
#include "changelog/journal/reader.h"

#include <algorithm>

#include "changelog/journal/segment_stream.h"

namespace polder {

namespace {

/// A segment may be compressed or dropped between being found and being opened; not for ever.
constexpr int kOpenAttempts = 4;

Error dropped(std::uint64_t index, std::uint64_t first) {
  return Error(ENODATA).with("changelog record {} has been dropped; the oldest is {}: rescan", index, first);
}

class Reader final : public JournalReader {
 public:
  Reader(SharedDir dir, std::shared_ptr<const Catalogue> catalogue, std::uint64_t index, bool upto_appended)
      : dir_(std::move(dir)),
        catalogue_(std::move(catalogue)),
        next_index_(index),
        upto_appended_(upto_appended) {}

  Result<std::optional<Record>> next() override {
    if (next_index_ < catalogue_->first_index()) return dropped(next_index_, catalogue_->first_index());
    if (next_index_ > (upto_appended_ ? catalogue_->appended() : catalogue_->stable())) return std::nullopt;
    TRY(auto segment, find_segment());
    if (!stream_ || stream_->name().first_index != segment.first_index) {
      TRY(segment, open_segment());
    }
    // Not past what the catalogue vouches for: an append may be half written there.
    TRY(auto step, stream_->next(segment.bytes));
    if (step.kind != SegmentStep::Kind::kRecord) return damage(step);
    next_index_ = step.record.index + 1;
    return std::optional(std::move(step.record));
  }

 private:
  Result<SegmentInfo> find_segment() const {
    auto segment = catalogue_->find(next_index_);
    if (!segment || segment->last_index < next_index_) return dropped(next_index_, catalogue_->first_index());
    return *segment;
  }

  Result<SegmentInfo> open_segment() {
    for (int attempt = 1;; ++attempt) {
      TRY(auto segment, find_segment());
      auto stream = SegmentStream::open(dir_->disk(), dir_->fd(), segment.name());
      if (stream.failed_with(ENOENT) && attempt < kOpenAttempts) continue;
      TRY(auto opened, std::move(stream));
      if (auto point = catalogue_->seek_point(segment.first_index, next_index_); point && !segment.compressed)
        opened.seek(point->index, point->byte);
      TRY(auto step, opened.skip_to(next_index_, segment.bytes));
      stream_ = std::make_unique<SegmentStream>(std::move(opened));
      if (step.kind != SegmentStep::Kind::kRecord) return damage(step);
      return segment;
    }
  }

  Error damage(const SegmentStep& step) {
    Error error =
        damage_error({stream_->name().text(), stream_->byte(),
                      step.kind == SegmentStep::Kind::kEnd ? fmt::format("ends before record {}", next_index_)
                                                           : step.what});
    stream_.reset();
    return error;
  }

  SharedDir dir_;
  std::shared_ptr<const Catalogue> catalogue_;
  std::uint64_t next_index_;
  bool upto_appended_;
  std::unique_ptr<SegmentStream> stream_;
};

}  // namespace

Result<std::unique_ptr<JournalReader>> make_journal_reader(SharedDir dir,
                                                           std::shared_ptr<const Catalogue> catalogue,
                                                           std::uint64_t index, bool upto_appended) {
  index = std::max<std::uint64_t>(index, 1);
  if (index < catalogue->first_index()) return dropped(index, catalogue->first_index());
  return std::make_unique<Reader>(std::move(dir), std::move(catalogue), index, upto_appended);
}

}  // namespace polder
