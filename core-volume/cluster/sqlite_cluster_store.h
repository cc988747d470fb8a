// SPDX-License-Identifier: GPL-3.0-or-later
// The ClusterStore of a cluster of one node: a SQLite file, one process at a time.
#pragma once
#include <memory>
#include <string>

#include "base/seams.h"
#include "core-volume/cluster/cluster_store.h"

namespace polder {

/// Opens or creates `path`. EUCLEAN: damaged; EPROTO: made by a newer version. Blocks: for start-up, or on a
/// worker. `seams` outlive the store; nothing may be in flight when it is destroyed, except watches, which
/// end with ECANCELED.
Result<std::unique_ptr<ClusterStore>> open_sqlite_cluster_store(Seams& seams, const std::string& path);

}  // namespace polder
