// SPDX-License-Identifier: GPL-3.0-or-later
// The world of one process, as a bundle: whatever a component takes from outside, it takes from here. The
// production world is made in each main(); the simulation makes one per simulated node.
#pragma once

namespace polder {

class Clock;
class Disk;
class HlcClock;
class Random;
class Transport;
class Workers;

/// References outlive everything that was given them.
struct Seams {
  Clock& clock;
  Random& random;
  Disk& disk;
  Transport& transport;
  Workers& workers;
  HlcClock& hlc;
};

}  // namespace polder
