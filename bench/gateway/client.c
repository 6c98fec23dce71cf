/*
 * The tenants of this comparison: a closed loop of connections that each ask, read the whole answer, check it
 * and ask again. One thread, epoll. Prints one line of JSON. Compiled and run by bench/gateway.ts:
 *
 *   client PORT  -c connections  -n tokens  -d seconds  [-w warm-up seconds]  [-s stream]  [-p pace in us]
 *                [-H "Name: value"]...
 *
 * An answer counts only when its status is 200 and, streamed, when it has exactly the tokens that were asked for
 * and its [DONE]: a proxy that drops or merges events is not faster, it is wrong.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { READ_BYTES = 256 * 1024, HEAD_BYTES = 8192, MAX_SAMPLES = 1 << 21, GIVE_UP_US = 5000000 };

/* A text finder that goes on over the borders of reads. */
typedef struct { const char *text; int at; } finder;
/* The beginning of an event with a token: both the mock's and the nodes' tokens begin with a space. */
static const char TOKEN[] = "\"content\":\" ";
static const char DONE[] = "data: [DONE]";

typedef enum { SIZE, DATA, DATA_END, TRAILER } part;
typedef struct {
  int fd, busy, in_body, chunked, close_after, status;
  uint64_t asked_at; int timed_first;
  char head[HEAD_BYTES]; size_t head_length;
  long left;                     /* of the body, or of the chunk */
  part part;
  int tokens, done; finder token, end;
} connection;

static int poll_fd, port, connections = 1, tokens_wanted = 48, streamed;
static char request[64 * 1024]; static size_t request_length;
static int measuring;
/* `all_` counts the warm-up too: CPU is read before and after the whole run. */
static uint64_t all_requests, all_tokens, requests, failures, bytes_read;
static uint32_t *latencies, *first_tokens; static size_t latency_count, first_count;

static uint64_t now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void dial(connection *c) {
  struct sockaddr_in address = {
    .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
  int on = 1;
  c->fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(c->fd, (void *)&address, sizeof address)) { perror("client: connect"); exit(1); }
  fcntl(c->fd, F_SETFL, O_NONBLOCK);
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };
  epoll_ctl(poll_fd, EPOLL_CTL_ADD, c->fd, &event);
}

static void ask(connection *c) {
  c->busy = 1;
  c->in_body = c->timed_first = c->tokens = c->done = 0;
  c->head_length = 0;
  c->token = (finder){ TOKEN, 0 };
  c->end = (finder){ DONE, 0 };
  c->asked_at = now_us();
  if (write(c->fd, request, request_length) != (ssize_t)request_length) failures++;
}

static void sample(uint32_t *into, size_t *count, uint64_t value) {
  if (*count < MAX_SAMPLES) into[(*count)++] = (uint32_t)value;
}

static void redial(connection *c) {
  close(c->fd);
  c->busy = 0;
  dial(c);
}

static void answered(connection *c, uint64_t now) {
  int whole = c->status == 200 && (!streamed || (c->tokens == tokens_wanted && c->done));
  all_requests++;
  if (!whole) failures++;
  else if (measuring) {
    requests++;
    sample(latencies, &latency_count, now - c->asked_at);
  }
  if (!whole && failures == 1) fprintf(stderr, "client: status %d, %d tokens, done %d\n", c->status, c->tokens, c->done);
  c->busy = 0;
  if (c->close_after) redial(c);
}

static inline int found(finder *f, char byte) {
  if (byte == f->text[f->at]) {
    if (f->text[++f->at]) return 0;
    f->at = 0;
    return 1;
  }
  f->at = byte == f->text[0];
  return 0;
}

static void read_events(connection *c, const char *data, long length, uint64_t now) {
  if (!streamed) return;
  for (long i = 0; i < length; i++) {
    if (found(&c->token, data[i])) {
      c->tokens++;
      all_tokens++;
      if (c->timed_first) continue;
      c->timed_first = 1;
      if (measuring) sample(first_tokens, &first_count, now - c->asked_at);
    } else if (found(&c->end, data[i])) c->done = 1;
  }
}

static int hex_of(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  digit |= 32;
  return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

static void read_chunked(connection *c, const char *data, long length, uint64_t now) {
  long i = 0;
  while (i < length && c->busy) {
    switch (c->part) {
      case SIZE: {
        char byte = data[i++];
        if (byte == '\n') c->part = c->left ? DATA : TRAILER;
        else if (hex_of(byte) >= 0) c->left = c->left * 16 + hex_of(byte);
        break;
      }
      case DATA: {
        long here = length - i < c->left ? length - i : c->left;
        read_events(c, data + i, here, now);
        i += here;
        c->left -= here;
        if (!c->left) c->part = DATA_END;
        break;
      }
      case DATA_END:
        if (data[i++] == '\n') c->part = SIZE;
        break;
      case TRAILER:
        if (data[i++] == '\n') answered(c, now);
        break;
    }
  }
}

static void read_body(connection *c, const char *data, long length, uint64_t now) {
  if (c->chunked) { read_chunked(c, data, length, now); return; }
  read_events(c, data, length, now);
  c->left -= length;
  if (c->left <= 0) answered(c, now);
}

/* Takes bytes of the head; the number of bytes used when it is whole, else -1. */
static long read_head(connection *c, const char *data, long length) {
  size_t before = c->head_length, room = HEAD_BYTES - 1 - before;
  size_t take = (size_t)length < room ? (size_t)length : room;
  memcpy(c->head + before, data, take);
  c->head_length += take;
  c->head[c->head_length] = 0;
  char *end = strstr(c->head, "\r\n\r\n");
  if (!end) return -1;
  *end = 0;
  c->status = atoi(c->head + 9);
  char *declared = strcasestr(c->head, "content-length:");
  c->chunked = strcasestr(c->head, "transfer-encoding: chunked") != 0;
  c->left = declared && !c->chunked ? atol(declared + 15) : 0;
  c->close_after = strcasestr(c->head, "connection: close") != 0;
  c->part = SIZE;
  c->in_body = 1;
  return (long)((size_t)(end + 4 - c->head) - before);
}

static void on_readable(connection *c) {
  static char data[READ_BYTES];
  ssize_t got = read(c->fd, data, sizeof data);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) {
    if (c->busy) failures++;
    redial(c);
    return;
  }
  bytes_read += (uint64_t)got;
  if (!c->busy) return;
  uint64_t now = now_us();
  long used = 0;
  if (!c->in_body) {
    used = read_head(c, data, got);
    if (used < 0) return;
  }
  read_body(c, data + used, got - used, now);
}

