/*
 * An MQTT 3.1.1 load: publishers and subscribers on a connection each, packets by hand, in one thread.
 *
 * Closed loop: `window` messages are under way at most, from their publish until every subscriber has them (and, at QoS 1,
 * the publisher its PUBACK). Open loop (`rate`): messages leave by the clock, latency counts from the time they were meant
 * to. Publisher n publishes to PREFIX/n, every subscriber subscribes to PREFIX/#. With `publishers=0` it only counts what
 * comes, until `total`, `seconds` or SIGTERM; the stamps in the payloads may come from another generator.
 */
#include "measure.h"
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct buffer {
  uint8_t *bytes;
  size_t from, to, size;
};

struct connection {
  int fd, index, subscriber, ready, writing, dirty;
  uint16_t id;
  struct buffer in, out;
};

static const char *prefix;
static int port, publishers, subscribers, qos, subscriber_qos, payload_size, window, clean, poller, ready, counting;
static struct connection *list;
static struct connection **dirty;
static int dirty_count;
static uint64_t sent, acknowledged, received, missing, repeated, total;
static int64_t counted_from, last_progress;
static struct histogram delivery, acknowledgement, lag;
/* When what is not acknowledged was meant to leave: by connection and packet id. */
#define IDS 1024
static int64_t *intended_of;

static uint8_t *room(struct buffer *buffer, size_t length) {
  if (buffer->to + length > buffer->size) {
    memmove(buffer->bytes, buffer->bytes + buffer->from, buffer->to - buffer->from);
    buffer->to -= buffer->from;
    buffer->from = 0;
    while (buffer->to + length > buffer->size) {
      buffer->size = buffer->size == 0 ? 4096 : buffer->size * 2;
      buffer->bytes = realloc(buffer->bytes, buffer->size);
      if (buffer->bytes == NULL) fail("realloc");
    }
  }
  return buffer->bytes + buffer->to;
}

static void broken(const struct connection *one, const char *what) {
  fprintf(stderr, "%s %d: %s\n", one->subscriber ? "subscriber" : "publisher", one->index, what);
  exit(1);
}

static void watch(struct connection *one, int writing) {
  struct epoll_event event = {.events = EPOLLIN | (writing ? EPOLLOUT : 0), .data.ptr = one};
  if (one->writing != writing && epoll_ctl(poller, EPOLL_CTL_MOD, one->fd, &event) != 0) fail("epoll_ctl");
  one->writing = writing;
}

static void flush_connection(struct connection *one) {
  while (one->out.from < one->out.to) {
    ssize_t length = send(one->fd, one->out.bytes + one->out.from, one->out.to - one->out.from, 0);
    if (length < 0 && errno == EAGAIN) {
      watch(one, 1);
      return;
    }
    if (length < 0) broken(one, strerror(errno));
    one->out.from += (size_t)length;
  }
  one->out.from = one->out.to = 0;
  watch(one, 0);
}

static void touched(struct connection *one) {
  if (one->dirty) return;
  one->dirty = 1;
  dirty[dirty_count++] = one;
}

static void flush_all(void) {
  for (int at = 0; at < dirty_count; at++) {
    dirty[at]->dirty = 0;
    flush_connection(dirty[at]);
  }
  dirty_count = 0;
}

/* Type and flags, then what `length` bytes follow: below 16,384. */
static uint8_t *begin_packet(struct connection *to, int first, size_t length) {
  uint8_t *out = room(&to->out, length + 3);
  *out++ = (uint8_t)first;
  if (length < 128) *out++ = (uint8_t)length;
  else *out++ = (uint8_t)(length & 127) | 128, *out++ = (uint8_t)(length >> 7);
  to->out.to = (size_t)(out - to->out.bytes) + length;
  touched(to);
  return out;
}

static uint8_t *put_text(uint8_t *out, const char *text) {
  size_t length = strlen(text);
  *out++ = (uint8_t)(length >> 8);
  *out++ = (uint8_t)length;
  memcpy(out, text, length);
  return out + length;
}

static void open_connection(struct connection *one) {
  one->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (one->fd < 0) fail("socket");
  struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  peer.sin_addr.s_addr = inet_addr("127.0.0.1");
  if (connect(one->fd, (struct sockaddr *)&peer, sizeof peer) != 0) fail("connect");
  int yes = 1;
  setsockopt(one->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = one};
  if (epoll_ctl(poller, EPOLL_CTL_ADD, one->fd, &event) != 0) fail("epoll_ctl");
  char id[64];
  snprintf(id, sizeof id, "%s-%s-%d", prefix, one->subscriber ? "sub" : "pub", one->index);
  uint8_t *out = begin_packet(one, 0x10, 10 + 2 + strlen(id));
  out = put_text(out, "MQTT");
  *out++ = 4;
  /* a subscriber of QoS 1 has a persistent session where `clean=0` */
  *out++ = one->subscriber && !clean ? 0 : 2;
  *out++ = 0;
  *out++ = 0;
  put_text(out, id);
  flush_all();
}

