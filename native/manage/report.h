// SPDX-License-Identifier: Apache-2.0
// What became of the monitor itself, for the program that launched it: a file of its own (--status-fd), out of the
// payload's reach, so that no exit status or text of a payload can be taken for a word of the monitor's.
//
// Lines: "started" when the payload's first instruction is next, "no-memory" when it was refused memory for the first
// time, "signal <n>" when it ends by an exit status that stands for a signal, "failed <status> <text>" when the monitor
// gives up.
#pragma once

#include <string>

namespace km {

/// Takes over descriptor `fd`. Returns 0 or -errno.
int report_to(int fd);

/// The payload is about to run.
void report_started();

/// The payload, or a forked child, got ENOMEM. Said once.
void report_no_memory();

/// The process ends with 128 + `signo`, being pid 1 of a pid namespace, which no default action ends.
void report_signal(int signo);

/// The monitor ends with exit status `status` (guest_thread.h) because of `text`. Async-signal-safe; says nothing in a
/// forked child, whose end its parent learns by wait(2).
void report_failure(int status, const char* text);

/// The descriptor that the next program of this process goes on with after an exec, or -1 when there is none.
int report_descriptor();

}  // namespace km
