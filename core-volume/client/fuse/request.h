// SPDX-License-Identifier: GPL-3.0-or-later
// Request: one question of the kernel. Whoever holds it answers it, once; dropped without an answer it
// answers by itself, so that no process waits for ever. Loop thread only.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "core-volume/client/fuse/fuse_api.h"
#include "core-volume/layer/file_ops.h"

namespace polder {

class Request {
 public:
  /// `until_answered` lives as long as the request.
  Request(fuse_req_t raw, std::shared_ptr<const void> until_answered);
  Request(Request&& other) noexcept
      : raw_(std::exchange(other.raw_, nullptr)),
        until_answered_(std::move(other.until_answered_)),
        context_(other.context_) {}
  Request& operator=(Request&&) = delete;
  ~Request();  // EINTR when nobody answered: the operation was cancelled before it began

  /// The question, unanswered, for somebody else to answer.
  fuse_req_t give_back() { return take(); }

  /// Who asks; good as long as the request object, answered or not.
  const OpContext& context() const { return context_; }
  /// Whether the asking process has this group, as its own or as a supplementary one. Before the answer.
  bool is_in_group(std::uint32_t gid) const;

  // The answers. False: the kernel does not want it any more (the caller was killed), so what the answer
  // would have given to the kernel — a look-up, a handle — still belongs to this side.
  bool ok() { return fail(0); }
  bool fail(int code);
  bool fail(const Error& error);
  /// Whether it was an error, which is the answer then.
  bool failed(const Result<void>& result);
  bool entry(const fuse_entry_param& entry) { return fuse_reply_entry(take(), &entry) == 0; }
  bool created(const fuse_entry_param& entry, const fuse_file_info& file) {
    return fuse_reply_create(take(), &entry, &file) == 0;
  }
  bool opened(const fuse_file_info& file) { return fuse_reply_open(take(), &file) == 0; }
  bool attributes(const struct stat& st, double timeout_s) {
    return fuse_reply_attr(take(), &st, timeout_s) == 0;
  }
  bool target(const std::string& path) { return fuse_reply_readlink(take(), path.c_str()) == 0; }
  bool written(std::size_t size_bytes) { return fuse_reply_write(take(), size_bytes) == 0; }
  bool data(std::string_view bytes) { return fuse_reply_buf(take(), bytes.data(), bytes.size()) == 0; }
  bool space(const struct statvfs& st) { return fuse_reply_statfs(take(), &st) == 0; }
  bool offset(std::uint64_t at) { return fuse_reply_lseek(take(), static_cast<off_t>(at)) == 0; }
  bool lock(const struct flock& lock) { return fuse_reply_lock(take(), &lock) == 0; }
  /// An xattr's value or the list of names, by the kernel's protocol: asked with 0 for the size only.
  bool xattr(std::string_view value, std::size_t asked_bytes);

 private:
  fuse_req_t take() { return std::exchange(raw_, nullptr); }

  fuse_req_t raw_;
  std::shared_ptr<const void> until_answered_;
  OpContext context_;
};

/// What stat(2) shows of an object.
struct stat to_stat(const FileAttr& attr);

}  // namespace polder
