// sengctl without its main(): reads the command line and runs the command.
#pragma once

#include <string>
#include <vector>

#include "cli/exit_code.h"
#include "cli/session.h"

namespace seng {

// `words`: the command line without the program's name. Catches what is thrown; flushes the console.
ExitCode run_sengctl(const std::vector<std::string>& words, Console& console,
                     const Surroundings& surroundings);

// This process's.
Surroundings current_surroundings();

}  // namespace seng
