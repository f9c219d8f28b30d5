// SPDX-License-Identifier: Apache-2.0
// What a program keeps across execve(2) and what it does not: event descriptors with their state, interest lists, masks,
// pending signals, timers; and execveat(2), argument vectors that are empty, programs that cannot be started. The
// program starts itself again with a role as its first argument (in the environment where there are no arguments).
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include "report.h"

static char self[4096];
extern char** environ;

static void report_end(const char* what, pid_t child) {
  int status = -1;
  waitpid(child, &status, 0);
  show(what, "%s %d", WIFEXITED(status) ? "exited" : "killed", WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

static pid_t forked(void) {
  fflush(stdout);
  const pid_t child = fork();
  must(child >= 0, "fork");
  return child;
}

static void in_new_program(const char* role) {
  const pid_t child = forked();
  if (child == 0) {
    char* const args[] = {"exec_state", (char*)role, NULL};
    execv(self, args);
    _exit(99);
  }
  report_end(role, child);
}

// Numbers the two halves agree on.
enum { kSet = 40, kEvent, kSemaphore, kTimer, kSignals, kWatch, kSocket, kOther, kMemory, kClosing, kLocked, kClosed };

static void move_to(int fd, int number) {
  must(fd >= 0 && dup3(fd, number, 0) == number, "dup3");
  close(fd);
}

static void watch(int fd, uint32_t events) {
  struct epoll_event want = {.events = events, .data.u64 = 0xabcd000000000000 | (unsigned)fd};
  result("add", epoll_ctl(kSet, EPOLL_CTL_ADD, fd, &want));
}

static void open_everything(void) {
  move_to(epoll_create1(0), kSet);
  move_to(eventfd(5, EFD_NONBLOCK), kEvent);
  move_to(eventfd(3, EFD_NONBLOCK | EFD_SEMAPHORE), kSemaphore);
  move_to(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK), kTimer);
  const struct itimerspec soon = {.it_value.tv_nsec = 1, .it_interval.tv_sec = 1000};
  must(timerfd_settime(kTimer, 0, &soon, NULL) == 0, "timerfd_settime");
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  must(sigprocmask(SIG_BLOCK, &set, NULL) == 0, "sigprocmask");
  move_to(signalfd(-1, &set, SFD_NONBLOCK), kSignals);
  must(sigqueue(getpid(), SIGUSR2, (union sigval){.sival_int = 7}) == 0, "sigqueue");
  move_to(inotify_init1(IN_NONBLOCK), kWatch);
  must(inotify_add_watch(kWatch, ".", IN_CREATE) == 1, "inotify_add_watch");
  must(close(open("created", O_CREAT | O_WRONLY, 0600)) == 0, "created");
  int pair[2];
  must(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0, "socketpair");
  move_to(pair[0], kSocket);
  move_to(pair[1], kOther);
  must(send(kOther, "queued", 6, 0) == 6, "send");
  move_to(memfd_create("kept", MFD_ALLOW_SEALING), kMemory);
  must(write(kMemory, "in memory", 9) == 9 && fcntl(kMemory, F_ADD_SEALS, F_SEAL_GROW) == 0, "memfd");
  must(dup3(kEvent, kClosing, O_CLOEXEC) == kClosing, "dup3");
  move_to(open("created", O_RDWR), kLocked);
  must(flock(kLocked, LOCK_EX) == 0, "flock");
  // In the set, but closed by the exec: the last descriptor of its file, so it leaves the set.
  must(dup3(open("/dev/zero", O_RDONLY), kClosed, O_CLOEXEC) == kClosed, "dup3");
}

static void keep_descriptors(void) {
  const pid_t child = forked();
  if (child == 0) {
    open_everything();
    watch(kEvent, EPOLLIN | EPOLLET);
    watch(kSemaphore, EPOLLOUT);
    watch(kTimer, EPOLLIN);
    watch(kSignals, EPOLLIN);
    watch(kSocket, EPOLLIN | EPOLLONESHOT);
    watch(kWatch, EPOLLIN);
    fflush(stdout);
    char* const args[] = {"exec_state", "descriptors", NULL};
    execv(self, args);
    _exit(99);
  }
  report_end("descriptors", child);
  unlink("created");
}

static void show_set(void) {
  struct epoll_event got[16];
  const int count = epoll_wait(kSet, got, 16, 2000);
  show("ready", "%d", count);
  for (int number = kSet; number <= kClosed; number++) {
    for (int i = 0; i < count; i++)
      if ((got[i].data.u64 & 0xffff) == (unsigned)number) show("event", "%d: %x data %lx", number, got[i].events, (unsigned long)got[i].data.u64);
  }
}

static void descriptors(void) {
  for (int fd = kSet; fd <= kClosed; fd++) printf("%d: flags %d %s\n", fd, fcntl(fd, F_GETFD), fcntl(fd, F_GETFD) < 0 ? strerrorname_np(errno) : "");
  show_set();
  uint64_t value = 0;
  result("eventfd", read(kEvent, &value, 8));
  show("its count", "%lu", value);
  result("eventfd again", read(kEvent, &value, 8));
  result("semaphore", read(kSemaphore, &value, 8));
  show("its step", "%lu", value);
  result("timer", read(kTimer, &value, 8));
  show("expirations", "%lu", value);
  struct itimerspec left;
  timerfd_gettime(kTimer, &left);
  show("interval", "%ld", (long)left.it_interval.tv_sec);
  struct signalfd_siginfo info = {0};
  result("signalfd", read(kSignals, &info, sizeof info));
  show("signal", "%u value %d", info.ssi_signo, info.ssi_int);
  char text[512] __attribute__((aligned(8))) = "";
  const long n = read(kWatch, text, sizeof text);
  const struct inotify_event* event = (void*)text;
  show("inotify", "%d %s", n > 0, n > 0 ? event->name : "");
  memset(text, 0, sizeof text);
  result("socket", recv(kSocket, text, sizeof text, MSG_DONTWAIT));
  show("message", "%s", text);
  result("memory file", pread(kMemory, text, 9, 0));
  show("text, seals", "%.9s %x", text, fcntl(kMemory, F_GET_SEALS));
  const int again = open("created", O_RDWR);
  result("flock of another", flock(again, LOCK_EX | LOCK_NB));
  // One shot was used up; another event on a descriptor of the set, and the set lives on.
  must(send(kOther, "x", 1, 0) == 1, "send");
  show_set();
  struct epoll_event want = {.events = EPOLLIN, .data.u64 = kSocket};
  result("modify a member", epoll_ctl(kSet, EPOLL_CTL_MOD, kSocket, &want));
  result("add a member again", epoll_ctl(kSet, EPOLL_CTL_ADD, kTimer, &want));
  result("remove a member", epoll_ctl(kSet, EPOLL_CTL_DEL, kTimer, NULL));
  show_set();
}

static void on_signal(int signo) { (void)signo; }

static void keep_process(void) {
  const pid_t child = forked();
  if (child == 0) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGRTMIN + 2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    for (int i = 0; i < 12; i++) must(sigqueue(getpid(), SIGRTMIN + 2, (union sigval){.sival_int = i}) == 0, "sigqueue");
    raise(SIGUSR1);
    signal(SIGHUP, SIG_IGN);
    signal(SIGALRM, SIG_IGN);
    signal(SIGTERM, on_signal);
    static char stack[16384];
    const stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    sigaltstack(&alternate, NULL);
    const struct itimerval later = {.it_value.tv_sec = 1000, .it_interval.tv_sec = 5};
    setitimer(ITIMER_REAL, &later, NULL);
    timer_t timer;
    must(timer_create(CLOCK_MONOTONIC, &(struct sigevent){.sigev_notify = SIGEV_NONE}, &timer) == 0, "timer_create");
    umask(0137);
    const struct rlimit limit = {333, 444};
    setrlimit(RLIMIT_NOFILE, &limit);
    prctl(PR_SET_NAME, "before");
    prctl(PR_SET_PDEATHSIG, SIGUSR1);
    prctl(PR_SET_KEEPCAPS, 1);
    must(setpriority(PRIO_PROCESS, 0, 19) == 0 && chdir("/") == 0, "setpriority");
    if (fork() == 0) _exit(21);  // taken by the program after this one
    fflush(stdout);
    char* const args[] = {"exec_state", "process", NULL};
    execv(self, args);
    _exit(99);
  }
  report_end("process", child);
}

