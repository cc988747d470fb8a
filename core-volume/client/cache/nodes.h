// SPDX-License-Identifier: GPL-3.0-or-later
// Nodes: what this client knows of objects on which it has leases: attributes, and of directories names. A
// node exists from the lease's grant to its recall; the least recently used ones are forgotten when there are
// too many (the server may go on believing in the lease, which does no harm). Loop thread only.
#pragma once
#include <boost/intrusive/list.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "core-volume/layer/file_attr.h"

namespace polder {

struct CacheOptions {
  std::size_t nodes_max = 50'000;   // about 300 bytes each
  std::size_t names_max = 100'000;  // about 120 bytes each
};

/// What is known of a name. Of one that is not in the table: nothing, or in a complete directory that it is
/// not there.
struct CachedName {
  enum class State : std::uint8_t { kUnknown, kAbsent, kPresent };
  State state = State::kUnknown;
  Gfid gfid;  // of kPresent
};

class CachedNode : public boost::intrusive::list_base_hook<> {
 public:
  CachedNode(const Gfid& the_gfid, std::uint64_t born_at) : gfid(the_gfid), born(born_at) {}

  const Gfid gfid;
  const std::uint64_t born;  // when, in the order of this client's questions and changes

  // Attributes. While changes of ours are under way, `attr` collects the newest that their answers brought.
  FileAttr attr;
  bool attr_known = false;
  std::uint64_t attr_epoch = 0;  // known only as long as this is Nodes::attr_epoch()
  bool offered = false;          // some answer of these changes brought attributes
  bool doubtful = true;          // some did not, or nobody knows their order

  // Names.
  bool complete = false;            // a name that is not in the table does not exist
  std::uint64_t names_changed = 0;  // how often by us
  struct Listing {
    std::uint64_t to_cookie;
    std::uint64_t names_changed;  // as it was at its start
  };
  std::optional<Listing> listing;  // from the first entry on, gapless
  std::uint32_t absences = 0;      // how often the brick had to say that a name is not there

  const CachedName* name(std::string_view name) const;

 private:
  friend class Nodes;
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  std::unordered_map<std::string, CachedName, Hash, std::equal_to<>> names_;
};

class Nodes {
 public:
  explicit Nodes(CacheOptions options) : options_(options) {}
  ~Nodes() { clear(); }
  Nodes(const Nodes&) = delete;

  /// Null when there is none. The one asked for is the last to be forgotten.
  CachedNode* find(const Gfid& gfid);
  /// `now`: its birth, if it is new. Others may be forgotten for it.
  CachedNode& find_or_make(const Gfid& gfid, std::uint64_t now);
  void drop(const Gfid& gfid);
  void clear();

  /// Good until the next call of anything here.
  const FileAttr* attributes(const Gfid& gfid);
  void set_attributes(CachedNode& node, const FileAttr& attr);
  /// Of every node: they may have changed.
  void doubt_all_attributes() { ++attr_epoch_; }

  /// kUnknown in a directory that is not complete is the same as nothing. May forget `directory` itself when
  /// it outgrows the cache.
  void set_name(CachedNode& directory, std::string_view name, const CachedName& known);

  std::size_t size() const { return nodes_.size(); }
  std::size_t names() const { return names_; }

 private:
  void forget_least_used(const CachedNode* except);

  const CacheOptions options_;
  std::unordered_map<Gfid, CachedNode> nodes_;
  boost::intrusive::list<CachedNode> used_;  // the least recently used first
  std::size_t names_ = 0;
  std::uint64_t attr_epoch_ = 1;
};

}  // namespace polder
