// SPDX-License-Identifier: GPL-3.0-or-later
// Changes of this client: what they make unknown, and what their answers teach.
#include <fcntl.h>
#include <stdio.h>

#include "base/coro.h"
#include "core-volume/client/cache/cache_layer.h"

namespace polder {
namespace {

using State = CachedName::State;

bool is_older(const timespec& a, const timespec& b) {
  return a.tv_sec != b.tv_sec ? a.tv_sec < b.tv_sec : a.tv_nsec < b.tv_nsec;
}

/// Of an object that several changes of ours touched at once: the newest attributes count. Without an order
/// nothing does.
void offer(CachedNode& node, const FileAttr& attr) {
  const bool first = !std::exchange(node.offered, true);
  if (first || is_older(node.attr.ctime, attr.ctime))
    node.attr = attr;
  else if (!is_older(attr.ctime, node.attr.ctime))
    node.doubtful = true;
}

void add(OwnChange::Gfids& gfids, const Gfid& gfid) {
  if (std::ranges::find(gfids, gfid) == gfids.end()) gfids.push_back(gfid);
}

/// The directory, and what is known to be behind its name.
OwnChange::Gfids touched(const Gfid& parent, const CachedName& name) {
  OwnChange::Gfids gfids{parent};
  if (name.state == State::kPresent) add(gfids, name.gfid);
  return gfids;
}

CachedName present(const Gfid& gfid) {
  return {.state = State::kPresent, .gfid = gfid};
}
constexpr CachedName kUnknownName{};
constexpr CachedName kAbsentName{.state = State::kAbsent, .gfid = {}};

}  // namespace

/// A change from its begin to its answer. Unless settled by the answer, what it touched stays unknown.
class CacheLayer::Changing {
 public:
  Changing(CacheLayer& cache, const OpContext& ctx, OwnChange::Gfids gfids, OwnChange::Names names = {},
           bool blind = false)
      : cache_(cache),
        context_(begin(cache, ctx, gfids, names, blind)),
        change_(cache.flights_, gfids, names, blind) {
    context_.leases = &ask_;
  }
  ~Changing() {
    if (!settled_) settle({});
  }
  Changing(const Changing&) = delete;

  const OpContext& context() const { return context_; }
  const LeaseAsk& ask() const { return ask_; }
  const OwnChange& change() const { return change_; }

  struct Outcome {
    const FileAttr* object = nullptr;  // attributes of one of the gfids, afterwards
    CachedName names[2];
  };
  /// With what the answer says.
  void settle(const Outcome& outcome) {
    settled_ = true;
    change_.land();
    if (change_.blind()) cache_.nodes_.doubt_all_attributes();
    for (const auto& gfid : change_.gfids()) settle_attributes(gfid, attributes_of(gfid, outcome));
    for (std::size_t i = 0; i < change_.names().size(); ++i) settle_name(i, outcome.names[i]);
  }

 private:
  static OpContext begin(CacheLayer& cache, const OpContext& ctx, const OwnChange::Gfids& gfids,
                         const OwnChange::Names& names, bool blind) {
    if (blind) cache.nodes_.doubt_all_attributes();
    for (const auto& gfid : gfids) {
      auto* node = cache.nodes_.find(gfid);
      if (node == nullptr) continue;
      if (!cache.flights_.is_changing(gfid)) node->offered = node->doubtful = false;
      node->attr_known = false;
    }
    for (const auto& name : names) {
      auto* node = cache.nodes_.find(name.parent);
      if (node == nullptr) continue;
      ++node->names_changed;
      cache.nodes_.set_name(*node, name.name, kUnknownName);
    }
    return ctx;
  }

  const FileAttr* attributes_of(const Gfid& gfid, const Outcome& outcome) const {
    if (outcome.object != nullptr && outcome.object->gfid == gfid) return outcome.object;
    for (unsigned i = 0; i < ask_.directories_known; ++i)
      if (ask_.directories[i].gfid == gfid) return &ask_.directories[i];
    return nullptr;
  }

  /// A node that was born while the change was under way may know more than its answer.
  void settle_attributes(const Gfid& gfid, const FileAttr* attr) {
    auto* node = cache_.nodes_.find(gfid);
    if (node == nullptr) return;
    if (attr == nullptr || attr->nlink == 0 || node->born > change_.started() || change_.beside_blind())
      node->doubtful = true;
    else
      offer(*node, *attr);
    if (cache_.flights_.is_changing(gfid) || node->doubtful || !node->offered) return;
    cache_.nodes_.set_attributes(*node, FileAttr(node->attr));
  }

