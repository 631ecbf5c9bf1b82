// A group of actors whose sums, directions and state stay on their GPUs trains what one does that is alone,
// bit for bit, also beside members whose vectors are the host's; and takes no more of a step to the host than
// a few numbers. Members are processes, on emulated GPUs with an emulated NCCL between them: CUDA does not
// survive a fork.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <set>
#include <thread>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "actors/exchange/nccl_module.h"
#include "actors/exchange/zmq_exchange.h"
#include "actors/kept_curvature.h"
#include "actors/make_group.h"
#include "actors/sample_devices.h"
#include "actors/trainer.h"
#include "protocol/base/sha256.h"
#include "tests/parity/emulated_count.h"
#include "tests/parity/leaving_exchange.h"
#include "tests/parity/require_cuda.h"
#include "tests/protocol/temp_dir.h"
#include "tests/support/member_processes.h"

namespace seng::group_on_gpu_test {
namespace {

using seng::testing::all_well;
using seng::testing::emulated;
using seng::testing::emulated_count;
using seng::testing::emulated_link_bytes_to_host;
using seng::testing::in_processes;
using seng::testing::kFailedMember;
using seng::testing::LeavingExchange;
using seng::testing::Meeting;
using seng::testing::Pipe;
using ::testing::IsEmpty;

constexpr std::size_t kSteps = 5;

std::string job_text(const std::string& optimizer, const std::string& engine,
                     const std::string& more_layers) {
  return "name: group\n"
         "model: {layers: [{name: conv1, type: conv2d, channels: 3, kernel: 3, padding: 1}, {name: bn1, "
         "type: "
         "batch_norm}, {name: relu1, type: relu}, {name: flat, type: flatten}, " +
         more_layers +
         "{name: fc, type: linear, features: 10}]}\n"
         "data: {name: synthetic, train: 50, test: 16, channels: 2, height: 5, width: 4, classes: 10}\n"
         "steps: " +
         std::to_string(kSteps) + "\nbatch: {global: 10, micro: 2}\noptimizer: " + optimizer + "\n" +
         (engine.empty() ? "" : "engine: " + engine + "\n");
}

// What a member has come to. Hashes, but for numbers and events.
struct Trained {
  std::string parameters, momentum, statistics;
  std::map<std::uint32_t, std::string> curvature;  // by block: what it has of it
  std::vector<double> losses, cosines, scales;
  std::map<std::uint64_t, std::string> told;  // by step: the directions that `committed` was given
  std::vector<std::uint64_t> to_host;         // bytes, by step
  std::vector<std::string> events;
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(Trained, parameters, momentum, statistics, curvature, losses, cosines,
                                 scales, told, to_host, events)
};

std::string hash(std::span<const float> values) {
  return to_hex(sha256(values.data(), values.size_bytes()));
}

struct Run {
  std::string text;
  std::uint32_t actors = 1;
  std::set<ActorId> on_host;  // whose vectors are
  // What becomes of each step: 's' it is made; 'f' it is, and somebody follows it; 'i' the leader is
  // interrupted in it at its first direction, and the others then, and it is made again; 'I' the same at its
  // last. Before a step, '1': all but the leader go.
  std::string steps = std::string(kSteps, 's');
  bool leaders_gpu_is_full = false;  // when it is asked for its vectors
};

// In a process of its own.
class MemberOfRun {
 public:
  MemberOfRun(const Run& run, ActorId self, const TempDir& directory, Meeting& meeting)
      : run_(run),
        self_(self),
        meeting_(meeting),
        workload_(*load_workload(*parse_job_spec(run.text, "test"))) {
    const std::uint32_t micros = workload_.spec.micro_batches();
    for (std::uint32_t i = 0, first = 0; i < run.actors; ++i) {
      const std::uint32_t last = first + micros / run.actors + (i < micros % run.actors ? 1 : 0);
      members_.push_back({i, "node", "ipc://" + directory.file(fmt::format("a{}", i)), first, last});
      first = last;
    }
    SENG_CHECK(make_sample_devices(workload_, Device::kCuda).has_value(), "no streams");
    ReplicaOptions options = replica_options(workload_.spec);
    options.device = Device::kCuda;
    options.cuts = factor_cuts(workload_);
    options.sums_held = held_sums(workload_, 1);
    replicas_.emplace_back(workload_.network, options);
    state_ = TrainState::initial(workload_);
    ZmqExchangeOptions of_exchange;
    of_exchange.step.block_floats = block_floats(workload_.network.blocks());
    of_exchange.nccl = *link::open_module();
    of_exchange.round_bytes = 1500;
    of_exchange.token = "the job's secret";
    if (run.actors > 1) of_exchange.endpoint = members_[self].endpoint;
    exchange_ = *ZmqExchange::open(std::move(of_exchange));
    leaving_ = std::make_unique<LeavingExchange>(*exchange_);
    trainer_ = std::make_unique<Trainer>(Trainer::Parts{
        .workload = &workload_,
        .state = &state_,
        .exchange = leaving_.get(),
        .lanes = &lanes_,
        .replicas = &replicas_,
        .ledger = nullptr,
        .event = [this](const std::string& kind, const std::string&) { out_.events.push_back(kind); },
        .gauges = &gauges_,
        .committed = [this](const StepComplete& step) { hear(step); }});
  }

