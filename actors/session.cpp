#include "actors/session.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include <sys/eventfd.h>
#include <unistd.h>

#include "actors/process.h"
#include "actors/step_reports.h"
#include "actors/told_reports.h"
#include "protocol/base/log.h"
#include "protocol/base/unique_fd.h"
#include "protocol/channel/poller.h"
#include "protocol/channel/zmq_channel.h"

namespace seng {
namespace {

constexpr Poller::Token kChannelToken = 1, kWakeToken = 2;
// Messages to a daemon that does not take them, before heartbeats are left out and everything else waits
// here: a minute of heartbeats, and more than a daemon that is only busy leaves lying.
constexpr int kQueuedMessages = 256;
// In the place of the membership that comes: none does.
constexpr GroupEpoch kNoMembership{~std::uint64_t{0}, ~std::uint64_t{0}};

}  // namespace

struct Session::State {
  explicit State(SessionOptions given)
      : options(std::move(given)), wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

  void loop();
  void receive();
  void take(const Message& message);
  template <class Body>
  void enqueue_command(const Message& message);
  void take_warm_up(const Message& message);
  bool flush();
  bool send(Message message);
  void heartbeat();
  Message hello_message();
  Message progress_message();
  void post_progress();
  void post_steps();  // likewise, if there are any to report
  // `again`: told to the next daemon too. `of`: the membership that it is about, if not the one in hand.
  template <class Body>
  void post(const Body& body, bool again = false, std::optional<GroupEpoch> of = {});
  void hello_again();
  void call_urgent(GroupEpoch epoch, std::optional<GroupEpoch> follows = {});
  void wake_up() { eventfd_write(wake.get(), 1); }

  SessionOptions options;
  UniqueFd wake;
  ChannelContext context;
  std::unique_ptr<ClientChannel> channel;  // the thread's, once it runs
  std::thread thread;

  std::atomic<bool> stop_requested{false}, closing{false}, beat_wanted{false};
  std::atomic<std::uint64_t> applied_step{0};
  Gauges gauges;
  std::atomic<std::uint32_t> lease_ms{1000};

  std::mutex urgent_mutex;
  // Guarded by urgent_mutex.
  std::function<void(GroupEpoch, std::optional<GroupEpoch>)> urgent;
  std::function<std::vector<ActorId>()> awaits;
  std::function<void()> command_came;