  void settle_name(std::size_t i, const CachedName& known) {
    const auto& name = change_.names()[i];
    auto* node = cache_.nodes_.find(name.parent);
    if (node == nullptr) return;
    const bool sure = node->born < change_.started() && !change_.clashed(i);
    cache_.nodes_.set_name(*node, name.name, sure ? known : kUnknownName);
  }

  CacheLayer& cache_;
  LeaseAsk ask_;
  OpContext context_;
  OwnChange change_;
  bool settled_ = false;
};

/// A change that makes an object, or finds it.
class CacheLayer::Making {
 public:
  Making(CacheLayer& cache, const OpContext& ctx, OwnChange::Gfids gfids, const NameIn& name,
         bool blind = false)
      : cache_(cache),
        changing_(cache, ctx, std::move(gfids), {name}, blind),
        question_(cache.flights_, &changing_.change()) {}

  const OpContext& context() const { return changing_.context(); }
  void made(const FileAttr& attr) {
    changing_.settle({.object = &attr, .names = {present(attr.gfid)}});
    cache_.learn_object(question_, changing_.ask(), attr);
  }
  /// Nobody else can have put anything in it.
  void made_directory(const FileAttr& attr) {
    made(attr);
    if ((changing_.ask().granted & LeaseAsk::kObject) == 0 || question_.met(attr.gfid)) return;
    if (auto* node = cache_.nodes_.find(attr.gfid)) node->complete = true;
  }

