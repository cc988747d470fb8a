// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/workload/history.h"

#include <algorithm>
#include <array>
#include <optional>
#include <set>

#include "base/error.h"

namespace polder {

History::History(std::size_t clients, const FoundVolume& beginning)
    : issued_(clients), done_(clients), known_(clients) {
  for (const auto& [name, gfid] : beginning.names) names_[name].push_back({{}, gfid});
  for (const auto& [gfid, state] : beginning.files) files_[gfid].push_back({{}, state});
}

void History::begin(std::size_t client) {
  ++issued_[client];
  known_[client].push_back(done_);
}

void History::names(std::size_t client, const EntryName& name, const Gfid& gfid) {
  names_[name].push_back({present(client), gfid});
}

void History::moves(std::size_t client, const EntryName& from, const EntryName& to, const Gfid& gfid) {
  moves_.push_back({present(client), from, to, gfid});
}

void History::removes(std::size_t client, const Gfid& gfid) {
  removals_[gfid].push_back(present(client));
}

void History::changes(std::size_t client, const Gfid& gfid, FileState state) {
  files_[gfid].push_back({present(client), std::move(state)});
}

History::Cover History::cover_of_fsync(std::size_t client, const Gfid& file) const {
  Cover cover{.steps = std::vector<std::uint64_t>(done_.size()), .contents = {}};
  cover.steps[client] = done_[client];
  auto versions = files_.find(file);
  if (versions != files_.end()) cover.contents[file] = versions->second.size() - 1;
  return cover;
}

History::Cover History::cover_of_sync() const {
  return {.steps = done_, .contents = contents_of(done_)};
}

/// The latest versions of files when these steps, by client, have happened.
std::map<Gfid, std::size_t> History::contents_of(const std::vector<std::uint64_t>& steps) const {
  std::map<Gfid, std::size_t> contents;
  for (const auto& [gfid, versions] : files_) {
    const auto happened = [&](const Version& version) {
      return version.step.number <= steps[version.step.client];
    };
    const auto last = std::find_if(versions.rbegin(), versions.rend(), happened);
    if (last != versions.rend()) contents[gfid] = static_cast<std::size_t>(versions.rend() - last) - 1;
  }
  return contents;
}

std::size_t History::acknowledge(Cover cover) {
  acks_.push_back({std::move(cover), {}});
  return acks_.size() - 1;
}

void History::acknowledged(std::size_t number) {
  acks_[number].issued = issued_;
}

History::Window History::window(std::size_t acks) const {
  Window window{.safe = std::vector<std::uint64_t>(issued_.size()), .issued = issued_, .contents = {}};
  for (std::size_t i = 0; i < acks; ++i) {
    const auto& cover = acks_[i].cover;
    for (std::size_t client = 0; client < issued_.size(); ++client)
      window.safe[client] = std::max(window.safe[client], cover.steps[client]);
    for (const auto& [gfid, version] : cover.contents) {
      auto& safe = window.contents[gfid];
      safe = std::max(safe, version);
    }
  }
  if (acks < acks_.size() && !acks_[acks].issued.empty()) window.issued = acks_[acks].issued;
  return window;
}

History::Window History::window(const Moment& moment) const {
  return {.safe = moment.before.steps, .issued = moment.issued, .contents = moment.before.contents};
}

/// What the name may show; nil: nothing.
std::vector<Gfid> History::allowed(const std::vector<Binding>& bindings, const Window& window) const {
  std::vector<Gfid> list{Gfid()};
  for (const auto& binding : bindings) {
    if (window.is_safe(binding.step)) list.clear();
    if (window.is_possible(binding.step)) list.push_back(binding.gfid);
  }
  return list;
}

/// One look at one volume.
class History::Check {
 public:
  Check(const History& history, const FoundVolume& found, Window window)
      : history_(history), found_(found), window_(std::move(window)) {
    for (const auto& [name, gfid] : found_.names) named_.insert(gfid);
  }

  std::vector<std::string> run() {
    for (const auto& [name, bindings] : history_.names_) check_name(name, bindings);
    for (const auto& [name, gfid] : found_.names)
      if (!history_.names_.contains(name) && !is_lost_and_found(name, gfid))
        problem("{} shows {}, and nobody made that name", text(name), gfid.hex());
    for (const auto& [gfid, state] : found_.files) check_file(gfid, state);
    return std::move(problems_);
  }
  std::vector<std::string> doubled() {
    for (const auto& move : history_.moves_) check_move(move);
    return std::move(problems_);
  }

 private:
  template <typename... Args>
  void problem(fmt::format_string<Args...> format, Args&&... args) {
    problems_.push_back(fmt::format(format, std::forward<Args>(args)...));
  }
  static std::string text(const EntryName& name) {
    return fmt::format("\"{}\" in {}", name.name, name.parent.hex());
  }
  Gfid shown(const EntryName& name) const {
    auto found = found_.names.find(name);
    return found == found_.names.end() ? Gfid() : found->second;
  }
  /// Where a start puts what has lost its place.
  bool is_lost_and_found(const EntryName& name, const Gfid& gfid) const {
    return name.name == "lost+found-" + gfid.hex();
  }

