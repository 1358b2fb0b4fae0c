// What a launcher answers instead of throwing. Shells turn it into their framework's error.
#pragma once

#include <string>
#include <utility>

class [[nodiscard]] Status {
 public:
  static Status ok() { return Status(); }
  // What happened, then what to do about it.
  static Status error(const std::string& problem, const std::string& remedy) {
    Status status;
    status.message_ = problem + "\n  -> " + remedy;
    return status;
  }

  explicit operator bool() const { return message_.empty(); }
  const std::string& message() const { return message_; }

 private:
  std::string message_;
};
