// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/graph/volume_stack.h"

#include <xxhash.h>

#include "base/clock.h"
#include "base/concurrency.h"
#include "base/hlc.h"
#include "base/log.h"
#include "base/on_worker.h"
#include "core-volume/graph/reconcile.h"
#include "core-volume/graph/resolve_transactions.h"
#include "core-volume/layers/distribute/distribute_layer.h"
#include "core-volume/layers/leases/leases_layer.h"

namespace polder {
namespace {

constexpr auto kDrainPoll = std::chrono::milliseconds(10);

}  // namespace

VolumeStack::VolumeStack(Seams& seams, VolumeStackConfig config)
    : seams_(seams), config_(std::move(config)), leases_(std::make_unique<LeasesLayer>(seams.clock)) {
  placement_.set_table(config_.slots);
  placement_.set_spread(config_.spread);
}

VolumeStack::~VolumeStack() = default;

Task<Result<std::unique_ptr<VolumeStack>>> VolumeStack::start(Seams& seams, VolumeStackConfig config) {
  auto stack = std::unique_ptr<VolumeStack>(new VolumeStack(seams, std::move(config)));
  std::vector<Task<Result<void>>> starts;
  for (const auto& [set, brick] : stack->config_.bricks) {
    stack->gates_[set] = std::make_unique<PeerGate>();
    starts.push_back(stack->start_brick(set));
  }
  auto outcomes = co_await fan_out(std::move(starts));
  if (!stack->bricks_.contains(kRootSet)) {
    const bool tried = stack->config_.bricks.contains(kRootSet);  // then it was the first
    auto why = tried ? outcomes.front().error() : Error(EINVAL).with("the volume has no brick for its root");
    (void)co_await stack->stop();  // the reason why it does not start says more
    co_return why;
  }
  auto joined = co_await stack->join();
  if (!joined) {
    (void)co_await stack->stop();
    co_return std::move(joined).error();
  }
  stack->build_top();
  co_await stack->weigh();
  co_return stack;
}

Task<Result<void>> VolumeStack::start_brick(std::uint32_t set) {
  auto config = config_.bricks.at(set);
  config.placement = &placement_;
  config.peers = this;
  auto path = config.path;
  auto brick = co_await Brick::start(seams_, std::move(config));
  if (brick && (*brick)->identity().set != set) {
    auto found = (*brick)->identity().set;
    (void)co_await end_brick(*std::move(brick));
    brick = Error(EINVAL).with("{} is the brick of set {}, not of set {}", path, found, set);
  }
  if (!brick) {
    failures_[set] = brick.error().message();
    gates_[set]->shut(failures_[set]);
    co_return brick.error();
  }
  failures_.erase(set);
  bricks_[set] = *std::move(brick);
  co_return Result<void>();
}

Task<Result<void>> VolumeStack::join() {
  for (const auto& [set, brick] : bricks_)
    if (!gates_.at(set)->is_open()) gates_.at(set)->open(brick->ordering());
  auto joined = co_await resolve();
  if (joined) joined = co_await reconcile();
  for (const auto& [set, brick] : bricks_) brick->ordering().settled();
  co_return std::move(joined).with("settle what was under way between the bricks");
}

Task<Result<void>> VolumeStack::resolve() {
  std::map<std::uint32_t, SetPeer*> running;
  for (const auto& [set, gate] : gates_)
    if (gate->is_open()) running[set] = gate.get();
  co_return co_await resolve_transactions(running);
}

/// After a power loss (reconcile.h). Bricks stay suspect until they were compared with all others.
Task<Result<void>> VolumeStack::reconcile() {
  std::map<std::uint32_t, Store*> stores;
  for (const auto& [set, brick] : bricks_) stores[set] = &brick->store();
  if (std::ranges::none_of(stores, [](const auto& of) { return of.second->is_suspect(); })) {
    if (!failures_.empty()) co_return Result<void>();
    co_return co_await forget_replaced_before();  // no log has lost anything
  }
  for (const auto& [set, brick] : bricks_) {
    brick->ordering().hold_closing(!failures_.empty());
    brick->ordering().keep_orphans();
  }
  if (!failures_.empty())
    log::warning("after a power loss not all bricks run: they are compared with the others when they do");
  // Only a set that is away can tell what became of these; until then nobody else can have their names.
  if (std::ranges::any_of(bricks_,
                          [](auto& of) { return of.second->ordering().prepared_transactions() > 0; }))
    co_return Result<void>();
  std::vector<KeyLocks::Guard> held;
  for (const auto& [set, brick] : bricks_) {
    CO_TRY(auto guard, co_await brick->ordering().hold_reaping());
    held.push_back(std::move(guard));
  }
  CO_TRY(co_await forget_certainly_replaced());
  CO_TRY(bool whole, co_await mend(stores));
  if (!whole || !failures_.empty()) co_return Result<void>();
  // What was refused or mended must not come again after another power loss, when that is not known any more.
  CO_TRY(co_await sync_logs());
  CO_TRY(co_await forget_replaced_before());
  for (const auto& [set, store] : stores) {
    CO_TRY(co_await on_worker(seams_.workers, [&] { return store->compared(); }));
  }
  held.clear();
  for (const auto& [set, brick] : bricks_) co_await brick->ordering().release_orphans();
  co_return Result<void>();
}

Task<Result<void>> VolumeStack::sync_logs() {
  const auto bricks = bricks_;
  for (const auto& [set, brick] : bricks) {
    CO_TRY(co_await on_worker(seams_.workers, [&] { return brick->journal().sync(); }));
  }
  co_return Result<void>();
}

/// What the stores had noted of names that were replaced before this start.
Task<Result<void>> VolumeStack::forget_replaced_before() {
  const auto bricks = bricks_;
  for (const auto& [set, brick] : bricks) {
    CO_TRY(auto names, co_await brick->ordering().replaced_names(false));
    CO_TRY(co_await brick->ordering().forget_replaced(std::move(names)));
  }
  co_return Result<void>();
}

/// What cannot be undone any more. This start may have told a set of a rename that it had not heard of, when
/// what replaced there has been removed since: so these as well, once no log can lose them.
Task<Result<void>> VolumeStack::forget_certainly_replaced() {
  CO_TRY(co_await sync_logs());
  const auto bricks = bricks_;
  for (const auto& [set, brick] : bricks) {
    CO_TRY(auto names, co_await brick->ordering().replaced_names(true));
    std::erase_if(names, [&](const auto& name) { return !is_certain(name); });
    CO_TRY(co_await brick->ordering().forget_replaced(std::move(names)));
  }
  co_return Result<void>();
}

/// The log of the new object's set has kept its part: it has that object, or has removed it since.
bool VolumeStack::is_certain(const ReplacedName& replaced) const {
  const auto leader = brick(replaced.tx.set), by = brick(placement_.set_of(replaced.by));
  if (!leader || !by) return false;
  return leader->ordering().is_closed(replaced.tx) || by->ordering().took_part(replaced.tx);
}

/// False when there is no end to what is to be mended.
Task<Result<bool>> VolumeStack::mend(const std::map<std::uint32_t, Store*>& stores) {
  // A geo-replication secondary applies its spool again.
  if (std::ranges::any_of(bricks_, [](auto& of) { return of.second->config().ordering.is_secondary; }))
    co_return true;
  constexpr int kRounds = 8;  // a directory that was brought back may bring others
  const OpContext inside;
  bool whole = false;
  for (int round = 0; round < kRounds && !whole; ++round) {
    CO_TRY(auto repairs,
           co_await on_worker(seams_.workers, [&] { return find_repairs(stores, placement_); }));
    whole = repairs.empty();
    for (auto& repair : repairs) {
      log::warning("after a power loss: {}", repair.why);
      repair.record.time_ns = seams_.hlc.next().ns;
      repair.record.tx.id = {repair.set, repair.record.time_ns};
      repair.record.tx.phase = TxPhase::kDecided;
      CO_TRY(co_await bricks_.at(repair.set)->ordering().replay(inside, {&repair.record, 1}));
    }
  }
  co_return whole;
}

/// Closing a brick writes to its disk.
Task<Result<void>> VolumeStack::end_brick(std::shared_ptr<Brick> brick) {
  auto stopped = co_await brick->stop();
  auto path = brick->config().path;
  co_await on_worker(seams_.workers, [&] { return brick.reset(), 0; });
  co_return std::move(stopped).with("close brick {}", path);
}

Task<Result<void>> VolumeStack::stop() {
  while (!bricks_.empty()) take_down(bricks_.begin()->first, "the volume stops");
  Result<void> outcome;
  while (!leaving_.empty()) {
    auto set = leaving_.begin()->first;
    while (busy(set) > 0) {
      auto slept = co_await seams_.clock.sleep_for(kDrainPoll);
      if (!slept) break;  // only when the daemon itself is cancelled
    }
    auto brick = std::move(leaving_.at(set));
    leaving_.erase(set);
    auto ended = co_await end_brick(std::move(brick));
    if (outcome && !ended) outcome = std::move(ended);
  }
  co_return outcome;
}

// --- what is above

FileOps& VolumeStack::top() {
  return *leases_;
}

LeaseKeeper& VolumeStack::leases() {
  return *leases_;
}

void VolumeStack::on_invalidation(std::function<void(const Invalidation&)> listener) {
  listener_ = std::move(listener);
}

/// A volume of one set has nothing but leases between its users and the brick.
void VolumeStack::build_top() {
  auto tell = [this](const Invalidation& change) {
    leases_->changed(change);
    if (listener_) listener_(change);
  };
  if (config_.bricks.size() == 1) {
    leases_->set_below(root_brick().top());
    return root_brick().invalidations().on_invalidation(tell);
  }
  distribute_ = std::make_unique<DistributeLayer>(placement_);
  distribute_->on_invalidation(tell);
  for (const auto& [set, brick] : bricks_) attach(set);
  for (const auto& [set, why] : failures_) distribute_->clear_child(set, why);
  leases_->set_below(*distribute_);
}

void VolumeStack::attach(std::uint32_t set) {
  auto& brick = *bricks_.at(set);
  distribute_->set_child(set, brick.top(), brick.invalidations());
}

SetPeer* VolumeStack::peer(std::uint32_t set) {
  auto gate = gates_.find(set);
  return gate == gates_.end() || !gate->second->is_open() ? nullptr : gate->second.get();
}

std::vector<Task<Result<void>>> VolumeStack::sync_session(std::uint32_t session, std::uint32_t except) {
  std::vector<Task<Result<void>>> syncs;
  for (const auto& [set, gate] : gates_)
    if (set != except && gate->has_unsynced(session)) syncs.push_back(gate->sync_session(session));
  return syncs;
}

std::uint64_t VolumeStack::losses() const {
  std::string all;
  for (const auto& [set, brick] : bricks_)
    if (const auto& loss = brick->store().last_loss(); !loss.empty()) all += fmt::format("{}:{} ", set, loss);
  return all.empty() ? 0 : XXH3_64bits(all.data(), all.size());
}

void VolumeStack::await_clients() {
  for (auto& [set, brick] : bricks_) brick->ordering().await_clients();
}

void VolumeStack::clients_are_back() {
  for (auto& [set, brick] : bricks_) brick->ordering().clients_are_back();
}

std::shared_ptr<Brick> VolumeStack::brick(std::uint32_t set) const {
  auto found = bricks_.find(set);
  return found == bricks_.end() ? nullptr : found->second;
}

// --- bricks that come and go

/// Nothing new reaches it. What is under way ends with what its disk answers.
void VolumeStack::take_down(std::uint32_t set, std::string why) {
  auto brick = std::move(bricks_.at(set));
  bricks_.erase(set);
  if (distribute_) distribute_->clear_child(set, why);
  gates_.at(set)->shut(why);
  gates_.at(set)->lose(brick->ordering().unsynced_sessions());
  brick->locks().end_waits();
  brick->ordering().abandon();
  failures_[set] = std::move(why);
  leaving_[set] = std::move(brick);
}

std::size_t VolumeStack::busy(std::uint32_t set) const {
  const auto& brick = leaving_.at(set);
  const auto holders = static_cast<std::size_t>(brick.use_count()) - 1;
  return brick->stats().under_way_count() + gates_.at(set)->under_way() + holders;
}

Task<bool> VolumeStack::left(std::uint32_t set) {
  if (!leaving_.contains(set)) co_return true;
  if (busy(set) > 0) co_return false;
  auto brick = std::move(leaving_.at(set));
  leaving_.erase(set);
  auto& gate = *gates_.at(set);
  gate.lose(brick->ordering().unsynced_sessions());  // with what was under way when it was taken down
  auto ended = co_await end_brick(std::move(brick));
  if (ended) gate.lose({});
  if (!ended) log::warning("{}", ended.error().message());
  co_return true;
}

Task<Result<void>> VolumeStack::check(bool write) {
  std::vector<std::shared_ptr<Brick>> asked;
  std::vector<Task<Result<void>>> checks;
  for (const auto& [set, brick] : bricks_) {
    asked.push_back(brick);
    checks.push_back(brick->check(write));
  }
  auto outcomes = co_await fan_out(std::move(checks));
  for (std::size_t i = 0; i < asked.size(); ++i) {
    if (outcomes[i]) continue;
    const auto set = asked[i]->identity().set;
    if (set == kRootSet) co_return outcomes[i];
    log::error("brick {} is taken down: {}", asked[i]->config().path, outcomes[i].error().message());
    take_down(set, outcomes[i].error().message());
  }
  co_return Result<void>();
}

Task<void> VolumeStack::start_failed(std::function<Task<void>()> make_quiet) {
  const auto failed = failures_;
  std::vector<std::uint32_t> back;
  for (const auto& [set, why] : failed) {
    if (!co_await left(set)) continue;
    auto started = co_await start_brick(set);
    if (started) {
      back.push_back(set);
      continue;
    }
    // What is above still has the reason of the last time.
    if (distribute_) distribute_->clear_child(set, failures_[set]);
    if (failures_[set] != why) log::warning("brick of set {}: {}", set, failures_[set]);
  }
  if (back.empty()) co_return;
  if (make_quiet) co_await make_quiet();
  co_await leases_->without_leases(let_serve(std::move(back)));
}

/// Nobody may believe any more what a transaction, half made when the brick went away, has changed.
Task<void> VolumeStack::let_serve(std::vector<std::uint32_t> back) {
  auto joined = co_await join();
  for (auto set : back) {
    if (!joined) {
      take_down(set, joined.error().message());
      continue;
    }
    if (distribute_) attach(set);
    log::info("brick {} runs again", bricks_.at(set)->config().path);
  }
}

namespace {

/// What a set may still take: nothing when less than its reserve is free, so that what is there can grow.
double room_of(const VolumeSpace& space) {
  constexpr double kReserve = 0.05;
  constexpr double kReserveMax_bytes = 4.0 * (1u << 30);
  constexpr double kReserveInodes = 0.01;
  const auto size = static_cast<double>(space.blocks) * space.block_size;
  const auto free = static_cast<double>(space.blocks_available) * space.block_size;
  const auto reserve = std::min(size * kReserve, kReserveMax_bytes);
  // btrfs has no table of inodes, and says 0 of 0.
  const bool few_inodes = static_cast<double>(space.files_free) < kReserveInodes * space.files;
  return few_inodes || free <= reserve ? 0 : free - reserve;
}

}  // namespace

Task<void> VolumeStack::weigh() {
  if (config_.bricks.size() == 1) co_return;
  const auto asked = bricks_;
  std::map<std::uint32_t, double> weights, free;
  co_await on_worker(seams_.workers, [&] {
    for (const auto& [set, brick] : asked) {
      auto space = brick->store().statfs();
      if (!space) continue;  // check() says more
      weights[set] = room_of(*space);
      free[set] = static_cast<double>(space->blocks_available) + 1;
    }
    return 0;
  });
  const bool all_full = std::ranges::none_of(weights, [](const auto& of) { return of.second > 0; });
  // The very last bytes are used, too; then whoever is asked says ENOSPC.
  if (!free.empty()) placement_.set_weights(all_full ? free : weights);
}

}  // namespace polder
