// SPDX-License-Identifier: GPL-3.0-or-later
// FileOps of the client: open files, locks, the session, replay.
#include "core-volume/rpc/client.h"
#include "core-volume/rpc/client_link.h"

namespace polder {
namespace {

void describe(RpcCall& call, const OpContext& ctx) {
  call.request.set_uid(ctx.uid);
  call.request.set_gid(ctx.gid);
  call.request.set_pid(ctx.pid);
  call.leases = ctx.leases;
}

/// Handle 0 means "by gfid" and goes as it is; others are put in when the request is sent.
std::optional<HandleId> handle_of(HandleId handle) {
  if (handle == 0) return std::nullopt;
  return handle;
}

Error lost_with_power() {
  return Error(EIO).with("the server has lost power, and perhaps what was written since the last fsync");
}

}  // namespace

// ---- open files ----

Task<Result<Opened>> RpcClient::open(const OpContext& ctx, Gfid gfid, int flags) {
  RpcCall call;
  describe(call, ctx);
  auto* op = call.request.mutable_open();
  put(op->mutable_gfid(), gfid);
  op->set_flags(flags);
  CO_TRY(co_await link_->perform(call));
  Opened opened;
  CO_TRY(opened.attr, attr_from(call.reply.attr()));
  opened.handle = call.opened;
  co_return opened;
}

Task<Result<void>> RpcClient::release(const OpContext& ctx, Gfid gfid, HandleId handle) {
  auto* open = link_->handles().find(handle);
  if (!open || open->closing) co_return Result<void>();
  if (open->dead) {
    link_->handles().erase(handle);
    co_return Result<void>();
  }
  open->closing = true;
  auto call = std::make_unique<RpcCall>();
  describe(*call, ctx);
  put(call->request.mutable_release()->mutable_gfid(), gfid);
  call->handle = handle;
  link_->perform_detached(std::move(call));
  co_return Result<void>();
}

Task<Result<Buffer>> RpcClient::read(const OpContext& ctx, Gfid gfid, HandleId handle, std::uint64_t offset,
                                     std::uint32_t length) {
  std::vector<Buffer> pieces;
  std::size_t done_bytes = 0;
  while (true) {
    const auto want =
        static_cast<std::uint32_t>(std::min<std::size_t>(length - done_bytes, kRpcData_bytes_max));
    RpcCall call;
    describe(call, ctx);
    auto* op = call.request.mutable_read();
    put(op->mutable_gfid(), gfid);
    op->set_offset(offset + done_bytes);
    op->set_length(want);
    call.handle = handle_of(handle);
    CO_TRY(co_await link_->perform(call));
    if (call.reply_payload.size() > want) co_return Error(EPROTO).with("more bytes than asked for");
    done_bytes += call.reply_payload.size();
    const bool last = call.reply_payload.size() < want || done_bytes == length;
    if (last && pieces.empty()) co_return std::move(call.reply_payload);
    pieces.push_back(std::move(call.reply_payload));
    if (last) break;
  }
  auto whole = Buffer::allocate(done_bytes);
  auto* at = whole.writable().data();
  for (const auto& piece : pieces) at = std::copy_n(piece.data(), piece.size(), at);
  co_return whole;
}

Task<Result<WriteResult>> RpcClient::write(const OpContext& ctx, Gfid gfid, HandleId handle,
                                           std::uint64_t offset, Buffer data, bool append) {
  if (data.size() > kRpcData_bytes_max)
    co_return Error(EMSGSIZE).with("write of {} bytes, limit {}", data.size(), kRpcData_bytes_max);
  RpcCall call;
  describe(call, ctx);
  auto* op = call.request.mutable_write();
  put(op->mutable_gfid(), gfid);
  op->set_offset(offset);
  op->set_append(append);
  call.handle = handle_of(handle);
  call.payload.push_back(std::move(data));
  CO_TRY(co_await link_->perform(call));
  WriteResult written;
  written.offset = call.reply.number();
  CO_TRY(written.attr, attr_from(call.reply.attr()));
  co_return written;
}

Task<Result<void>> RpcClient::fsync(const OpContext& ctx, Gfid gfid, bool data_only) {
  RpcCall call;
  describe(call, ctx);
  put(call.request.mutable_fsync()->mutable_gfid(), gfid);
  call.request.mutable_fsync()->set_data_only(data_only);
  const auto mark = link_->unsynced().mark();
  CO_TRY(co_await link_->perform(call));
  if (!link_->unsynced().synced(gfid, mark)) co_return lost_with_power();
  co_return Result<void>();
}

Task<Result<void>> RpcClient::fallocate(const OpContext& ctx, Gfid gfid, int mode, std::uint64_t offset,
                                        std::uint64_t length) {
  RpcCall call;
  describe(call, ctx);
  auto* op = call.request.mutable_fallocate();
  put(op->mutable_gfid(), gfid);
  op->set_mode(mode);
  op->set_offset(offset);
  op->set_length(length);
  co_return co_await link_->perform(call);
}

Task<Result<std::uint64_t>> RpcClient::seek(const OpContext& ctx, Gfid gfid, std::uint64_t offset,
                                            int whence) {
  RpcCall call;
  describe(call, ctx);
  auto* op = call.request.mutable_seek();
  put(op->mutable_gfid(), gfid);
  op->set_offset(offset);
  op->set_whence(whence);
  CO_TRY(co_await link_->perform(call));
  co_return call.reply.number();
}

Task<Result<std::uint64_t>> RpcClient::copy_range(const OpContext& ctx, Gfid from, std::uint64_t from_offset,
                                                  Gfid to, std::uint64_t to_offset, std::uint64_t length) {
  RpcCall call;
  describe(call, ctx);
  auto* op = call.request.mutable_copy_range();
  put(op->mutable_from(), from);
  op->set_from_offset(from_offset);
  put(op->mutable_to(), to);
  op->set_to_offset(to_offset);
  op->set_length(length);
  CO_TRY(co_await link_->perform(call));
  co_return call.reply.number();
}

// ---- locks ----

Task<Result<FileLock>> RpcClient::test_lock(const OpContext& ctx, Gfid gfid, const FileLock& lock) {
  if (lock.start > lock.end) co_return Error(EINVAL);
  RpcCall call;
  describe(call, ctx);
  put(call.request.mutable_test_lock()->mutable_gfid(), gfid);
  put(call.request.mutable_test_lock()->mutable_lock(), lock);
  CO_TRY(co_await link_->perform(call));
  co_return lock_from(call.reply.lock());
}

Task<Result<void>> RpcClient::set_lock(const OpContext& ctx, Gfid gfid, const FileLock& lock, bool wait) {
  if (lock.start > lock.end) co_return Error(EINVAL);
  RpcCall call;
  describe(call, ctx);
  put(call.request.mutable_set_lock()->mutable_gfid(), gfid);
  put(call.request.mutable_set_lock()->mutable_lock(), lock);
  call.request.mutable_set_lock()->set_wait(wait);
  // At once: when the server restarts before it could answer, others may have the lock already.
  if (lock.type == FileLock::Type::kUnlock) link_->locks().apply(gfid, lock);
  co_return co_await link_->perform(call);
}

// ---- the session and the volume ----

Task<Result<void>> RpcClient::end_session(const OpContext&) {
  return link_->end_session();
}

Task<Result<void>> RpcClient::sync(const OpContext& ctx) {
  RpcCall call;
  describe(call, ctx);
  call.request.mutable_sync();
  const auto mark = link_->unsynced().mark();
  CO_TRY(co_await link_->perform(call));
  if (!link_->unsynced().all_synced(mark)) co_return lost_with_power();
  co_return Result<void>();
}

Task<Result<void>> RpcClient::replay(const OpContext& ctx, std::span<const Record> records) {
  while (!records.empty()) {
    std::size_t count = 0;
    std::size_t bytes = 0;
    while (count < records.size() &&
           (count == 0 || bytes + encoded_bytes(records[count]) <= kRpcData_bytes_max))
      bytes += encoded_bytes(records[count++]);
    RpcCall call;
    describe(call, ctx);
    std::uint32_t description_bytes = 0;
    call.payload = encode_records(records.first(count), description_bytes);
    std::size_t payload_bytes = 0;
    for (const auto& piece : call.payload) payload_bytes += piece.size();
    if (payload_bytes > kRpcFormat.payload_bytes_max)
      co_return Error(EMSGSIZE).with("a record of {} bytes, limit {}", payload_bytes, kRpcData_bytes_max);
    call.request.mutable_replay()->set_records_bytes(description_bytes);
    CO_TRY(co_await link_->perform(call));
    records = records.subspan(count);
  }
  co_return Result<void>();
}

}  // namespace polder
