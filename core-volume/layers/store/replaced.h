// SPDX-License-Identifier: GPL-3.0-or-later
// ReplacedName: a name that a transaction has taken from an object here and given to one of another set. Each
// set loses other moments at a power loss: where the new object is lost, this is all that knows whose the
// name was (core-volume/graph/reconcile.h). Noted before the name goes; forgotten when both sets' parts are
// stable.
#pragma once
#include "changelog/record/record.h"

namespace polder {

struct ReplacedName {
  Gfid gfid;  // had the name; one of this set
  EntryName name = {};
  Gfid by = {};  // got it
  TxId tx;
};

}  // namespace polder
