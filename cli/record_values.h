// Records as the values that `-o json` prints. README.md lists the fields; they are only ever added to.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "protocol/messages/queries.h"
#include "protocol/messages/records.h"
#include "protocol/messages/tuning.h"

namespace seng {

// False before the first step, and before the first of a job that goes on from a checkpoint: its train_loss
// says nothing.
bool knows_training(const JobRecord& job);
// Its last known loss, in training or on the test set, is not finite.
bool has_diverged(const JobRecord& job);
// "its newest checkpoint cannot be written: step 200: ...", while that holds; else empty.
std::string checkpoint_note(const JobRecord& job);

nlohmann::ordered_json job_value(const JobRecord& job);
nlohmann::ordered_json actor_value(const ActorRecord& actor);
// Null of a job that is not tuned, or not yet.
nlohmann::ordered_json tuning_value(const TuningRecord& tuning);
nlohmann::ordered_json event_value(const EventRecord& event);
nlohmann::ordered_json step_value(const StepMetrics& step);
nlohmann::ordered_json epoch_value(const EpochMetrics& epoch);
nlohmann::ordered_json node_value(const NodeRecord& node);
// A specification's YAML as maps, numbers and texts; a text where it is no such thing.
nlohmann::ordered_json spec_value(const std::string& yaml);
// A JSON text as a value; null where it is none.
nlohmann::ordered_json parsed_value(const std::string& json);

}  // namespace seng
