// SPDX-License-Identifier: GPL-3.0-or-later
#include "tools/polderd/metrics_page.h"

#include <prometheus/text_serializer.h>

#include <sstream>

namespace polder {

prometheus::ClientMetric& MetricsPage::sample(const std::string& name, const std::string& help,
                                              prometheus::MetricType type, const Labels& labels) {
  auto [at, fresh] = index_.try_emplace(name, families_.size());
  if (fresh) {
    auto& family = families_.emplace_back();
    family.name = name;
    family.help = help;
    family.type = type;
  }
  auto& metric = families_[at->second].metric.emplace_back();
  for (const auto& [label, value] : labels) metric.label.push_back({label, value});
  return metric;
}

void MetricsPage::gauge(const std::string& name, const std::string& help, const Labels& labels,
                        double value) {
  sample(name, help, prometheus::MetricType::Gauge, labels).gauge.value = value;
}

void MetricsPage::counter(const std::string& name, const std::string& help, const Labels& labels,
                          double value) {
  sample(name, help, prometheus::MetricType::Counter, labels).counter.value = value;
}

void MetricsPage::latency(const std::string& name, const std::string& help, const Labels& labels,
                          const LatencyHistogram& histogram, std::uint64_t total_ns) {
  auto& into = sample(name, help, prometheus::MetricType::Histogram, labels).histogram;
  std::uint64_t cumulative = 0;
  // The last bucket has no limit: it is the +Inf that the serializer adds from sample_count.
  for (std::size_t i = 0; i + 1 < LatencyHistogram::kSize; ++i) {
    cumulative += histogram.counts[i];
    into.bucket.push_back({cumulative, static_cast<double>(LatencyHistogram::limit(i)) / 1e9});
  }
  into.sample_count = cumulative + histogram.counts.back();
  into.sample_sum = static_cast<double>(total_ns) / 1e9;
}

std::string MetricsPage::text() const {
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, families_);
  return out.str();
}

}  // namespace polder
