// SPDX-License-Identifier: GPL-3.0-or-later
// polder volume geo-replication PRIMARY HOST[:PORT]::SECONDARY VERB …, in GlusterFS's order of words.
#include <CLI/CLI.hpp>
#include <fstream>
#include <iostream>
#include <iterator>

#include "tools/polder/cli.h"
#include "tools/polder/table.h"

namespace polder {

namespace {

struct GeorepWords {
  std::vector<std::string> words;  // PRIMARY [HOST::SECONDARY] VERB [ARGUMENTS]
  std::string token_file;
};

/// The words sorted out.
struct Georep {
  std::string volume;
  std::string secondary;
  std::string verb;
  std::vector<std::string> arguments;
};

constexpr const char* kForm =
    "polder: the form is: polder volume geo-replication PRIMARY [HOST[:PORT]::SECONDARY] "
    "create [--token-file F] | start | pause | resume | stop | delete | status [detail] | config [KEY "
    "[VALUE]] | checkpoint now | "
    "verify\n";

Result<Georep> sort_out(std::vector<std::string> words) {
  Georep out;
  if (!words.empty()) {
    out.volume = words.front();
    words.erase(words.begin());
  }
  if (!words.empty() && words.front().find("::") != std::string::npos) {
    out.secondary = words.front();
    words.erase(words.begin());
  }
  if (out.volume.empty() || words.empty()) return Error(EINVAL);
  out.verb = words.front();
  out.arguments.assign(words.begin() + 1, words.end());
  return out;
}

std::string again(const Georep& of, std::string_view verb) {
  return fmt::format("polder volume geo-replication {} {} {}", of.volume, of.secondary, verb);
}

/// From --token-file, or standard input: never from the command line, where everybody can read it.
Result<std::string> read_token(const std::string& file) {
  if (file.empty() || file == "-") {
    std::string text((std::istreambuf_iterator<char>(std::cin)), {});
    if (text.empty())
      return Error(EINVAL).with("no token on standard input; give it there or by --token-file");
    return text;
  }
  std::ifstream in(file);
  if (!in) return Error(errno).with("token file {}: {}", file, Error(errno).message());
  return std::string((std::istreambuf_iterator<char>(in)), {});
}

std::string human_bytes(double bytes) {
  const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  while (bytes >= 1024 && unit < 4) {
    bytes /= 1024;
    ++unit;
  }
  return fmt::format("{:.{}f} {}", bytes, unit == 0 ? 0 : 1, units[unit]);
}

double number(const json::object& from, std::string_view name) {
  const auto* value = from.if_contains(name);
  return value && value->is_number() ? value->to_number<double>() : 0;
}

std::string lag_text(const json::object& session) {
  if (!session.contains("lag_s")) return "-";
  return fmt::format("{:.1f} s", number(session, "lag_s"));
}

int show_status(Cli& cli, const json::value& answer, bool detail) {
  Table table({"VOLUME", "SIDE", "OTHER END", "STATUS", "LAG", "QUEUED", "SHIPPED", "LAST EXACT CUT"});
  std::string notes;
  for (const auto& item : answer.as_object().at("sessions").as_array()) {
    const auto& session = item.as_object();
    const bool primary = shown(session, "side") == "primary";
    table.add({shown(session, "volume"), shown(session, "side"), shown(session, "peer"),
               shown(session, "status"), lag_text(session), primary ? shown(session, "queued_records") : "-",
               primary ? human_bytes(number(session, "shipped_bytes")) : "-",
               shown(session, "last_exact_cut")});
    const auto reason = shown(session, "reason");
    if (!reason.empty() && reason != "-") notes += fmt::format("{}: {}\n", shown(session, "volume"), reason);
    if (detail) {
      notes += fmt::format(
          "{}: session {}, generation {}, cluster of the other end {}, applied index {}, scanned objects "
          "{}\n",
          shown(session, "volume"), shown(session, "session"), shown(session, "generation"),
          shown(session, "peer_cluster"), shown(session, "applied_index"), shown(session, "scanned_objects"));
    }
  }
  return cli.done(answer, table.text() + notes);
}

int status(Cli& cli, const Georep& georep) {
  std::string path = "/v1/georep";
  if (!georep.volume.empty() && georep.volume != "all") {
    auto of_volume = volume_path(georep.volume, "/georep");
    if (!of_volume) return cli.fail(of_volume.error());
    path = *of_volume;
  }
  auto answer = cli.call("GET", path);
  if (!answer) return cli.fail(answer.error());
  const bool detail = !georep.arguments.empty() && georep.arguments.front() == "detail";
  return show_status(cli, *answer, detail);
}

Result<json::value> post(Cli& cli, const Georep& georep, const std::string& verb, json::object body) {
  TRY(const auto path, volume_path(georep.volume, "/georep/" + verb));
  body["secondary"] = georep.secondary;
  return cli.call("POST", path, body);
}

int create(Cli& cli, const Georep& georep, const std::string& token_file) {
  if (georep.secondary.empty()) {
    cli.err() << kForm;
    return kUsage;
  }
  auto token = read_token(token_file);
  if (!token) return cli.fail(token.error());
  auto answer = post(cli, georep, "create", {{"token", *token}});
  if (!answer) return cli.fail(answer.error());
  return cli.done(*answer, fmt::format("paired {} with {}\nnext: {}", georep.volume, georep.secondary,
                                       again(georep, "start")));
}

int change_state(Cli& cli, const Georep& georep) {
  auto answer = post(cli, georep, georep.verb, {});
  if (!answer) return cli.fail(answer.error());
  const bool runs = georep.verb == "start" || georep.verb == "resume";
  return cli.done(*answer, fmt::format("geo-replication of {}: {}\nnext: {}", georep.volume, georep.verb,
                                       again(georep, runs ? "status" : "start")));
}

int remove(Cli& cli, const Georep& georep) {
  // Whether there is such a session, before anybody is asked.
  auto session = post(cli, georep, "config", {});
  if (!session) return cli.fail(session.error());
  auto sure = cli.confirm(georep.volume,
                          {"the session ends: the secondary's volume becomes an ordinary, writable one",
                           "a new session will copy everything again, to an empty volume"});
  if (!sure) return sure.failed_with(ECANCELED) && cli.options().dry_run ? kDone : cli.fail(sure.error());
  auto answer = post(cli, georep, "delete", {});
  if (!answer) return cli.fail(answer.error());
  const auto told = shown(answer->as_object(), "secondary");
  if (told != "-" && !told.empty()) cli.err() << "polder: " << told << "\n";
  const int status =
      cli.done(*answer, fmt::format("deleted the geo-replication session of {}", georep.volume));
  return told != "-" && !told.empty() ? static_cast<int>(kDegraded) : status;
}

int checkpoint(Cli& cli, const Georep& georep) {
  if (georep.arguments != std::vector<std::string>{"now"}) {
    cli.err() << "polder: the form is: " << again(georep, "checkpoint now") << "\n";
    return kUsage;
  }
  auto answer = post(cli, georep, "checkpoint", {});
  if (!answer) return cli.fail(answer.error());
  return cli.done(*answer,
                  fmt::format("everything up to record {} is on the secondary, after {:.2f} s",
                              shown(answer->as_object(), "index"), number(answer->as_object(), "seconds")));
}

int verify(Cli& cli, const Georep& georep) {
  auto answer = post(cli, georep, "verify", {});
  if (!answer) return cli.fail(answer.error());
  const auto& report = answer->as_object();
  if (report.at("identical").as_bool()) {
    return cli.done(*answer, fmt::format("identical: {} objects compared, at record {}",
                                         shown(report, "objects"), shown(report, "position")));
  }
  std::string text = "DIFFERENT:";
  for (const auto* kind : {"different", "missing"}) {
    for (const auto& gfid : report.at(kind).as_array())
      text += fmt::format("\n  {} {}", kind, gfid.as_string().c_str());
  }
  (void)cli.done(*answer, text);
  return kFailed;
}

int config(Cli& cli, const Georep& georep) {
  json::object body;
  if (!georep.arguments.empty()) body["key"] = georep.arguments[0];
  if (georep.arguments.size() > 1) body["value"] = georep.arguments[1];
  auto answer = post(cli, georep, "config", std::move(body));
  if (!answer) return cli.fail(answer.error());
  return cli.done(*answer, fmt::format("addresses: {}", shown(answer->as_object(), "addresses")));
}

int run(Cli& cli, const GeorepWords& words) {
  if (words.words.size() == 1 && words.words.front() == "status") return status(cli, {"", "", "status", {}});
  auto georep = sort_out(words.words);
  if (!georep) {
    cli.err() << kForm;
    return kUsage;
  }
  const auto& verb = georep->verb;
  if (verb == "create") return create(cli, *georep, words.token_file);
  if (verb == "start" || verb == "stop" || verb == "pause" || verb == "resume")
    return change_state(cli, *georep);
  if (verb == "delete") return remove(cli, *georep);
  if (verb == "status") return status(cli, *georep);
  if (verb == "checkpoint") return checkpoint(cli, *georep);
  if (verb == "verify") return verify(cli, *georep);
  if (verb == "config") return config(cli, *georep);
  cli.err() << "polder: geo-replication has no verb '" << verb << "'\n" << kForm;
  return kUsage;
}

}  // namespace

void add_georep_commands(Cli& cli) {
  auto& volume = cli.group(cli.app(), "volume", "Volumes");
  auto words = std::make_shared<GeorepWords>();
  auto& command = cli.command(
      volume, "geo-replication",
      "PRIMARY HOST::SECONDARY create|start|pause|resume|stop|delete|status|config|checkpoint now|verify",
      "polder volume geo-replication data west.example.com::data create --token-file west.token",
      [&cli, words] { return run(cli, *words); });
  command.add_option("WORDS", words->words, "PRIMARY [HOST[:PORT]::SECONDARY] VERB [ARGUMENTS]")->required();
  command.add_option("--token-file", words->token_file,
                     "create: the secondary's token (default: standard input)");
}

}  // namespace polder
