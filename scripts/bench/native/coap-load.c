/*
 * A CoAP load: simulated devices, a socket (so an endpoint) each unless told otherwise, in one thread.
 *
 * Closed loop: `window` requests are under way, the next one leaves when one was answered. Open loop (`rate`): requests
 * leave by the clock whatever was answered, and a latency counts from the time a request was meant to leave, so that what
 * the server (or this program) held up is in the figures. A confirmable request is sent again after 2, 4, 8 and 16 s, as a
 * device would, and counted. Everything has an end: `seconds`, `total`, the bound of requests under way.
 *
 * Phases: log in (`connect=1`), observe (`observers=N`), a line {"ready":…}, then the load, then a line with the figures.
 */
#include "coap-engine.h"

static int phase_next, phase_total;
static enum kind phase_kind;

static void go_on_with_phase(void) {
  if (phase_next >= phase_total) return;
  int index = phase_next++;
  if (phase_kind == LOGIN) begin_exchange(LOGIN, index, client_list[index].endpoint, now_ns(), 0);
  else begin_exchange(SUBSCRIBE, clients + index, &endpoint_list[endpoints + index], now_ns(), OBSERVER | (uint32_t)index);
}

/* Each of `total` does it once, 200 of them at any moment: all at once would be a flood, not a plant. */
static double run_phase(enum kind kind, int total) {
  int64_t begun = now_ns(), deadline = begun + 180 * SECOND;
  phase_kind = kind;
  phase_total = total;
  phase_next = phase_over = phase_failed = 0;
  next_in_phase = go_on_with_phase;
  for (int at = 0; at < 200; at++) go_on_with_phase();
  while (phase_over < total && !told_to_end && now_ns() < deadline) step(now_ns() + SECOND);
  if (phase_over < total || phase_failed > 0) {
    fprintf(stderr, "%s: %d of %d, %d failed\n", kind == LOGIN ? "log in" : "observe", phase_over, total, phase_failed);
    for (int code = 0; code < 256; code++)
      if (refused[code] > 0) fprintf(stderr, "%d.%02d %s\n", code >> 5, code & 31, refused_text[code]);
    exit(1);
  }
  return (now_ns() - begun) / 1e9;
}

/* Requests by the clock. */
struct schedule {
  enum kind kind;
  double rate;
  int first, count;
  int64_t begun;
  uint64_t next;
};

static int64_t due(const struct schedule *one) {
  return one->rate > 0 ? one->begun + (int64_t)(one->next * (1e9 / one->rate)) : INT64_MAX;
}

static void issue(struct schedule *one, int64_t now) {
  for (int64_t at = due(one); at <= now; at = due(one)) {
    int client = one->first + (int)(one->next % (uint64_t)one->count);
    one->next++;
    if (one->kind == PUBLISH) publish(client, at);
    else begin_exchange(BEAT, client, client_list[client].endpoint, at, 0);
  }
}

static int stopped;
static uint64_t total;
static int turn;

static void nothing(int client) { (void)client; }

/* Closed loop: the same client goes on, or, where fewer are under way than there are clients, the next one in turn. */
static void same_client(int client) {
  if (stopped || (total > 0 && issued >= total)) return;
  if (window < active) client = turn++ % active;
  publish(client, now_ns());
}

/* Think time: all wait equally long, so they leave in the order in which they came. */
static struct { int client; int64_t due; } *thinkers;
static int thinking_from, thinking_to;

static void think_first(int client) {
  thinkers[thinking_to++ % active].client = client;
  thinkers[(thinking_to - 1) % active].due = now_ns() + think;
}

/*
 * Fan-out: the next publish leaves when all observers have had all but `fan_window` - 1 of those before, and the client
 * whose turn it is has its answer: one has one request under way at a time (NSTART, RFC 7252 §4.7).
 */
static int fan_window;
static uint64_t fan_sent, fan_missing;

