// SPDX-License-Identifier: Apache-2.0
// New processes by every door: fork, vfork, clone, posix_spawn, system, popen, execve and its errors. The program runs
// itself again as "show" (prints what it was given) and as a few other roles.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "report.h"

extern char** environ;
static char self[4096];

static int is_open(int fd) { return fcntl(fd, F_GETFD) >= 0; }

// What a program sees of its caller's wishes.
static int role_show(int argc, char** argv) {
  printf("  argv0 '%s'", argv[0]);
  for (int i = 2; i < argc; i++) printf(" '%s'", argv[i]);
  printf("\n  env");
  for (char** e = environ; *e; e++) {
    if (strncmp(*e, "KEEP", 4) == 0) printf(" %s", *e);
  }
  sigset_t mask;
  sigprocmask(SIG_SETMASK, NULL, &mask);
  struct sigaction usr1, usr2;
  sigaction(SIGUSR1, NULL, &usr1);
  sigaction(SIGUSR2, NULL, &usr2);
  printf("\n  fds %d%d%d, USR1 %s, USR2 %s, HUP blocked %d\n", is_open(20), is_open(21), is_open(22), usr1.sa_handler == SIG_IGN ? "ignored" : "default",
         usr2.sa_handler == SIG_IGN ? "ignored" : "default", sigismember(&mask, SIGHUP));
  char link[4096] = "";
  if (readlink("/proc/self/exe", link, sizeof link - 1) <= 0) return 9;
  printf("  exe is ours %d\n", strcmp(link, self) == 0);
  return 42;
}

static int reap(pid_t child) {
  int status = -1;
  if (waitpid(child, &status, 0) != child) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void nothing(int signo) { (void)signo; }

static void exec_identity(void) {
  const int keep = open("/dev/null", O_RDONLY), drop = open("/dev/null", O_RDONLY | O_CLOEXEC);
  dup2(keep, 20);
  dup3(drop, 21, O_CLOEXEC);
  dup2(keep, 22);
  fcntl(22, F_SETFD, FD_CLOEXEC);
  close(keep);
  close(drop);
  signal(SIGUSR1, SIG_IGN);
  signal(SIGUSR2, nothing);
  sigset_t hup;
  sigemptyset(&hup);
  sigaddset(&hup, SIGHUP);
  sigprocmask(SIG_BLOCK, &hup, NULL);
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    char* args[] = {"a name of its own", "show", "two words", "", "x=y", NULL};
    char* env[] = {"KEEP=1", "KEEP2=with = sign", "DROPPED=1", NULL};
    execve(self, args, env);
    _exit(99);
  }
  show("execve", "%d", reap(child));
  sigprocmask(SIG_UNBLOCK, &hup, NULL);
  signal(SIGUSR1, SIG_DFL);
  close(20);
  close(21);
  close(22);
}

static void exec_failure(const char* what, const char* path) {
  char* args[] = {"x", NULL};
  execve(path, args, environ);
  show(what, "%s", strerrorname_np(errno));
}

static void exec_errors(void) {
  char text[] = "/tmp/km-exec-XXXXXX", script[] = "/tmp/km-exec-XXXXXX", elf[] = "/tmp/km-exec-XXXXXX";
  int fd = mkstemp(text);
  must(write(fd, "just text\n", 10) == 10, "write");
  fchmod(fd, 0755);
  close(fd);
  fd = mkstemp(script);
  must(write(fd, "#!/no/such/interpreter\n", 23) == 23, "write");
  fchmod(fd, 0755);
  close(fd);
  fd = mkstemp(elf);
  must(write(fd, "\177ELF\1\1\1", 7) == 7, "write");
  fchmod(fd, 0755);
  close(fd);
  exec_failure("no such file", "/no/such/program");
  exec_failure("a directory", "/tmp");
  exec_failure("not a program", text);
  exec_failure("interpreter missing", script);
  exec_failure("half an ELF header", elf);
  chmod(text, 0644);
  exec_failure("not executable", text);
  exec_failure("below a file", "/etc/passwd/x");
  exec_failure("empty name", "");
  char* args[] = {"x", NULL};
  execve(hidden((char*)8), args, environ);
  show("bad path pointer", "%s", strerrorname_np(errno));
  execve(self, hidden((char**)8), environ);
  show("bad argv pointer", "%s", strerrorname_np(errno));
  unlink(text);
  unlink(script);
  unlink(elf);
  show("still here", "%d", getpid() > 0);
}

static void scripts(void) {
  char name[] = "/tmp/km-script-XXXXXX";
  const int fd = mkstemp(name);
  char text[8192];
  const int n = snprintf(text, sizeof text, "#! %s show\nnever read\n", self);
  must(write(fd, text, (size_t)n) == n, "write");
  fchmod(fd, 0755);
  close(fd);
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    char* args[] = {"dropped", "argument", NULL};
    char* env[] = {"KEEP=script", NULL};
    // The script's own name is random: show only its end.
    if (chdir("/tmp") != 0) _exit(98);
    symlink(name, "/tmp/km-script-link");
    execve("km-script-link", args, env);
    _exit(99);
  }
  show("script", "%d", reap(child));
  unlink("/tmp/km-script-link");
  unlink(name);
}

