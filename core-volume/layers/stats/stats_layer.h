// SPDX-License-Identifier: GPL-3.0-or-later
// StatsLayer: counts every operation that passes, and knows those under way. Costs an operation one coroutine
// frame, two looks at the clock and a few additions: no lock, and no allocation but that frame, which Asio
// takes from a cache. Nothing in it can fail or delay anybody. Loop thread only.
#pragma once
#include <boost/intrusive/list.hpp>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "core-volume/layer/file_ops.h"
#include "core-volume/layers/stats/hot_files.h"
#include "core-volume/layers/stats/op_counters.h"

namespace polder {

/// An operation under way, in the frame of its own coroutine.
struct OpUnderWay
    : boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
  OpUnderWay(OpKind the_kind, const OpContext& context, Gfid object, nanoseconds now)
      : kind(the_kind), ctx(context), gfid(object), since(now) {}

  OpKind kind;
  const OpContext& ctx;
  Gfid gfid;          // the object, or the parent of a name; nil where there is none
  nanoseconds since;  // boot time
};

/// What `volume profile` shows: counters since it was started, and since it was last asked.
struct Profile {
  BrickCounters cumulative;
  nanoseconds cumulative_time{};
  BrickCounters interval;
  nanoseconds interval_time{};
  unsigned interval_number = 0;  // 0: the first
};

class StatsLayer : public FileOps {
 public:
  /// Both outlive the layer.
  StatsLayer(FileOps& below, Clock& clock) : below_(below), clock_(clock), since_(clock.boot_time()) {}

  const BrickCounters& counters() const { return counters_; }
  nanoseconds counted_since() const { return since_; }  // boot time

  enum class Top { kOpen, kRead, kWrite, kOpendir, kReaddir };
  static constexpr std::size_t kTops = 5;
  const HotFiles& top(Top what) const { return tops_[static_cast<std::size_t>(what)]; }
  void clear_tops();

  /// Oldest first; at most `most` of them. Copies that stay good.
  struct UnderWay {
    OpKind kind;
    Gfid gfid;
    std::uint32_t session, uid, pid;
    nanoseconds age;
  };
  std::vector<UnderWay> under_way(std::size_t most) const;
  std::size_t under_way_count() const { return under_way_.size(); }

  // Profiles are differences of the counters, which always run: starting one costs nothing afterwards.
  void start_profile();
  void stop_profile() { profile_.reset(); }
  bool profiling() const { return profile_.has_value(); }
  /// `end_interval`: the next interval begins now. Only while profiling().
  Profile profile(bool end_interval);

  Task<Result<FileAttr>> lookup(const OpContext& ctx, Gfid parent, std::string_view name) override;
  Task<Result<FileAttr>> getattr(const OpContext& ctx, Gfid gfid) override;
  Task<Result<std::string>> readlink(const OpContext& ctx, Gfid gfid) override;
  Task<Result<DirectoryPage>> readdir(const OpContext& ctx, Gfid gfid, std::uint64_t cookie,
                                      std::uint32_t max_entries, bool with_attributes) override;
  Task<Result<VolumeSpace>> statfs(const OpContext& ctx) override;
  Task<Result<FileAttr>> mknod(const OpContext& ctx, Gfid parent, std::string_view name,
                               const NewObject& object) override;
  Task<Result<FileAttr>> mkdir(const OpContext& ctx, Gfid parent, std::string_view name,
                               const NewObject& object) override;
  Task<Result<FileAttr>> symlink(const OpContext& ctx, Gfid parent, std::string_view name,
                                 std::string_view target) override;
  Task<Result<Opened>> create(const OpContext& ctx, Gfid parent, std::string_view name,
                              const NewObject& object, int flags) override;
  Task<Result<FileAttr>> link(const OpContext& ctx, Gfid gfid, Gfid parent, std::string_view name) override;
  Task<Result<void>> unlink(const OpContext& ctx, Gfid parent, std::string_view name) override;
  Task<Result<void>> rmdir(const OpContext& ctx, Gfid parent, std::string_view name) override;
  Task<Result<void>> rename(const OpContext& ctx, Gfid from_parent, std::string_view from_name,
                            Gfid to_parent, std::string_view to_name, unsigned flags) override;
  Task<Result<FileAttr>> setattr(const OpContext& ctx, Gfid gfid, const SetAttr& change) override;
  Task<Result<std::string>> getxattr(const OpContext& ctx, Gfid gfid, std::string_view key) override;
  Task<Result<std::vector<std::string>>> listxattr(const OpContext& ctx, Gfid gfid) override;
  Task<Result<void>> setxattr(const OpContext& ctx, Gfid gfid, std::string_view key, std::string_view value,
                              int flags) override;
  Task<Result<void>> removexattr(const OpContext& ctx, Gfid gfid, std::string_view key) override;
  Task<Result<Opened>> open(const OpContext& ctx, Gfid gfid, int flags) override;
  Task<Result<void>> release(const OpContext& ctx, Gfid gfid, HandleId handle) override;
  Task<Result<Buffer>> read(const OpContext& ctx, Gfid gfid, HandleId handle, std::uint64_t offset,
                            std::uint32_t length) override;
  Task<Result<WriteResult>> write(const OpContext& ctx, Gfid gfid, HandleId handle, std::uint64_t offset,
                                  Buffer data, bool append) override;
  Task<Result<void>> fsync(const OpContext& ctx, Gfid gfid, bool data_only) override;
  Task<Result<void>> fallocate(const OpContext& ctx, Gfid gfid, int mode, std::uint64_t offset,
                               std::uint64_t length) override;
  Task<Result<std::uint64_t>> seek(const OpContext& ctx, Gfid gfid, std::uint64_t offset,
                                   int whence) override;
  Task<Result<std::uint64_t>> copy_range(const OpContext& ctx, Gfid from, std::uint64_t from_offset, Gfid to,
                                         std::uint64_t to_offset, std::uint64_t length) override;
  Task<Result<FileLock>> test_lock(const OpContext& ctx, Gfid gfid, const FileLock& lock) override;
  Task<Result<void>> set_lock(const OpContext& ctx, Gfid gfid, const FileLock& lock, bool wait) override;
  Task<Result<void>> end_session(const OpContext& ctx) override;
  Task<Result<void>> sync(const OpContext& ctx) override;
  Task<Result<void>> replay(const OpContext& ctx, std::span<const Record> records) override;

 private:
  struct Ended {  // an operation that succeeded
    const OpUnderWay& op;
    nanoseconds took, now;
  };
  /// `note(result, ended)` counts what is particular to a kind.
  template <typename T, typename Note>
  Task<Result<T>> counted(OpKind kind, const OpContext& ctx, Gfid gfid, Task<Result<T>> operation, Note note);
  template <typename T>
  Task<Result<T>> counted(OpKind kind, const OpContext& ctx, Gfid gfid, Task<Result<T>> operation);
  nanoseconds count(const OpUnderWay& op, const Error* failure, nanoseconds now);
  HotFiles& hot(Top what) { return tops_[static_cast<std::size_t>(what)]; }

  struct Baseline {
    BrickCounters start, interval;
    nanoseconds start_time{}, interval_time{};
    unsigned interval_number = 0;
  };
  using List = boost::intrusive::list<OpUnderWay, boost::intrusive::constant_time_size<false>>;

  FileOps& below_;
  Clock& clock_;
  const nanoseconds since_;
  BrickCounters counters_;
  std::array<HotFiles, kTops> tops_;
  std::optional<Baseline> profile_;
  List under_way_;  // by age: the oldest first
};

}  // namespace polder
