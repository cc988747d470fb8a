// SPDX-License-Identifier: GPL-3.0-or-later
// CacheLayer: answers look-ups and questions for attributes by itself while this client has leases on what
// they are about, and learns from the answers to everything else. An answer from here is as true at its
// moment as one of the brick would be; docs/coherence.md says what applications get of that.
//
// - In a directory of which all names are known (made by this client, or listed from begin to end) a name
//   that is not there is ENOENT without a question. Who looks for absent names again and again (a compiler's
//   search path, a rename's target) makes this layer list the directory itself, as far as that pays.
// - A change of ours makes unknown what it touches when it begins, and known again by its answer, unless
//   another one of ours ran beside it. If it fails, what it touched stays unknown.
// - Listings, data, extended attributes and locks pass.
//
// Loop thread only.
#pragma once
#include <optional>

#include "core-volume/client/cache/flights.h"
#include "core-volume/client/cache/nodes.h"
#include "core-volume/layer/leases.h"
#include "core-volume/layer/pass_through.h"

namespace polder {

class CacheLayer final : public PassThroughLayer {
 public:
  /// `below` brings the leases that `leases` recalls; both outlive the layer.
  CacheLayer(FileOps& below, LeaseSource& leases, CacheOptions options = {});
  ~CacheLayer() override;

  struct Stats {
    std::uint64_t lookups = 0;  // answered here
    std::uint64_t absent = 0;   // of these, that there is no such name
    std::uint64_t getattrs = 0;
    std::uint64_t recalls = 0;
    std::size_t objects = 0;
    std::size_t names = 0;
  };
  Stats stats() const;
  /// Forgets everything; it is asked for again when it is needed.
  void clear() { nodes_.clear(); }

  Task<Result<FileAttr>> lookup(const OpContext& ctx, Gfid parent, std::string_view name) override;
  Task<Result<FileAttr>> getattr(const OpContext& ctx, Gfid gfid) override;
  Task<Result<DirectoryPage>> readdir(const OpContext& ctx, Gfid gfid, std::uint64_t cookie,
                                      std::uint32_t max_entries, bool with_attributes) override;

  // cache_changes.cc
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
  Task<Result<void>> end_session(const OpContext& ctx) override;
  Task<Result<void>> replay(const OpContext& ctx, std::span<const Record> records) override;

 private:
  class Changing;
  class Making;

  void recalled(const Gfid& gfid);
  std::optional<Result<FileAttr>> known_entry(const Gfid& parent, std::string_view name);
  CachedName known_name(const Gfid& parent, std::string_view name);
  CachedNode& node_for(const Gfid& gfid) { return nodes_.find_or_make(gfid, flights_.next()); }
  void learn_object(const Question& question, const LeaseAsk& ask, const FileAttr& attr);
  void learn_entry(const Question& question, const LeaseAsk& ask, const NameIn& name,
                   const Result<FileAttr>& found);
  void learn_page(const Question& question, const LeaseAsk& ask, const Gfid& gfid, std::uint64_t cookie,
                  const DirectoryPage& page);
  Task<void> absent_again(const OpContext& ctx, Gfid parent);
  Task<Result<void>> remove(const OpContext& ctx, Gfid parent, std::string_view name, bool directory);

  LeaseSource& leases_;
  Nodes nodes_;
  Flights flights_;
  Stats stats_;
};

}  // namespace polder
