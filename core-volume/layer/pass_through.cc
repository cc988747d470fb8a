// SPDX-License-Identifier: GPL-3.0-or-later
#include "core-volume/layer/file_ops.h"
