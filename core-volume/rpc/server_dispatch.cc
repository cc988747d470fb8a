// SPDX-License-Identifier: GPL-3.0-or-later
// From a checked request to the call of FileOps, one short function for each operation.
#include "core-volume/layer/record_rules.h"
#include "core-volume/rpc/server_session.h"

namespace polder {
namespace {

using Op = wire::Request::OpCase;
using Done = Task<Result<void>>;

constexpr std::uint32_t kDirectoryEntriesMax = 16384;  // the page's size in bytes is limited besides

FileOps& ops_of(RpcServing& s) {
  return *s.volume->served->ops;
}

void answer(RpcServing& s, const FileAttr& attr) {
  put(s.reply.mutable_attr(), attr);
}

void answer(RpcServing& s, const Opened& opened) {
  answer(s, opened.attr);
  s.reply.set_handle(opened.handle);
  s.reply.set_created(opened.created);
}

/// After a change of names in it. No answer is no error: the client asks by itself then.
Task<void> add_directory(RpcServing& s, Gfid directory) {
  if (s.role == RpcRole::kGeorep) co_return;  // asks for nothing
  auto attr = co_await ops_of(s).getattr(s.ctx, directory);
  if (attr) put(s.reply.add_directories(), *attr);
}

Done serve_lookup(RpcServing& s) {
  const auto& op = s.request.lookup();
  CO_TRY(auto attr, co_await ops_of(s).lookup(s.ctx, gfid_from(op.parent()), op.name()));
  answer(s, attr);
  co_return Result<void>();
}

Done serve_getattr(RpcServing& s) {
  CO_TRY(auto attr, co_await ops_of(s).getattr(s.ctx, gfid_from(s.request.getattr().gfid())));
  answer(s, attr);
  co_return Result<void>();
}

Done serve_readlink(RpcServing& s) {
  CO_TRY(auto target, co_await ops_of(s).readlink(s.ctx, gfid_from(s.request.readlink().gfid())));
  s.reply.set_text(std::move(target));
  co_return Result<void>();
}

Done serve_readdir(RpcServing& s) {
  const auto& op = s.request.readdir();
  const auto entries = std::min(op.max_entries(), kDirectoryEntriesMax);
  CO_TRY(auto page,
         co_await ops_of(s).readdir(s.ctx, gfid_from(op.gfid()), op.cookie(), entries, op.with_attributes()));
  s.reply_payload = encode_page(page, kRpcDirectoryPage_bytes_max);
  co_return Result<void>();
}

Done serve_statfs(RpcServing& s) {
  CO_TRY(auto space, co_await ops_of(s).statfs(s.ctx));
  put(s.reply.mutable_space(), space);
  co_return Result<void>();
}

Done serve_mknod(RpcServing& s) {
  const auto& op = s.request.mknod();
  const auto object = object_from(op.object());
  const auto parent = gfid_from(op.parent());
  CO_TRY(auto attr, co_await ops_of(s).mknod(s.ctx, parent, op.name(), object));
  answer(s, attr);
  co_await add_directory(s, parent);
  co_return Result<void>();
}

Done serve_mkdir(RpcServing& s) {
  const auto& op = s.request.mkdir();
  const auto object = object_from(op.object());
  const auto parent = gfid_from(op.parent());
  CO_TRY(auto attr, co_await ops_of(s).mkdir(s.ctx, parent, op.name(), object));
  answer(s, attr);
  co_await add_directory(s, parent);
  co_return Result<void>();
}

Done serve_symlink(RpcServing& s) {
  const auto& op = s.request.symlink();
  const auto parent = gfid_from(op.parent());
  CO_TRY(auto attr, co_await ops_of(s).symlink(s.ctx, parent, op.name(), op.target()));
  answer(s, attr);
  co_await add_directory(s, parent);
  co_return Result<void>();
}

Done serve_create(RpcServing& s) {
  const auto& op = s.request.create();
  const auto object = object_from(op.object());
  const auto parent = gfid_from(op.parent());
  CO_TRY(auto opened, co_await ops_of(s).create(s.ctx, parent, op.name(), object, op.flags()));
  answer(s, opened);
  co_await add_directory(s, parent);
  co_return Result<void>();
}

Done serve_link(RpcServing& s) {
  const auto& op = s.request.link();
  const auto parent = gfid_from(op.parent());
  CO_TRY(auto attr, co_await ops_of(s).link(s.ctx, gfid_from(op.gfid()), parent, op.name()));
  answer(s, attr);
  co_await add_directory(s, parent);
  co_return Result<void>();
}

Done serve_unlink(RpcServing& s) {
  const auto parent = gfid_from(s.request.unlink().parent());
  CO_TRY(co_await ops_of(s).unlink(s.ctx, parent, s.request.unlink().name()));
  co_await add_directory(s, parent);
  co_return Result<void>();
}

Done serve_rmdir(RpcServing& s) {
  const auto parent = gfid_from(s.request.rmdir().parent());
  CO_TRY(co_await ops_of(s).rmdir(s.ctx, parent, s.request.rmdir().name()));
  co_await add_directory(s, parent);
  co_return Result<void>();
}

/// What was moved, which is looked at next more often than not. No answer is no error here either.
Task<void> add_moved(RpcServing& s, Gfid to, const std::string& name) {
  if (!s.request.wants_lease()) co_return;
  auto attr = co_await ops_of(s).lookup(s.ctx, to, name);
  if (attr) answer(s, *attr);
}

Done serve_rename(RpcServing& s) {
  const auto& op = s.request.rename();
  const auto from = gfid_from(op.from_parent()), to = gfid_from(op.to_parent());
  CO_TRY(co_await ops_of(s).rename(s.ctx, from, op.from_name(), to, op.to_name(), op.flags()));
  co_await add_directory(s, from);
  if (to != from) co_await add_directory(s, to);
  co_await add_moved(s, to, op.to_name());
  co_return Result<void>();
}

Done serve_setattr(RpcServing& s) {
  const auto& op = s.request.setattr();
  CO_TRY(auto change, change_from(op));
  CO_TRY(auto attr, co_await ops_of(s).setattr(s.ctx, gfid_from(op.gfid()), change));
  answer(s, attr);
  co_return Result<void>();
}

Done serve_getxattr(RpcServing& s) {
  const auto& op = s.request.getxattr();
  CO_TRY(auto value, co_await ops_of(s).getxattr(s.ctx, gfid_from(op.gfid()), op.key()));
  s.reply_payload = Buffer::copy_of(value);
  co_return Result<void>();
}

Done serve_listxattr(RpcServing& s) {
  CO_TRY(auto names, co_await ops_of(s).listxattr(s.ctx, gfid_from(s.request.listxattr().gfid())));
  CO_TRY(s.reply_payload, encode_names(names));
  co_return Result<void>();
}

Done serve_setxattr(RpcServing& s) {
  const auto& op = s.request.setxattr();
  co_return co_await ops_of(s).setxattr(s.ctx, gfid_from(op.gfid()), op.key(), s.payload.text(), op.flags());
}

Done serve_open(RpcServing& s) {
  const auto& op = s.request.open();
  CO_TRY(auto opened, co_await ops_of(s).open(s.ctx, gfid_from(op.gfid()), op.flags()));
  answer(s, opened);
  co_return Result<void>();
}

Done serve_read(RpcServing& s) {
  const auto& op = s.request.read();
  CO_TRY(s.reply_payload,
         co_await ops_of(s).read(s.ctx, gfid_from(op.gfid()), op.handle(), op.offset(), op.length()));
  co_return Result<void>();
}

Done serve_write(RpcServing& s) {
  const auto& op = s.request.write();
  CO_TRY(auto written, co_await ops_of(s).write(s.ctx, gfid_from(op.gfid()), op.handle(), op.offset(),
                                                std::move(s.payload), op.append()));
  s.reply.set_number(written.offset);
  answer(s, written.attr);
  co_return Result<void>();
}

Done serve_fallocate(RpcServing& s) {
  const auto& op = s.request.fallocate();
  co_return co_await ops_of(s).fallocate(s.ctx, gfid_from(op.gfid()), op.mode(), op.offset(), op.length());
}

Done serve_seek(RpcServing& s) {
  const auto& op = s.request.seek();
  CO_TRY(auto offset, co_await ops_of(s).seek(s.ctx, gfid_from(op.gfid()), op.offset(), op.whence()));
  s.reply.set_number(offset);
  co_return Result<void>();
}

Done serve_copy_range(RpcServing& s) {
  const auto& op = s.request.copy_range();
  CO_TRY(auto copied, co_await ops_of(s).copy_range(s.ctx, gfid_from(op.from()), op.from_offset(),
                                                    gfid_from(op.to()), op.to_offset(), op.length()));
  s.reply.set_number(copied);
  co_return Result<void>();
}

/// Locks of others wait until the sessions of an earlier process have re-claimed theirs.
Done wait_for_grace(RpcServing& s) {
  while (!s.volume->grace.empty()) {
    CO_TRY(co_await s.volume->grace_over.wait());
  }
  co_return Result<void>();
}

Done serve_test_lock(RpcServing& s) {
  const auto& op = s.request.test_lock();
  CO_TRY(auto lock, lock_from(op.lock()));
  CO_TRY(co_await wait_for_grace(s));
  CO_TRY(auto in_the_way, co_await ops_of(s).test_lock(s.ctx, gfid_from(op.gfid()), lock));
  put(s.reply.mutable_lock(), in_the_way);
  co_return Result<void>();
}

Done serve_set_lock(RpcServing& s) {
  const auto& op = s.request.set_lock();
  CO_TRY(auto lock, lock_from(op.lock()));
  const bool at_once = op.reclaim() || lock.type == FileLock::Type::kUnlock;
  if (!at_once) {
    CO_TRY(co_await wait_for_grace(s));
  }
  co_return co_await ops_of(s).set_lock(s.ctx, gfid_from(op.gfid()), lock, op.wait());
}

Done serve_replay(RpcServing& s) {
  CO_TRY(auto records, decode_records(s.payload, s.request.replay().records_bytes()));
  for (const auto& record : records) {
    CO_TRY(check_record(record));
  }
  co_return co_await ops_of(s).replay(s.ctx, records);
}

Done refuse_unknown(RpcServing& s) {
  co_return Error(EOPNOTSUPP).with("operation {}", static_cast<int>(s.request.op_case()));
}

Done route(RpcServing& s) {
  const auto& r = s.request;
  switch (r.op_case()) {
    case Op::kLookup:
      return serve_lookup(s);
    case Op::kGetattr:
      return serve_getattr(s);
    case Op::kReadlink:
      return serve_readlink(s);
    case Op::kReaddir:
      return serve_readdir(s);
    case Op::kStatfs:
      return serve_statfs(s);
    case Op::kMknod:
      return serve_mknod(s);
    case Op::kMkdir:
      return serve_mkdir(s);
    case Op::kSymlink:
      return serve_symlink(s);
    case Op::kCreate:
      return serve_create(s);
    case Op::kLink:
      return serve_link(s);
    case Op::kUnlink:
      return serve_unlink(s);
    case Op::kRmdir:
      return serve_rmdir(s);
    case Op::kRename:
      return serve_rename(s);
    case Op::kSetattr:
      return serve_setattr(s);
    case Op::kGetxattr:
      return serve_getxattr(s);
    case Op::kListxattr:
      return serve_listxattr(s);
    case Op::kSetxattr:
      return serve_setxattr(s);
    case Op::kRemovexattr:
      return ops_of(s).removexattr(s.ctx, gfid_from(r.removexattr().gfid()), r.removexattr().key());
    case Op::kOpen:
      return serve_open(s);
    case Op::kRelease:
      return ops_of(s).release(s.ctx, gfid_from(r.release().gfid()), r.release().handle());
    case Op::kRead:
      return serve_read(s);
    case Op::kWrite:
      return serve_write(s);
    case Op::kFsync:
      return ops_of(s).fsync(s.ctx, gfid_from(r.fsync().gfid()), r.fsync().data_only());
    case Op::kFallocate:
      return serve_fallocate(s);
    case Op::kSeek:
      return serve_seek(s);
    case Op::kCopyRange:
      return serve_copy_range(s);
    case Op::kTestLock:
      return serve_test_lock(s);
    case Op::kSetLock:
      return serve_set_lock(s);
    case Op::kSync:
      return ops_of(s).sync(s.ctx);
    case Op::kReplay:
      return serve_replay(s);
    default:
      return refuse_unknown(s);
  }
}

}  // namespace

Task<Result<void>> dispatch(RpcServing& serving) {
  const bool trusted = serving.role == RpcRole::kGeorep || serving.role == RpcRole::kNode;
  if (serving.request.has_replay() && !trusted)
    co_return Error(EPERM).with("only geo-replication and nodes replay records");
  if (serving.volume->served->read_only && !trusted && is_change(serving.request)) co_return Error(EROFS);
  co_return co_await route(serving);
}

Task<void> undo(FileOps& ops, const OpContext& ctx, const wire::Request& request, const wire::Reply& reply) {
  OpContext inner = ctx;
  inner.sequence = 0;
  inner.retry = false;
  if (request.has_open() || request.has_create()) {
    // release cannot fail
    (void)co_await ops.release(inner, gfid_from(reply.attr().gfid()), reply.handle());
    co_return;
  }
  if (!request.has_set_lock()) co_return;
  auto lock = lock_from(request.set_lock().lock());
  if (!lock || lock->type == FileLock::Type::kUnlock) co_return;
  lock->type = FileLock::Type::kUnlock;
  (void)co_await ops.set_lock(inner, gfid_from(request.set_lock().gfid()), *lock, false);
}

}  // namespace polder