static void process(void) {
  sigset_t set, pending;
  sigprocmask(SIG_SETMASK, NULL, &set);
  sigpending(&pending);
  show("blocked", "USR1 %d USR2 %d", sigismember(&set, SIGUSR1), sigismember(&set, SIGUSR2));
  show("pending", "USR1 %d real-time %d", sigismember(&pending, SIGUSR1), sigismember(&pending, SIGRTMIN + 2));
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, SIGRTMIN + 2);
  siginfo_t info;
  int in_order = 0;
  for (int i = 0; i < 20; i++) {
    if (sigtimedwait(&one, &info, &(struct timespec){0, 0}) < 0) break;
    in_order += info.si_value.sival_int == i;
  }
  show("queued, in order", "%d", in_order);
  struct sigaction hup, term;
  sigaction(SIGHUP, NULL, &hup);
  sigaction(SIGTERM, NULL, &term);
  show("ignored stays, handled does not", "%d %d", hup.sa_handler == SIG_IGN, term.sa_handler == SIG_DFL);
  stack_t alternate;
  sigaltstack(NULL, &alternate);
  show("alternate stack", "flags %d", alternate.ss_flags);
  struct itimerval left;
  getitimer(ITIMER_REAL, &left);
  show("interval timer", "%d, interval %ld", left.it_value.tv_sec > 900, (long)left.it_interval.tv_sec);
  result("POSIX timer", syscall(SYS_timer_gettime, 0, &(struct itimerspec){0}));
  show("umask", "%o", umask(0));
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  show("limit", "%lu %lu", limit.rlim_cur, limit.rlim_max);
  char name[16] = "", directory[64] = "";
  prctl(PR_GET_NAME, name);
  int death = 0;
  prctl(PR_GET_PDEATHSIG, &death);
  show("name", "%s, death signal %d, keep capabilities %d", name, death, prctl(PR_GET_KEEPCAPS));
  show("priority", "%d in %s", getpriority(PRIO_PROCESS, 0), getcwd(directory, sizeof directory));
  int status = 0;
  check(waitpid(-1, &status, 0) > 0 && WEXITSTATUS(status) == 21, "a child from before is waited for");
}

