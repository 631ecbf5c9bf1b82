#include "actors/command_line.h"

#include <sstream>

#include <boost/program_options.hpp>

namespace seng {

namespace {

namespace po = boost::program_options;

po::options_description options_of(ActorCommandLine& line) {
  po::options_description options("Options");
  options.add_options()                                                                       //
      ("help,h", "say this")                                                                  //
      ("version", "say the version")                                                          //
      ("daemon", po::value(&line.daemon_endpoint), "run: the daemon's endpoint for actors")   //
      ("job", po::value(&line.job), "run: the job's number")                                  //
      ("actor", po::value(&line.actor), "run: this actor's number within the job")            //
      ("node", po::value(&line.node), "run: the name of this machine")                        //
      ("peer-dir", po::value(&line.peer_dir), "run: where the socket for other actors goes")  //
      ("lanes", po::value(&line.lanes), "threads of the slot, where the job does not say")    //
      ("host-threads", po::value(&line.host_threads),
       "on a GPU: threads for what stays with the host, if more than lanes")  //
      ("device", po::value(&line.device), "cpu, cuda or auto");
  return options;
}

}  // namespace

std::string usage() {
  ActorCommandLine line;
  std::ostringstream out;
  out << "seng-actor trains; sengd starts it. Use sengctl to submit jobs.\n\n"
         "  seng-actor run --daemon ENDPOINT --job N --actor K --peer-dir DIR [--node NAME] [--lanes L] "
         "[--host-threads T] [--device D]\n"
         "      with the token from sengd in SENG_ACTOR_TOKEN\n"
         "  seng-actor plan [--lanes L] <job.yaml\n"
         "      prints what the job needs as JSON; exit code 2 if it cannot run\n\n"
      << options_of(line);
  return out.str();
}

Result<ActorCommandLine> parse_command_line(int argc, const char* const* argv) {
  ActorCommandLine line;
  std::string verb;
  // Boost reads "-1" into an unsigned number without complaint.
  for (int i = 1; i < argc; ++i)
    if (argv[i][0] == '-' && argv[i][1] >= '0' && argv[i][1] <= '9')
      return fail(ErrorCode::kInvalidArgument,
                  std::string(argv[i]) + ": expected a number that is not negative");
  try {
    po::options_description all = options_of(line);
    all.add_options()("verb", po::value(&verb));
    po::positional_options_description positional;
    positional.add("verb", 1);
    po::variables_map values;
    po::store(po::command_line_parser(argc, argv).options(all).positional(positional).run(), values);
    po::notify(values);
    if (values.count("version")) line.verb = ActorCommandLine::Verb::kVersion;
    if (values.count("help") || values.count("version")) return line;
  } catch (const po::error& error) {
    return fail(ErrorCode::kInvalidArgument, error.what());
  }
  if (line.lanes < 1 || line.lanes > 1024)
    return fail(ErrorCode::kInvalidArgument, "--lanes: expected 1 to 1024");
  if (line.host_threads < 0 || line.host_threads > 1024)
    return fail(ErrorCode::kInvalidArgument, "--host-threads: expected 0 to 1024");
  if (line.device != "cpu" && line.device != "cuda" && line.device != "auto")
    return fail(ErrorCode::kInvalidArgument, "--device: expected cpu, cuda or auto");
  if (verb == "plan") {
    line.verb = ActorCommandLine::Verb::kPlan;
  } else if (verb == "run") {
    line.verb = ActorCommandLine::Verb::kRun;
    if (line.daemon_endpoint.empty() || line.peer_dir.empty() || line.job == 0)
      return fail(ErrorCode::kInvalidArgument, "run: --daemon, --job and --peer-dir are needed");
  } else {
    return fail(ErrorCode::kInvalidArgument,
                verb.empty() ? "a verb is needed" : "unknown verb '" + verb + "'");
  }
  return line;
}

}  // namespace seng
