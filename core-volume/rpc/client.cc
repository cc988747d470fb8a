// SPDX-License-Identifier: GPL-3.0-or-later
// FileOps of the client: each operation fills a request, has it performed, and checks the reply.
#include "core-volume/rpc/client.h"

#include "base/names.h"
#include "core-volume/layer/posix_rules.h"
#include "core-volume/rpc/client_link.h"

namespace polder {
namespace {

/// The part of the context that travels.
void describe(RpcCall& call, const OpContext& ctx) {
  call.request.set_uid(ctx.uid);
  call.request.set_gid(ctx.gid);
  call.request.set_pid(ctx.pid);
  if (ctx.leases) call.request.set_wants_lease(true);
  call.leases = ctx.leases;
}

Result<void> check_key(std::string_view key) {
  if (key.empty() || key.size() > kXattrKeyMax_bytes) return Error(ERANGE);
  if (key.find('\0') != std::string_view::npos) return Error(EINVAL);
  return {};
}

Result<void> check_time(timespec time) {
  if (time.tv_nsec < 0 || time.tv_nsec >= 1'000'000'000) return Error(EINVAL);
  return {};
}

Result<Opened> opened_from(const RpcCall& call) {
  Opened opened;
  TRY(opened.attr, attr_from(call.reply.attr()));
  opened.handle = call.opened;
  opened.created = call.reply.created();
  return opened;
}

Result<FileAttr> attr_of(const RpcCall& call) {
  return attr_from(call.reply.attr());
}

}  // namespace

RpcClient::RpcClient(Seams& seams, const asio::any_io_executor& executor, RpcClientOptions options)
    : link_(std::make_unique<ClientLink>(seams, executor, std::move(options))) {}
RpcClient::~RpcClient() = default;

Task<Result<void>> RpcClient::start() {
  return link_->start();
}
Task<void> RpcClient::stop() {
  return link_->stop();
}
RpcClientStatus RpcClient::status() const {
  return link_->status();
}

std::vector<RpcCallInfo> RpcClient::calls(std::size_t most) const {
  return link_->calls(most);
}
void RpcClient::on_invalidation(std::function<void(const Invalidation&)> listener) {
  link_->listener = std::move(listener);
}

void RpcClient::on_attributes(std::function<void(const FileAttr&)> listener) {
  link_->attribute_listener = std::move(listener);
}

bool RpcClient::leases_hold() const {
  return link_->leases_hold();
}

void RpcClient::on_recall(std::function<void(const Gfid&)> listener) {
  link_->recall_listener = std::move(listener);
}

// ---- looking ----

Task<Result<FileAttr>> RpcClient::lookup(const OpContext& ctx, Gfid parent, std::string_view name) {
  CO_TRY(check_name(name));
  RpcCall call;
  describe(call, ctx);
  auto* op = call.request.mutable_lookup();
  put(op->mutable_parent(), parent);
  op->set_name(name.data(), name.size());
  CO_TRY(co_await link_->perform(call));
  co_return attr_of(call);
}

Task<Result<FileAttr>> RpcClient::getattr(const OpContext& ctx, Gfid gfid) {
  RpcCall call;
  describe(call, ctx);
  put(call.request.mutable_getattr()->mutable_gfid(), gfid);
  CO_TRY(co_await link_->perform(call));
  co_return attr_of(call);
}

Task<Result<std::string>> RpcClient::readlink(const OpContext& ctx, Gfid gfid) {
  RpcCall call;
  describe(call, ctx);
  put(call.request.mutable_readlink()->mutable_gfid(), gfid);
  CO_TRY(co_await link_->perform(call));
  co_return std::move(*call.reply.mutable_text());
}

Task<Result<DirectoryPage>> RpcClient::readdir(const OpContext& ctx, Gfid gfid, std::uint64_t cookie,
                                               std::uint32_t max_entries, bool with_attributes) {
  RpcCall call;
  describe(call, ctx);
  auto* op = call.request.mutable_readdir();
  put(op->mutable_gfid(), gfid);
  op->set_cookie(cookie);
  op->set_max_entries(max_entries);
  op->set_with_attributes(with_attributes);
  CO_TRY(co_await link_->perform(call));
  co_return decode_page(call.reply_payload.bytes());
}

Task<Result<VolumeSpace>> RpcClient::statfs(const OpContext& ctx) {
  RpcCall call;
  describe(call, ctx);
  call.request.mutable_statfs();
  CO_TRY(co_await link_->perform(call));
  co_return space_from(call.reply.space());
}

// ---- making ----

Task<Result<FileAttr>> RpcClient::mknod(const OpContext& ctx, Gfid parent, std::string_view name,
                                        const NewObject& object) {
  CO_TRY(check_name(name));
  RpcCall call;
  describe(call, ctx);
  auto* op = call.request.mutable_mknod();
  put(op->mutable_parent(), parent);
  op->set_name(name.data(), name.size());
  put(op->mutable_object(), object);
  CO_TRY(co_await link_->perform(call));
  co_return attr_of(call);
}

Task<Result<FileAttr>> RpcClient::mkdir(const OpContext& ctx, Gfid parent, std::string_view name,
                                        const NewObject& object) {
  CO_TRY(check_name(name));
  RpcCall call;
  describe(call, ctx);
  auto* op = call.request.mutable_mkdir();
  put(op->mutable_parent(), parent);
  op->set_name(name.data(), name.size());
  put(op->mutable_object(), object);
  CO_TRY(co_await link_->perform(call));
  co_return attr_of(call);
}

Task<Result<FileAttr>> RpcClient::symlink(const OpContext& ctx, Gfid parent, std::string_view name,
                                          std::string_view target) {
  CO_TRY(check_name(name));
  if (target.size() > kSymlinkMax_bytes) co_return Error(ENAMETOOLONG);
  RpcCall call;
  describe(call, ctx);
  auto* op = call.request.mutable_symlink();
  put(op->mutable_parent(), parent);
  op->set_name(name.data(), name.size());
  op->set_target(target.data(), target.size());
  CO_TRY(co_await link_->perform(call));
  co_return attr_of(call);
}

Task<Result<Opened>> RpcClient::create(const OpContext& ctx, Gfid parent, std::string_view name,
                                       const NewObject& object, int flags) {
  CO_TRY(check_name(name));
  RpcCall call;
  describe(call, ctx);
  auto* op = call.request.mutable_create();
  put(op->mutable_parent(), parent);
  op->set_name(name.data(), name.size());
  put(op->mutable_object(), object);
  op->set_flags(flags);
  CO_TRY(co_await link_->perform(call));
  co_return opened_from(call);
}

Task<Result<FileAttr>> RpcClient::link(const OpContext& ctx, Gfid gfid, Gfid parent, std::string_view name) {
  CO_TRY(check_name(name));
  RpcCall call;
  describe(call, ctx);
  auto* op = call.request.mutable_link();
  put(op->mutable_gfid(), gfid);
  put(op->mutable_parent(), parent);
  op->set_name(name.data(), name.size());
  CO_TRY(co_await link_->perform(call));
  co_return attr_of(call);
}

// ---- names ----

Task<Result<void>> RpcClient::unlink(const OpContext& ctx, Gfid parent, std::string_view name) {
  CO_TRY(check_name(name));
  RpcCall call;
  describe(call, ctx);
  auto* op = call.request.mutable_unlink();
  put(op->mutable_parent(), parent);
  op->set_name(name.data(), name.size());
  co_return co_await link_->perform(call);
}

Task<Result<void>> RpcClient::rmdir(const OpContext& ctx, Gfid parent, std::string_view name) {
  CO_TRY(check_name(name));
  RpcCall call;
  describe(call, ctx);
  auto* op = call.request.mutable_rmdir();
  put(op->mutable_parent(), parent);
  op->set_name(name.data(), name.size());
  co_return co_await link_->perform(call);
}

Task<Result<void>> RpcClient::rename(const OpContext& ctx, Gfid from_parent, std::string_view from_name,
                                     Gfid to_parent, std::string_view to_name, unsigned flags) {
  CO_TRY(check_name(from_name));
  CO_TRY(check_name(to_name));
  RpcCall call;
  describe(call, ctx);
  auto* op = call.request.mutable_rename();
  put(op->mutable_from_parent(), from_parent);
  op->set_from_name(from_name.data(), from_name.size());
  put(op->mutable_to_parent(), to_parent);
  op->set_to_name(to_name.data(), to_name.size());
  op->set_flags(flags);
  co_return co_await link_->perform(call);
}

// ---- attributes ----

Task<Result<FileAttr>> RpcClient::setattr(const OpContext& ctx, Gfid gfid, const SetAttr& change) {
  if (change.fields >= 2 * SetAttr::kCtimeNow) co_return Error(EINVAL);
  if (change.fields & SetAttr::kAtime) {
    CO_TRY(check_time(change.atime));
  }
  if (change.fields & SetAttr::kMtime) {
    CO_TRY(check_time(change.mtime));
  }
  RpcCall call;
  describe(call, ctx);
  auto* op = call.request.mutable_setattr();
  put(op->mutable_gfid(), gfid);
  put(op, change);
  CO_TRY(co_await link_->perform(call));
  co_return attr_of(call);
}

Task<Result<std::string>> RpcClient::getxattr(const OpContext& ctx, Gfid gfid, std::string_view key) {
  CO_TRY(check_key(key));
  RpcCall call;
  describe(call, ctx);
  auto* op = call.request.mutable_getxattr();
  put(op->mutable_gfid(), gfid);
  op->set_key(key.data(), key.size());
  CO_TRY(co_await link_->perform(call));
  co_return std::string(call.reply_payload.text());
}

Task<Result<std::vector<std::string>>> RpcClient::listxattr(const OpContext& ctx, Gfid gfid) {
  RpcCall call;
  describe(call, ctx);
  put(call.request.mutable_listxattr()->mutable_gfid(), gfid);
  CO_TRY(co_await link_->perform(call));
  co_return decode_names(call.reply_payload.bytes());
}

Task<Result<void>> RpcClient::setxattr(const OpContext& ctx, Gfid gfid, std::string_view key,
                                       std::string_view value, int flags) {
  CO_TRY(check_key(key));
  if (value.size() > kXattrValueMax_bytes) co_return Error(E2BIG);
  RpcCall call;
  describe(call, ctx);
  auto* op = call.request.mutable_setxattr();
  put(op->mutable_gfid(), gfid);
  op->set_key(key.data(), key.size());
  op->set_flags(flags);
  call.payload.push_back(Buffer::copy_of(value));
  co_return co_await link_->perform(call);
}

Task<Result<void>> RpcClient::removexattr(const OpContext& ctx, Gfid gfid, std::string_view key) {
  CO_TRY(check_key(key));
  RpcCall call;
  describe(call, ctx);
  auto* op = call.request.mutable_removexattr();
  put(op->mutable_gfid(), gfid);
  op->set_key(key.data(), key.size());
  co_return co_await link_->perform(call);
}

}  // namespace polder
