// SPDX-License-Identifier: GPL-3.0-or-later
// ClusterSnapshots: snapshots of the volume of a ClusterWorld (of one brick: of several there are none yet),
// made while clients work, deleted, and gone back to, perhaps with a death in the middle, after which an
// admin goes on. What must then be so:
// - a snapshot whose making was acknowledged is there, whatever happens later; another one is there whole, or
//   not at all
// - it is the volume of one point in time (History::Moment), for ever
// - after a restore the volume is exactly what the snapshot is; what was replaced is a snapshot, too
// - no index of the log ever names another record than it did, and the log says once that it was restored.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "tests/sim/cluster_world.h"
#include "tests/workload/history.h"
#include "tests/workload/shared_files.h"

namespace polder {

enum class Death { kNone, kKill, kPowerLoss };

class ClusterSnapshots {
 public:
  /// `found` gets sentences. Both outlive it.
  using Found = std::function<void(std::vector<std::string>)>;
  ClusterSnapshots(ClusterWorld& world, Found found) : world_(world), found_(std::move(found)) {}

  /// While clients work: as they do afterwards, unless the power is lost.
  void make(Random& random, const History& history, const SharedFiles& shared, Death death);
  /// Those of this phase that are there, made by now. After a power loss a client asks them, too, what has
  /// become of a step that it had under way.
  void look_into_new(const std::function<void(FileOps&)>& use);
  /// Those that were made since, when nobody is at work and nothing is left open; `history` and `shared` are
  /// the same as then.
  void judge(const History& history, const SharedFiles& shared);

  // When nobody is at work, and all was judged:
  bool any() const { return !kept_.empty(); }
  /// The volume's content is another one afterwards, and each mount has lost what it had open.
  void restore(Random& random, Death death);
  void remove(Random& random, Death death);

 private:
  struct Made {
    std::string name;
    bool acknowledged = false;
    History::Moment moment;
    SharedFiles shared;  // when it was begun
  };
  struct Kept {
    std::string name;
    std::vector<std::string> dump;
  };

  SimSite& site() { return world_.site; }
  std::string next_name() { return "s" + std::to_string(++last_name_); }
  bool has(const std::string& name);
  /// Ends the process or the power, whether or not that call was made, and starts again.
  void end(Random& random, Death death);
  Result<json::value> ask(std::string method, const std::string& path, json::object body = {});
  void look_into(const Kept& kept);
  void start_volume();
  void check_volumes();
  void restore_storage(Random& random, const std::string& name, Death death);
  void adopt_what_was_replaced(const std::vector<std::string>& before, std::vector<std::string> dump);
  void note_log();
  void compare_log(const std::map<std::uint64_t, std::string>& now);
  void check_log(const std::string& id);

  ClusterWorld& world_;
  const Found found_;
  std::vector<Made> made_;  // not judged yet
  std::vector<Kept> kept_;
  int last_name_ = 0;
  std::map<std::uint64_t, std::string> log_;  // before a restore: what its indexes name
};

}  // namespace polder
