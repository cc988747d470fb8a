// SPDX-License-Identifier: GPL-3.0-or-later
// Volumes: the volumes of this node's cluster, and the bricks and rpc server that this process runs for them.
// What a volume should be is in the ClusterStore; this class makes it so, and again when a brick has failed.
// Loop thread only.
//
// Each change of a volume holds that volume's administrative lock (lock()), so create, start, stop, snapshot
// and promote never run at once on the same one.
#pragma once
#include <boost/asio/any_io_executor.hpp>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/concurrency.h"
#include "base/seams.h"
#include "core-volume/cluster/records.h"
#include "core-volume/graph/volume_stack.h"
#include "core-volume/node/brick_place.h"
#include "core-volume/node/cluster_session_store.h"
#include "core-volume/node/members.h"
#include "core-volume/node/node_identity.h"
#include "core-volume/rpc/server.h"

namespace polder {

/// A volume that is served here: the brick of its root runs.
struct RunningVolume {
  VolumeInfo info;  // as of its start, with later changes of read_only, role, incarnation and bricks
  std::unique_ptr<VolumeStack> stack;
  std::shared_ptr<ServedVolume> served;
  std::uint64_t started_ns = 0;
  bool stopping = false;  // users should leave soon
  std::size_t users = 0;  // VolumeUse
  Event left;
  nanoseconds disks_tried_at{}, weighed_at{};  // boot time
};

/// EOPNOTSUPP for a volume of several sets: `what` ("a snapshot", say) is not made for these yet.
Result<void> need_one_set(const VolumeInfo& info, std::string_view what);

/// Keeps a volume's stack open: stopping the volume waits for every use to end. Whoever keeps one for longer
/// than one operation looks at stopping() now and then.
class VolumeUse {
 public:
  explicit VolumeUse(std::shared_ptr<RunningVolume> volume) : volume_(std::move(volume)) { ++volume_->users; }
  VolumeUse(VolumeUse&& other) noexcept = default;
  VolumeUse& operator=(VolumeUse&&) = delete;
  ~VolumeUse() {
    if (volume_ && --volume_->users == 0) volume_->left.notify_all();
  }

  RunningVolume* operator->() const { return volume_.get(); }
  VolumeStack& stack() const { return *volume_->stack; }
  /// The only one of a volume of one set.
  Brick& root_brick() const { return volume_->stack->root_brick(); }
  bool stopping() const { return volume_->stopping; }

 private:
  std::shared_ptr<RunningVolume> volume_;
};

struct CreateVolume {
  std::string name;
  std::vector<std::string> bricks;  // NODE:/path, each a set of its own
  bool force = false;
};

struct CreatedVolume {
  VolumeInfo info;
  std::vector<std::string> notes;
};

struct AddBrick {
  std::string volume;
  std::string brick;  // NODE:/path
  bool force = false;
  std::function<Task<Result<void>>(std::string sentence)> progress;  // may be empty
};

/// Parts that live on a volume (geo-replication, snapshots) learn of its life. Called with the volume's
/// administrative lock held.
struct VolumeHooks {
  /// Each may be empty.
  std::function<Task<Result<void>>(std::string name)> may_create = {};      // EEXIST: who has the name
  std::function<Task<Result<void>>(const VolumeInfo&)> before_start = {};   // an error: it does not start
  std::function<Task<void>(std::shared_ptr<RunningVolume>)> started = {};   // its brick serves
  std::function<Task<void>(std::shared_ptr<RunningVolume>)> stopping = {};  // let go of the brick now
  std::function<Task<Result<void>>(const VolumeInfo&)> may_delete = {};     // EBUSY: what has to go first
  std::function<Task<Result<void>>(const VolumeInfo&)> may_extend = {};     // more sets; EBUSY likewise
  // A name that is no volume's: why clients cannot have it now, if it is known at all.
  std::function<std::optional<Error>(const std::string& name)> why_absent = {};
};

class Volumes {
 public:
  using Guard = KeyLocks::Guard;

  /// All given outlive it.
  Volumes(Seams& seams, const boost::asio::any_io_executor& executor, ClusterStore& store,
          const NodeIdentity& identity);
  ~Volumes();

  void add_hooks(VolumeHooks hooks) { hooks_.push_back(std::move(hooks)); }

  /// After cluster init, and at every start: serves, and starts the volumes that are Started. One that cannot
  /// start is logged and shown by failure(); the others start.
  Task<Result<void>> open();
  /// SIGTERM: every brick ends orderly; the store still says Started.
  Task<void> close();