static void fan_out(int64_t now) {
  if (last_delivery + 2 * SECOND < now && fan_sent * (uint64_t)observers > notifications + fan_missing) {
    fan_missing = fan_sent * (uint64_t)observers - notifications;
    last_delivery = now;
  }
  while (!stopped && fan_sent * (uint64_t)observers < notifications + fan_missing + (uint64_t)fan_window * (uint64_t)observers) {
    if (client_list[fan_sent % (uint64_t)active].endpoint->outstanding > 0) return;
    if (fan_sent == 0) last_delivery = now;
    publish((int)(fan_sent++ % (uint64_t)active), now);
  }
}

static void print_figures(double seconds, double cpu, double connected, double observed) {
  printf("{\"done\":%llu,\"seconds\":%.3f,\"rate\":%.1f,\"errors\":%llu,\"again\":%llu,\"lost\":%llu,\"skipped\":%llu,"
         "\"late\":%llu,\"stray\":%llu,\"sendFailed\":%llu,\"beats\":%llu,\"notifications\":%llu,\"missing\":%llu,"
         "\"unanswered\":%d,\"endpoints\":%d,",
         (unsigned long long)done, seconds, done / seconds, (unsigned long long)wrong, (unsigned long long)again,
         (unsigned long long)lost, (unsigned long long)skipped, (unsigned long long)late, (unsigned long long)stray,
         (unsigned long long)send_failed, (unsigned long long)beats, (unsigned long long)notifications,
         (unsigned long long)fan_missing, under_way, endpoints);
  print_histogram("latency", &latency);
  print_histogram("delivery", &delivery);
  print_histogram("lag", &lag);
  print_histogram("beat", &beat_latency);
  printf("\"refused\":{");
  for (int code = 0, some = 0; code < 256; code++)
    if (refused[code] > 0)
      printf("%s\"%d.%02d %s\":%llu", some++ ? "," : "", code >> 5, code & 31, refused_text[code],
             (unsigned long long)refused[code]);
  printf("},\"cpu\":%.3f,\"cpuShare\":%.3f,\"connectSeconds\":%.3f,\"observeSeconds\":%.3f}\n", cpu, cpu / seconds,
         connected, observed);
  fflush(stdout);
}

