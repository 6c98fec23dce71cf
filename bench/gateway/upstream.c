/*
 * The upstream of every proxy in this comparison: an OpenAI-compatible server that costs next to nothing.
 * One thread, epoll, keep-alive. Compiled and run by bench/gateway.ts:   upstream PORT
 *
 * A request says what it wants in its body: "stream":true, "max_tokens":N, and "user":"pace=US" for one token
 * every US microseconds instead of all at once. Sixteen engines, as it were, step one after another, and all
 * streams of one engine get a token in its step, as continuous batching does.
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

enum { ENGINES = 16, READ_BYTES = 256 * 1024, UNREAD_LIMIT = 256 * 1024 };

static const char HEAD_STREAM[] =
  "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
  "Transfer-Encoding: chunked\r\n\r\n";
static const char CHUNK[] =
  "data: {\"id\":\"chatcmpl-7b1c2d3e4f5a6b7c8d9e0f1a\",\"object\":\"chat.completion.chunk\",\"created\":1790000000,"
  "\"model\":\"bench-model\",\"system_fingerprint\":\"fp_abababababab\",\"choices\":[{\"index\":0,\"delta\":"
  "{\"content\":\" token\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n";
static const char LAST[] =
  "data: {\"id\":\"chatcmpl-7b1c2d3e4f5a6b7c8d9e0f1a\",\"object\":\"chat.completion.chunk\",\"created\":1790000000,"
  "\"model\":\"bench-model\",\"choices\":[],\"usage\":{\"prompt_tokens\":128,\"completion_tokens\":%d,\"total_tokens\":%d}}"
  "\n\ndata: [DONE]\n\n";
static const char WHOLE_BEGIN[] =
  "{\"id\":\"chatcmpl-7b1c2d3e4f5a6b7c8d9e0f1a\",\"object\":\"chat.completion\",\"created\":1790000000,"
  "\"model\":\"bench-model\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"";
static const char WHOLE_END[] =
  "\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":128,\"completion_tokens\":%d,\"total_tokens\":%d}}";

typedef struct connection connection;
typedef struct stream stream;
struct stream { connection *to; int wanted, given; stream *next; };
struct connection {
  int fd, closed, wants_out;
  char *in; size_t in_length, in_size;
  char *out; size_t out_from, out_length, out_size;
  connection *next_closed;
};

static int poll_fd;
static stream *at_once;                /* streams without a pace */
static stream *paced[ENGINES];
static uint64_t step_at[ENGINES], pace_us;
static connection *closed_list;
static char chunk_frame[512]; static size_t chunk_frame_length;

static uint64_t now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void want_out(connection *c, int wanted) {
  if (c->wants_out == wanted) return;
  c->wants_out = wanted;
  struct epoll_event event = { .events = EPOLLIN | (wanted ? EPOLLOUT : 0), .data.ptr = c };
  epoll_ctl(poll_fd, EPOLL_CTL_MOD, c->fd, &event);
}

static void flush_out(connection *c) {
  while (c->out_from < c->out_length) {
    ssize_t written = write(c->fd, c->out + c->out_from, c->out_length - c->out_from);
    if (written < 0) {
      if (errno == EAGAIN) { want_out(c, 1); return; }
      break;                           /* the read side will see the end */
    }
    c->out_from += (size_t)written;
  }
  c->out_from = c->out_length = 0;
  want_out(c, 0);
}

static void put(connection *c, const void *bytes, size_t length) {
  if (c->out_length + length > c->out_size) {
    while (c->out_length + length > c->out_size) c->out_size = c->out_size ? c->out_size * 2 : 64 * 1024;
    c->out = realloc(c->out, c->out_size);
  }
  memcpy(c->out + c->out_length, bytes, length);
  c->out_length += length;
}

/* One token, written at once: a real engine does not wait for the next one. True when it was the last. */
static int step(stream *s) {
  connection *c = s->to;
  if (c->closed) return 1;
  put(c, chunk_frame, chunk_frame_length);
  if (++s->given == s->wanted) {
    char text[512], frame[600];
    int length = snprintf(text, sizeof text, LAST, s->wanted, s->wanted + 128);
    int frame_length = snprintf(frame, sizeof frame, "%x\r\n%s\r\n0\r\n\r\n", length, text);
    put(c, frame, (size_t)frame_length);
  }
  flush_out(c);
  return s->given == s->wanted;
}

static void step_all(stream **list) {
  while (*list) {
    stream *s = *list;
    int waits = !s->to->closed && s->to->out_length - s->to->out_from > UNREAD_LIMIT;
    if (!waits && step(s)) { *list = s->next; free(s); }
    else list = &s->next;
  }
}

