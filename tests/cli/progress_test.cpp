#include "cli/progress.h"

#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/text_format.h"
#include "tests/cli/fake_daemon.h"

namespace seng {
namespace {

using ::testing::HasSubstr;
using testing::running_job;

struct FakeClock : Clock {
  double time = 100;
  double now() const override { return time; }
  double wall() const override { return time; }
};

EpochMetrics epoch(double number, std::uint64_t step, double test_accuracy) {
  EpochMetrics e;
  e.epoch = number;
  e.step = step;
  e.train_loss = 0.5;
  e.train_accuracy = 0.82;
  e.test_accuracy = test_accuracy;
  e.test_loss = 0.44;
  e.seconds = 24.6;
  e.images_per_second = 2440;
  return e;
}

TEST(ProgressLine, ShowsEverythingWhereThereIsRoom) {
  EXPECT_EQ(progress_line(running_job(), 0),
            "fashion-lenet  46 %  epoch 2.35/5  step 550/1172  loss 0.3412  acc 88.10 %  2410 img/s  "
            "1:06 left");
  const std::string wide = progress_line(running_job(), 160);
  EXPECT_THAT(wide, HasSubstr(" 46 %  [###############.................]  epoch"));
}

TEST(ProgressLine, FitsEveryWidth) {
  for (std::size_t columns = 1; columns < 200; ++columns) {
    EXPECT_LE(display_width(progress_line(running_job(), columns)), columns);
    JobRecord queued = running_job();
    queued.state = JobState::kQueued;
    queued.reason = "waits for 2 slots; job 1 has them";
    EXPECT_LE(display_width(progress_line(queued, columns)), columns);
  }
  EXPECT_EQ(progress_line(running_job(), 79),
            "[####......]  epoch 2.35/5  step  550/1172  loss 0.3412  2410 img/s   1:06 left");
  EXPECT_THAT(progress_line(running_job(), 60), HasSubstr("loss 0.3412"));
  EXPECT_THAT(progress_line(running_job(), 60), HasSubstr("1:06 left"));
}

TEST(ProgressLine, BeforeTheFirstStepAndAtTheEnd) {
  JobRecord job = running_job();
  job.step = job.samples_seen = 0;
  job.images_per_second = 0;
  EXPECT_EQ(progress_line(job, 0), "fashion-lenet  0 %  epoch 2.35/5  step 0/1172");
  EXPECT_LT(seconds_left(job), 0);
  job = testing::ended_job(JobState::kSucceeded);
  job.state = JobState::kRunning;
  EXPECT_THAT(progress_line(job, 200), HasSubstr("100 %  [################################]"));
  job.steps_total = 0;
  EXPECT_THAT(progress_line(job, 200), HasSubstr("0 %"));
  job.state = JobState::kQueued;
  job.reason = "waits for\na slot";
  EXPECT_EQ(progress_line(job, 0), "fashion-lenet  queued: waits for a slot");
}

// What stands beside the bar keeps its place as numbers grow.
TEST(ProgressLine, StandsStillWhileNumbersGrow) {
  for (const std::size_t columns : {79u, 99u, 160u}) {
    JobRecord job = running_job();
    const std::string line = progress_line(job, columns);
    job.step = 7, job.epochs = 2, job.train_loss = 12.5, job.train_accuracy = 0.0312;
    job.samples_seen = 7 * 256, job.images_per_second = 985;
    const std::string other = progress_line(job, columns);
    EXPECT_EQ(other.find(']'), line.find(']')) << line << "\n" << other;
    EXPECT_EQ(other.find("step"), line.find("step")) << line << "\n" << other;
    EXPECT_EQ(other.size(), line.size()) << line << "\n" << other;
  }
}

TEST(ProgressLine, OfAResumedJobSaysNoLossBeforeItsFirstStep) {
  JobRecord job = running_job();
  job.train_accuracy = -1;
  EXPECT_THAT(progress_line(job, 0), ::testing::Not(HasSubstr("loss")));
}

class ProgressDisplayTest : public ::testing::Test {
 protected:
  std::istringstream in_;
  std::ostringstream out_, err_;
  Console console_{in_, out_, err_};
  FakeClock clock_;
};

TEST_F(ProgressDisplayTest, RedrawsInPlaceOnATerminal) {
  console_.err_is_terminal = true;
  console_.width = [] { return 81; };
  {
    ProgressDisplay display(console_, clock_, {});
    display.update(running_job(), {});
    const std::string once = "\r" + progress_line(running_job(), 80) + "\033[K";
    EXPECT_EQ(err_.str(), once);
    display.update(running_job(), {});  // at once again: nothing
    EXPECT_EQ(err_.str(), once);
    clock_.time += 0.2;
    display.update(running_job(), {});
    EXPECT_EQ(err_.str(), once + once);
    err_.str("");
    display.say("words");
    EXPECT_EQ(err_.str(), "\r\033[Kwords\n");
    display.update(running_job(), {});  // drawn again although it is not due
    EXPECT_EQ(err_.str(), "\r\033[Kwords\n" + once);
    err_.str("");
  }
  EXPECT_EQ(err_.str(), "\r\033[K");
}

TEST_F(ProgressDisplayTest, WritesLinesNowAndThenElsewhere) {
  ProgressDisplay display(console_, clock_, {});
  JobRecord job = running_job();
  job.state = JobState::kQueued;
  display.update(job, {});
  display.update(job, {});
  EXPECT_EQ(err_.str(), "fashion-lenet  queued\n");
  err_.str("");
  job.state = JobState::kRunning;
  display.update(job, {});
  EXPECT_EQ(err_.str(), progress_line(job, 0) + "\n");
  err_.str("");
  clock_.time += 9;
  ++job.step;
  display.update(job, {});
  EXPECT_EQ(err_.str(), "");
  clock_.time += 2;
  display.update(job, {});
  EXPECT_EQ(err_.str(), progress_line(job, 0) + "\n");
  err_.str("");
  clock_.time += 20;
  display.update(job, {});  // no step since
  EXPECT_EQ(err_.str(), "");
  EXPECT_EQ(err_.str().find('\033'), std::string::npos);
}

TEST_F(ProgressDisplayTest, PrintsEachEpochOnce) {
  ProgressDisplay display(console_, clock_, {});
  display.update(running_job(), {});
  EXPECT_EQ(out_.str(), "");
  display.update(running_job(), {epoch(1, 234, 0.86)});
  display.update(running_job(), {epoch(1, 234, 0.86)});
  display.update(running_job(), {epoch(1, 234, 0.86), epoch(2, 468, -1)});
  EXPECT_EQ(out_.str(),
            epoch_header() + "\n" + epoch_row(epoch(1, 234, 0.86)) + epoch_row(epoch(2, 468, -1)));
  EXPECT_EQ(epoch_header(),
            "  epoch     step  train loss  train acc  test loss  test acc   seconds  images/s");
  EXPECT_EQ(epoch_row(epoch(1, 234, 0.86)),
            "      1      234      0.5000    82.00 %     0.4400   86.00 %      24.6      2440\n");
  EXPECT_EQ(epoch_row(epoch(2, 468, -1)),
            "      2      468      0.5000    82.00 %          -         -      24.6      2440\n");
}

TEST_F(ProgressDisplayTest, SaysOnceWhatIsAmissWithAJobThatTrains) {
  ProgressDisplay display(console_, clock_, {});
  JobRecord job = running_job();
  display.update(job, {});
  job.reason = "a checkpoint cannot be written: No space left on device";
  for (int i = 0; i < 3; ++i) display.update(job, {});
  const std::string said = err_.str();
  const std::string note = "note: a checkpoint cannot be written: No space left on device\n";
  EXPECT_THAT(said, ::testing::HasSubstr(note));
  EXPECT_EQ(said.find(note), said.rfind(note));
}

TEST_F(ProgressDisplayTest, SaysWhileCheckpointsCannotBeWritten) {
  for (const bool progress : {false, true}) {
    err_.str("");
    ProgressDisplay display(console_, clock_, {.progress = progress});
    JobRecord job = running_job();
    display.update(job, {});
    job.checkpoint_error = "step 4: no space left";
    display.update(job, {});
    job.checkpoint_error = "step 8: no space left";
    display.update(job, {});
    const std::string note =
        "note: job 3 (fashion-lenet): its newest checkpoint cannot be written: step 4: no space left\n";
    EXPECT_THAT(err_.str(), ::testing::HasSubstr(note));
    EXPECT_THAT(err_.str(), ::testing::Not(::testing::HasSubstr("step 8: no"))) << "said already";
    job.checkpoint_error.clear();
    display.update(job, {});
    EXPECT_THAT(err_.str(),
                ::testing::HasSubstr("note: job 3 (fashion-lenet): its checkpoints are written again\n"));
    err_.str("");
    job.checkpoint_error = "step 9: no space left";
    job.reason = "its last checkpoint cannot be written: step 9: no space left; tried again in 5 s";
    display.update(job, {});
    EXPECT_EQ(err_.str().find("step 9"), err_.str().rfind("step 9")) << "once";
    EXPECT_NE(err_.str().find("step 9"), std::string::npos);
  }
}

}  // namespace
}  // namespace seng
