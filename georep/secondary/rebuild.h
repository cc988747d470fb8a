// SPDX-License-Identifier: GPL-3.0-or-later
// Rebuilding a file from its librsync delta while its basis is still there, into a file beside the cut,
// checked by xxh3-128.
#pragma once
#include <memory>
#include <string>

#include "base/disk.h"
#include "core-volume/layers/store/store.h"

namespace polder::georep {

/// Collects the pieces of one delta, then rebuilds. Blocks: call on a worker, one thread at a time.
class Rebuild {
 public:
  /// `path`: of the result; the delta is collected in `path` + ".delta" and removed.
  static Result<std::unique_ptr<Rebuild>> begin(Disk& disk, std::string path, const Gfid& basis);
  ~Rebuild();
  Result<void> add(ConstBytes delta);
  /// True when the content is there, durable and as expected. False: it does not match, or the basis is gone;
  /// send it whole.
  Result<bool> finish(Store& store, std::uint64_t result_bytes, const std::string& result_hash);

 private:
  Rebuild(Disk& disk, std::string path, const Gfid& basis)
      : disk_(disk), path_(std::move(path)), basis_(basis) {}

  Disk& disk_;
  const std::string path_;
  const Gfid basis_;
  DiskFile delta_;
  std::uint64_t delta_bytes_ = 0;
};

/// librsync signature of an object of the volume; nullopt when it is gone or no regular file.
struct BasisSignature {
  std::string signature;
  std::uint64_t basis_bytes = 0;
};
Result<std::optional<BasisSignature>> sign_basis(Store& store, const Gfid& basis);

}  // namespace polder::georep