static void spawns(void) {
  pid_t child = 0;
  char* args[] = {"spawned", "show", "s", NULL};
  char* env[] = {"KEEP=spawn", NULL};
  fflush(stdout);
  int spawned = posix_spawn(&child, self, NULL, NULL, args, env);
  int status = spawned == 0 ? reap(child) : -1;
  show("posix_spawn", "%d, status %d", spawned, status);
  const int error = posix_spawn(&child, "/no/such/program", NULL, NULL, args, env);
  show("posix_spawn of nothing", "%s", error ? strerrorname_np(error) : "0");
  const int found = posix_spawnp(&child, "true", NULL, NULL, args, environ);
  show("posix_spawnp", "%d %d", found, found == 0 ? reap(child) : -1);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 20, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, 20, 22);
  posix_spawnattr_t attr;
  posix_spawnattr_init(&attr);
  sigset_t hup;
  sigemptyset(&hup);
  sigaddset(&hup, SIGHUP);
  posix_spawnattr_setsigmask(&attr, &hup);
  posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
  spawned = posix_spawn(&child, self, &actions, &attr, args, env);
  status = spawned == 0 ? reap(child) : -1;
  show("posix_spawn with actions", "%d, status %d", spawned, status);
  result("no zombie of the failed one", waitpid(-1, NULL, WNOHANG));
}

static int system_and_popen(void) {
  fflush(stdout);
  show("system", "%d", WEXITSTATUS(system("echo '  from a shell'; exit 7")));
  char line[64] = "";
  FILE* pipe = popen("tr a-z A-Z", "w");
  fputs("  through a pipe\n", pipe);
  show("pclose", "%d", pclose(pipe));
  pipe = popen("echo out; exit 3", "r");
  must(fgets(line, sizeof line, pipe) != NULL, "fgets");
  show("popen", "%.*s %d", 3, line, WEXITSTATUS(pclose(pipe)));
  return 0;
}

static volatile int shared_by_vfork;
static void vforks(void) {
  fflush(stdout);
  const pid_t child = vfork();
  if (child == 0) {
    shared_by_vfork = 5;  // seen by the parent: same memory
    _exit(11);
  }
  show("vfork", "%d, shared %d", reap(child), shared_by_vfork);
  const pid_t second = vfork();
  if (second == 0) {
    char* const args[] = {"after vfork", "show", NULL};
    char* const env[] = {"KEEP=vfork", NULL};
    execve(self, args, env);
    _exit(99);
  }
  show("vfork and exec", "%d", reap(second));
  const pid_t third = vfork();
  if (third == 0) {
    char* const args[] = {"x", NULL};
    execve("/no/such/program", args, environ);
    _exit(errno == ENOENT ? 12 : 13);
  }
  show("vfork and a failing exec", "%d", reap(third));
}

static void* fork_in_thread(void* arg) {
  (void)arg;
  const pid_t child = fork();
  if (child == 0) _exit(gettid() == getpid() ? 6 : 7);
  return (void*)(intptr_t)reap(child);
}

static void* sleeper(void* arg) {
  sleep(100);
  return arg;
}

static void with_threads(void) {
  pthread_t thread;
  void* value;
  for (int i = 0; i < 4; i++) pthread_create(&thread, NULL, sleeper, NULL);
  must(pthread_create(&thread, NULL, fork_in_thread, NULL) == 0, "pthread_create");
  pthread_join(thread, &value);
  show("fork in a thread", "%d", (int)(intptr_t)value);
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    char* args[] = {"with threads", "show", NULL};
    char* env[] = {"KEEP=threads", NULL};
    pthread_create(&thread, NULL, sleeper, NULL);
    execve(self, args, env);
    _exit(99);
  }
  show("exec with threads", "%d", reap(child));
}

static void* exec_in_thread(void* arg) {
  (void)arg;
  char* args[] = {"from a thread", "pid", NULL};
  execve(self, args, environ);
  return NULL;
}

// The whole process becomes the new program, with its pid, whichever thread asks.
static void thread_execs(void) {
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    pthread_t thread;
    char number[16];
    snprintf(number, sizeof number, "%d", getpid());
    setenv("KEEP_PID", number, 1);
    pthread_create(&thread, NULL, exec_in_thread, NULL);
    for (;;) pause();
  }
  show("exec in a thread", "%d", reap(child));
}

// Each process is the parent of the next; the statuses count them on the way back.
static void deep_forks(int depth) {
  while (depth-- > 0) {
    const pid_t child = fork();
    if (child != 0) _exit(reap(child) + 1);
  }
  _exit(0);
}

static void atfork_prepare(void) { printf("  prepare\n"); }
static void atfork_parent(void) { printf("  parent\n"); }

static void chains(void) {
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) deep_forks(6);
  show("forks within forks", "%d", reap(child));
  pthread_atfork(atfork_prepare, atfork_parent, NULL);
  const pid_t second = fork();
  if (second == 0) _exit(0);
  show("atfork", "%d", reap(second));
}

int main(int argc, char** argv) {
  must(readlink("/proc/self/exe", self, sizeof self - 1) > 0, "readlink");
  if (argc > 1 && strcmp(argv[1], "show") == 0) return role_show(argc, argv);
  if (argc > 1 && strcmp(argv[1], "pid") == 0) return atoi(getenv("KEEP_PID")) == getpid() && gettid() == getpid() ? 33 : 34;
  exec_identity();
  exec_errors();
  scripts();
  spawns();
  system_and_popen();
  vforks();
  with_threads();
  thread_execs();
  chains();
  return finish();
}