  Trained train() {
    join();
    for (const char way : run_.steps) {
      if (way == '1') {
        meeting_.wait(gate_++);  // all have made the step before
        if (self_ > 0) break;
        members_ = {{0, "node", "", 0, workload_.spec.micro_batches()}};
        join();
        continue;
      }
      if (way == 'i' || way == 'I') leave_step(way == 'I');
      step(way);
      if (::testing::Test::HasFailure()) _exit(kFailedMember);  // nobody need wait
    }
    trainer_->bring_home();
    out_.parameters = hash(state_.parameters);
    out_.momentum = hash(state_.momentum);
    out_.statistics = hash(state_.statistics);
    for (const auto& [block, curvature] : state_.curvature)
      out_.curvature[block] = to_hex(digest_of(keep_curvature(curvature)));
    return out_;
  }

 private:
  void join() {
    trainer_->bring_home();
    ++epoch_.counter;
    group_ = make_group(1, self_, epoch_, workload_, members_);
    if (members_.size() > 1) {
      group_.path = BlockPath::kNccl;
      const bool is_full = run_.leaders_gpu_is_full && self_ == 0;
      if (is_full) setenv("SENG_EMULATED_GPU_MIB", "1", 1);
      const auto vectors = trainer_->vectors_in(group_);
      unsetenv("SENG_EMULATED_GPU_MIB");
      ASSERT_EQ(vectors == nullptr, is_full);
      if (!run_.on_host.contains(self_)) group_.vectors = vectors;
    }
    const Status joined = leaving_->join(group_, {});
    ASSERT_TRUE(joined) << joined.error().message;
    trainer_->set_group(group_);
  }

  void leave_step(bool at_the_last) {
    const std::size_t gate = gate_++;
    if (self_ == 0) {
      const auto own = std::count(group_.placement.owner.begin(), group_.placement.owner.end() - 1, self_);
      leaving_->leave_at(at_the_last ? static_cast<std::uint32_t>(own) : 1);
      ASSERT_FALSE(trainer_->step({}));
      meeting_.wait(gate);
    } else {
      std::thread daemon([&] {
        meeting_.pass(gate);
        leaving_->interrupt("by the test");
      });
      ASSERT_FALSE(trainer_->step({}));
      daemon.join();
    }
    EXPECT_EQ(trainer_->interruption(), "by the test");
    join();
  }

  static std::uint64_t to_host() { return emulated_count("bytes_to_host") + emulated_link_bytes_to_host(); }

  void step(char way) {
    const std::uint64_t before = to_host();
    const auto step = trainer_->step({.followed = way == 'f'});
    ASSERT_TRUE(step) << trainer_->interruption();
    out_.to_host.push_back(to_host() - before);
    out_.losses.push_back(step->metrics.loss);
    out_.cosines.push_back(step->metrics.cosine);
    out_.scales.push_back(step->metrics.trust_scale);
    for (const auto* numbers : {&out_.losses, &out_.cosines, &out_.scales})
      EXPECT_TRUE(std::isfinite(numbers->back()));
  }

  void hear(const StepComplete& step) {
    Sha256 all;
    for (const auto& direction : step.directions) all.update(direction.data(), direction.size_bytes());
    out_.told[state_.step] = to_hex(all.finish());
  }

