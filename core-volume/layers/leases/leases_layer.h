// SPDX-License-Identifier: GPL-3.0-or-later
// LeasesLayer: stands above all sets of a volume and lets no change begin before the leases of other clients
// on what it touches have been recalled. Questions pass; what their answers grant is between the server of
// the sessions and the table.
//
// - Touched: the directories of names, the object, and the objects behind names that go away or change place.
//   The latter are looked up below, but only while some other session has leases or wants some; else nobody
//   is given any lease until the change has ended. Changes of one name run one after another, so what was
//   found behind it is what will be changed.
// - Waiting is bounded: an answer is one message, sent at once; without it a lease ends by time, about a
//   second after its holder was heard last. Nobody waits for an operation of a client.
// - replay (geo-replication) may touch anything: everything of the others is recalled.
// - After a start, changes wait until leases that an earlier process may have granted have ended, or their
//   holders are back.
//
// Loop thread only.
#pragma once
#include "base/concurrency.h"
#include "core-volume/layer/invalidation.h"
#include "core-volume/layer/pass_through.h"
#include "core-volume/layers/leases/lease_table.h"

namespace polder {

class LeasesLayer final : public PassThroughLayer, public LeaseKeeper {
 public:
  /// `clock` outlives the layer. set_below() comes before the first operation.
  explicit LeasesLayer(Clock& clock, LeaseOptions options = {});
  ~LeasesLayer() override;
  /// `below` outlives the layer, or the next call; operations under way go on where they are.
  void set_below(FileOps& below) { below_ = &below; }

  /// Of whatever is below. What nobody's request changed is told to those who have leases on it.
  void changed(const Invalidation& change);
  /// Runs what may change anything and is not an operation, while nobody has a lease.
  Task<void> without_leases(Task<void> work);

  std::chrono::nanoseconds lease_term() const override { return options_.term; }
  void knew_before(std::uint32_t session) override { table_.knew_before(session); }
  void attached(std::uint32_t session, LeaseHolder& holder) override;
  void detached(std::uint32_t session) override { table_.detached(session); }
  void left(std::uint32_t session) override;
  void forgotten(std::uint32_t session) override;
  void answered(std::uint32_t session, std::uint64_t number) override;
  std::uint64_t mark() const override { return table_.mark(); }
  bool grant(std::uint32_t session, const Gfid& gfid, std::uint64_t mark) override {
    return table_.grant(session, gfid, mark);
  }
  LeaseNumbers numbers() const override { return table_.numbers(); }

  // What changes something.
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
  Task<Result<void>> setxattr(const OpContext& ctx, Gfid gfid, std::string_view key, std::string_view value,
                              int flags) override;
  Task<Result<void>> removexattr(const OpContext& ctx, Gfid gfid, std::string_view key) override;
  Task<Result<Opened>> open(const OpContext& ctx, Gfid gfid, int flags) override;
  Task<Result<WriteResult>> write(const OpContext& ctx, Gfid gfid, HandleId handle, std::uint64_t offset,
                                  Buffer data, bool append) override;
  Task<Result<void>> fallocate(const OpContext& ctx, Gfid gfid, int mode, std::uint64_t offset,
                               std::uint64_t length) override;
  Task<Result<std::uint64_t>> copy_range(const OpContext& ctx, Gfid from, std::uint64_t from_offset, Gfid to,
                                         std::uint64_t to_offset, std::uint64_t length) override;
  Task<Result<void>> replay(const OpContext& ctx, std::span<const Record> records) override;

 private:
  class Running;

  template <typename T>
  Task<Result<T>> changing(const OpContext& ctx, RunningChange change, Task<Result<T>> operation);
  bool may_begin(const RunningChange& change) const;
  Task<Result<void>> admit(const OpContext& ctx, RunningChange& change);
  Task<Result<void>> find_objects(const OpContext& ctx, RunningChange& change);
  Task<Result<void>> recall(RunningChange& change);
  void over(RunningChange& change);

  Clock& clock_;
  const LeaseOptions options_;
  LeaseTable table_;
  Event answers_;  // or whatever else may have ended leases
  Event ended_;    // a change with names
  unsigned waiting_for_names_ = 0;
};

}  // namespace polder