int main(int argc, char **argv) {
  set_up(argc - 1, argv + 1);
  host = text_option("host", "127.0.0.1");
  port = (int)number_option("port", 5683);
  clients = (int)number_option("clients", 64);
  active = (int)number_option("active", clients);
  window = (int)number_option("window", active);
  endpoints = (int)number_option("endpoints", clients);
  topics = (int)number_option("topics", 100);
  payload_size = (int)number_option("payload", 32);
  block_size = (int)number_option("block", 0);
  confirmable = strcmp(text_option("type", "con"), "non") != 0;
  method = strcmp(text_option("method", "post"), "put") == 0 ? PUT : POST;
  path = text_option("path", "ps/bench");
  query = text_option("query", "");
  prefix = text_option("prefix", "bench");
  any = (int)number_option("any", 0);
  connect_first = (int)number_option("connect", 0);
  observers = (int)number_option("observers", 0);
  observer_qos = (int)number_option("observer-qos", -1);
  fan_window = (int)number_option("fan-window", 0);
  think = (int64_t)(number_option("think", 0) * MILLISECOND);
  total = (uint64_t)number_option("total", 0);
  double seconds = number_option("seconds", total > 0 ? 600 : 5);
  struct schedule publishes = {.kind = PUBLISH, .rate = number_option("rate", 0), .first = 0, .count = active};
  int idle = active < clients ? active : 0;
  struct schedule heartbeats = {
      .kind = BEAT, .rate = number_option("beats", 0), .first = idle, .count = clients - idle};
  no_more_options();
  if (payload_size > DATAGRAM - 200 && block_size == 0) return fprintf(stderr, "payload too long\n"), 2;
  if (endpoints > clients) endpoints = clients;
  /* where there are not as many descriptors, several devices share a port */
  struct rlimit descriptors;
  getrlimit(RLIMIT_NOFILE, &descriptors);
  int most = (int)descriptors.rlim_cur - 64 - observers;
  if (most < 1) return fprintf(stderr, "too few descriptors: see ulimit -n\n"), 1;
  if (endpoints > most) endpoints = most;

  srandom((unsigned)now_ns());
  poller = epoll_create1(EPOLL_CLOEXEC);
  for (int list = 0; list < LISTS; list++) first_of[list] = last_of[list] = -1;
  for (int slot = SLOTS - 1; slot >= 0; slot--) free_slots[free_count++] = slot;
  endpoint_list = calloc((size_t)(endpoints + observers), sizeof *endpoint_list);
  client_list = calloc((size_t)clients, sizeof *client_list);
  observer_ready = calloc((size_t)observers + 1, 1);
  observer_slot = calloc((size_t)observers + 1, sizeof *observer_slot);
  thinkers = calloc((size_t)active + 1, sizeof *thinkers);
  for (int at = 0; at < endpoints + observers; at++) {
    endpoint_list[at].index = at;
    open_endpoint(&endpoint_list[at]);
  }
  for (int at = 0; at < clients; at++) client_list[at].endpoint = &endpoint_list[at % endpoints];

  next_publish = nothing;
  double connected = connect_first ? run_phase(LOGIN, clients) : 0;
  double observed = observers > 0 ? run_phase(SUBSCRIBE, observers) : 0;
  printf("{\"ready\":true,\"connectSeconds\":%.3f,\"observeSeconds\":%.3f}\n", connected, observed);
  fflush(stdout);

  int64_t begun = now_ns(), end = begun + (int64_t)(seconds * SECOND);
  double cpu = cpu_seconds();
  again = late = stray = send_failed = 0;
  counted_from = publishes.begun = heartbeats.begun = begun;
  counting = 1;
  int closed = publishes.rate == 0 && fan_window == 0 && active > 0;
  if (closed) {
    next_publish = think > 0 ? think_first : same_client;
    for (turn = 0; turn < window && (total == 0 || (uint64_t)turn < total);) publish(turn++, begun);
  }
  for (int64_t now = begun; now < end && !told_to_end; now = now_ns()) {
    if (total > 0 && done + wrong + lost >= total) break;
    issue(&publishes, now);
    issue(&heartbeats, now);
    if (fan_window > 0) fan_out(now);
    for (; thinking_from < thinking_to && thinkers[thinking_from % active].due <= now; thinking_from++)
      same_client(thinkers[thinking_from % active].client);
    int64_t until = end < due(&publishes) ? end : due(&publishes);
    if (due(&heartbeats) < until) until = due(&heartbeats);
    if (thinking_from < thinking_to && thinkers[thinking_from % active].due < until)
      until = thinkers[thinking_from % active].due;
    if (fan_window > 0 && now + SECOND < until) until = now + SECOND;
    step(until);
  }
  /* what is still under way is answered before this ends, so that the next load meets a server at rest */
  int64_t over = now_ns();
  cpu = cpu_seconds() - cpu;
  stopped = 1;
  counting = fan_window > 0 || publishes.rate > 0;
  next_publish = nothing;
  uint64_t done_in_time = done;
  int64_t expected = (int64_t)(fan_sent * (uint64_t)observers);
  uint64_t in_time = notifications;
  while (now_ns() < over + 3 * SECOND && (under_way > 0 || (int64_t)(notifications + fan_missing) < expected))
    step(now_ns() + 100 * MILLISECOND);
  if (fan_window > 0 && notifications + fan_missing < (uint64_t)expected) fan_missing = (uint64_t)expected - notifications;
  if (fan_window > 0) notifications = in_time;
  if (publishes.rate == 0) done = done_in_time;
  print_figures((over - begun) / 1e9, cpu, connected, observed);
  return 0;
}