static int ascending(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

static uint32_t percentile(uint32_t *samples, size_t count, double share) {
  if (count == 0) return 0;
  qsort(samples, count, sizeof *samples, ascending);
  size_t at = (size_t)((double)count * share);
  return samples[at < count ? at : count - 1];
}

static void write_request(const char *headers, long pace) {
  char body[4096], prompt[401];
  for (int i = 0; i < 400; i++) prompt[i] = "the quick brown fox jumps over a lazy dog "[i % 42];
  prompt[400] = 0;
  int length = snprintf(body, sizeof body,
    "{\"model\":\"bench-model\",\"messages\":[{\"role\":\"system\",\"content\":\"You are a patient librarian.\"},"
    "{\"role\":\"user\",\"content\":\"%s\"}],\"temperature\":0.7,\"max_tokens\":%d%s",
    prompt, tokens_wanted, streamed ? ",\"stream\":true,\"stream_options\":{\"include_usage\":true}" : "");
  if (pace) length += snprintf(body + length, sizeof body - (size_t)length, ",\"user\":\"pace=%ld\"", pace);
  length += snprintf(body + length, sizeof body - (size_t)length, "}");
  request_length = (size_t)snprintf(request, sizeof request,
    "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n%s"
    "Content-Length: %d\r\n\r\n%s", port, headers, length, body);
}

int main(int count, char **arguments) {
  double seconds = 1, warm_up = 0;
  long pace = 0;
  char headers[4096] = "";
  signal(SIGPIPE, SIG_IGN);
  if (count < 2) { fprintf(stderr, "usage: client PORT -c N -n N -d S [-w S] [-s] [-p US] [-H HEADER]\n"); return 2; }
  port = atoi(arguments[1]);
  int option;
  optind = 2;
  while ((option = getopt(count, arguments, "c:n:d:w:sp:H:")) != -1) {
    switch (option) {
      case 'c': connections = atoi(optarg); break;
      case 'n': tokens_wanted = atoi(optarg); break;
      case 'd': seconds = atof(optarg); break;
      case 'w': warm_up = atof(optarg); break;
      case 's': streamed = 1; break;
      case 'p': pace = atol(optarg); break;
      case 'H':
        if (strlen(headers) + strlen(optarg) + 3 > sizeof headers) return 2;
        strcat(strcat(headers, optarg), "\r\n");
        break;
      default: return 2;
    }
  }
  write_request(headers, pace);
  latencies = malloc(sizeof *latencies * MAX_SAMPLES);
  first_tokens = malloc(sizeof *first_tokens * MAX_SAMPLES);
  poll_fd = epoll_create1(0);
  connection *all = calloc((size_t)connections, sizeof *all);
  for (int i = 0; i < connections; i++) dial(&all[i]);

  uint64_t from = now_us() + (uint64_t)(warm_up * 1e6), until = from + (uint64_t)(seconds * 1e6);
  uint64_t tokens_before = 0, tokens_measured = 0;
  struct epoll_event events[512];
  for (;;) {
    uint64_t now = now_us();
    if (!measuring && now >= from && now < until) { measuring = 1; tokens_before = all_tokens; }
    if (measuring && now >= until) { measuring = 0; tokens_measured = all_tokens - tokens_before; }
    int busy = 0;
    for (int i = 0; i < connections; i++) {
      if (!all[i].busy && now < until) ask(&all[i]);
      busy += all[i].busy;
    }
    if (now >= until && (busy == 0 || now > until + GIVE_UP_US)) { failures += (uint64_t)busy; break; }
    int ready = epoll_wait(poll_fd, events, 512, 1);
    for (int i = 0; i < ready; i++) on_readable(events[i].data.ptr);
  }
  printf("{\"allRequests\":%lu,\"allTokens\":%lu,\"failures\":%lu,\"requestsPerSecond\":%.0f,\"tokensPerSecond\":%.0f,"
         "\"p50Us\":%u,\"p99Us\":%u,\"firstP50Us\":%u,\"firstP99Us\":%u}\n",
    all_requests, all_tokens, failures, (double)requests / seconds, (double)tokens_measured / seconds,
    percentile(latencies, latency_count, 0.5), percentile(latencies, latency_count, 0.99),
    percentile(first_tokens, first_count, 0.5), percentile(first_tokens, first_count, 0.99));
  return 0;
}
