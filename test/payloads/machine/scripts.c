// SPDX-License-Identifier: Apache-2.0
// The first line of a script (man 2 execve): blanks, lines that are longer than what the kernel looks at, scripts run by
// scripts. This program is the interpreter, by a short name in a directory of its own.
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "report.h"

enum { kLooked = 256 };  // BINPRM_BUF_SIZE

static char self[PATH_MAX];

static void run(const char* what, const char* script) {
  fflush(stdout);
  const pid_t child = fork();
  must(child >= 0, "fork");
  if (child == 0) {
    char* const args[] = {"lost", "an argument", NULL};
    execv(script, args);
    show(what, "%s", strerrorname_np(errno));
    fflush(stdout);
    _exit(0);
  }
  int status = -1;
  waitpid(child, &status, 0);
  show(what, "%s %d", WIFEXITED(status) ? "exited" : "killed", WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

static void write_script(const char* name, const char* text, size_t size) {
  const int file = open(name, O_CREAT | O_TRUNC | O_WRONLY, 0755);
  must(file >= 0 && write(file, text, size) == (ssize_t)size && close(file) == 0, name);
}

static void with_line(const char* what, const char* text) {
  write_script("script", text, strlen(text));
  run(what, "./script");
}

static void blanks(void) {
  with_line("plain", "#!./i\n");
  with_line("a blank before the name", "#! ./i\n");
  with_line("tabs and blanks", "#!\t \t./i\t \tone  two \t \n");
  with_line("no end of line", "#!./i -x");
  with_line("the other end of line", "#!./i\r\n");
  with_line("a name alone", "#!./i");
  with_line("no name", "#!\n");
  with_line("blanks alone", "#!   \n");
  with_line("no such interpreter", "#!./missing\n");
  with_line("an interpreter that is a directory", "#!/tmp\n");
  write_script("script", "#!./i a\0b\n", 10);
  run("a zero in the argument", "./script");
}

/// "#!", `name` and blanks or x up to a line of `length` with its end.
static void long_line(const char* what, const char* name, char filler, int length) {
  char text[8192], title[64];
  memset(text, filler, sizeof text);
  memcpy(text, "#!", 2);
  memcpy(text + 2, name, strlen(name));
  text[length - 1] = '\n';
  snprintf(title, sizeof title, "%s, %d bytes", what, length);
  write_script("script", text, (size_t)length);
  run(title, "./script");
}

static void long_lines(void) {
  static const int kLengths[] = {kLooked - 1, kLooked, kLooked + 1, 513, 8192};
  for (size_t i = 0; i < sizeof kLengths / sizeof kLengths[0]; i++) {
    long_line("a long argument", "./i ", 'x', kLengths[i]);
    long_line("a long name", "./", 'x', kLengths[i]);
    long_line("blanks behind the name", "./i", ' ', kLengths[i]);
  }
  char text[kLooked + 8];
  memset(text, ' ', sizeof text);
  memcpy(text, "#!", 2);
  memcpy(text + kLooked - 3, "./i\n", 4);
  write_script("script", text, kLooked + 1);
  run("a name that ends where the kernel stops", "./script");
  write_script("script", text, kLooked);
  run("and the file as well", "./script");
}

static void nested(void) {
  char name[16], text[64];
  write_script("s0", "#!./i deepest\n", 14);
  for (int depth = 1; depth <= 6; depth++) {
    snprintf(name, sizeof name, "./s%d", depth);
    write_script(name, text, (size_t)snprintf(text, sizeof text, "#!./s%d %d\n", depth - 1, depth));
    run(name, name);
  }
}

static void interpret(int argc, char** argv) {
  for (int i = 0; i < argc; i++) {
    const int length = (int)strlen(argv[i]);
    printf("  [%.40s] %d\n", argv[i], length);
  }
}

int main(int argc, char** argv) {
  if (argc > 1) {
    interpret(argc, argv);
    return 7;
  }
  must(readlink("/proc/self/exe", self, sizeof self - 1) > 0, "readlink");
  char directory[] = "/tmp/km-scripts-XXXXXX";
  must(mkdtemp(directory) != NULL && chdir(directory) == 0 && symlink(self, "i") == 0, "mkdtemp");
  blanks();
  long_lines();
  nested();
  for (int depth = 0; depth <= 6; depth++) {
    char name[16];
    snprintf(name, sizeof name, "s%d", depth);
    unlink(name);
  }
  unlink("script");
  unlink("i");
  result("everything removed", rmdir(directory));
  return finish();
}