  mutable std::mutex mutex;  // protects what follows
  std::condition_variable arrived;
  std::deque<Command> commands;
  std::optional<std::pair<GroupEpoch, WarmUp>> warm_up;
  std::deque<Message> outbox;
  StepReports steps;
  ToldReports reports;
  std::uint64_t bytes_sent = 0, fragment_bytes_sent = 0;
  GroupEpoch epoch;
};

template <class Body>
void Session::State::post(const Body& body, bool again, std::optional<GroupEpoch> of) {
  {
    const std::lock_guard lock(mutex);
    Envelope envelope;
    envelope.job = options.job;
    envelope.from = options.actor;
    envelope.epoch = of.value_or(epoch);
    envelope.step = applied_step.load();
    outbox.push_back(make_message(envelope, body));
    if (again) reports.keep(outbox.back());
  }
  wake_up();
}

template <class Body>
void Session::State::enqueue_command(const Message& message) {
  auto body = parse_body<Body>(message);
  if (!body) {
    log_warning("dropped a message of the daemon: {}", body.error().message);
    return;
  }
  {
    const std::lock_guard lock(mutex);
    commands.push_back(Command{message.envelope.epoch, std::move(*body)});
    arrived.notify_all();
  }
  const std::lock_guard lock(urgent_mutex);
  if (command_came) command_came();
}

void Session::State::take_warm_up(const Message& message) {
  auto body = parse_body<WarmUp>(message);
  const bool joins = body && std::ranges::find(body->newcomers, options.actor) != body->newcomers.end();
  if (!body || joins) {
    if (joins) call_urgent(message.envelope.epoch);
    return enqueue_command<WarmUp>(message);
  }
  const std::lock_guard lock(mutex);
  warm_up.emplace(message.envelope.epoch, std::move(*body));
}

// Held during the call: whoever replaces the callback waits for a call under way.
void Session::State::call_urgent(GroupEpoch to, std::optional<GroupEpoch> follows) {
  const std::lock_guard lock(urgent_mutex);
  if (urgent) urgent(to, follows);
}

void Session::State::take(const Message& message) {
  switch (static_cast<MessageKind>(message.envelope.kind)) {
    case MessageKind::kWelcome:
      return enqueue_command<Welcome>(message);
    case MessageKind::kReconfigure: {
      const auto body = parse_body<Reconfigure>(message);
      const bool planned = body && body->planned;
      call_urgent(message.envelope.epoch, planned ? std::optional(body->follows) : std::nullopt);
      return enqueue_command<Reconfigure>(message);
    }
    case MessageKind::kRetire:
      call_urgent(kNoMembership);
      return enqueue_command<Retire>(message);
    case MessageKind::kHelloWanted:
      return hello_again();
    case MessageKind::kAssign:
      return enqueue_command<Assign>(message);
    case MessageKind::kResume:
      return enqueue_command<Resume>(message);
    case MessageKind::kWarmUp:
      return take_warm_up(message);
    case MessageKind::kTune:
      return enqueue_command<Tune>(message);
    case MessageKind::kTakeChoices:
      return enqueue_command<TakeChoices>(message);
    case MessageKind::kStopTraining:
      stop_requested = true;
      return enqueue_command<StopTraining>(message);
    case MessageKind::kError:
      call_urgent(kNoMembership);
      return enqueue_command<ErrorReply>(message);
    default:
      log_warning("dropped a message of kind {}", message.envelope.kind);
  }
}

// What the daemon before had not yet stored is gone with it. Steps go first: behind Finished nobody wants
// them.
void Session::State::hello_again() {
  {
    const std::lock_guard lock(mutex);
    steps.repeat();
  }
  std::deque<Message> first{hello_message(), progress_message()};
  const std::lock_guard lock(mutex);
  // Also of one that leads and has not committed a step itself: it may have come to the job's end with what
  // it was given.
  first.insert(first.end(), reports.all().begin(), reports.all().end());
  outbox.insert(outbox.begin(), first.begin(), first.end());
}

// False: the daemon takes no more for now, and the message must come again.
bool Session::State::send(Message message) {
  const auto sent = channel->send(std::move(message));
  if (!sent) log_warning("not sent: {}", sent.error().message);
  return !sent || *sent == Sent::kQueued;
}

void Session::State::receive() {
  while (auto message = channel->try_receive()) take(*message);
}

// False: something waits for the daemon.
bool Session::State::flush() {
  while (true) {
    Message next;
    {
      const std::lock_guard lock(mutex);
      if (outbox.empty()) return true;
      next = outbox.front();
    }
    if (!send(std::move(next))) return false;
    const std::lock_guard lock(mutex);
    outbox.pop_front();  // only this thread takes, and puts in front
  }
}

Message Session::State::progress_message() {
  Progress body;
  body.applied_step = applied_step.load();
  body.counter = gauges.counter.load();
  body.memory_bytes = process_resident_bytes();
  const bool forms = gauges.forms;
  body.activity = forms ? std::uint8_t{kSaving} : gauges.activity.load();
  body.micro_batches = gauges.micro_batches.load();
  body.compute_seconds = 1e-9 * static_cast<double>(gauges.compute_ns.load());
  if (!forms &&
      (body.activity == kWaiting || body.activity == kSaving)) {  // saving: of whom parts are gathered
    const std::lock_guard lock(urgent_mutex);
    if (awaits) body.awaits = awaits();
  }
  const std::lock_guard lock(mutex);
  body.steps = steps.take();
  body.bytes_sent = bytes_sent;
  body.fragment_bytes_sent = fragment_bytes_sent;
  body.curvature_bytes = gauges.curvature_bytes;
  Envelope envelope;
  envelope.job = options.job;
  envelope.from = options.actor;
  envelope.epoch = epoch;
  envelope.step = body.applied_step;
  return make_message(envelope, body);
}

void Session::State::post_progress() {
  Message progress = progress_message();
  const std::lock_guard lock(mutex);
  outbox.push_back(std::move(progress));
  wake_up();
}
void Session::State::post_steps() {
  std::unique_lock lock(mutex);
  if (steps.empty()) return;
  lock.unlock();
  post_progress();
}

Message Session::State::hello_message() {
  ActorHello hello = options.hello;
  const std::lock_guard lock(mutex);
  hello.epoch = epoch;
  hello.applied_step = applied_step.load();
  hello.activity = gauges.activity.load();
  Envelope envelope;
  envelope.job = options.job;
  envelope.from = options.actor;
  return make_message(envelope, hello);
}

// Left out where the daemon takes nothing: the next one says all of it, and the steps that this one was to.
void Session::State::heartbeat() {
  if (!flush()) return;
  Message message = progress_message();
  if (send(message)) return;
  auto body = parse_body<Progress>(message);
  const std::lock_guard lock(mutex);
  if (body) steps.put_back(std::move(body->steps));
}

void Session::State::loop() {
  using Clock = std::chrono::steady_clock;
  Poller poller;
  poller.watch(*channel, kChannelToken);
  poller.watch_fd(wake.get(), kWakeToken);
  auto next_beat = Clock::now();
  while (!closing.load()) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(next_beat - Clock::now()).count();
    const auto ready = poller.wait(static_cast<int>(std::max<long>(left, 0)));
    if (!ready) {
      {
        const std::lock_guard lock(mutex);
        commands.push_back(
            {{}, ErrorReply{ErrorCode::kInternal, "the session broke: " + ready.error().message}});
        arrived.notify_all();
      }
      call_urgent(kNoMembership);
      return;
    }
    eventfd_t ignored;
    eventfd_read(wake.get(), &ignored);
    receive();
    flush();
    if (beat_wanted.exchange(false) || Clock::now() >= next_beat) {
      heartbeat();
      // Three in a lease: two may be late before the lease runs out.
      next_beat = Clock::now() + std::chrono::milliseconds(std::max<std::uint32_t>(lease_ms.load() / 3, 10));
    }
  }
  flush();
}

