// SPDX-License-Identifier: Apache-2.0
// What the original monitor got wrong, and what shows that this one does not: a line of a payload that features.test.ts
// compares with its native run, or a test by its title. known_bugs.test.ts checks that each is there.

export type Evidence =
  | { readonly payload: string; readonly line: string }
  | { readonly file: string; readonly title: string };

export interface KnownBug {
  readonly problem: string;
  readonly evidence: Evidence;
}

const shows = (problem: string, payload: string, line: string): KnownBug => ({
  problem,
  evidence: { payload, line },
});
const tests = (problem: string, file: string, title: string): KnownBug => ({
  problem,
  evidence: { file, title },
});

export const KNOWN_BUGS: readonly KnownBug[] = [
  shows("the red zone is overwritten by a system call", "contexts", "red zone across getpid"),
  shows("a kernel's clock pages are not expected", "vdso", "steps backwards in 200000 readings"),
  shows("poll: a negative descriptor is EBADF", "sockets", "poll"),
  shows("RLIMIT_NOFILE reads back as something else", "descriptors", "RLIMIT_NOFILE reads back"),
  shows("RLIMIT_NOFILE cannot be raised", "many_descriptors", "raised"),
  shows("descriptor 728 ends the monitor", "many_descriptors", "dup2 to 728"),
  shows("no more than 1024 descriptors", "many_descriptors", "descriptors at once"),
  shows("no descriptor left: not EMFILE", "many_descriptors", "accept"),
  shows("exec loses an open eventfd", "exec_state", "its count"),
  shows("exec loses an epoll set's members", "exec_state", "ready"),
  shows("execveat of a path ends the monitor", "exec_state", "execveat of a path"),
  shows("exec loses argv[0], or takes argc 0 for a huge number", "exec_state", "argc"),
  shows("exec finds out too late that a file is not executable", "exec_state", "not executable"),
  shows("exec finds out too late that a file is no program", "processes", "not a program"),
  shows("accept without room for an address is EFAULT", "signal_restart", "accept"),
  shows("MAP_FIXED_NOREPLACE is refused", "mappings", "NOREPLACE on a free page"),
  shows("hints are ignored", "mappings", "free hint"),
  shows("64 GiB cannot be reserved", "mappings", "64 GiB reserved"),
  shows("brk does not say that there is too little", "heap", "too much is refused"),
  shows("epoll: a number that is used again ends the monitor", "sockets", "add the reused number"),
  shows(
    "nine queued real-time signals end the monitor",
    "signal_masks",
    "real-time signals are queued in order",
  ),
  shows("SIGCONT to oneself ends the monitor", "deaths", "CONT"),
  shows("a push with a bad stack pointer ends the monitor", "traps", "push with rsp 16"),
  shows("an overflow trap is signal 0", "traps", "int 0x4 to 0x4"),
  shows("a stack fault is signal 0", "traps", "load by rbp"),
  shows("int1 ends the monitor", "traps", "int1"),
  shows("int3 ends the monitor", "traps", "int3"),
  shows("vectors 10 to 12 end the monitor", "traps", "int 0x5 to 0xff"),
  shows("selectors of a signal's frame become segment bases", "segments", "after a signal sent"),
  shows("the address of a fault depends on a decoder", "traps", "lock cmpxchg16b"),
  shows("sa_mask counts with SA_SIGINFO only", "traps", "sa_mask without SA_SIGINFO"),
  shows("SA_NODEFER is ignored", "signal_masks", "SA_NODEFER"),
  shows("SA_RESTART is ignored", "signal_restart", "read of a pipe"),
  shows(
    "a fault whose signal is blocked and pending repeats for ever",
    "traps",
    "a fault whose signal is blocked and pending",
  ),
  shows("FP state is lost over fork", "vectors", "a child inherits control words"),
  shows("FP state is lost over clone", "vectors", "a thread inherits control words"),
  shows("clone's thread pointer becomes the monitor's own", "segments", "CLONE_SETTLS without CLONE_THREAD"),
  shows("getcpu writes eight bytes into four", "buffers", "its neighbours"),
  shows("uname's failure is -1, whatever it is", "buffers", "uname into nothing"),
  shows("affinity is ignored", "buffers", "processors asked for and not given"),
  shows("no AT_HWCAP", "startup", "hwcap"),
  shows("time-stamp counters of threads are off", "buffers", "time-stamp counters of threads that are off"),
  shows("a thousand pieces overflow a stack", "buffers", "sendmsg of 1024"),
  shows("a buffer across two maps ends the monitor", "buffers", "read into two maps"),
  shows("a map that fails keeps its place", "buffers", "the place is free"),
  shows("the error of a failed map is overwritten", "buffers", "map of a directory"),
  shows("a signal during fork goes astray", "buffers", "children made under signals"),
  shows("/proc/self/maps shows the monitor", "proc_self", "lines of the monitor"),
  shows("/proc/self/status shows the monitor", "proc_self", "Pid is getpid()"),
  shows("/proc/self/stat shows the monitor", "proc_self", "name in stat"),
  shows("/proc/self/task shows the monitor", "proc_self", "tasks"),
  shows("/proc/self/environ shows the monitor", "proc_self", "environ begins as ours does"),
  tests(
    "-l is documented and not accepted",
    "test/programs/command_line.test.ts",
    "--log-to takes the payload's output, appending",
  ),
  tests(
    "--copyenv removes by prefix",
    "test/programs/command_line.test.ts",
    "the payload's environment: all, -e, -E",
  ),
  shows("shebang: a blank before the name", "scripts", "a blank before the name"),
  shows("shebang: blanks behind it", "scripts", "tabs and blanks"),
  shows("shebang: more than 512 bytes", "scripts", "a long argument, 513 bytes"),
  shows("shebang: scripts run by scripts", "scripts", "./s4"),
  shows("the payload may load control registers", "signal_codes", "read of cr3"),
  shows("the payload may load descriptor tables", "signal_codes", "lidt"),
  shows("the payload may write model-specific registers", "signal_codes", "wrmsr"),
  tests("--kill-unimpl-hcall is misnamed", "test/programs/command_line.test.ts", "--kill-unimpl-scall"),
  tests(
    "KM_EXEC_* variables are trusted",
    "test/programs/command_line.test.ts",
    "variables by which the original executed itself are the payload's and no more",
  ),
  tests(
    "the pointer to a hypercall's arguments is trusted",
    "test/programs/hypercalls.test.ts",
    "a block at nowhere",
  ),
  tests(
    "each map, fault and address searches a list",
    "test/native/address_space_test.cc",
    "a lookup does not go through a list",
  ),
  tests(
    "podman: what names the runtime depends on its name",
    "test/installer/merge.test.ts",
    "podman's drop-in is TOML that names the runtime, whatever the prefix",
  ),
  tests(
    "containerd: options of the runtimes are dropped",
    "test/installer/containerd.test.ts",
    "any other settings stay what they are",
  ),
  tests(
    "a slow client blocks the listener",
    "test/monitor/manage.test.ts",
    "half a request, and clients that come and go, keep nobody else waiting",
  ),
  tests(
    "a management socket is left behind",
    "test/monitor/manage.test.ts",
    "machines are found however they were started; dead names are removed",
  ),
  tests(
    "nothing lists the machines",
    "test/monitor/manage.test.ts",
    "kontain ps, stats, trace, logs and kill",
  ),
  tests(
    "host system calls are not filtered",
    "test/programs/safety.test.ts",
    "the filter is on, gains nothing back, and does not grow over fork and exec",
  ),
];

/** Bugs of parts that km does not have: nothing to show. */
export const NOT_THERE: readonly string[] = [
  "core dumps: early return, overrun, silent zeros, mask cut to 32 bits, no write-and-rename",
  "snapshots: retry, path buffer, reserved memory, versions, labels",
  "snapshots that wait for a request: its 1024th byte, the NUL of the answer, the listener's index",
  "snapshots with data (libkontain, Python, Java): getdata, putdata, live, take",
  "gdb: exit status, signals around fork",
  "kontain-gcc, a changed crun, a containerd shim, k8s-deploy: programs and engines are used as they are",
];
