/* Takes what a websocket server sends on many connections, so cheaply that the server is what is measured.
 *
 * websocket_sink PORT PATH CONNECTIONS SAMPLED STALLED [HEADER]
 *
 * It shakes hands, takes the first message of each connection, and says `connected`. The first STALLED connections and
 * SAMPLED others are looked into: the offsets of their events must follow one another in each partition, and a key that
 * is a number is the time at which its event was published, in ns of CLOCK_MONOTONIC. At a line `take COUNT QUIET` it
 * takes what comes until each connection has had COUNT messages in all, or nothing has come for QUIET ms; the stalled
 * ones are left alone until the line is `all COUNT QUIET`. It answers with one line of JSON.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER = 131072, HEAD = 512, PARTITIONS = 64, EVENTS = 256, FIRST_MS = 30000 };

struct reader {
    int fd, sampled;
    uint64_t bytes, messages, body; /* body: bytes of the message that are still to come */
    unsigned header_length, head_length;
    unsigned char header[10];
    char head[HEAD + 1];
    int64_t next[PARTITIONS];
};

static struct reader *readers;
static int count, stalled;
static uint64_t holes, gaps, told;
static double *ages;
static size_t aged, room;

static void fail(const char *why) {
    fprintf(stderr, "websocket_sink: %s: %s\n", why, errno ? strerror(errno) : "the server closed a connection");
    exit(1);
}

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void exactly(int fd, void *into, size_t length) {
    errno = 0;
    if (recv(fd, into, length, MSG_WAITALL) != (ssize_t)length) fail("recv");
}

static void shake_hands(struct reader *reader, int port, const char *path, const char *header) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    reader->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (reader->fd < 0 || connect(reader->fd, (struct sockaddr *)&address, sizeof address)) fail("connect");
    dprintf(reader->fd,
            "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s%s\r\n",
            path, port, header, *header ? "\r\n" : "");
    char last[4] = "", status[13] = "";
    for (int at = 0; memcmp(last, "\r\n\r\n", 4); at++) {
        memmove(last, last + 1, 3);
        exactly(reader->fd, last + 3, 1);
        if (at < 12) status[at] = last[3];
    }
    if (strcmp(status, "HTTP/1.1 101")) fprintf(stderr, "websocket_sink: %s\n", status), exit(1);
    unsigned char length[4];
    exactly(reader->fd, length, 2);
    size_t first = length[1];
    if (first == 126) exactly(reader->fd, length + 2, 2), first = length[2] << 8 | length[3];
    char hello[65536];
    exactly(reader->fd, hello, first);
    memset(reader->next, -1, sizeof reader->next);
}

static int64_t number(const char **at, const char *name) {
    const char *found = strstr(*at, name);
    if (!found) return -1;
    *at = found + strlen(name);
    return strtoll(*at, NULL, 10);
}

/* The first HEAD bytes of a message of a reader that is looked into. */
static void look_into(struct reader *reader, int64_t now) {
    const char *at = reader->head;
    if (!strncmp(at, "{\"type\":\"event\"", 15)) {
        int64_t partition = number(&at, "\"partition\":"), offset = number(&at, "\"offset\":");
        if (partition < 0 || partition >= PARTITIONS || offset < 0) return;
        holes += reader->next[partition] >= 0 && reader->next[partition] != offset;
        reader->next[partition] = offset + 1;
        int64_t stamp = number(&at, "\"key\":\"");
        if (stamp <= 0) return;
        if (aged == room && !(ages = realloc(ages, (room += 65536) * sizeof *ages))) fail("realloc");
        ages[aged++] = (now - stamp) / 1e9;
    } else if (!strncmp(at, "{\"type\":\"gap\"", 13)) {
        int64_t partition = number(&at, "\"partition\":"), from = number(&at, "\"offset\":");
        int64_t to = number(&at, "\"offset\":");
        if (partition < 0 || partition >= PARTITIONS) return;
        holes += reader->next[partition] >= 0 && reader->next[partition] != from;
        gaps++, told += to - from, reader->next[partition] = to;
    }
}

