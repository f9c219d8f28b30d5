// SPDX-License-Identifier: Apache-2.0
// Processes, identities, limits, scheduling.
#include <linux/capability.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/times.h>
#include <sys/utsname.h>

#include "newer.h"
#include "say.h"

static const char *self;

static void who(void) {
  unsigned a = 1, b = 2, c = 3;
  line("getpid is gettid %d", RAW(getpid) == RAW(gettid));
  OK(getppid);
  line("own group %d", RAW(getpgid, 0) == RAW(getpgrp));
  OK(getsid, 0);
  DO(getpgid, 999999999);
  DO(getuid);
  DO(geteuid);
  DO(getgid);
  DO(getegid);
  DO(getresuid, &a, &b, &c);
  line("uids %u %u %u", a, b, c);
  DO(getresgid, &a, &b, &c);
  line("gids %u %u %u", a, b, c);
  unsigned groups[256];
  OK(getgroups, 256, groups);
  DO(getgroups, -1, groups);
}

static void become(void) {
  unsigned groups[2] = {5, 6};
  OK(setgroups, 2, groups);
  DO(setresgid, 10, 10, 0);
  DO(setregid, 10, 0);
  DO(setgid, 12);
  DO(setfsgid, 12);
  DO(setfsgid, -1);
  DO(setresuid, 0, 1000, 0);
  DO(setfsuid, 1000);
  DO(setreuid, 0, 0);
  DO(setuid, 1001);
  DO(setuid, 0);
  DO(geteuid);
  OK(setsid);
  OK(setsid);
  DO(setpgid, 0, 0);
  // Another user's machine, which finds nothing that was remembered for this one.
  char *argv[] = {"true", NULL}, *envp[] = {NULL};
  DO(execve, "/bin/true", argv, envp);
}

static void session(void) {
  DO(setpgid, 0, 0);
  DO(setsid);
  DO(vhangup);
}

static void capabilities(void) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2];
  DO(capget, &header, data);
  data[0].effective &= ~1u;
  DO(capset, &header, data);
  header.version = 1;
  DO(capget, &header, NULL);
  line("version %x", header.version);
}

static void system_facts(void) {
  struct utsname name;
  struct sysinfo info;
  struct rusage usage;
  struct tms times;
  unsigned cpu = 99999, node = 99999;
  DO(uname, &name);
  line("system %s machine %s", name.sysname, name.machine);
  DO(sysinfo, &info);
  line("memory %d", info.totalram > 0);
  DO(getrusage, RUSAGE_SELF, &usage);
  DO(getrusage, 77, &usage);
  OK(times, &times);
  DO(getcpu, &cpu, &node, NULL);
  line("cpu %d", cpu < 4096);
  unsigned char random[16] = {0};
  DO(getrandom, random, 16, 0);
  DO(getrandom, random, 16, 0xff);
  OK(syslog, 10, NULL, 0);
  OK(sysfs, 3);
  char text[64];
  OK(sysfs, 2, 0, text);
  DO(sysfs, 1, "no such file system");
}

static void limits_and_priorities(void) {
  struct rlimit limit = {10, 20}, old;
  DO(setrlimit, RLIMIT_CORE, &limit);
  DO(getrlimit, RLIMIT_CORE, &old);
  line("core %lu %lu", (unsigned long)old.rlim_cur, (unsigned long)old.rlim_max);
  DO(prlimit64, 0, RLIMIT_CORE, NULL, &old);
  DO(prlimit64, 0, 99, NULL, &old);
  DO(getpriority, PRIO_PROCESS, 0);
  DO(setpriority, PRIO_PROCESS, 0, 5);
  DO(getpriority, PRIO_PROCESS, 0);
  DO(ioprio_get, 1, 0);
  DO(ioprio_set, 1, 0, (2 << 13) | 5);
  DO(ioprio_get, 1, 0);
}

