// SPDX-License-Identifier: GPL-3.0-or-later
// History: what clients of a volume did and what they were told is safe, and from it what may be found after
// a power loss. Pure.
//
// Each client changes one thing after the other (a step), and only names and files of its own: a name has one
// history, a file's bytes and attributes have one. Directories, links and the sets of bricks are everybody's.
// What an fsync had acknowledged must be there; of later steps anything that a step left in one place may
// be, as long as no object is lost by a rename, and nothing is there that nobody made.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "changelog/record/record.h"

namespace polder {

struct FileState {
  std::string content;
  std::uint32_t mode = 0;  // permission bits
  std::string xattr;       // empty: none
  bool operator==(const FileState&) const = default;
};

/// The volume after a power loss.
struct FoundVolume {
  std::map<EntryName, Gfid> names;
  std::map<Gfid, FileState> files;  // that is: not directories
};

class History {
 public:
  /// What is in the volume at the beginning is safe.
  explicit History(std::size_t clients, const FoundVolume& beginning = {});

  // A step: begin(), then what it did if it succeeded, then end(). One that does not end may have happened.
  void begin(std::size_t client);
  void end(std::size_t client) { done_[client] = issued_[client]; }
  /// nil: the name is free now.
  void names(std::size_t client, const EntryName& name, const Gfid& gfid);
  void moves(std::size_t client, const EntryName& from, const EntryName& to, const Gfid& gfid);
  /// One name of the object was taken away, perhaps its last.
  void removes(std::size_t client, const Gfid& gfid);
  void changes(std::size_t client, const Gfid& gfid, FileState state);

  /// What an fsync covers: to be called before it, and noted after it.
  struct Cover {
    std::vector<std::uint64_t> steps;      // by client
    std::map<Gfid, std::size_t> contents;  // number of the version
  };
  Cover cover_of_fsync(std::size_t client, const Gfid& file) const;
  Cover cover_of_sync() const;
  /// Number of the acknowledgement, 0, 1, …: for the mark in the log of writes. Then, once that is written,
  /// acknowledged().
  std::size_t acknowledge(Cover cover);
  void acknowledged(std::size_t number);
  std::size_t acknowledgements() const { return acks_.size(); }

  /// What is wrong with `found`, one sentence each, when the power went after the first `acks`
  /// acknowledgements and before the next one.
  std::vector<std::string> problems(const FoundVolume& found, std::size_t acks) const;

  /// A time at which a snapshot was made: after `before` was all done, before anything but `issued` was
  /// begun.
  struct Moment {
    Cover before;
    std::vector<std::uint64_t> issued;  // by client
  };
  Moment begin_moment() const { return {cover_of_sync(), {}}; }
  void end_moment(Moment& moment) const { moment.issued = issued_; }
  /// What is wrong with `found` as the volume of one point in that time: each client's steps up to some one,
  /// and none without all that had been acknowledged to anybody when it was begun. When all steps have ended.
  std::vector<std::string> problems(const FoundVolume& found, const Moment& moment) const;
  /// How many names and files are certain then.
  std::size_t certain(const Moment& moment) const { return certain(window(moment)); }
  /// Files that a rename of later steps has left under both names.
  std::vector<std::string> doubled(const FoundVolume& found, std::size_t acks) const;
  /// How many names and files are certain then: a check of nothing proves nothing.
  std::size_t certain(std::size_t acks) const;

 private:
  struct Step {
    std::size_t client = 0;
    std::uint64_t number = 0;
  };
  struct Binding {
    Step step;
    Gfid gfid;
  };
  struct Version {
    Step step;
    FileState state;
  };
  struct Move {
    Step step;
    EntryName from, to;
    Gfid gfid;
  };
  struct Ack {
    Cover cover;
    std::vector<std::uint64_t> issued;  // by client: later steps cannot have happened before it
  };
  /// Steps up to `safe` have happened, steps after `issued` have not.
  struct Window {
    std::vector<std::uint64_t> safe, issued;
    std::map<Gfid, std::size_t> contents;
    bool is_safe(const Step& step) const { return step.number <= safe[step.client]; }
    bool is_possible(const Step& step) const { return step.number <= issued[step.client]; }
  };
  class Check;

  Step present(std::size_t client) const { return {client, issued_[client]}; }
  Window window(std::size_t acks) const;
  Window window(const Moment& moment) const;
  std::size_t certain(const Window& window) const;
  std::map<Gfid, std::size_t> contents_of(const std::vector<std::uint64_t>& steps) const;
  std::optional<Step> evidence(const std::vector<Binding>& bindings, const Gfid& shown,
                               const Window& window) const;
  std::optional<Step> evidence(const std::vector<Version>& versions, std::size_t first,
                               const FileState& state, const Window& window) const;
  std::vector<Step> evidence(const FoundVolume& found, const Window& window) const;
  bool raise(Window& window, const Step& happened) const;
  std::vector<Gfid> allowed(const std::vector<Binding>& bindings, const Window& window) const;

  std::vector<std::uint64_t> issued_, done_;
  std::vector<std::vector<std::vector<std::uint64_t>>> known_;  // by client and step: done_ when it was begun
  std::map<EntryName, std::vector<Binding>> names_;
  std::map<Gfid, std::vector<Version>> files_;
  std::map<Gfid, std::vector<Step>> removals_;
  std::vector<Move> moves_;
  std::vector<Ack> acks_;
};

}  // namespace polder
