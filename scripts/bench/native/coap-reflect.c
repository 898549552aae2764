/*
 * Answers every CoAP request with 2.04 and nothing else, many datagrams to a system call: what coap-load.c is measured
 * against to know its own ceiling. `coap-reflect port=N`.
 */
#include "measure.h"
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#define MANY 64

int main(int argc, char **argv) {
  set_up(argc - 1, argv + 1);
  struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr("127.0.0.1")};
  own.sin_port = htons((uint16_t)number_option("port", 5683));
  no_more_options();
  int fd = socket(AF_INET, SOCK_DGRAM, 0), size = 4 << 20;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  if (bind(fd, (struct sockaddr *)&own, sizeof own) != 0) fail("bind");
  struct sigaction action = {.sa_handler = SIG_DFL};
  sigaction(SIGTERM, &action, NULL);
  printf("ready\n");
  fflush(stdout);
  static uint8_t buffers[MANY][2048];
  static struct sockaddr_in peers[MANY];
  struct mmsghdr messages[MANY];
  struct iovec parts[MANY];
  for (;;) {
    for (int at = 0; at < MANY; at++) {
      parts[at] = (struct iovec){buffers[at], sizeof buffers[at]};
      messages[at] = (struct mmsghdr){
          .msg_hdr = {.msg_name = &peers[at], .msg_namelen = sizeof peers[at], .msg_iov = &parts[at], .msg_iovlen = 1}};
    }
    int count = recvmmsg(fd, messages, MANY, MSG_WAITFORONE, NULL);
    for (int at = 0; at < count; at++) {
      uint8_t *packet = buffers[at];
      size_t length = 4 + (packet[0] & 15);
      /* a confirmable request gets its acknowledgement, another one an answer of its own kind */
      packet[0] = (uint8_t)((packet[0] & 0xcf) | (((packet[0] >> 4 & 3) == 0 ? 2 : 1) << 4));
      packet[1] = 0x44;
      parts[at].iov_len = length <= messages[at].msg_len ? length : messages[at].msg_len;
    }
    if (count > 0) sendmmsg(fd, messages, (unsigned)count, 0);
  }
}