static void publish(struct connection *from, int64_t intended) {
  char topic[80];
  int topic_length = snprintf(topic, sizeof topic, "%s/%d", prefix, from->index);
  size_t length = 2 + (size_t)topic_length + (qos > 0 ? 2 : 0) + (size_t)payload_size;
  uint8_t *out = put_text(begin_packet(from, 0x30 | qos << 1, length), topic);
  if (qos > 0) {
    from->id = from->id >= IDS - 1 ? 1 : from->id + 1;
    *out++ = (uint8_t)(from->id >> 8);
    *out++ = (uint8_t)from->id;
    intended_of[from->index * IDS + from->id] = intended;
  }
  memset(out, 'x', (size_t)payload_size);
  if (payload_size >= STAMP) write_stamp(out, intended);
  note(&lag, now_ns() - intended);
  sent++;
}

static void handle(struct connection *one, int first, const uint8_t *body, size_t length) {
  int type = first >> 4;
  if (type == 3 && length >= 2) {
    size_t topic = (size_t)(body[0] << 8 | body[1]) + 2;
    int level = first >> 1 & 3;
    if (topic + (level > 0 ? 2 : 0) > length) broken(one, "a PUBLISH that is too short");
    if (level > 0) memcpy(begin_packet(one, 0x40, 2), body + topic, 2);
    size_t head = topic + (level > 0 ? 2 : 0);
    int64_t now = now_ns(), stamp = read_stamp(body + head, length - head);
    if (!counting || stamp < counted_from) return;
    if (first & 8) repeated++;
    received++;
    last_progress = now;
    note(&delivery, now - stamp);
  } else if (type == 4 && length >= 2) {
    int64_t *intended = &intended_of[one->index * IDS + ((body[0] << 8 | body[1]) & (IDS - 1))];
    if (*intended == 0) return;
    note(&acknowledgement, now_ns() - *intended);
    *intended = 0;
    acknowledged++;
    last_progress = now_ns();
  } else if (type == 2) {
    if (length < 2 || body[1] != 0) broken(one, "the login was refused");
    if (one->subscriber) {
      char filter[80];
      snprintf(filter, sizeof filter, "%s/#", prefix);
      uint8_t *out = begin_packet(one, 0x82, 2 + 2 + strlen(filter) + 1);
      *out++ = 0;
      *out++ = 1;
      *put_text(out, filter) = (uint8_t)subscriber_qos;
    } else {
      ready++;
    }
  } else if (type == 9) {
    if (length < 3 || body[2] > 2) broken(one, "the subscription was refused");
    ready++;
  }
}

static void receive(struct connection *one) {
  room(&one->in, 65536);
  ssize_t count = recv(one->fd, one->in.bytes + one->in.to, one->in.size - one->in.to, MSG_DONTWAIT);
  if (count < 0 && errno == EAGAIN) return;
  if (count <= 0) broken(one, count == 0 ? "the server closed the connection" : strerror(errno));
  one->in.to += (size_t)count;
  for (;;) {
    const uint8_t *at = one->in.bytes + one->in.from;
    size_t have = one->in.to - one->in.from, length = 0, head = 1;
    for (int shift = 0;; shift += 7, head++) {
      if (head >= have || shift > 21) goto partial;
      length |= (size_t)(at[head] & 127) << shift;
      if (at[head] < 128) break;
    }
    head++;
    if (have < head + length) goto partial;
    handle(one, at[0], at + head, length);
    one->in.from += head + length;
  }
partial:
  if (one->in.from == one->in.to) one->in.from = one->in.to = 0;
}

static void step(int64_t until) {
  static struct epoll_event events[256];
  flush_all();
  int64_t wait = until - now_ns();
  if (wait < 0) wait = 0;
  struct timespec timeout = {wait / SECOND, wait % SECOND};
  int count = epoll_pwait2(poller, events, 256, &timeout, NULL);
  for (int at = 0; at < count; at++) {
    if (events[at].events & EPOLLOUT) flush_connection(events[at].data.ptr);
    if (events[at].events & ~(unsigned)EPOLLOUT) receive(events[at].data.ptr);
  }
}

/* What every subscriber has, and is acknowledged. */
static uint64_t completed(void) {
  uint64_t delivered = subscribers > 0 ? (received + missing) / (uint64_t)subscribers : sent;
  return qos > 0 && acknowledged < delivered ? acknowledged : delivered;
}