  const Run& run_;
  const ActorId self_;
  Meeting& meeting_;
  Workload workload_;
  std::vector<Member> members_;
  Lanes lanes_{1};
  std::vector<Replica> replicas_;
  TrainState state_;
  std::unique_ptr<ZmqExchange> exchange_;
  std::unique_ptr<LeavingExchange> leaving_;
  Gauges gauges_;
  Trained out_;
  std::unique_ptr<Trainer> trainer_;
  Group group_;
  GroupEpoch epoch_{1, 0};
  std::size_t gate_ = 0;
};

// All members, by actor; less, where one has failed.
std::vector<Trained> train(const Run& run) {
  if (::testing::Test::HasFailure()) return {};  // members would take it for their own
  TempDir directory;
  std::vector<int> arrivals;
  for (const char way : run.steps) {
    if (way == 'i' || way == 'I') arrivals.push_back(1);
    if (way == '1') arrivals.push_back(static_cast<int>(run.actors));
  }
  arrivals.push_back(static_cast<int>(run.actors));
  Meeting meeting(arrivals.size());
  std::vector<Pipe> said(run.actors);
  const auto body = [&](ActorId self) {
    setenv("CUDA_VISIBLE_DEVICES", fmt::format("GPU-{}", self).c_str(), 1);
    MemberOfRun member(run, self, directory, meeting);
    const std::string text = nlohmann::json(member.train()).dump();
    EXPECT_EQ(write(said[self].in.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
    meeting.wait(arrivals.size() - 1);
  };
  std::vector<Trained> all;
  const auto parent = [&] {
    meeting.open(arrivals);
    for (Pipe& pipe : said) {
      pipe.in.reset();
      std::string text;
      char buffer[4096];
      for (ssize_t got; (got = read(pipe.out.get(), buffer, sizeof buffer)) > 0;) text.append(buffer, got);
      if (!text.empty()) all.push_back(nlohmann::json::parse(text));
    }
  };
  EXPECT_EQ(in_processes(run.actors, body, parent), all_well(run.actors));
  return all;
}

void expect_same(const Trained& member, const Trained& alone, std::size_t steps) {
  EXPECT_EQ(member.losses, std::vector(alone.losses.begin(), alone.losses.begin() + steps));
  EXPECT_EQ(member.cosines, std::vector(alone.cosines.begin(), alone.cosines.begin() + steps));
  EXPECT_EQ(member.scales, std::vector(alone.scales.begin(), alone.scales.begin() + steps));
  if (steps < kSteps) return;  // it is of another step
  EXPECT_EQ(member.parameters, alone.parameters);
  EXPECT_EQ(member.momentum, alone.momentum);
  EXPECT_EQ(member.statistics, alone.statistics);
  for (const auto& [block, curvature] : member.curvature)
    EXPECT_EQ(curvature, alone.curvature.at(block)) << "block " << block;
}

struct Case {
  std::string name, optimizer, engine;
  friend void PrintTo(const Case& one, std::ostream* out) { *out << one.name; }
};

class GroupOnGpu : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (!emulated()) GTEST_SKIP() << "members are forked, and only the emulated GPU goes on in them";
    text_ = job_text(GetParam().optimizer, GetParam().engine, "");
  }
  std::string text_;
};

TEST_P(GroupOnGpu, TrainsTheBitsOfOneThatIsAlone) {
  const auto alone = train({.text = text_});
  ASSERT_EQ(alone.size(), 1u);
  ASSERT_EQ(alone[0].losses.size(), kSteps);
  EXPECT_NE(alone[0].losses.front(), alone[0].losses.back());
  const auto left_out = std::ranges::count(alone[0].events, "StepLeftOut");
  EXPECT_LT(left_out, kSteps);
  if (GetParam().name == "f16_that_overflows")
    EXPECT_GT(left_out, 0);
  else
    EXPECT_THAT(alone[0].events, IsEmpty());

  // Two, whose leader goes on alone; steps that renew curvature are left in the middle.
  const auto two = train({.text = text_, .actors = 2, .steps = "Isif1s"});
  ASSERT_EQ(two.size(), 2u);
  expect_same(two[0], alone[0], kSteps);
  expect_same(two[1], alone[0], 4);
  EXPECT_EQ(std::ranges::count(two[0].events, "StepLeftOut"), left_out);

  // Three, of which one has its vectors on the host, and another a range that is no subtree; ordinary steps
  // are left as well.
  const auto three = train({.text = text_, .actors = 3, .on_host = {2}, .steps = "siIfs"});
  ASSERT_EQ(three.size(), 3u);
  std::map<std::uint32_t, int> holders;
  for (const Trained& member : three) {
    expect_same(member, alone[0], kSteps);
    for (const auto& [block, curvature] : member.curvature) ++holders[block];
  }
  EXPECT_EQ(holders.size(), alone[0].curvature.size());
  for (const auto& [block, count] : holders) EXPECT_EQ(count, 2) << "block " << block;

  // Whoever follows gets the same directions of all.
  EXPECT_EQ(three[2].told.size(), kSteps);
  for (const Trained* member : {&two[0], &two[1], &three[0], &three[1]}) {
    ASSERT_EQ(member->told.size(), 1u);
    EXPECT_EQ(member->told.at(4), three[2].told.at(4));
  }
}

TEST(GroupOnGpuTraffic, AStepTakesAFewNumbersToTheHost) {
  if (!emulated()) GTEST_SKIP() << "only the emulated GPU counts";
  const std::string text =
      job_text("{name: sgd, lr: 0.05, momentum: 0.9}", "", "{name: wide, type: linear, features: 300}, ");
  const std::uint64_t parameters = (60 * 300 + 300 + 300 * 10) * sizeof(float);  // and a few more
  const auto there = train({.text = text, .actors = 2, .steps = "sssfs"});
  ASSERT_EQ(there.size(), 2u);
  for (const Trained& member : there) {
    for (const std::size_t step : {1, 2, 4}) EXPECT_LT(member.to_host.at(step), parameters / 4) << step;
    EXPECT_GT(member.to_host.at(3), parameters);
  }
  // Else the above would show little.
  const auto on_host = train({.text = text, .actors = 2, .on_host = {0, 1}});
  ASSERT_EQ(on_host.size(), 2u);
  for (const Trained& member : on_host) EXPECT_GT(member.to_host.at(2), parameters);
  EXPECT_EQ(on_host[0].parameters, there[0].parameters);
}

// Of vectors that are more than what the backend has still left of a piece of the GPU's memory.
TEST(GroupOnGpuWithoutRoom, OneDoesItOnTheHostAndSaysSoOnce) {
  if (!emulated()) GTEST_SKIP() << "only the emulated GPU can be made small";
  const std::string text =
      job_text("{name: sgd, lr: 0.05, momentum: 0.9}", "", "{name: wide, type: linear, features: 6000}, ");
  const auto there = train({.text = text, .actors = 2, .steps = "ss"});
  const auto full = train({.text = text, .actors = 2, .steps = "si", .leaders_gpu_is_full = true});
  ASSERT_EQ(there.size(), 2u);
  ASSERT_EQ(full.size(), 2u);
  EXPECT_THAT(full[0].events, ::testing::ElementsAre("StateOnHost"));
  EXPECT_THAT(full[1].events, IsEmpty());
  EXPECT_EQ(full[0].told.size(), 2u);
  EXPECT_THAT(full[1].told, IsEmpty());
  for (const Trained& member : full) EXPECT_EQ(member.parameters, there[0].parameters);
}

std::string seng(const std::string& curvature) {
  return "{name: seng, lr: 0.05, momentum: 0.9, damping: 0.3, trust_region: 0.001, curvature: {every: 2, "
         "samples: 10" +
         curvature + "}}";
}

INSTANTIATE_TEST_SUITE_P(
    Optimizers, GroupOnGpu,
    ::testing::Values(
        Case{"sgd", "{name: sgd, lr: 0.05, momentum: 0.9, nesterov: true, weight_decay: 0.001}", ""},
        Case{"explicit", seng(", representation: explicit, batch_norm: scale"), ""},
        Case{"implicit", seng(", representation: implicit"), ""},
        Case{"low_rank_of_bf16",
             seng(", representation: implicit, rank: 2, sketch: rows, sketch_rows: 40, dtype: bf16, "
                  "fragment_dtype: bf16"),
             ""},
        Case{"later", seng(", overlap: true"), ""}, Case{"in_bf16", seng(""), "{precision: bf16}"},
        Case{"f16_that_overflows", seng(""), "{precision: f16, loss_scale: 262144}"},
        Case{"kfac",
             "{name: kfac, lr: 0.05, momentum: 0.9, damping: 0.3, trust_region: 0.001, curvature: {every: 2, "
             "samples: 10}}",
             ""}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace seng::group_on_gpu_test
