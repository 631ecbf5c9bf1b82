// Where the newest weights, momentum and running statistics of an actor are: on the host, on its GPU, or
// both.
//
//   the host's  --take_there()-->  the device's  --bring_home()-->  both's  --changed()-->  the device's
//       ^-----------------leave(), once it is both's-----------------'
//
// The bits are those of the other way (actors/engine/resident.h), so which of the two a step goes is nobody's
// business: whoever goes on finds on the host what bring_home() left there.
//
// Used by the driver's thread alone, which is the one lane.
#pragma once

#include <memory>
#include <vector>

#include "actors/nn/network.h"
#include "actors/train_state.h"
#include "actors/workload.h"

namespace seng {

// Whether a job's step can be taken so: of lars and of damping that adapts the host has more to do.
bool may_be_resident(const Workload& workload, int lanes);
// ReplicaOptions::sums_held of a GPU's lane: what its pieces need, and where its step may stay there at least
// one.
int held_sums(const Workload& workload, int lanes);

class ResidentHome {
 public:
  // Takes memory of the device. Null where it cannot be. Throws VendorError where there is no room.
  // `replicas` must outlive it.
  static std::unique_ptr<ResidentHome> create(const Workload& workload, std::vector<Replica>& replicas);

  Replica& replica() const { return replica_; }
  ResidentState& state() const { return *state_; }
  ResidentVectors& vectors() const { return *vectors_; }  // of the replica's layout

  void take_there(const TrainState& state);  // unless it is there
  void bring_home(TrainState& state);        // likewise; waits
  void changed() { home_ = false; }          // on the device
  void leave();                              // the host's is to change

  // A step's passes take the weights from here.
  void load();

 private:
  ResidentHome(Replica& replica, std::unique_ptr<ResidentState> state);

  Replica& replica_;
  const std::unique_ptr<ResidentState> state_;
  const std::unique_ptr<ResidentVectors> vectors_;
  bool there_ = false, home_ = true;  // where the vectors are those of the newest step
};

}  // namespace seng
