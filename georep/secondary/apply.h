// SPDX-License-Identifier: GPL-3.0-or-later
// Applying one cut from the spool, whole: its frames become records for FileOps::replay, the last of which is
// the kApplied record. Again after a crash: same result.
#pragma once
#include <vector>

#include "base/seams.h"
#include "base/task.h"
#include "core-volume/layer/file_ops.h"
#include "core-volume/layers/store/store.h"
#include "georep/secondary/spool.h"

namespace polder::georep {

struct AppliedCut {
  std::string state;   // the value of its kApplied record
  bool swept = false;  // it must not be applied again once a later one has been: the volume is to be synced
};

/// `volume` is over `store`.
Task<Result<AppliedCut>> apply_cut(Seams& seams, Spool& spool, std::uint64_t cut, const std::string& session,
                                   FileOps& volume, Store& store);

/// The records that a frame stands for; none for frames that only mark. EPROTO or EUCLEAN name what is wrong.
/// Pure but for rebuilt files, which are read through `spool`. Exposed for tests and for fuzzing.
Result<std::vector<Record>> records_of_frame(const SpoolFrame& frame);

}  // namespace polder::georep
