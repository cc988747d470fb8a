// SPDX-License-Identifier: GPL-3.0-or-later
// What a request must look like before anything is done with it.
#include <fcntl.h>

#include "base/names.h"
#include "core-volume/layer/posix_rules.h"
#include "core-volume/rpc/messages.h"
#include "core-volume/rpc/protocol.h"

namespace polder {
namespace {

using Op = wire::Request::OpCase;

Result<void> check_entry_name(const std::string& name) {
  if (auto ok = check_name(name); !ok) return Error(EPROTO).with("bad name of {} bytes", name.size());
  return {};
}

Result<void> check_key(const std::string& key) {
  if (key.empty() || key.size() > kXattrKeyMax_bytes || key.find('\0') != std::string::npos)
    return Error(EPROTO).with("bad xattr key of {} bytes", key.size());
  return {};
}

Result<void> check_names(const wire::Request& request) {
  switch (request.op_case()) {
    case Op::kLookup:
      return check_entry_name(request.lookup().name());
    case Op::kMknod:
      return check_entry_name(request.mknod().name());
    case Op::kMkdir:
      return check_entry_name(request.mkdir().name());
    case Op::kSymlink:
      if (request.symlink().target().size() > kSymlinkMax_bytes)
        return Error(EPROTO).with("symlink target of {} bytes", request.symlink().target().size());
      return check_entry_name(request.symlink().name());
    case Op::kCreate:
      return check_entry_name(request.create().name());
    case Op::kLink:
      return check_entry_name(request.link().name());
    case Op::kUnlink:
      return check_entry_name(request.unlink().name());
    case Op::kRmdir:
      return check_entry_name(request.rmdir().name());
    case Op::kRename: {
      TRY(check_entry_name(request.rename().from_name()));
      return check_entry_name(request.rename().to_name());
    }
    case Op::kGetxattr:
      return check_key(request.getxattr().key());
    case Op::kSetxattr:
      return check_key(request.setxattr().key());
    case Op::kRemovexattr:
      return check_key(request.removexattr().key());
    default:
      return {};
  }
}

Result<void> check_values(const wire::Request& request) {
  switch (request.op_case()) {
    case Op::kSetattr: {
      TRY(change_from(request.setattr()));
      return {};
    }
    case Op::kTestLock: {
      TRY(lock_from(request.test_lock().lock()));
      return {};
    }
    case Op::kSetLock: {
      TRY(lock_from(request.set_lock().lock()));
      return {};
    }
    case Op::kRead:
      if (request.read().length() > kRpcData_bytes_max)
        return Error(EPROTO).with("read of {} bytes, limit {}", request.read().length(), kRpcData_bytes_max);
      return {};
    default:
      return {};
  }
}

std::size_t payload_bytes_max(const wire::Request& request) {
  switch (request.op_case()) {
    case Op::kSetxattr:
      return kXattrValueMax_bytes;
    case Op::kWrite:
      return kRpcData_bytes_max;
    case Op::kReplay:
      return kRpcFormat.payload_bytes_max;
    default:
      return 0;
  }
}

}  // namespace

Result<void> check_request(const wire::Request& request, std::size_t payload_bytes) {
  if (request.op_case() == Op::OP_NOT_SET) return Error(EPROTO).with("request without a known operation");
  if (auto limit = payload_bytes_max(request); payload_bytes > limit)
    return Error(EPROTO).with("payload of {} bytes where {} are allowed", payload_bytes, limit);
  if (request.acknowledged_size() > static_cast<int>(2 * kRpcInFlightMax))
    return Error(EPROTO).with("{} acknowledgements in one request", request.acknowledged_size());
  constexpr std::uint64_t kSequenceMax = (1ull << 48) - 1;  // what a record has room for
  if (request.sequence() > kSequenceMax) return Error(EPROTO).with("sequence {}", request.sequence());
  if (needs_sequence(request.op_case()) != (request.sequence() != 0))
    return Error(EPROTO).with("operation {} with sequence {}", static_cast<int>(request.op_case()),
                              request.sequence());
  TRY(check_names(request));
  return check_values(request);
}

bool needs_sequence(Op op) {
  switch (op) {
    case Op::kMknod:
    case Op::kMkdir:
    case Op::kSymlink:
    case Op::kCreate:
    case Op::kLink:
    case Op::kUnlink:
    case Op::kRmdir:
    case Op::kRename:
    case Op::kSetattr:
    case Op::kSetxattr:
    case Op::kRemovexattr:
    case Op::kOpen:
    case Op::kRelease:
    case Op::kWrite:
    case Op::kFallocate:
    case Op::kCopyRange:
    case Op::kSetLock:
    case Op::kReplay:
      return true;
    default:
      return false;
  }
}

bool is_change(const wire::Request& request) {
  switch (request.op_case()) {
    case Op::kOpen:
      return (request.open().flags() & O_ACCMODE) != O_RDONLY || (request.open().flags() & O_TRUNC) != 0;
    case Op::kRelease:
    case Op::kSetLock:
      return false;
    default:
      return needs_sequence(request.op_case());
  }
}

}  // namespace polder