// Linux gives a program without arguments an empty one (since 5.18).
static void no_arguments(void) {
  char* const none[] = {NULL};
  char* const role[] = {"EXEC_STATE_ROLE=empty", NULL};
  for (int i = 0; i < 2; i++) {
    const pid_t child = forked();
    if (child == 0) {
      execve(self, i == 0 ? none : hidden(NULL), role);
      _exit(99);
    }
    report_end(i == 0 ? "argc 0" : "no vector", child);
  }
  const pid_t child = forked();
  if (child == 0) {
    char* const args[] = {"exec_state", "vectors", NULL};
    execve(self, args, NULL);
    _exit(99);
  }
  report_end("no environment", child);
}

static void execveat_as(const char* what, int at, const char* path, int flags) {
  const pid_t child = forked();
  if (child == 0) {
    char* const args[] = {"by execveat", "vectors", NULL};
    char* const env[] = {"ONE=1", NULL};
    syscall(SYS_execveat, at, path, args, env, flags);
    show(what, "%s", strerrorname_np(errno));
    fflush(stdout);
    _exit(0);
  }
  report_end(what, child);
}

static void execveats(const char* directory) {
  const int at = open(directory, O_PATH | O_DIRECTORY), program = open(self, O_RDONLY), path_only = open(self, O_PATH);
  execveat_as("execveat of a path", AT_FDCWD, self, 0);
  execveat_as("execveat beside a directory", at, "linked", 0);
  execveat_as("execveat of a full path and a closed descriptor", 999, self, 0);
  execveat_as("execveat of a relative path and a closed descriptor", 999, "linked", 0);
  execveat_as("execveat of a link, not followed", at, "linked", AT_SYMLINK_NOFOLLOW);
  execveat_as("execveat of a descriptor", program, "", AT_EMPTY_PATH);
  execveat_as("execveat of an O_PATH descriptor", path_only, "", AT_EMPTY_PATH);
  execveat_as("execveat of a descriptor without AT_EMPTY_PATH", program, "", 0);
  execveat_as("execveat with unknown flags", AT_FDCWD, self, 0x40000000);
  execveat_as("execveat of a directory", at, "", AT_EMPTY_PATH);
  execveat_as("execveat of a script beside a directory", at, "script", 0);
  close(at);
  close(program);
  close(path_only);
}

