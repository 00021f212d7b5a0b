/* A server that is not the bottleneck: every reply is made in advance, and only the necessary HTTP is supported.
 *
 *     server FD FOLDER [PEM]
 *
 * FD is a listening socket. /NAME is answered with the file NAME of FOLDER. So is /fail10/NAME, but every tenth time with
 * a 503. A request is answered when its body is complete. The server ends when its standard input ends, which is when its
 * parent process ends. PEM, a private key with its certificates, adds TLS, if this was compiled with -DTLS, -lssl and
 * -lcrypto. fallback.py does the same where this cannot be compiled: epoll exists only on Linux.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#endif

#define ROUTES 16
#define EVENTS 256
#define HEAD "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n"

struct reply { char name[256]; char *text; size_t size; };
struct connection {
    int fd;
    const struct reply *reply;  /* the reply to the request that is being read */
    size_t body;                /* bytes of its body that have not arrived */
    const char *out;            /* the reply that is being sent ... */
    size_t left;                /* ... and how many bytes of it remain */
    size_t have;                /* bytes in `in` */
    char in[65536];
#ifdef TLS
    SSL *tls;
#endif
};

static struct reply routes[ROUTES];
static int known;
static const char BUSY[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nbusy";
static const char NONE[] = "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nnone";
static const struct reply busy = {"", (char *)BUSY, sizeof BUSY - 1}, none = {"", (char *)NONE, sizeof NONE - 1};

static void fail(const char *what) { perror(what); exit(1); }

static void load(const char *folder) {
    DIR *list = opendir(folder);
    if (!list || chdir(folder)) fail(folder);
    for (struct dirent *entry; (entry = readdir(list)) && known < ROUTES;) {
        struct stat about;
        FILE *file;
        if (stat(entry->d_name, &about) || !S_ISREG(about.st_mode) || !(file = fopen(entry->d_name, "rb"))) continue;
        struct reply *reply = &routes[known++];
        size_t size = about.st_size;
        snprintf(reply->name, sizeof reply->name, "%s", entry->d_name);
        if (!(reply->text = malloc(size + 256))) fail("malloc");
        size_t head = sprintf(reply->text, HEAD, size);
        if (fread(reply->text + head, 1, size, file) != size) fail(entry->d_name);
        reply->size = head + size;
        fclose(file);
    }
    closedir(list);
}

static const struct reply *find(const char *path) {
    static unsigned long fail10_requests;
    int may_fail = !strncmp(path, "/fail10/", 8);
    if (may_fail && ++fail10_requests % 10 == 0) return &busy;
    const char *name = path + (may_fail ? 8 : 1);
    size_t length = strcspn(name, " ?");
    for (int i = 0; i < known; i++)
        if (strlen(routes[i].name) == length && !memcmp(routes[i].name, name, length)) return &routes[i];
    return &none;
}

static void consume(struct connection *c, size_t bytes) {
    memmove(c->in, c->in + bytes, c->have -= bytes);
}

/* Take a complete head from the input, and look up its reply; 0 if there is none. */
static int read_head(struct connection *c) {
    char *end = memmem(c->in, c->have, "\r\n\r\n", 4);
    if (!end) return 0;
    *end = 0;
    const char *path = strchr(c->in, ' ');
    const char *length = strcasestr(c->in, "\r\ncontent-length:");
    c->reply = path ? find(path + 1) : &none;
    c->body = length ? strtoul(length + 17, NULL, 10) : 0;
    consume(c, end + 4 - c->in);
    return 1;
}

/* As recv and send: -1 with EAGAIN where a call would block. */
#ifdef TLS
static SSL_CTX *context;

static void prepare(const char *pem) {
    context = SSL_CTX_new(TLS_server_method());
    if (SSL_CTX_use_certificate_chain_file(context, pem) != 1) fail(pem);
    if (SSL_CTX_use_PrivateKey_file(context, pem, SSL_FILETYPE_PEM) != 1) fail(pem);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    signal(SIGPIPE, SIG_IGN); /* SSL_write cannot pass MSG_NOSIGNAL */
}

static ssize_t outcome(struct connection *c, int result) {
    if (result > 0) return result;
    int error = SSL_get_error(c->tls, result);
    if (error == SSL_ERROR_ZERO_RETURN) return 0;
    errno = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? EAGAIN : EIO;
    return -1;
}

static ssize_t take(struct connection *c, char *to, size_t most) {
    ERR_clear_error();
    return outcome(c, SSL_read(c->tls, to, most));
}

static ssize_t give(struct connection *c, const char *from, size_t size) {
    ERR_clear_error();
    return outcome(c, SSL_write(c->tls, from, size));
}

static void begin(struct connection *c) {
    if (!(c->tls = SSL_new(context)) || !SSL_set_fd(c->tls, c->fd)) fail("SSL_new");
    SSL_set_accept_state(c->tls);
}

static void end(struct connection *c) { SSL_free(c->tls); }
#else
static void prepare(const char *pem) { errno = ENOTSUP, fail(pem); }
static ssize_t take(struct connection *c, char *to, size_t most) { return recv(c->fd, to, most, 0); }
static ssize_t give(struct connection *c, const char *from, size_t n) { return send(c->fd, from, n, MSG_NOSIGNAL); }
static void begin(struct connection *c) { (void)c; }
static void end(struct connection *c) { (void)c; }
#endif

/* Read and write until the socket would block; 0 when the connection has ended. */
static int proceed(struct connection *c) {
    for (;;) {
        if (c->left) {
            ssize_t sent = give(c, c->out, c->left);
            if (sent <= 0) return sent && errno == EAGAIN;
            c->out += sent;
            c->left -= sent;
            continue;
        }
        size_t taken = c->body < c->have ? c->body : c->have;
        if (taken) {
            c->body -= taken;
            consume(c, taken);
        }
        if (c->reply && !c->body) {
            c->out = c->reply->text;
            c->left = c->reply->size;
            c->reply = NULL;
            continue;
        }
        if (!c->reply && read_head(c)) continue;
        if (c->have == sizeof c->in) return 0; /* the head is too long */
        ssize_t got = take(c, c->in + c->have, sizeof c->in - c->have);
        if (got < 0) return errno == EAGAIN;
        if (got == 0) return 0;
        c->have += got;
    }
}

static void admit(int poll, int listener) {
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        struct connection *c = calloc(1, sizeof *c);
        if (!c) fail("calloc");
        c->fd = fd;
        begin(c);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
        if (epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event)) fail("epoll_ctl");
    }
}

int main(int argc, char **argv) {
    if (argc != 3 && argc != 4) return fprintf(stderr, "usage: %s FD FOLDER [PEM]\n", argv[0]), 2;
    if (argc == 4) prepare(argv[3]);
    static int input = STDIN_FILENO;
    int listener = atoi(argv[1]), poll = epoll_create1(EPOLL_CLOEXEC);
    load(argv[2]);
    fcntl(listener, F_SETFL, O_NONBLOCK);
    struct epoll_event events[EVENTS];
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &(struct epoll_event){.events = EPOLLIN, .data.ptr = NULL});
    epoll_ctl(poll, EPOLL_CTL_ADD, input, &(struct epoll_event){.events = EPOLLIN, .data.ptr = &input});
    for (;;) {
        int count = epoll_wait(poll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            if ((void *)c == &input) return 0;
            if (!c) admit(poll, listener);
            else if (!proceed(c)) { end(c); close(c->fd); free(c); }
        }
    }
}