  void check_name(const EntryName& name, const std::vector<Binding>& bindings) {
    const auto may_be = history_.allowed(bindings, window_);
    const auto is = shown(name);
    if (std::ranges::find(may_be, is) == may_be.end() && !(is.is_nil() && has_moved_on(name))) {
      std::string list;
      for (const auto& gfid : may_be) list += (list.empty() ? "" : " or ") + describe(gfid);
      problem("{} shows {} instead of {}", text(name), describe(is), list);
    }
    for (const auto& gfid : may_be)
      if (!gfid.is_nil()) check_kept(name, gfid, bindings);
  }
  /// A directory that was exchanged for a file keeps its new place only, also where the file is lost (P4).
  bool has_moved_on(const EntryName& name) const {
    return std::ranges::any_of(history_.moves_, [&](const Move& move) {
      return move.from == name && !window_.is_safe(move.step) && window_.is_possible(move.step) &&
             !history_.files_.contains(move.gfid) && shown(move.to) == move.gfid;
    });
  }
  static std::string describe(const Gfid& gfid) { return gfid.is_nil() ? "nothing" : gfid.hex(); }

  /// An object that had a name for certain has one still, unless one was taken away from it.
  void check_kept(const EntryName& name, const Gfid& gfid, const std::vector<Binding>& bindings) {
    const auto last_safe = std::find_if(bindings.rbegin(), bindings.rend(),
                                        [&](const auto& of) { return window_.is_safe(of.step); });
    if (last_safe == bindings.rend() || last_safe->gfid != gfid || named_.contains(gfid)) return;
    auto removals = history_.removals_.find(gfid);
    const bool may_be_gone =
        removals != history_.removals_.end() && std::ranges::any_of(removals->second, [&](const Step& step) {
          return !window_.is_safe(step) && window_.is_possible(step);
        });
    if (!may_be_gone) problem("{} was {}, and is nowhere", gfid.hex(), text(name));
  }

  /// Whether both names showed the object at one time.
  bool ever_both(const Move& move) const {
    std::map<std::uint64_t, std::array<std::optional<bool>, 2>> steps;
    const std::array<EntryName, 2> names{move.from, move.to};
    for (std::size_t i = 0; i < 2; ++i)
      for (const auto& binding : history_.names_.at(names[i]))
        if (window_.is_possible(binding.step)) steps[binding.step.number][i] = binding.gfid == move.gfid;
    std::array<bool, 2> now{};
    for (const auto& [number, set] : steps) {
      for (std::size_t i = 0; i < 2; ++i) now[i] = set[i].value_or(now[i]);
      const auto next = steps.upper_bound(number);
      const bool is_past = next != steps.end() && next->first <= window_.safe[move.step.client];
      if (now[0] && now[1] && !is_past) return true;
    }
    return false;
  }

  void check_move(const Move& move) {
    if (window_.is_safe(move.step) || !window_.is_possible(move.step) || move.from == move.to) return;
    if (shown(move.from) == move.gfid && shown(move.to) == move.gfid && !ever_both(move))
      problem("{} was renamed from {} to {}, and is in both places", move.gfid.hex(), text(move.from),
              text(move.to));
  }

  void check_file(const Gfid& gfid, const FileState& state) {
    auto versions = history_.files_.find(gfid);
    if (versions == history_.files_.end() || !window_.is_possible(versions->second.front().step))
      return problem("file {} was made by nobody", gfid.hex());
    check_attributes(gfid, versions->second, state);
    check_content(gfid, versions->second, state.content);
  }

  void check_attributes(const Gfid& gfid, const std::vector<Version>& versions, const FileState& state) {
    bool mode = false, xattr = false;
    for (const auto& version : versions) {
      if (!window_.is_possible(version.step)) break;
      if (window_.is_safe(version.step)) mode = xattr = false;
      mode |= version.state.mode == state.mode;
      xattr |= version.state.xattr == state.xattr;
    }
    if (!mode) problem("file {} has the mode {:o}", gfid.hex(), state.mode);
    if (!xattr) problem("file {} has the attribute \"{}\"", gfid.hex(), state.xattr);
  }

