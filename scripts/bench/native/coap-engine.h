/* Devices, their sockets and their exchanges: what coap-load.c drives. One thread, no memory taken while it runs. */
#ifndef COAP_ENGINE_H
#define COAP_ENGINE_H

#include "measure.h"
#include "coap.h"
#include <arpa/inet.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum kind { LOGIN, SUBSCRIBE, PUBLISH, BEAT, KINDS };
#define SLOT_BITS 17
#define SLOTS (1 << SLOT_BITS)
#define OBSERVER 0x80000000u
#define ATTEMPTS 5
#define ACKNOWLEDGED ATTEMPTS
#define LISTS (ATTEMPTS + 1)
#define MIDS_PER_PORT 60000
#define DATAGRAM 1400
#define BATCH 128

struct endpoint {
  int fd;
  uint16_t mid;
  uint32_t used;
  int outstanding;
  int index;
};

struct client {
  struct endpoint *endpoint;
  int block;
  int64_t begun;
  char token[64];
};

struct exchange {
  struct endpoint *endpoint;
  int client;
  uint8_t kind, list, busy;
  uint16_t mid;
  uint32_t token;
  int64_t intended, due;
  int next, before;
};

static const char *host, *path, *prefix, *query;
static int port, clients, active, topics, payload_size, confirmable, method, any, connect_first, block_size;
static int observers, observer_qos, endpoints, window;
static int64_t think;

static struct endpoint *endpoint_list;
static struct client *client_list;
static uint8_t *observer_ready;
static int *observer_slot;
static struct exchange exchanges[SLOTS];
static int free_slots[SLOTS], free_count;
static int first_of[LISTS], last_of[LISTS];
static int by_mid[1 << 18];
static int poller;

/* What is seen; `counting` while the load runs. */
static int counting;
static uint64_t done, wrong, again, lost, skipped, late, refused[256], notifications, stray, send_failed, beats, issued;
static char refused_text[256][80];
static struct histogram latency, delivery, lag, beat_latency;
static int64_t counted_from, last_delivery;
static int under_way;
/* The phase before the load: how many of its exchanges are over. */
static int phase_over, phase_failed;

static struct {
  struct endpoint *to;
  size_t length;
  uint8_t bytes[DATAGRAM];
} batch[BATCH];
static int batched;

static void flush_batch(void) {
  for (int at = 0; at < batched;) {
    struct endpoint *to = batch[at].to;
    struct mmsghdr messages[BATCH];
    struct iovec parts[BATCH];
    int count = 0;
    for (; at + count < batched && batch[at + count].to == to; count++) {
      parts[count] = (struct iovec){batch[at + count].bytes, batch[at + count].length};
      messages[count] = (struct mmsghdr){.msg_hdr = {.msg_iov = &parts[count], .msg_iovlen = 1}};
    }
    int sent = count == 1 ? (send(to->fd, batch[at].bytes, batch[at].length, 0) < 0 ? -1 : 1)
                          : sendmmsg(to->fd, messages, (unsigned)count, 0);
    /* what the kernel did not take is lost, as on a wire */
    if (sent < count) send_failed += (uint64_t)(count - (sent < 0 ? 0 : sent));
    at += count;
  }
  batched = 0;
}

static uint8_t *outgoing(struct endpoint *to) {
  if (batched == BATCH) flush_batch();
  batch[batched].to = to;
  return batch[batched].bytes;
}

static void close_packet(uint8_t *end) {
  batch[batched].length = (size_t)(end - batch[batched].bytes);
  batched++;
}

static void send_empty(struct endpoint *to, int type, uint16_t mid) {
  uint8_t *out = outgoing(to);
  out[0] = (uint8_t)(0x40 | type << 4);
  out[1] = 0;
  out[2] = (uint8_t)(mid >> 8);
  out[3] = (uint8_t)mid;
  close_packet(out + 4);
}