  // What admins do (volume_changes.cc). Each takes the volume's lock.
  Task<Result<CreatedVolume>> create(CreateVolume request);
  /// A new set, which takes new directories at once (add_brick.cc). The volume runs. All or nothing.
  Task<Result<CreatedVolume>> add_brick(AddBrick request);
  /// EALREADY when it runs, unless `force` (then bricks that failed are tried again).
  Task<Result<void>> start(std::string name, bool force);
  Task<Result<void>> stop(std::string name);
  /// The record goes; the bricks' data stays. EBUSY while it is started.
  Task<Result<VolumeInfo>> remove(std::string name);
  /// `value` absent: back to the default. Returns the normalised value.
  Task<Result<std::string>> set_option(std::string name, std::string key, std::optional<std::string> value);

  /// How a brick of the volume is opened.
  BrickConfig brick_config(const VolumeInfo& info, const BrickSpec& spec) const;

  // For parts that do several things with a volume as one: they hold the lock.
  Task<Result<Guard>> lock(std::string name);
  /// Starts or ends the brick without changing the volume's state in the store (snapshot restore).
  Task<Result<void>> bring_up(VolumeInfo info);
  Task<void> bring_down(std::string name);
  /// Stores read_only, role and incarnation of `info`, and has clients see read_only at once.
  Task<Result<void>> update(VolumeInfo info, std::uint64_t version);

  /// nullptr when it does not run here. Without a VolumeUse the brick is only sure to be there until the next
  /// await, or while the volume's lock is held.
  std::shared_ptr<RunningVolume> running(const std::string& name) const;
  /// ENOENT, ENOTCONN with what to type.
  Result<VolumeUse> use(const std::string& name) const;
  /// Why a started volume does not run; empty when it does.
  std::string failure(const std::string& name) const;
  const std::map<std::string, std::string>& failures() const { return failures_; }
  std::vector<std::string> running_names() const;
  RpcServer& rpc() { return *rpc_; }
  const Members& members() const { return members_; }
  Members& members() { return members_; }
  /// Takes over a connection that speaks polder-rpc/1.
  void serve(std::unique_ptr<Stream> stream) { rpc_->serve(std::move(stream)); }

 private:
  RpcServerOptions server_options();
  Error why_absent(const std::string& name) const;
  VolumeStackConfig stack_config(const VolumeInfo& info) const;
  /// Brings `info` up to date.
  Task<Result<std::unique_ptr<VolumeStack>>> start_stack(VolumeInfo& info);
  Task<Result<std::vector<std::string>>> used_brick_paths();
  Result<BrickSpec> parse_brick(const std::string& text) const;
  Task<Result<CreatedVolume>> create_locked(CreateVolume request);
  Task<Result<void>> may_be_created(std::string name);
  Task<Result<void>> set_state(std::string name, VolumeState state);

  // Making bricks (making.cc).
  Task<Result<std::vector<BrickInMaking>>> announce(const std::vector<std::string>& bricks,
                                                    const VolumeInfo& to, bool force);
  Task<Result<std::vector<std::string>>> make_bricks(const VolumeInfo& info, bool force);
  Task<Result<void>> take_back(std::string name);

  // add_brick.cc
  Task<Result<Stored<VolumeInfo>>> may_be_extended(std::string name);
  Task<Result<CreatedVolume>> add_brick_locked(AddBrick request);
  Task<Result<CreatedVolume>> join(AddBrick request, Stored<VolumeInfo> volume, BrickSpec spec);

  // Keeping it so (watch.cc).
  Task<void> watch();
  Task<void> look_after(std::string name);
  Task<void> look_after_running(std::shared_ptr<RunningVolume> volume);
  Task<void> start_failed_bricks(std::shared_ptr<RunningVolume> volume);
  Task<void> try_again(std::string name);

  Seams& seams_;
  boost::asio::any_io_executor executor_;
  ClusterStore& store_;
  const NodeIdentity& identity_;
  ClusterSessionStore sessions_;
  Members members_;
  std::unique_ptr<RpcServer> rpc_;
  std::vector<VolumeHooks> hooks_;
  std::map<std::string, std::shared_ptr<RunningVolume>> running_;
  std::map<std::string, std::string> failures_;
  std::map<std::string, bool> known_;  // every volume of the store: is it started? For refusals at once.
  KeyLocks locks_;
  std::set<std::string> looked_after_;  // at present
  TaskGroup watching_{"watch of the volumes"};
  TaskGroup care_{"care of the volumes"};
};

}  // namespace polder
