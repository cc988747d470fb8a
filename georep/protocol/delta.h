// SPDX-License-Identifier: GPL-3.0-or-later
// The rsync algorithm (librsync's rolling checksum and BLAKE2 signatures) over files that are read by offset.
// Everything streams; memory stays bounded by the signature. Blocks: call on a worker.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "base/buffer.h"
#include "base/result.h"

namespace polder::georep {

/// Reads at an offset; fewer bytes than asked only at the end.
using ReadAt = std::function<Result<std::size_t>(Bytes out, std::uint64_t offset)>;
using Sink = std::function<Result<void>(ConstBytes)>;

/// Signature of a basis of about `basis_bytes` bytes (the block size follows from it).
Result<std::string> make_signature(const ReadAt& basis, std::uint64_t basis_bytes);
/// What turns the basis of `signature` into `content`. EPROTO when the signature is not one of ours, or one
/// that would take too long.
Result<void> make_delta(ConstBytes signature, const ReadAt& content, const Sink& delta);
/// The content, from the basis and its delta. EPROTO when the delta is not one or does not fit the basis; a
/// basis that changed since its signature gives wrong bytes: callers check the result's xxh3-128.
Result<void> apply_delta(const ReadAt& basis, const ReadAt& delta, const Sink& content);

/// xxh3-128, 16 bytes, big-endian canonical form.
class ContentHash {
 public:
  ContentHash();
  ~ContentHash();
  ContentHash(const ContentHash&) = delete;
  void update(ConstBytes bytes);
  void update(std::string_view text) { update(as_bytes(text)); }
  std::string digest() const;

 private:
  void* state_;
};

}  // namespace polder::georep