/* A socket bound to an address of its own in 127/8 for each 20,000 of them: the ports of one address do not suffice. */
static void open_endpoint(struct endpoint *endpoint) {
  endpoint->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (endpoint->fd < 0) fail("socket (descriptors: see ulimit -n)");
  struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr("127.0.0.1")};
  own.sin_addr.s_addr = htonl(ntohl(own.sin_addr.s_addr) + ((uint32_t)(endpoint->index / 20000) << 8));
  if (bind(endpoint->fd, (struct sockaddr *)&own, sizeof own) != 0) fail("bind");
  struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  peer.sin_addr.s_addr = inet_addr(host);
  if (connect(endpoint->fd, (struct sockaddr *)&peer, sizeof peer) != 0) fail("connect");
  int size = 1 << 20;
  if (endpoints + observers < 5000) setsockopt(endpoint->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = endpoint};
  if (epoll_ctl(poller, EPOLL_CTL_ADD, endpoint->fd, &event) != 0) fail("epoll_ctl");
  endpoint->used = 0;
  endpoint->mid = (uint16_t)random();
}

static void leave_list(int slot) {
  struct exchange *one = &exchanges[slot];
  if (one->before < 0) first_of[one->list] = one->next;
  else exchanges[one->before].next = one->next;
  if (one->next < 0) last_of[one->list] = one->before;
  else exchanges[one->next].before = one->before;
}

/* Waits of one list are equally long, so its first is due first. */
static void enter_list(int slot, int list, int64_t due) {
  struct exchange *one = &exchanges[slot];
  one->list = (uint8_t)list;
  one->due = due;
  one->next = -1;
  one->before = last_of[list];
  if (one->before < 0) first_of[list] = slot;
  else exchanges[one->before].next = slot;
  last_of[list] = slot;
}

static unsigned mid_key(const struct endpoint *endpoint, uint16_t mid) {
  return ((unsigned)endpoint->index * 40503u + mid) & ((1 << 18) - 1);
}

static void put_credentials(struct writer *to, int client, const char *id, const char *token) {
  char text[128];
  int length = snprintf(text, sizeof text, "%s=%s-%d", id, prefix, client);
  put_option(to, URI_QUERY, text, length);
  if (token == NULL) return;
  length = snprintf(text, sizeof text, "t=%s", token);
  put_option(to, URI_QUERY, text, length);
}

/* Builds the packet of an exchange, the first time and again. */
static void transmit(struct exchange *one) {
  uint8_t *out = outgoing(one->endpoint);
  struct client *client = &client_list[one->client < clients ? one->client : 0];
  int type = one->kind == PUBLISH && !confirmable ? NON : CON;
  int code = one->kind == LOGIN ? POST : one->kind == BEAT ? PUT : one->kind == SUBSCRIBE ? GET : method;
  struct writer to = begin_packet(out, type, code, one->mid, one->token);
  if (one->kind == LOGIN || one->kind == BEAT) {
    put_path(&to, "mqtt/connection");
    put_credentials(&to, one->client, one->kind == LOGIN ? "clientid" : "c", one->kind == LOGIN ? NULL : client->token);
    close_packet(to.at);
    return;
  }
  char topic[16];
  if (one->kind == SUBSCRIBE) put_option(&to, OBSERVE_OPTION, "", 0);
  put_path(&to, path);
  if (topics > 0) put_option(&to, URI_PATH, topic, snprintf(topic, sizeof topic, "%d", one->client % topics));
  if (one->kind == SUBSCRIBE) {
    char qos[8];
    if (observer_qos >= 0) put_option(&to, URI_QUERY, qos, snprintf(qos, sizeof qos, "qos=%d", observer_qos));
    close_packet(to.at);
    return;
  }
  if (*query != 0) put_option(&to, URI_QUERY, query, (int)strlen(query));
  if (connect_first) put_credentials(&to, one->client, "c", client->token);
  int size = payload_size;
  if (block_size > 0) {
    int from = client->block * block_size, more = from + block_size < payload_size;
    int exponent = __builtin_ctz((unsigned)block_size) - 4;
    int value = client->block << 4 | more << 3 | exponent;
    uint8_t bytes[2] = {(uint8_t)(value >> 8), (uint8_t)value};
    put_option(&to, BLOCK1, value > 255 ? bytes : bytes + 1, value > 255 ? 2 : 1);
    size = more ? block_size : payload_size - from;
  }
  if (size > 0) {
    *to.at++ = 0xff;
    memset(to.at, 'x', (size_t)size);
    if (size >= STAMP && block_size == 0) write_stamp(to.at, one->intended);
    to.at += size;
  }
  close_packet(to.at);
}

