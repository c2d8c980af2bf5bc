#include "counters.h"

#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <mutex>
#include <unordered_map>

#include "settings.h"

namespace hipsim {
namespace {

struct Record {
  char name[120];
  unsigned long value;
};
constexpr size_t records = 4096;

Record* mapped() {
  const std::string& folder = settings().counters;
  if (folder.empty()) return nullptr;
  const std::string path = folder + "/" + std::to_string(getpid()) + ".counts";
  const int file = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0 || ftruncate(file, records * sizeof(Record))) {
    say("cannot write counters to %s", path.c_str());
    if (file >= 0) close(file);
    return nullptr;
  }
  void* at = mmap(nullptr, records * sizeof(Record), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  return at == MAP_FAILED ? nullptr : static_cast<Record*>(at);
}

void write_line(int file, const char* format, va_list arguments) {
  char line[512] = "";
  int length = vsnprintf(line, sizeof line - 1, format, arguments);
  if (length > (int)sizeof line - 2) length = sizeof line - 2;
  line[length++] = '\n';
  // A trace that cannot be written is no reason to disturb what is tested.
  [[maybe_unused]] const ssize_t written = write(file, line, (size_t)length);
}

}  // namespace

void count(const std::string& name, unsigned long by) {
  static Record* const table = mapped();
  if (!table) return;
  static std::mutex mutex;
  static std::unordered_map<std::string, Record*> known;
  const std::lock_guard<std::mutex> guard(mutex);
  Record*& record = known[name];
  if (!record) {
    if (known.size() > records) return;
    record = table + known.size() - 1;
    strncpy(record->name, name.c_str(), sizeof record->name - 1);
  }
  record->value += by;
}

void trace(const char* format, ...) {
  if (settings().trace.empty()) return;
  static const int file =
      open(settings().trace.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  va_list arguments;
  va_start(arguments, format);
  write_line(file, format, arguments);
  va_end(arguments);
}

void say(const char* format, ...) {
  const std::string prefixed = std::string("[hipsim] ") + format;
  va_list arguments;
  va_start(arguments, format);
  write_line(2, prefixed.c_str(), arguments);
  va_end(arguments);
}

}  // namespace hipsim
