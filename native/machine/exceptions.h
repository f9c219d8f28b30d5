// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "native/machine/guest_thread.h"

namespace km {

/// Turns a CPU exception of the payload into what Linux makes of it: a repaired page or a signal.
void serve_exception(GuestThread& thread, const Exit& exit);

}  // namespace km