static void exec_error(const char* what, const char* path, char* const args[]) {
  const pid_t child = forked();
  if (child == 0) {
    execve(path, args, environ);
    show(what, "%s", strerrorname_np(errno));
    fflush(stdout);
    _exit(0);
  }
  report_end(what, child);
}

// Linux 6.14 can be asked (AT_EXECVE_CHECK), before that the kernel alone knows who has a program open for writing, and
// km starts it.
static int can_be_asked(void) {
  struct utsname name;
  int major = 0, minor = 0;
  return uname(&name) == 0 && sscanf(name.release, "%d.%d", &major, &minor) == 2 && (major > 6 || (major == 6 && minor >= 14));
}

static void checks(const char* what, int at, const char* path, int flags) {
  char* const none[] = {NULL};
  if (can_be_asked()) result(what, syscall(SYS_execveat, at, path, none, none, flags | 0x10000));
}

static void asked(void) {
  checks("may be executed", AT_FDCWD, self, 0);
  checks("a script may be executed", AT_FDCWD, "script", 0);
  checks("a directory may not", AT_FDCWD, "/tmp", 0);
  checks("nor what is not there", AT_FDCWD, "/no/such/file", 0);
  const int program = open(self, O_RDONLY);
  checks("by descriptor", program, "", AT_EMPTY_PATH);
  close(program);
}

static void errors(void) {
  char* const plain[] = {"x", "vectors", NULL};
  const int writer = open("busy", O_CREAT | O_WRONLY, 0755), program = open(self, O_RDONLY);
  must(writer >= 0 && program >= 0, "open");
  struct stat st;
  fstat(program, &st);
  must(sendfile(writer, program, NULL, (size_t)st.st_size) == st.st_size, "sendfile");
  if (can_be_asked()) exec_error("open for writing", "busy", plain);
  checks("what is open for writing", AT_FDCWD, "busy", 0);
  close(writer);
  chmod("busy", 0644);
  checks("not executable, asked", AT_FDCWD, "busy", 0);
  exec_error("not executable", "busy", plain);
  chmod("busy", 0755);
  truncate("busy", 100);
  exec_error("a header and no more", "busy", plain);
  truncate("busy", 0);
  exec_error("empty", "busy", plain);
  char* const huge = malloc(200 << 10);
  memset(huge, 'x', 200 << 10);
  huge[(200 << 10) - 1] = 0;
  char* const long_one[] = {"x", huge, NULL};
  exec_error("an argument of 200 KiB", self, long_one);
  static char* many[40];
  huge[100 << 10] = 0;
  for (int i = 0; i < 39; i++) many[i] = huge;
  const struct rlimit small = {8 << 20, 8 << 20};
  setrlimit(RLIMIT_STACK, &small);
  exec_error("4 MB of arguments", self, many);
  result("execve of nothing", execve(hidden(NULL), plain, environ));
  unlink("busy");
  close(program);
  free(huge);
}

static void vectors(int argc, char** argv) {
  int count = 0;
  while (environ && environ[count]) count++;
  show("argc", "%d, argv[0] '%s', environment %d", argc, argv[0] ? argv[0] : "(null)", count);
}

int main(int argc, char** argv) {
  const char* const role = argc > 1 ? argv[1] : getenv("EXEC_STATE_ROLE");
  if (role) {
    if (strcmp(role, "descriptors") == 0) descriptors();
    if (strcmp(role, "process") == 0) process();
    if (strcmp(role, "vectors") == 0 || strcmp(role, "empty") == 0) vectors(argc, argv);
    if (strcmp(role, "plain") == 0) show("started", "again");
    return report_failures;
  }
  must(readlink("/proc/self/exe", self, sizeof self - 1) > 0, "readlink");
  char directory[] = "/tmp/km-exec-state-XXXXXX";
  must(mkdtemp(directory) != NULL && chdir(directory) == 0 && symlink(self, "linked") == 0, "mkdtemp");
  const int script = open("script", O_CREAT | O_WRONLY, 0755);
  must(dprintf(script, "#!%s vectors\n", self) > 0 && close(script) == 0, "script");
  in_new_program("plain");
  keep_descriptors();
  keep_process();
  no_arguments();
  execveats(directory);
  asked();
  errors();
  unlink("linked");
  unlink("script");
  result("everything removed", rmdir(directory));
  return finish();
}
