// Faults: the first is noted and the run left, but for those that are postponed.
#include <stdarg.h>
#include <stdio.h>

#include "memory.h"

namespace machine {

jmp_buf outside;

namespace {

constexpr unsigned most_postponements = 100000;  // a loop may wait for what nobody writes

Fault* report;
Fault postponed;
unsigned postponements;

[[noreturn]] void leave() {
  running.stack_size = 0;
  _longjmp(outside, 1);
}

void note(Fault& fault, Kind kind, uintptr_t place, uintptr_t other, const char* format,
          va_list arguments) {
  vsnprintf(fault.text, sizeof fault.text, format, arguments);
  fault.kind = kind;
  fault.places[0] = offset_in_library(place);
  fault.places[1] = offset_in_library(other);
}

}  // namespace

void begin_report(Fault* fault) {
  report = fault;
  report->kind = postponed.kind = no_fault;
  postponements = 0;
}

void tell_postponed() {
  if (postponed.kind == no_fault) return;
  *report = postponed;
  leave();
}

void fail(Kind kind, uintptr_t place, uintptr_t other_place, const char* format, ...) {
  if (kind != race) tell_postponed();
  va_list arguments;
  va_start(arguments, format);
  note(*report, kind, place, other_place, format, arguments);
  va_end(arguments);
  leave();
}

void postpone(Kind kind, uintptr_t place, const char* format, ...) {
  if (postponed.kind != no_fault) {
    if (++postponements > most_postponements) tell_postponed();
    return;
  }
  va_list arguments;
  va_start(arguments, format);
  note(postponed, kind, place, 0, format, arguments);
  va_end(arguments);
}

}  // namespace machine
