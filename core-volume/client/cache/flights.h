// SPDX-License-Identifier: GPL-3.0-or-later
// Flights: this client's own questions and changes that are under way. A lease keeps the changes of others
// away, not ours; and the server may do what we ask for at the same time in any order, and answer in another.
// So an answer teaches nothing about what a change of ours touched while the question was under way.
//
// Loop thread only. A flight registers itself for as long as it lives, in the frame of its operation.
#pragma once
#include <boost/container/static_vector.hpp>
#include <boost/intrusive/list.hpp>
#include <vector>

#include "core-volume/layer/name_in.h"

namespace polder {

class Flights;

/// A change on its way. Names and gfids are of what it touches, as far as is known.
class OwnChange : public boost::intrusive::list_base_hook<> {
 public:
  using Gfids = boost::container::static_vector<Gfid, 4>;
  using Names = boost::container::static_vector<NameIn, 2>;

  /// `blind`: what else it touches is not known.
  OwnChange(Flights& flights, Gfids gfids, Names names, bool blind);
  ~OwnChange() { land(); }
  OwnChange(const OwnChange&) = delete;

  /// The answer is here; from now on it is not under way any more.
  void land();

  const Gfids& gfids() const { return gfids_; }
  const Names& names() const { return names_; }
  std::uint64_t started() const { return started_; }
  bool blind() const { return blind_; }
  /// Another change of ours had the name at the same time: nobody knows which came first.
  bool clashed(std::size_t name) const { return clashed_[name]; }
  /// Another change of ours that was under way at the same time may have touched the same objects.
  bool beside_blind() const { return beside_blind_; }

 private:
  friend class Flights;
  friend class Question;
  void go_blind();

  Flights& flights_;
  const Gfids gfids_;
  const Names names_;
  const std::uint64_t started_;
  bool blind_;
  bool clashed_[2] = {};
  bool beside_blind_ = false;
};

/// A question on its way, or a change whose answer brings a new object's attributes.
class Question : public boost::intrusive::list_base_hook<> {
 public:
  /// `own`: the change whose answer it is.
  explicit Question(Flights& flights, const OwnChange* own = nullptr);
  ~Question();
  Question(const Question&) = delete;

  /// Whether a change of ours touched it meanwhile.
  bool met(const Gfid& gfid) const;
  bool met(const NameIn& name) const;

 private:
  friend class Flights;
  friend class OwnChange;
  void meet(const OwnChange& change);

  Flights& flights_;
  bool met_anything_ = false;
  std::vector<Gfid> met_gfids_;
  std::vector<std::size_t> met_names_;  // hashes
};

class Flights {
 public:
  /// Orders changes and the births of nodes.
  std::uint64_t next() { return ++last_; }
  /// Whether a change under way touches it.
  bool is_changing(const Gfid& gfid) const;
  /// Somebody else changes names of `directory` (nil: of any): what our changes under way there will hit is
  /// not known any more. False when there are none.
  bool lose_track(const Gfid& directory);

 private:
  friend class OwnChange;
  friend class Question;
  boost::intrusive::list<OwnChange> changes_;
  boost::intrusive::list<Question> questions_;
  std::uint64_t last_ = 0;
};

}  // namespace polder
