// SPDX-License-Identifier: GPL-3.0-or-later
// RpcClient: a volume on the other side of a connection, as a FileOps. A lost connection or a restarted
// server is a pause for the callers, not an error: handles stay good (they are the client's own, mapped to
// the server's), locks are claimed again, and what was in flight is sent again and happens once.
//
// Session and sequence of the OpContext given are not used: the client makes its own. Loop thread only.
#pragma once
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "base/seams.h"
#include "base/transport.h"
#include "core-volume/layer/attribute_source.h"
#include "core-volume/layer/file_ops.h"
#include "core-volume/layer/invalidation.h"
#include "core-volume/layer/leases.h"

namespace polder {

struct RpcClientOptions {
  std::vector<Endpoint> endpoints;  // tried in turn
  std::shared_ptr<const TlsIdentity> identity;
  std::string volume;
  std::string client_name;  // for people: host and mount point
  std::string client_version;
  bool hard = true;  // wait for ever; else ETIMEDOUT once an outage lasts longer than soft_timeout
  std::chrono::nanoseconds soft_timeout = std::chrono::seconds(60);
  std::chrono::nanoseconds start_timeout = std::chrono::seconds(15);  // of start()
  std::chrono::nanoseconds backoff_min = std::chrono::milliseconds(50);
  std::chrono::nanoseconds backoff_max = std::chrono::milliseconds(500);
};

struct RpcClientStatus {
  bool connected = false;
  std::string endpoint;
  std::uint32_t session = 0;
  Gfid volume;
  Gfid lineage;
  std::uint64_t volume_incarnation = 0;
  bool read_only = false;
  std::size_t requests = 0;  // in flight
  std::string last_error;    // of the last attempt to connect
  std::vector<std::string> endpoints;
  std::uint64_t outages = 0;               // connections lost
  std::chrono::nanoseconds away_for{0};    // of the present outage; 0: none
  std::chrono::nanoseconds silent_for{0};  // since the server was heard last
  std::size_t open_handles = 0;
  std::size_t locks = 0;
};

/// A request in flight, for statedumps.
struct RpcCallInfo {
  std::string operation;
  std::uint64_t sequence = 0;  // 0: a plain read
  std::chrono::nanoseconds age{0};
  bool sent = false;       // on this connection or an earlier one
  bool cancelled = false;  // its caller gave up
};

class RpcClient : public FileOps, public InvalidationSource, public AttributeSource, public LeaseSource {
 public:
  /// `seams` outlive the client.
  RpcClient(Seams& seams, const boost::asio::any_io_executor& executor, RpcClientOptions options);
  ~RpcClient() override;
  RpcClient(const RpcClient&) = delete;

  /// Connects. A refusal is returned as it is, with the server's reason: ENOENT no such volume, ENOTCONN not
  /// started, EACCES not allowed, EPROTONOSUPPORT versions. ETIMEDOUT after start_timeout names the last
  /// cause. After an error the client is stopped.
  Task<Result<void>> start();
  /// Says goodbye (so the server ends the session at once), fails what is still waiting with ECANCELED, and
  /// returns when nothing runs. Call before destruction.
  Task<void> stop();
  RpcClientStatus status() const;
  /// In the order they were made; at most `most`.
  std::vector<RpcCallInfo> calls(std::size_t most) const;

  /// A nil gfid means everything: after each reconnection, too.
  void on_invalidation(std::function<void(const Invalidation&)> listener) override;
  void on_attributes(std::function<void(const FileAttr&)> listener) override;
  /// Operations whose context has a LeaseAsk bring leases. Everything is recalled when a connection ends.
  bool leases_hold() const override;
  void on_recall(std::function<void(const Gfid&)> listener) override;

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
  /// Returns at once; the message rides with the next one.
  Task<Result<void>> release(const OpContext& ctx, Gfid gfid, HandleId handle) override;
  Task<Result<Buffer>> read(const OpContext& ctx, Gfid gfid, HandleId handle, std::uint64_t offset,
                            std::uint32_t length) override;
  /// EMSGSIZE past 4 MiB: larger writes cannot be all or nothing here.
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
  /// The client's own session: all its handles and locks go. The next operation begins a new one.
  Task<Result<void>> end_session(const OpContext& ctx) override;
  Task<Result<void>> sync(const OpContext& ctx) override;
  /// Longer lists are sent in several requests, in order.
  Task<Result<void>> replay(const OpContext& ctx, std::span<const Record> records) override;

 private:
  std::unique_ptr<class ClientLink> link_;
};

}  // namespace polder
