#include "faults.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <mutex>
#include <sstream>
#include <vector>

#include "counters.h"
#include "settings.h"

namespace hipsim {
namespace {

struct Rule {
  std::string text, call, action;
  std::vector<std::string> conditions;
  long nth = 0;
  bool from_then_on = false;
};

std::atomic<int> lost_with{hipSuccess};

bool was_wounded() {
  static const bool wounded =
      !settings().wounds.empty() && access(settings().wounds.c_str(), F_OK) == 0;
  return wounded;
}

void wound() {
  was_wounded();  // this process began before the wound
  if (settings().wounds.empty()) return;
  const int file = open(settings().wounds.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (file >= 0) close(file);
}

Rule parse(const std::string& text) {
  Rule rule;
  rule.text = text;
  const size_t equals = text.rfind('=');
  if (equals == std::string::npos) {
    say("a fault needs an action: %s", text.c_str());
    abort();
  }
  std::string call = text.substr(0, equals);
  rule.action = text.substr(equals + 1);
  const size_t at = call.rfind('@');
  if (at != std::string::npos) {
    rule.nth = atol(call.c_str() + at + 1);
    rule.from_then_on = call.back() == '+';
    call.resize(at);
  }
  const size_t bracket = call.find('[');
  if (bracket != std::string::npos) {
    std::istringstream words(call.substr(bracket + 1, call.find(']') - bracket - 1));
    for (std::string word; words >> word;) rule.conditions.push_back(word);
    call.resize(bracket);
  }
  rule.call = call;
  return rule;
}

std::vector<Rule> parse_all(const std::string& script) {
  std::vector<Rule> rules;
  std::string part;
  for (std::istringstream parts(script); std::getline(parts, part, ';');) {
    part.erase(0, part.find_first_not_of(" \n\t"));
    part.erase(part.find_last_not_of(" \n\t") + 1);
    if (!part.empty()) rules.push_back(parse(part));
  }
  return rules;
}

// The rules of now: those of the environment, and those of a file that may change.
const std::vector<Rule>& rules() {
  static std::vector<Rule> current = parse_all(settings().faults);
  static timespec read_at = {};
  static off_t read_size = -1;
  struct stat now = {};
  if (!settings().control.empty() && stat(settings().control.c_str(), &now) == 0 &&
      (now.st_mtim.tv_sec != read_at.tv_sec || now.st_mtim.tv_nsec != read_at.tv_nsec ||
       now.st_size != read_size)) {
    read_at = now.st_mtim;
    read_size = now.st_size;
    std::ifstream file(settings().control);
    std::stringstream text;
    text << file.rdbuf();
    current = parse_all(settings().faults + ";" + text.str());
  }
  return current;
}

bool holds(const std::string& condition, const char* description, size_t size) {
  if (condition[0] == '<') return size < strtoul(condition.c_str() + 1, nullptr, 0);
  if (condition[0] == '>') return size > strtoul(condition.c_str() + 1, nullptr, 0);
  if (condition == "wounded") return was_wounded();
  return strstr(description, condition.c_str()) != nullptr;
}

bool matches(const Rule& rule, const char* call, const char* description, size_t size) {
  if (rule.call != call) return false;
  for (const std::string& condition : rule.conditions) {
    if (!holds(condition, description, size)) return false;
  }
  static std::map<std::string, long> seen;
  const long times = ++seen[rule.text];
  return !rule.nth || times == rule.nth || (rule.from_then_on && times > rule.nth);
}

void act(const std::string& action, Verdict& verdict) {
  if (action.rfind("slow:", 0) != 0) wound();
  if (action == "hang") {
    hang();
  } else if (action == "spin") {
    for (volatile unsigned long turns = 0;; turns = turns + 1) {
    }
  } else if (action == "crash") {
    signal(SIGSEGV, SIG_DFL);
    raise(SIGSEGV);
  } else if (action == "abort") {
    say("Memory access fault by GPU node-1 on address (nil). Reason: Page not present.");
    abort();
  } else if (action == "stall") {
    verdict.stall = true;
  } else if (action == "corrupt") {
    verdict.corrupt = true;
  } else if (action == "lost") {
    lose(hipErrorLaunchFailure);
    verdict.error = lost();
  } else if (action.rfind("slow:", 0) == 0) {
    usleep(1000 * (unsigned)atol(action.c_str() + 5));
  } else if (action.rfind("err:", 0) == 0) {
    verdict.error = (hipError)atol(action.c_str() + 4);
  } else {
    say("a fault has no action called %s", action.c_str());
    abort();
  }
}

}  // namespace

Verdict fault(const char* call, const char* description, size_t size) {
  Verdict verdict;
  std::vector<std::string> actions;
  {
    static std::mutex mutex;
    const std::lock_guard<std::mutex> guard(mutex);
    for (const Rule& rule : rules()) {
      if (!matches(rule, call, description, size)) continue;
      trace("fault %s: %s %s %zu", rule.text.c_str(), call, description, size);
      count("fault:" + rule.text);
      actions.push_back(rule.action);
    }
  }
  for (const std::string& action : actions) act(action, verdict);
  return verdict;
}

hipError lost() { return (hipError)lost_with.load(); }

void lose(hipError with) {
  wound();
  int nothing = hipSuccess;
  lost_with.compare_exchange_strong(nothing, with);
}

void hang() {
  wound();
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  for (;;) pause();
}

}  // namespace hipsim