static void scheduling(void) {
  struct sched_param param = {0};
  struct { uint32_t size, policy; uint64_t flags; int32_t nice; uint32_t priority; uint64_t more[3]; uint32_t util[2]; } attr = {0};
  struct timespec ts;
  unsigned long mask[128] = {0};
  DO(sched_yield);
  DO(sched_getscheduler, 0);
  DO(sched_getparam, 0, &param);
  DO(sched_setparam, 0, &param);
  DO(sched_setscheduler, 0, SCHED_BATCH, &param);
  DO(sched_getscheduler, 0);
  DO(sched_setscheduler, 0, SCHED_OTHER, &param);
  DO(sched_get_priority_max, SCHED_FIFO);
  DO(sched_get_priority_min, SCHED_FIFO);
  DO(sched_get_priority_min, 99);
  DO(sched_rr_get_interval, 0, &ts);
  DO(sched_getattr, 0, &attr, sizeof attr, 0);
  DO(sched_setattr, 0, &attr, 0);
  OK(sched_getaffinity, 0, sizeof mask, mask);
  DO(sched_setaffinity, 0, sizeof mask, mask);
  DO(sched_setaffinity, 0, 8, (unsigned long[1]){0});
  OK(membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
  DO(membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
  DO(membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
}

static void options(void) {
  char name[16] = "";
  int value = -1;
  DO(prctl, PR_SET_NAME, "newname");
  DO(prctl, PR_GET_NAME, name);
  line("name '%s'", name);
  DO(prctl, PR_SET_PDEATHSIG, SIGUSR1);
  DO(prctl, PR_GET_PDEATHSIG, &value);
  line("signal %d", value);
  DO(prctl, PR_GET_DUMPABLE);
  DO(prctl, PR_SET_DUMPABLE, 0);
  DO(prctl, PR_GET_DUMPABLE);
  DO(prctl, PR_SET_DUMPABLE, 1);
  DO(prctl, PR_SET_TIMERSLACK, 1000);
  DO(prctl, PR_GET_TIMERSLACK);
  DO(prctl, PR_SET_CHILD_SUBREAPER, 1);
  DO(prctl, PR_GET_CHILD_SUBREAPER, &value);
  line("subreaper %d", value);
  DO(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  DO(prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
  DO(prctl, PR_CAPBSET_READ, 0);
  DO(prctl, PR_SET_KEEPCAPS, 1);
  DO(prctl, PR_GET_KEEPCAPS);
  DO(prctl, 0x7fffffff, 0);
  DOR("no memory there", prctl, PR_GET_NAME, 8);
  line("page size %lu", getauxval(6));
  DO(personality, 0xffffffff);
  DO(personality, ADDR_NO_RANDOMIZE);
  DO(personality, 0xffffffff);
  DO(personality, 0);
  DO(arch_prctl, 0x9999, 0);
  unsigned long fs = 0;
  DO(arch_prctl, 0x1003 /* ARCH_GET_FS */, &fs);
  line("fs set %d", fs != 0);
}

/// Options that say how the system treats the process.
static void treatment(void) {
  int value = -1;
  void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  DO(prctl, PR_SET_VMA, PR_SET_VMA_ANON_NAME, page, 4096, "named");
  DO(prctl, PR_SET_VMA, 1, page, 4096, "named");
  DO(prctl, PR_GET_TIMING);
  DO(prctl, PR_SET_TIMING, PR_TIMING_STATISTICAL);
  DO(prctl, PR_GET_TSC, &value);
  line("time-stamp counter %d", value);
  DO(prctl, PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0);
  DO(prctl, PR_MCE_KILL_GET, 0, 0, 0, 0);
  DO(prctl, PR_SET_THP_DISABLE, 1, 0, 0, 0);
  DO(prctl, PR_GET_THP_DISABLE, 0, 0, 0, 0);
  DO(prctl, PR_SET_IO_FLUSHER, 1, 0, 0, 0);
  DO(prctl, PR_GET_IO_FLUSHER, 0, 0, 0, 0);
  DO(prctl, 66 /* PR_GET_MDWE */, 0, 0, 0, 0);
  DO(prctl, 67 /* PR_SET_MEMORY_MERGE */, 1, 0, 0, 0);
  DO(prctl, 68 /* PR_GET_MEMORY_MERGE */, 0, 0, 0, 0);
}

/// Options that say what the process may do.
static void rights(void) {
  DO(prctl, PR_SET_PTRACER, 0);
  DO(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_CHOWN, 0, 0);
  DO(prctl, PR_GET_SECUREBITS);
  DO(prctl, PR_SET_SECUREBITS, 1);
  DO(prctl, PR_GET_SECUREBITS);
  DO(prctl, PR_CAPBSET_DROP, CAP_CHOWN);
  DO(prctl, PR_CAPBSET_READ, CAP_CHOWN);
  // km's filter shows in the answers.
  OK(prctl, PR_GET_SECCOMP);
  OK(prctl, PR_GET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, 0, 0, 0);
  DOR("of nothing", prctl, PR_SET_SPECULATION_CTRL, 99, PR_SPEC_ENABLE, 0, 0);
}

static void children(void) {
  int status = 0;
  siginfo_t info = {0};
  struct rusage usage;
  pid_t pid = RAW(fork);
  if (pid == 0) _exit(7);
  line("wait4 %d", RAW(wait4, pid, &status, 0, &usage) == pid);
  line("status %d", WEXITSTATUS(status));
  pid = RAW(clone, SIGCHLD, 0, 0, 0, 0);
  if (pid == 0) RAW(exit, 8);
  DO(waitid, P_PID, pid, &info, WEXITED | WNOWAIT, NULL);
  line("code %d status %d pid %d", info.si_code, info.si_status, info.si_pid == pid);
  int fd = OK(pidfd_open, pid, 0);
  DO(waitid, 3 /* P_PIDFD */, fd, &info, WEXITED, NULL);
  DO(pidfd_send_signal, fd, 0, NULL, 0);
  close(fd);
  DO(wait4, -1, &status, WNOHANG, NULL);
  pid = vfork();
  if (pid == 0) RAW(exit_group, 9);
  line("vfork %d", RAW(wait4, pid, &status, 0, NULL) == pid);
  line("status %d", WEXITSTATUS(status));
  struct clone_args args = {.exit_signal = SIGCHLD};
  pid = RAW(clone3, &args, sizeof args);
  if (pid == 0) _exit(10);
  line("clone3 %d", pid > 0 && RAW(wait4, pid, &status, 0, NULL) == pid);
  if (pid > 0) line("status %d", WEXITSTATUS(status));
  line("kcmp %ld", RAW(kcmp, getpid(), getpid(), 0 /* KCMP_FILE */, 1, 1));
  DO(process_mrelease, 1, 0);
}

static void programs(void) {
  char *argv[] = {"renamed", "again", NULL}, *envp[] = {"WHO=me", NULL};
  DO(execve, "/no/such/program", argv, envp);
  DO(execve, "/etc/passwd", argv, envp);
  pid_t pid = fork();
  if (pid == 0) {
    RAW(execve, self, argv, envp);
    _exit(90);
  }
  line("execve status %d", wait_for(pid));
  pid = fork();
  if (pid == 0) {
    argv[1] = "through-fd";
    int fd = open(self, O_RDONLY);
    RAW(execveat, fd, "", argv, envp, AT_EMPTY_PATH);
    _exit(91);
  }
  line("execveat status %d", wait_for(pid));
}

static void threads(void) {
  int word = 0;
  void *head = NULL;
  size_t length = 0;
  line("set_tid_address %d", RAW(set_tid_address, &word) == RAW(gettid));
  DO(get_robust_list, 0, &head, &length);
  line("length %zu set %d", length, head != NULL);
  DO(set_robust_list, head, length);
  DO(set_robust_list, head, 5);
  DO(unshare, 0);
  DO(unshare, CLONE_FS);
  DO(setns, 1, 0);
  DO(restart_syscall);
}

int main(int argc, char **argv) {
  self = "/proc/self/exe";
  if (argc == 2) {
    line("argv '%s' '%s' WHO=%s", argv[0], argv[1], getenv("WHO"));
    return 33;
  }
  who();
  in_child("become", become);
  in_child("session", session);
  in_child("capabilities", capabilities);
  in_child("limits", limits_and_priorities);
  system_facts();
  scheduling();
  in_child("options", options);
  in_child("treatment", treatment);
  in_child("rights", rights);
  children();
  programs();
  threads();
  DO(acct, "/no/such/file");
  DO(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  DO(landlock_create_ruleset, NULL, 0, 0xff);
  DO(landlock_add_rule, -1, 1, NULL, 0);
  DO(landlock_restrict_self, -1, 0);
  unsigned size = 0;
  OK(lsm_list_modules, NULL, &size, 0);
  size = 0;
  OK(lsm_get_self_attr, 100, NULL, &size, 0);
  DO(lsm_set_self_attr, 100, NULL, 0, 0);
  OK(listns, NULL, NULL, 0, 0);
  return 5;
}
