// NCCL is reached through a library of its own, libseng_nccl.so beside the program, opened by actors on GPUs:
// so the program starts on machines without NCCL, and says in words what is missing.
#pragma once

#include <string>

#include "actors/exchange/device_link.h"
#include "protocol/base/error.h"

namespace seng::link {

// Beside the running program, or in ../lib from there.
std::string default_module_path();

// Opens the library at `path`, which stays open until the process ends. kUnsupported says what is missing:
// the library itself, NCCL or something else that it needs; or that it belongs to another build.
Result<const Module*> open_module(const std::string& path = default_module_path());

// What this process can do over NCCL, for its ActorHello.
struct Ability {
  std::uint32_t version = 0;  // 0: nothing; `why` says why
  std::string gpu;
  std::string why;
};
Ability ability_of(const Result<const Module*>& module);

}  // namespace seng::link