static void begin_exchange(enum kind kind, int client, struct endpoint *endpoint, int64_t intended, uint32_t token) {
  if (free_count == 0) {
    skipped += counting;
    return;
  }
  if (endpoint->used >= MIDS_PER_PORT && endpoint->outstanding == 0) {
    /* a message id may not be used again for four minutes: a new port is a new endpoint */
    flush_batch();
    close(endpoint->fd);
    open_endpoint(endpoint);
  }
  int slot = free_slots[--free_count];
  struct exchange *one = &exchanges[slot];
  uint32_t turn = ((one->token >> SLOT_BITS) + 1) & 0x3fff;
  one->endpoint = endpoint;
  one->client = client;
  one->kind = (uint8_t)kind;
  one->busy = 1;
  one->mid = endpoint->mid++;
  one->token = token != 0 ? token : turn << SLOT_BITS | (uint32_t)slot;
  one->intended = intended;
  endpoint->used++;
  endpoint->outstanding++;
  by_mid[mid_key(endpoint, one->mid)] = slot;
  if (kind == SUBSCRIBE) observer_slot[client - clients] = slot;
  under_way++;
  int64_t now = now_ns();
  if (counting) note(&lag, now - intended);
  enter_list(slot, 0, now + 2 * SECOND);
  transmit(one);
}

static void publish(int client, int64_t intended) {
  issued++;
  if (client_list[client].block == 0) client_list[client].begun = intended;
  begin_exchange(PUBLISH, client, client_list[client].endpoint, intended, 0);
}

static void end_exchange(int slot) {
  struct exchange *one = &exchanges[slot];
  leave_list(slot);
  one->endpoint->outstanding--;
  one->busy = 0;
  if (one->kind == SUBSCRIBE) one->token = 0;
  free_slots[free_count++] = slot;
  under_way--;
}

/* How the load goes on when a publish is over. */
static void (*next_publish)(int client);
static void (*next_in_phase)(void);

static void answered(int slot, const struct packet *packet) {
  struct exchange *one = &exchanges[slot];
  struct client *client = &client_list[one->client < clients ? one->client : 0];
  enum kind kind = one->kind;
  int index = one->client;
  int64_t now = now_ns(), intended = one->intended;
  int fine = any || packet->code >> 5 == 2;
  end_exchange(slot);
  if (!fine) {
    wrong++;
    refused[packet->code]++;
    if (refused_text[packet->code][0] == 0) {
      size_t length = packet->payload_length < 79 ? packet->payload_length : 79;
      for (size_t at = 0; at < length; at++)
        refused_text[packet->code][at] = packet->payload[at] < 32 || packet->payload[at] == '"' ||
            packet->payload[at] == '\\' ? ' ' : (char)packet->payload[at];
    }
  }
  if (kind == LOGIN || kind == SUBSCRIBE) {
    if (kind == LOGIN && fine) {
      size_t length = packet->payload_length < 63 ? packet->payload_length : 63;
      memcpy(client->token, packet->payload, length);
      client->token[length] = 0;
    }
    if (kind == SUBSCRIBE) observer_ready[index - clients] = 1;
    phase_failed += !fine;
    phase_over++;
    next_in_phase();
  } else if (kind == BEAT) {
    if (counting) note(&beat_latency, now - intended), beats++;
  } else {
    int last = block_size == 0 || !fine || (client->block + 1) * block_size >= payload_size;
    if (last) {
      if (counting) note(&latency, now - (block_size > 0 ? client->begun : intended)), done += fine;
      client->block = 0;
      next_publish(index);
    } else {
      client->block++;
      begin_exchange(PUBLISH, index, client->endpoint, now, 0);
    }
  }
}