static void answer_whole(connection *c, int tokens) {
  static char body[64 * 1024];
  size_t at = sizeof WHOLE_BEGIN - 1;
  memcpy(body, WHOLE_BEGIN, at);
  for (int i = 0; i < tokens && at < sizeof body - 1024; i++, at += 6) memcpy(body + at, " token", 6);
  at += (size_t)snprintf(body + at, 512, WHOLE_END, tokens, tokens + 128);
  char head[256];
  int head_length = snprintf(head, sizeof head,
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n", at);
  put(c, head, (size_t)head_length);
  put(c, body, at);
  flush_out(c);
}

static void serve(connection *c, const char *body, size_t length) {
  const char *found = memmem(body, length, "\"max_tokens\":", 13);
  int tokens = found ? atoi(found + 13) : 48;
  if (!memmem(body, length, "\"stream\":true", 13)) { answer_whole(c, tokens); return; }
  put(c, HEAD_STREAM, sizeof HEAD_STREAM - 1);
  stream *s = calloc(1, sizeof *s);
  s->to = c;
  s->wanted = tokens;
  found = memmem(body, length, "pace=", 5);
  if (!found) { s->next = at_once; at_once = s; return; }
  static int turn;
  int engine = turn++ % ENGINES;
  pace_us = strtoull(found + 5, 0, 10);
  if (!paced[engine]) step_at[engine] = now_us() + pace_us * (uint64_t)engine / ENGINES;
  s->next = paced[engine];
  paced[engine] = s;
}

/* Every whole request that is there. Proxies may send the body in chunks; then the end is looked for. */
static void read_requests(connection *c) {
  for (;;) {
    c->in[c->in_length] = 0;
    char *end = memmem(c->in, c->in_length, "\r\n\r\n", 4);
    if (!end) return;
    size_t head = (size_t)(end + 4 - c->in), body;
    char *declared = strcasestr(c->in, "content-length:");
    if (declared && declared < end) body = strtoul(declared + 15, 0, 10);
    else {
      char *last = memmem(c->in + head, c->in_length - head, "0\r\n\r\n", 5);
      if (!last) return;
      body = (size_t)(last + 5 - c->in) - head;
    }
    if (c->in_length < head + body) return;
    serve(c, c->in + head, body);
    c->in_length -= head + body;
    memmove(c->in, c->in + head + body, c->in_length);
  }
}

static void close_connection(connection *c) {
  if (c->closed) return;
  c->closed = 1;
  close(c->fd);
  c->next_closed = closed_list;
  closed_list = c;
}

static void read_in(connection *c) {
  for (;;) {
    if (c->in_length + 1 >= c->in_size) c->in = realloc(c->in, c->in_size *= 2);
    size_t room = c->in_size - c->in_length - 1;
    ssize_t got = read(c->fd, c->in + c->in_length, room);
    if (got <= 0) {
      if (got == 0 || errno != EAGAIN) close_connection(c);
      break;
    }
    c->in_length += (size_t)got;
    if ((size_t)got < room) break;
  }
  if (!c->closed) read_requests(c);
}

static void accept_all(int listener) {
  int fd;
  while ((fd = accept4(listener, 0, 0, SOCK_NONBLOCK)) >= 0) {
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    connection *c = calloc(1, sizeof *c);
    c->fd = fd;
    c->in = malloc(c->in_size = READ_BYTES);
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &event);
  }
}

/* Streams of a closed connection are dropped by their next step; only then its memory may go. */
static void free_closed(void) {
  if (at_once) return;
  for (int i = 0; i < ENGINES; i++) if (paced[i]) return;
  while (closed_list) {
    connection *c = closed_list;
    closed_list = c->next_closed;
    free(c->in); free(c->out); free(c);
  }
}

int main(int count, char **arguments) {
  if (count < 2) { fprintf(stderr, "usage: upstream PORT\n"); return 2; }
  signal(SIGPIPE, SIG_IGN);
  chunk_frame_length = (size_t)snprintf(chunk_frame, sizeof chunk_frame, "%zx\r\n%s\r\n", sizeof CHUNK - 1, CHUNK);
  poll_fd = epoll_create1(0);
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  struct sockaddr_in address = {
    .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(arguments[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
  if (bind(listener, (void *)&address, sizeof address) || listen(listener, 4096)) { perror("upstream"); return 1; }
  struct epoll_event listening = { .events = EPOLLIN, .data.ptr = 0 }, events[512];
  epoll_ctl(poll_fd, EPOLL_CTL_ADD, listener, &listening);
  for (;;) {
    int any_paced = 0;
    for (int i = 0; i < ENGINES; i++) any_paced |= paced[i] != 0;
    int ready = epoll_wait(poll_fd, events, 512, at_once ? 0 : any_paced ? 1 : 1000);
    for (int i = 0; i < ready; i++) {
      connection *c = events[i].data.ptr;
      if (!c) { accept_all(listener); continue; }
      if (!c->closed && (events[i].events & EPOLLOUT)) flush_out(c);
      if (!c->closed && (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))) read_in(c);
    }
    step_all(&at_once);
    uint64_t now = now_us();
    for (int i = 0; i < ENGINES; i++) {
      if (!paced[i] || now < step_at[i]) continue;
      step_at[i] += pace_us;
      if (now > step_at[i] + 20 * pace_us) step_at[i] = now + pace_us;  /* far behind: do not rush after it */
      step_all(&paced[i]);
    }
    free_closed();
  }
}