Session::Session(SessionOptions options) : state_(std::make_unique<State>(std::move(options))) {}

Session::~Session() {
  if (!state_->thread.joinable()) return;
  state_->closing = true;
  state_->wake_up();
  state_->thread.join();
}

Status Session::start() {
  // The identity lets a daemon that was restarted see the same actor again.
  auto channel =
      connect_client(state_->context, state_->options.daemon_endpoint,
                     {.queue_limit = kQueuedMessages,
                      .linger_ms = 2000,
                      .identity = "actor-" + actor_name(state_->options.job, state_->options.actor)});
  if (!channel) return fail(channel.error());
  state_->channel = std::move(*channel);
  state_->post(state_->options.hello);
  state_->thread = std::thread([state = state_.get()] { state->loop(); });
  return {};
}

void Session::on_awaits(std::function<std::vector<ActorId>()> callback) {
  const std::lock_guard lock(state_->urgent_mutex);
  state_->awaits = std::move(callback);
}

void Session::on_urgent(std::function<void(GroupEpoch, std::optional<GroupEpoch>)> callback) {
  const std::lock_guard lock(state_->urgent_mutex);
  state_->urgent = std::move(callback);
}

void Session::on_command(std::function<void()> callback) {
  const std::lock_guard lock(state_->urgent_mutex);
  state_->command_came = std::move(callback);
}

bool Session::has_command() const {
  const std::lock_guard lock(state_->mutex);
  return !state_->commands.empty();
}

std::optional<std::pair<GroupEpoch, WarmUp>> Session::take_warm_up() {
  const std::lock_guard lock(state_->mutex);
  return std::exchange(state_->warm_up, std::nullopt);
}

Command Session::wait() {
  std::unique_lock lock(state_->mutex);
  state_->arrived.wait(lock, [&] { return !state_->commands.empty(); });
  Command command = std::move(state_->commands.front());
  state_->commands.pop_front();
  return command;
}

bool Session::stop_requested() const {
  return state_->stop_requested.load();
}
Gauges& Session::gauges() {
  return state_->gauges;
}
void Session::set_applied_step(std::uint64_t step) {
  state_->applied_step = step;
}
void Session::set_lease(std::uint32_t lease_ms) {
  state_->lease_ms = lease_ms;
}

void Session::set_epoch(GroupEpoch epoch) {
  const std::lock_guard lock(state_->mutex);
  state_->epoch = epoch;
}

void Session::add_step(const StepMetrics& metrics, bool leads) {
  const std::lock_guard lock(state_->mutex);
  state_->bytes_sent += metrics.bytes_sent;
  state_->fragment_bytes_sent += metrics.fragment_bytes_sent;
  state_->steps.add(metrics, leads);
}

void Session::tell_steps() {
  state_->post_steps();
}

void Session::keep_step(const StepMetrics& metrics) {
  const std::lock_guard lock(state_->mutex);
  if (metrics.step > 0) state_->steps.add(metrics, false);
}

void Session::go_on_from(std::uint64_t step, const StepMetrics& metrics, std::uint64_t told) {
  {
    const std::lock_guard lock(state_->mutex);
    state_->steps.go_on_from(step, metrics, told);
  }
  state_->post_steps();
}

void Session::report_soon() {
  state_->beat_wanted = true;
  state_->wake_up();
}

void Session::forget_steps() {
  const std::lock_guard lock(state_->mutex);
  state_->steps.forget();
  state_->reports.forget();
}

void Session::send(const Prepared& body) {
  state_->post(body);
}
void Session::send(const Tuned& body) {
  state_->post(body);
}
void Session::send(const StateLost& body) {
  state_->post(body);
}
void Session::send(const WarmedUp& body) {
  state_->post(body);
}
void Session::send(const Parked& body) {
  state_->post(body);
}
void Session::send(const Ready& body) {
  state_->post(body);
}
void Session::send(const EpochReport& body) {
  state_->post(body, true);
}
void Session::send(const CheckpointReport& body, GroupEpoch of) {
  state_->post(body, true, of);
}
void Session::send(const ActorFailed& body) {
  state_->post(body);
}
void Session::send(const ActorEvent& body) {
  state_->post(body);
}

// The last steps' metrics, and what was sent, go before the last word: behind it the daemon expects nothing.
void Session::send(const Finished& body) {
  state_->post_progress();
  state_->post(body, true);
}

}  // namespace seng