 private:
  CacheLayer& cache_;
  Changing changing_;
  Question question_;
};

// ---- making ----

Task<Result<FileAttr>> CacheLayer::mknod(const OpContext& ctx, Gfid parent, std::string_view name,
                                         const NewObject& object) {
  Making making(*this, ctx, {parent}, {parent, name});
  auto attr = co_await below_->mknod(making.context(), parent, name, object);
  if (attr) making.made(*attr);
  co_return attr;
}

Task<Result<FileAttr>> CacheLayer::mkdir(const OpContext& ctx, Gfid parent, std::string_view name,
                                         const NewObject& object) {
  Making making(*this, ctx, {parent}, {parent, name});
  auto attr = co_await below_->mkdir(making.context(), parent, name, object);
  if (attr) making.made_directory(*attr);
  co_return attr;
}

Task<Result<FileAttr>> CacheLayer::symlink(const OpContext& ctx, Gfid parent, std::string_view name,
                                           std::string_view target) {
  Making making(*this, ctx, {parent}, {parent, name});
  auto attr = co_await below_->symlink(making.context(), parent, name, target);
  if (attr) making.made(*attr);
  co_return attr;
}

Task<Result<Opened>> CacheLayer::create(const OpContext& ctx, Gfid parent, std::string_view name,
                                        const NewObject& object, int flags) {
  const auto before = known_name(parent, name);
  const bool may_truncate = (flags & O_TRUNC) != 0 && (flags & O_EXCL) == 0;
  Making making(*this, ctx, touched(parent, before), {parent, name},
                may_truncate && before.state == State::kUnknown);
  auto opened = co_await below_->create(making.context(), parent, name, object, flags);
  if (opened) making.made(opened->attr);
  co_return opened;
}

Task<Result<FileAttr>> CacheLayer::link(const OpContext& ctx, Gfid gfid, Gfid parent, std::string_view name) {
  OwnChange::Gfids gfids{parent};
  add(gfids, gfid);
  Making making(*this, ctx, std::move(gfids), {parent, name});
  auto attr = co_await below_->link(making.context(), gfid, parent, name);
  if (attr) making.made(*attr);
  co_return attr;
}

// ---- names ----

Task<Result<void>> CacheLayer::remove(const OpContext& ctx, Gfid parent, std::string_view name,
                                      bool directory) {
  const auto before = known_name(parent, name);
  Changing changing(*this, ctx, touched(parent, before), OwnChange::Names{{parent, name}},
                    before.state == State::kUnknown);
  auto removed = directory ? co_await below_->rmdir(changing.context(), parent, name)
                           : co_await below_->unlink(changing.context(), parent, name);
  if (removed) changing.settle({.names = {kAbsentName}});
  // If it is a file with other names nothing is lost: its attributes are unknown now.
  if (removed && before.state == State::kPresent) nodes_.drop(before.gfid);
  co_return removed;
}

Task<Result<void>> CacheLayer::unlink(const OpContext& ctx, Gfid parent, std::string_view name) {
  return remove(ctx, parent, name, false);
}

Task<Result<void>> CacheLayer::rmdir(const OpContext& ctx, Gfid parent, std::string_view name) {
  return remove(ctx, parent, name, true);
}

Task<Result<void>> CacheLayer::rename(const OpContext& ctx, Gfid from_parent, std::string_view from_name,
                                      Gfid to_parent, std::string_view to_name, unsigned flags) {
  const auto source = known_name(from_parent, from_name);
  const auto target = known_name(to_parent, to_name);
  auto gfids = touched(from_parent, source);
  add(gfids, to_parent);
  if (target.state == State::kPresent) add(gfids, target.gfid);
  const bool blind = source.state == State::kUnknown || target.state == State::kUnknown;
  Changing changing(*this, ctx, std::move(gfids),
                    OwnChange::Names{{from_parent, from_name}, {to_parent, to_name}}, blind);
  auto renamed =
      co_await below_->rename(changing.context(), from_parent, from_name, to_parent, to_name, flags);
  // Two names of one file stay as they are: so what is behind both must be known, and still be that.
  const bool plain =
      !changing.change().blind() && source.state == State::kPresent && source.gfid != target.gfid;
  if (!renamed || !plain) co_return renamed;
  const bool exchanged = (flags & RENAME_EXCHANGE) != 0;
  const auto& moved = changing.ask().moved;
  const bool told = moved && moved->gfid == source.gfid;
  changing.settle({.object = told ? &*moved : nullptr,
                   .names = {exchanged ? target : kAbsentName, present(source.gfid)}});
  co_return renamed;
}

// ---- attributes and data ----

Task<Result<FileAttr>> CacheLayer::setattr(const OpContext& ctx, Gfid gfid, const SetAttr& change) {
  Changing changing(*this, ctx, {gfid});
  auto attr = co_await below_->setattr(changing.context(), gfid, change);
  if (attr) changing.settle({.object = &*attr, .names = {}});
  co_return attr;
}

Task<Result<void>> CacheLayer::setxattr(const OpContext& ctx, Gfid gfid, std::string_view key,
                                        std::string_view value, int flags) {
  Changing changing(*this, ctx, {gfid});
  co_return co_await below_->setxattr(changing.context(), gfid, key, value, flags);
}

Task<Result<void>> CacheLayer::removexattr(const OpContext& ctx, Gfid gfid, std::string_view key) {
  Changing changing(*this, ctx, {gfid});
  co_return co_await below_->removexattr(changing.context(), gfid, key);
}

Task<Result<Opened>> CacheLayer::open(const OpContext& ctx, Gfid gfid, int flags) {
  if ((flags & O_TRUNC) == 0) co_return co_await below_->open(ctx, gfid, flags);
  Changing changing(*this, ctx, {gfid});
  auto opened = co_await below_->open(changing.context(), gfid, flags);
  if (opened) changing.settle({.object = &opened->attr, .names = {}});
  co_return opened;
}

Task<Result<WriteResult>> CacheLayer::write(const OpContext& ctx, Gfid gfid, HandleId handle,
                                            std::uint64_t offset, Buffer data, bool append) {
  Changing changing(*this, ctx, {gfid});
  auto written = co_await below_->write(changing.context(), gfid, handle, offset, std::move(data), append);
  if (written) changing.settle({.object = &written->attr, .names = {}});
  co_return written;
}

Task<Result<void>> CacheLayer::fallocate(const OpContext& ctx, Gfid gfid, int mode, std::uint64_t offset,
                                         std::uint64_t length) {
  Changing changing(*this, ctx, {gfid});
  co_return co_await below_->fallocate(changing.context(), gfid, mode, offset, length);
}

Task<Result<std::uint64_t>> CacheLayer::copy_range(const OpContext& ctx, Gfid from, std::uint64_t from_offset,
                                                   Gfid to, std::uint64_t to_offset, std::uint64_t length) {
  Changing changing(*this, ctx, {to});
  co_return co_await below_->copy_range(changing.context(), from, from_offset, to, to_offset, length);
}

/// May touch anything; names, too.
Task<Result<void>> CacheLayer::replay(const OpContext& ctx, std::span<const Record> records) {
  nodes_.clear();
  Result<void> done;
  {
    Changing changing(*this, ctx, {}, {}, true);
    done = co_await below_->replay(changing.context(), records);
  }
  nodes_.clear();
  co_return done;
}

}  // namespace polder