int main(int argc, char **argv) {
  set_up(argc - 1, argv + 1);
  port = (int)number_option("port", 1883);
  publishers = (int)number_option("publishers", 1);
  subscribers = (int)number_option("subscribers", 1);
  qos = (int)number_option("qos", 0);
  subscriber_qos = (int)number_option("subscriber-qos", qos);
  payload_size = (int)number_option("payload", 32);
  window = (int)number_option("window", 64);
  clean = (int)number_option("clean", 1);
  prefix = text_option("prefix", "bench");
  total = (uint64_t)number_option("total", 0);
  double seconds = number_option("seconds", 5), rate = number_option("rate", 0);
  no_more_options();
  if (qos > 0 && publishers > 0 && window / publishers >= IDS) return fprintf(stderr, "window too large\n"), 2;

  poller = epoll_create1(EPOLL_CLOEXEC);
  int count = publishers + subscribers;
  list = calloc((size_t)count, sizeof *list);
  dirty = calloc((size_t)count, sizeof *dirty);
  intended_of = calloc((size_t)(publishers + 1) * IDS, sizeof *intended_of);
  for (int at = 0; at < count; at++) {
    list[at].subscriber = at < subscribers;
    list[at].index = at < subscribers ? at : at - subscribers;
    open_connection(&list[at]);
    /* not faster than a server that limits the rate of connections takes them */
    for (int64_t until = now_ns() + 4 * MILLISECOND; now_ns() < until;) step(until);
  }
  for (int64_t until = now_ns() + 30 * SECOND; ready < count; step(now_ns() + SECOND))
    if (now_ns() > until || told_to_end) return fprintf(stderr, "%d of %d are connected\n", ready, count), 1;
  printf("{\"ready\":true}\n");
  fflush(stdout);

  struct connection *from = list + subscribers;
  int64_t begun = now_ns(), end = begun + (int64_t)(seconds * SECOND);
  double cpu = cpu_seconds();
  counted_from = publishers > 0 ? begun : 1;
  last_progress = begun;
  counting = 1;
  for (int64_t now = begun; now < end && !told_to_end; now = now_ns()) {
    if (total > 0 && (publishers > 0 ? completed() : received) >= total) break;
    int64_t until = end;
    if (publishers > 0 && rate > 0) {
      for (until = begun + (int64_t)(sent * 1e9 / rate); until <= now; until = begun + (int64_t)(sent * 1e9 / rate))
        publish(from + sent % (uint64_t)publishers, until);
    } else if (publishers > 0) {
      while ((total == 0 || sent < total) && sent < completed() + (uint64_t)window)
        publish(from + sent % (uint64_t)publishers, now);
      /* nothing came for five seconds: what is missing is lost, and counted */
      if (now > last_progress + 5 * SECOND && subscribers > 0) {
        if (acknowledged < sent && qos > 0) broken(from, "not acknowledged for five seconds");
        missing = sent * (uint64_t)subscribers > received ? sent * (uint64_t)subscribers - received : 0;
        last_progress = now;
      }
      if (now + SECOND < until) until = now + SECOND;
    }
    step(until < end ? until : end);
  }
  int64_t over = now_ns();
  cpu = cpu_seconds() - cpu;
  uint64_t in_time = received, acknowledged_in_time = acknowledged;
  while (publishers > 0 && now_ns() < over + 3 * SECOND && completed() < sent) step(now_ns() + 100 * MILLISECOND);
  /* a packet half written would be an error to the server */
  flush_all();
  missing = 0;
  if (publishers > 0 && sent * (uint64_t)subscribers > received) missing = sent * (uint64_t)subscribers - received;
  double took = (over - begun) / 1e9;
  printf("{\"sent\":%llu,\"acknowledged\":%llu,\"received\":%llu,\"missing\":%llu,\"repeated\":%llu,\"seconds\":%.3f,"
         "\"publishRate\":%.1f,\"rate\":%.1f,",
         (unsigned long long)sent, (unsigned long long)acknowledged_in_time, (unsigned long long)in_time,
         (unsigned long long)missing, (unsigned long long)repeated, took, sent / took, in_time / took);
  print_histogram("delivery", &delivery);
  print_histogram("acknowledgement", &acknowledgement);
  print_histogram("lag", &lag);
  printf("\"cpu\":%.3f,\"cpuShare\":%.3f}\n", cpu, cpu / took);
  fflush(stdout);
  for (int at = 0; at < count; at++) begin_packet(&list[at], 0xe0, 0);
  flush_all();
  return 0;
}