static void parse(struct reader *reader, const unsigned char *data, size_t length, int64_t now) {
    while (length) {
        if (!reader->body) { /* in a header: two bytes, and two or eight more of length */
            reader->header[reader->header_length++] = *data++, length--;
            unsigned small = reader->header[1] & 127;
            unsigned whole = reader->header_length < 2 ? 2 : small == 126 ? 4 : small == 127 ? 10 : 2;
            if (reader->header_length < whole) {
                if (!length) return;
                continue;
            }
            uint64_t body = small;
            if (whole > 2) body = 0;
            for (unsigned at = 2; at < whole; at++) body = body << 8 | reader->header[at];
            reader->body = body, reader->head_length = 0;
        }
        size_t taken = length < reader->body ? length : reader->body;
        if (reader->sampled && reader->head_length < HEAD) {
            size_t kept = taken < HEAD - reader->head_length ? taken : HEAD - reader->head_length;
            memcpy(reader->head + reader->head_length, data, kept);
            reader->head_length += kept;
        }
        data += taken, length -= taken, reader->body -= taken;
        if (reader->body) return;
        if (!(reader->header[0] & 8)) { /* no ping, no close */
            reader->messages++;
            if (reader->sampled) reader->head[reader->head_length] = 0, look_into(reader, now);
        }
        reader->header_length = 0;
    }
}

static int by_size(const void *one, const void *other) {
    double difference = *(const double *)one - *(const double *)other;
    return (difference > 0) - (difference < 0);
}

static double cpu_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void report(int from, double seconds, double cpu) {
    printf("{\"seconds\": %.6f, \"cpu\": %.6f, \"holes\": %lu, \"gaps\": %lu, \"told\": %lu, \"bytes\": [", seconds, cpu,
           (unsigned long)holes, (unsigned long)gaps, (unsigned long)told);
    for (int at = from; at < count; at++) printf("%s%lu", at > from ? ", " : "", (unsigned long)readers[at].bytes);
    printf("], \"messages\": [");
    for (int at = from; at < count; at++) printf("%s%lu", at > from ? ", " : "", (unsigned long)readers[at].messages);
    qsort(ages, aged, sizeof *ages, by_size);
    printf("], \"ages\": [");
    for (size_t at = 0; at < aged; at++) printf("%s%.6f", at ? ", " : "", ages[at]);
    printf("]}\n");
    fflush(stdout);
    aged = 0;
}

static void take(int from, uint64_t wanted, int quiet) {
    static unsigned char buffer[BUFFER];
    struct epoll_event ready[EVENTS];
    int poll = epoll_create1(0), missing = 0;
    for (int at = from; at < count; at++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &readers[at]};
        if (epoll_ctl(poll, EPOLL_CTL_ADD, readers[at].fd, &event)) fail("epoll_ctl");
        missing += readers[at].messages < wanted;
    }
    int64_t first = 0, last = 0;
    double cpu = cpu_seconds();
    while (missing || !wanted) {
        int found = epoll_wait(poll, ready, EVENTS, first ? quiet : FIRST_MS);
        if (found <= 0) break;
        if (!first) first = now_ns();
        for (int at = 0; at < found; at++) {
            struct reader *reader = ready[at].data.ptr;
            errno = 0;
            ssize_t length = recv(reader->fd, buffer, BUFFER, MSG_DONTWAIT);
            if (length <= 0) fail("recv");
            int lacking = reader->messages < wanted;
            reader->bytes += length;
            parse(reader, buffer, length, reader->sampled ? now_ns() : 0);
            missing -= lacking && reader->messages >= wanted;
        }
        last = now_ns();
    }
    close(poll);
    report(from, (last - first) / 1e9, cpu_seconds() - cpu);
}

int main(int arguments, char **argument) {
    if (arguments < 6) fprintf(stderr, "websocket_sink PORT PATH CONNECTIONS SAMPLED STALLED [HEADER]\n"), exit(2);
    count = atoi(argument[3]), stalled = atoi(argument[5]);
    int sampled = atoi(argument[4]), others = count - stalled;
    readers = calloc(count, sizeof *readers);
    for (int at = 0; at < count; at++) {
        int nth = at - stalled; /* the sampled ones are spread evenly over those that are not stalled */
        readers[at].sampled = nth < 0 || nth * sampled / others != (nth + 1) * sampled / others;
        shake_hands(&readers[at], atoi(argument[1]), argument[2], arguments > 6 ? argument[6] : "");
    }
    printf("connected\n"), fflush(stdout);
    char which[8];
    unsigned long wanted;
    int quiet;
    while (scanf("%7s %lu %d", which, &wanted, &quiet) == 3) take(strcmp(which, "all") ? stalled : 0, wanted, quiet);
    return 0;
}
