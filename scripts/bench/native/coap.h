/* CoAP packets (RFC 7252) by hand: a few writes and one walk over the options each. */
#ifndef COAP_H
#define COAP_H

#include <stdint.h>
#include <string.h>

enum { CON = 0, NON = 1, ACK = 2, RST = 3 };
enum { GET = 1, POST = 2, PUT = 3 };
enum { OBSERVE_OPTION = 6, URI_PATH = 11, URI_QUERY = 15, BLOCK1 = 27 };

struct writer {
  uint8_t *at;
  int option;
};

static inline struct writer begin_packet(uint8_t *out, int type, int code, uint16_t mid, uint32_t token) {
  out[0] = (uint8_t)(0x44 | type << 4);
  out[1] = (uint8_t)code;
  out[2] = (uint8_t)(mid >> 8);
  out[3] = (uint8_t)mid;
  memcpy(out + 4, &token, 4);
  return (struct writer){.at = out + 8, .option = 0};
}

/* Options come in rising order; `length` below 269. */
static inline void put_option(struct writer *to, int number, const void *value, int length) {
  int delta = number - to->option;
  uint8_t *first = to->at++;
  if (delta >= 13) *to->at++ = (uint8_t)(delta - 13);
  if (length >= 13) *to->at++ = (uint8_t)(length - 13);
  *first = (uint8_t)((delta < 13 ? delta : 13) << 4 | (length < 13 ? length : 13));
  memcpy(to->at, value, (size_t)length);
  to->at += length;
  to->option = number;
}

static inline void put_path(struct writer *to, const char *path) {
  while (*path != 0) {
    const char *end = strchrnul(path, '/');
    put_option(to, URI_PATH, path, (int)(end - path));
    path = *end == 0 ? end : end + 1;
  }
}

struct packet {
  int type, code;
  uint16_t mid;
  int has_token;
  uint32_t token;
  const uint8_t *payload;
  size_t payload_length;
};

/* False: not a packet of a server that answers our tokens of four bytes. */
static inline int parse_packet(const uint8_t *in, size_t length, struct packet *packet) {
  if (length < 4 || in[0] >> 6 != 1) return 0;
  int token_length = in[0] & 15;
  if (token_length > 8 || length < 4 + (size_t)token_length) return 0;
  packet->type = in[0] >> 4 & 3;
  packet->code = in[1];
  packet->mid = (uint16_t)(in[2] << 8 | in[3]);
  packet->has_token = token_length == 4;
  if (packet->has_token) memcpy(&packet->token, in + 4, 4);
  packet->payload = in + length;
  packet->payload_length = 0;
  for (size_t at = 4 + (size_t)token_length; at < length;) {
    if (in[at] == 0xff) {
      packet->payload = in + at + 1;
      packet->payload_length = length - at - 1;
      break;
    }
    size_t delta = in[at] >> 4, size = in[at] & 15;
    at++;
    if (delta == 13) at++;
    else if (delta == 14) at += 2;
    if (size == 13) size = at < length ? in[at++] + 13u : 0;
    else if (size == 14) size = at + 1 < length ? (size_t)(in[at] << 8 | in[at + 1]) + 269 : 0, at += 2;
    at += size;
  }
  return 1;
}

#endif