static void given_up(int slot) {
  enum kind kind = exchanges[slot].kind;
  int client = exchanges[slot].client;
  end_exchange(slot);
  lost++;
  if (kind == LOGIN || kind == SUBSCRIBE) {
    phase_failed++;
    phase_over++;
    next_in_phase();
  } else if (kind == PUBLISH) {
    client_list[client].block = 0;
    next_publish(client);
  }
}

static void notified(const struct packet *packet) {
  int index = (int)(packet->token & ~OBSERVER);
  if (index >= observers) {
    stray++;
    return;
  }
  if (!observer_ready[index]) {
    int slot = observer_slot[index];
    if (exchanges[slot].busy && exchanges[slot].token == packet->token) answered(slot, packet);
    return;
  }
  int64_t stamp = read_stamp(packet->payload, packet->payload_length);
  if (stamp < counted_from || !counting) return;
  last_delivery = now_ns();
  notifications++;
  note(&delivery, last_delivery - stamp);
}

static void received(struct endpoint *endpoint, const uint8_t *bytes, size_t length) {
  struct packet packet;
  if (!parse_packet(bytes, length, &packet)) {
    stray++;
    return;
  }
  if (packet.type == CON && !any) send_empty(endpoint, ACK, packet.mid);
  if (packet.code == 0 || !packet.has_token) {
    int slot = by_mid[mid_key(endpoint, packet.mid)];
    struct exchange *one = &exchanges[slot];
    if (!one->busy || one->mid != packet.mid || one->endpoint != endpoint) return;
    if (packet.type == RST) given_up(slot);
    else if (packet.type == ACK && one->list != ACKNOWLEDGED) {
      leave_list(slot);
      enter_list(slot, ACKNOWLEDGED, now_ns() + 60 * SECOND);
    }
    return;
  }
  if (packet.token & OBSERVER) {
    notified(&packet);
    return;
  }
  int slot = (int)(packet.token & (SLOTS - 1));
  if (!exchanges[slot].busy || exchanges[slot].token != packet.token) late++;
  else answered(slot, &packet);
}

static void receive(struct endpoint *endpoint, int many) {
  static uint8_t buffers[32][2048];
  if (!many) {
    ssize_t length = recv(endpoint->fd, buffers[0], sizeof buffers[0], 0);
    if (length >= 0) received(endpoint, buffers[0], (size_t)length);
    return;
  }
  struct mmsghdr messages[32];
  struct iovec parts[32];
  for (int at = 0; at < 32; at++) {
    parts[at] = (struct iovec){buffers[at], sizeof buffers[at]};
    messages[at] = (struct mmsghdr){.msg_hdr = {.msg_iov = &parts[at], .msg_iovlen = 1}};
  }
  int count = recvmmsg(endpoint->fd, messages, 32, 0, NULL);
  for (int at = 0; at < count; at++) received(endpoint, buffers[at], messages[at].msg_len);
}

static int64_t next_timer(int64_t otherwise) {
  for (int list = 0; list < LISTS; list++)
    if (first_of[list] >= 0 && exchanges[first_of[list]].due < otherwise) otherwise = exchanges[first_of[list]].due;
  return otherwise;
}

static void run_timers(int64_t now) {
  for (int list = 0; list < LISTS; list++)
    while (first_of[list] >= 0 && exchanges[first_of[list]].due <= now) {
      int slot = first_of[list];
      struct exchange *one = &exchanges[slot];
      if (list >= ATTEMPTS - 1 || (one->kind == PUBLISH && !confirmable)) {
        given_up(slot);
        continue;
      }
      leave_list(slot);
      enter_list(slot, list + 1, now + (4ll << list) * SECOND);
      again++;
      transmit(one);
    }
}

/* Sends what is to be sent, waits until `until` at the longest, takes what has come. */
static void step(int64_t until) {
  static struct epoll_event events[512];
  flush_batch();
  int64_t now = now_ns();
  int64_t wait = next_timer(until) - now;
  if (wait < 0) wait = 0;
  struct timespec timeout = {wait / SECOND, wait % SECOND};
  int count = epoll_pwait2(poller, events, 512, &timeout, NULL);
  for (int at = 0; at < count; at++) receive(events[at].data.ptr, endpoints < clients);
  run_timers(now_ns());
}

#endif
