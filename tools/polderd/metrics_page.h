// SPDX-License-Identifier: GPL-3.0-or-later
// MetricsPage: builds a page of metrics in Prometheus' text format. Names follow its conventions: base units
// (_seconds, _bytes), counters end in _total.
#pragma once
#include <prometheus/metric_family.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core-volume/layers/stats/op_counters.h"

namespace polder {

class MetricsPage {
 public:
  using Labels = std::vector<std::pair<std::string, std::string>>;

  /// The same name with other labels is another sample of one family; its help is that of the first.
  void gauge(const std::string& name, const std::string& help, const Labels& labels, double value);
  void counter(const std::string& name, const std::string& help, const Labels& labels, double value);
  /// In seconds. `total_ns`: the sum of all.
  void latency(const std::string& name, const std::string& help, const Labels& labels,
               const LatencyHistogram& histogram, std::uint64_t total_ns);

  std::string text() const;
  static constexpr const char* kContentType = "text/plain; version=0.0.4; charset=utf-8";

 private:
  prometheus::ClientMetric& sample(const std::string& name, const std::string& help,
                                   prometheus::MetricType type, const Labels& labels);

  std::vector<prometheus::MetricFamily> families_;
  std::map<std::string, std::size_t> index_;
};

}  // namespace polder
