// seng-actor <-> seng-actor. Each actor has one ROUTER that peers connect to. Every message carries (job,
// epoch, step, from) in its envelope; the receiver drops what is not of its own epoch and of the step in hand
// or the next. Values travel as little-endian float32 in one payload frame, the parts one after another.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "protocol/messages/kinds.h"

namespace seng {

// Opens a connection; not answered.
struct PeerHello {
  static constexpr MessageKind kKind = MessageKind::kPeerHello;
  std::string token;  // the job's: proves that the peer belongs to it
  template <class V>
  void visit(V& v) {
    v.field(1, "token", token);
  }
};

// A run of the sum of one block over the micro-batches [first, last), a node of the fixed tree.
struct SumPart {
  std::uint32_t block = 0;
  std::uint32_t first = 0, last = 0;
  std::uint64_t offset = 0, count = 0;  // floats of the block that follow in the payload
  template <class V>
  void visit(V& v) {
    v.field(1, "block", block);
    v.field(2, "first", first);
    v.field(3, "last", last);
    v.field(4, "offset", offset);
    v.field(5, "count", count);
  }
};
struct PartialSums {
  static constexpr MessageKind kKind = MessageKind::kPartialSums;
  std::vector<SumPart> parts;
  template <class V>
  void visit(V& v) {
    v.field(1, "parts", parts);
  }
};

// A run of one block's direction.
struct DirectionPart {
  std::uint32_t block = 0;
  std::uint64_t offset = 0, count = 0;
  double inner_product = 0;  // g^T d of the whole block
  bool refused = false;      // on a refresh step: the owner keeps the block's curvature of before
  double gradient_squared = 0, direction_squared = 0;  // |g|^2 and |d|^2 of the whole block
  std::vector<double>
      model;  // where the step's damping is tried: four numbers, of the whole block; else none
  template <class V>
  void visit(V& v) {
    v.field(1, "block", block);
    v.field(2, "offset", offset);
    v.field(3, "count", count);
    v.field(4, "inner_product", inner_product);
    v.field(5, "refused", refused);
    v.field(6, "gradient_squared", gradient_squared);
    v.field(7, "direction_squared", direction_squared);
    v.field(8, "model", model);
  }
};
struct Directions {
  static constexpr MessageKind kKind = MessageKind::kDirections;
  std::vector<DirectionPart> parts;
  std::uint32_t flags = 0;  // the leader's word on this step: StepFlag bits, sent with the summary block
  template <class V>
  void visit(V& v) {
    v.field(1, "parts", parts);
    v.field(2, "flags", flags);
  }
};
enum StepFlag : std::uint32_t {
  kStopAfterStep = 1,  // this step is the job's last: checkpoint and finish
  kParkAfterStep = 2,  // this step is the membership's last: park for the one that is announced
};

// One micro-batch's contribution to one block's curvature (a run of it).
struct Fragment {
  static constexpr MessageKind kKind = MessageKind::kFragment;
  std::uint32_t block = 0;
  std::uint32_t micro = 0;
  std::uint64_t offset = 0, count = 0, total = 0;  // floats: this run, and of the whole fragment
  template <class V>
  void visit(V& v) {
    v.field(1, "block", block);
    v.field(2, "micro", micro);
    v.field(3, "offset", offset);
    v.field(4, "count", count);
    v.field(5, "total", total);
  }
};

// To the leader: what this actor's share of the test set gave, one entry per evaluation batch, in order.
struct EvaluationPart {
  static constexpr MessageKind kKind = MessageKind::kEvaluationPart;
  std::uint32_t first_batch = 0;
  std::vector<double> loss_sums;
  std::vector<std::uint64_t> hits;
  template <class V>
  void visit(V& v) {
    v.field(1, "first_batch", first_batch);
    v.field(2, "loss_sums", loss_sums);
    v.field(3, "hits", hits);
  }
};

// To the leader: the SHA-256 of the curvature of the blocks that this actor owns, for the state's hash.
struct BlockDigest {
  std::uint32_t block = 0;
  std::string sha256;  // 64 hex digits
  template <class V>
  void visit(V& v) {
    v.field(1, "block", block);
    v.field(2, "sha256", sha256);
  }
};
struct StateDigest {
  static constexpr MessageKind kKind = MessageKind::kStateDigest;
  std::vector<BlockDigest> blocks;
  template <class V>
  void visit(V& v) {
    v.field(1, "blocks", blocks);
  }
};

// To the leader: a file of the checkpoint of this step lies in the staging directory, synced.
struct CheckpointShard {
  static constexpr MessageKind kKind = MessageKind::kCheckpointShard;
  std::string file;
  std::uint64_t bytes = 0;
  std::string sha256;
  std::string error;  // not empty: it could not be written
  std::vector<BlockDigest> blocks;
  template <class V>
  void visit(V& v) {
    v.field(1, "file", file);
    v.field(2, "bytes", bytes);
    v.field(3, "sha256", sha256);
    v.field(4, "error", error);
    v.field(5, "blocks", blocks);
  }
};

// To a block's owner from its backup: all fragments of these blocks of the envelope's step are here. An owner
// publishes the direction of a refresh step only then, so that a committed refresh survives the owner.
struct CurvatureHeld {
  static constexpr MessageKind kKind = MessageKind::kCurvatureHeld;
  std::vector<std::uint32_t> blocks;
  template <class V>
  void visit(V& v) {
    v.field(1, "blocks", blocks);
  }
};

// From the leader to all members of a membership whose sums and directions travel over NCCL: by it their
// communicators find each other.
struct LinkIdentity {
  static constexpr MessageKind kKind = MessageKind::kLinkIdentity;
  std::string identity;  // NCCL's unique id, 128 bytes
  template <class V>
  void visit(V& v) {
    v.field(1, "identity", identity);
  }
};

}  // namespace seng
