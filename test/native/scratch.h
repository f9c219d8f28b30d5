// SPDX-License-Identifier: Apache-2.0
// A directory for one test program, removed at the end, and files in it.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

class Scratch {
 public:
  Scratch() {
    char name[] = "/tmp/km-test-XXXXXX";
    if (mkdtemp(name) == nullptr) perror("mkdtemp"), _exit(2);
    path_ = name;
  }
  ~Scratch() {
    std::string command = "rm -rf " + path_;
    if (system(command.c_str()) != 0) fprintf(stderr, "cannot remove %s\n", path_.c_str());
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  std::string at(const std::string& name) const { return path_ + "/" + name; }

  /// Writes a file anew and returns its path.
  std::string write_bytes(const std::string& name, const void* bytes, size_t size, mode_t mode = 0755) const {
    std::string path = at(name);
    unlink(path.c_str());
    int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || ::write(fd, bytes, size) != static_cast<ssize_t>(size) || fchmod(fd, mode) != 0 ||
        close(fd) != 0) {
      perror(path.c_str());
      _exit(2);
    }
    return path;
  }
  std::string write(const std::string& name, const std::string& text, mode_t mode = 0755) const {
    return write_bytes(name, text.data(), text.size(), mode);
  }

 private:
  std::string path_;
};