  /// Every byte is that of a version that may be; where some of them end, it may never have been written.
  void check_content(const Gfid& gfid, const std::vector<Version>& versions, const std::string& content) {
    auto safe = window_.contents.find(gfid);
    const auto first = safe == window_.contents.end() ? 0 : safe->second;
    std::vector<const std::string*> may_be;
    for (auto i = first; i < versions.size() && (i == first || window_.is_possible(versions[i].step)); ++i)
      may_be.push_back(&versions[i].state.content);
    const auto by_size = [](const std::string* a, const std::string* b) { return a->size() < b->size(); };
    const auto [least, most] = std::ranges::minmax_element(may_be, by_size);
    if (content.size() < (*least)->size() || content.size() > (*most)->size())
      return problem("file {} has {} bytes instead of {} to {}", gfid.hex(), content.size(), (*least)->size(),
                     (*most)->size());
    std::size_t wrong = 0, begin = 0, end = 0;
    for (std::size_t at = 0; at < content.size(); ++at) {
      if (may_be_byte(may_be, at, content[at])) continue;
      if (wrong++ == 0) begin = at;
      end = at + 1;
    }
    if (wrong == 0) return;
    problem(
        "file {} of {} bytes: {} from {} to {} are of none of the {} versions from {} on, but those of:{}",
        gfid.hex(), content.size(), wrong, begin, end, may_be.size(), first,
        who_has(versions, content, begin, end));
  }
  /// Of which versions these bytes are: old ones came back, or there are bytes of the future.
  static std::string who_has(const std::vector<Version>& versions, const std::string& content,
                             std::size_t begin, std::size_t end) {
    std::string list;
    for (std::size_t i = 0; i < versions.size(); ++i) {
      const auto& of = versions[i].state.content;
      if (of.size() >= end && of.compare(begin, end - begin, content, begin, end - begin) == 0)
        list += fmt::format(" {}", i);
    }
    return list.empty() ? " none" : list;
  }
  static bool may_be_byte(const std::vector<const std::string*>& versions, std::size_t at, char byte) {
    return std::ranges::any_of(versions, [&](const std::string* version) {
      return at < version->size() ? (*version)[at] == byte : byte == 0;
    });
  }

  const History& history_;
  const FoundVolume& found_;
  const Window window_;
  std::set<Gfid> named_;
  std::vector<std::string> problems_;
};

std::vector<std::string> History::problems(const FoundVolume& found, std::size_t acks) const {
  return Check(*this, found, window(acks)).run();
}

std::vector<std::string> History::doubled(const FoundVolume& found, std::size_t acks) const {
  return Check(*this, found, window(acks)).doubled();
}

std::vector<std::string> History::problems(const FoundVolume& found, const Moment& moment) const {
  auto window = this->window(moment);
  bool raised = true;
  while (raised) {
    raised = false;
    for (const auto& happened : evidence(found, window)) raised |= raise(window, happened);
    window.contents = contents_of(window.safe);
  }
  return Check(*this, found, std::move(window)).run();
}

/// The first step after which the name can be what it shows, if that was not safe anyway.
std::optional<History::Step> History::evidence(const std::vector<Binding>& bindings, const Gfid& shown,
                                               const Window& window) const {
  std::optional<Step> first;
  bool without = shown.is_nil();
  for (const auto& binding : bindings) {
    if (window.is_safe(binding.step)) {
      without = binding.gfid == shown;
      first.reset();
    } else if (!first && window.is_possible(binding.step) && binding.gfid == shown) {
      first = binding.step;
    }
  }
  return without ? std::nullopt : first;
}

std::optional<History::Step> History::evidence(const std::vector<Version>& versions, std::size_t first,
                                               const FileState& state, const Window& window) const {
  for (auto i = first; i < versions.size(); ++i) {
    const auto& version = versions[i];
    if (!window.is_possible(version.step)) break;
    if (version.state == state)
      return window.is_safe(version.step) ? std::nullopt : std::optional(version.step);
  }
  return std::nullopt;
}

/// Steps that must have happened, since what they did is there.
std::vector<History::Step> History::evidence(const FoundVolume& found, const Window& window) const {
  std::vector<Step> steps;
  for (const auto& [name, bindings] : names_) {
    const auto shown = found.names.find(name);
    const auto step = evidence(bindings, shown == found.names.end() ? Gfid() : shown->second, window);
    if (step) steps.push_back(*step);
  }
  for (const auto& [gfid, state] : found.files) {
    const auto versions = files_.find(gfid);
    if (versions == files_.end()) continue;
    const auto safe = window.contents.find(gfid);
    const auto step =
        evidence(versions->second, safe == window.contents.end() ? 0 : safe->second, state, window);
    if (step) steps.push_back(*step);
  }
  return steps;
}

/// What its client had heard is done, and what anybody had heard by then. The step itself may have several
/// parts, of which one is there.
bool History::raise(Window& window, const Step& happened) const {
  auto known = known_[happened.client][happened.number - 1];
  known[happened.client] = happened.number - 1;
  bool raised = false;
  for (std::size_t client = 0; client < known.size(); ++client) {
    raised |= known[client] > window.safe[client];
    window.safe[client] = std::max(window.safe[client], known[client]);
  }
  return raised;
}

std::size_t History::certain(std::size_t acks) const {
  return certain(window(acks));
}

std::size_t History::certain(const Window& window) const {
  std::size_t count = window.contents.size();
  for (const auto& [name, bindings] : names_) {
    auto list = allowed(bindings, window);
    count += list.size() == 1 && !list.front().is_nil();
  }
  return count;
}

}  // namespace polder
