// A TCP echo server for WASI preview 1: many connections at once, one thread, no busy waiting.
//
// What a peer sends comes back. Its end comes back too, once all else has. A peer that sends and does not read
// is not read from any more until it does, so that it costs one buffer and holds up nobody.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

// WASI has no bind() and listen(): the sockets listen already, from this descriptor on (systemd's convention).
#define FIRST_LISTENER 3
#define MAX_LISTENERS 8
// wasi-libc's poll() keeps 128 bytes on the stack for each; the stack has 64 KiB.
#define MAX_CONNECTIONS 256

typedef struct {
    char *left; // Received and not yet sent back; NULL if there is nothing.
    size_t at, length;
} Connection;

static struct pollfd polled[MAX_LISTENERS + MAX_CONNECTIONS];
static Connection connections[MAX_CONNECTIONS];
static struct pollfd *const sockets = polled + MAX_LISTENERS; // sockets[i] is connections[i]'s.
static int listeners, connected;
static int draining; // The host is being stopped: there will be no new connections.
static char buffer[64 * 1024];

static int would_block(void) { return errno == EAGAIN || errno == EWOULDBLOCK; }

// How much of it could be sent without waiting; -1: nobody takes it.
static ssize_t send_some(int fd, const char *bytes, size_t length) {
    size_t sent = 0;
    while (sent < length) {
        ssize_t now = send(fd, bytes + sent, length - sent, 0);
        if (now > 0)
            sent += (size_t)now;
        else if (now < 0 && errno == EINTR)
            continue;
        else if (now < 0 && would_block())
            break;
        else
            return -1;
    }
    return (ssize_t)sent;
}

// Goes on as far as it can without waiting. 0: it is over.
static int serve(struct pollfd *socket, Connection *connection) {
    if (connection->left != NULL) {
        ssize_t sent = send_some(socket->fd, connection->left + connection->at, connection->length - connection->at);
        if (sent < 0)
            return 0;
        connection->at += (size_t)sent;
        if (connection->at < connection->length)
            return 1;
        free(connection->left);
        connection->left = NULL;
        socket->events = POLLIN;
    }
    // Once is enough: poll() says at once if there is more, and the others have their turn before.
    ssize_t got = recv(socket->fd, buffer, sizeof buffer, 0);
    if (got < 0)
        return would_block() || errno == EINTR;
    if (got == 0) {
        shutdown(socket->fd, SHUT_WR);
        return 0;
    }
    ssize_t sent = send_some(socket->fd, buffer, (size_t)got);
    if (sent < 0)
        return 0;
    if (sent < got) {
        size_t length = (size_t)(got - sent);
        char *left = malloc(length);
        if (left == NULL)
            return 0;
        memcpy(left, buffer + sent, length);
        *connection = (Connection){.left = left, .length = length};
        socket->events = POLLOUT;
    }
    return 1;
}

// The last one takes its place.
static void remove_connection(int index) {
    close(sockets[index].fd);
    free(connections[index].left);
    connected--;
    sockets[index] = sockets[connected];
    connections[index] = connections[connected];
}

static void accept_from(int listener) {
    while (connected < MAX_CONNECTIONS) {
        struct sockaddr_storage peer; // WASI does not tell who it is.
        socklen_t length = sizeof peer;
        int fd = accept4(listener, (struct sockaddr *)&peer, &length, SOCK_NONBLOCK);
        if (fd >= 0) {
            sockets[connected] = (struct pollfd){.fd = fd, .events = POLLIN};
            connections[connected] = (Connection){0};
            connected++;
        } else if (errno == ECANCELED) {
            draining = 1;
            return;
        } else if (errno == ECONNABORTED || errno == EINTR) {
            continue;
        } else if (would_block()) {
            return;
        } else {
            perror("tcp-echo: accept");
            exit(1);
        }
    }
}

int main(void) {
    const char *count = getenv("LISTEN_FDS");
    listeners = count != NULL ? atoi(count) : 1;
    if (listeners < 1 || listeners > MAX_LISTENERS) {
        fprintf(stderr, "tcp-echo: LISTEN_FDS is %s, expected 1 to %d\n", count, MAX_LISTENERS);
        return 1;
    }
    for (int i = 0; i < listeners; i++) {
        if (fcntl(FIRST_LISTENER + i, F_SETFL, O_NONBLOCK) != 0) {
            fprintf(stderr, "tcp-echo: descriptor %d: %s; is it a socket that listens?\n", FIRST_LISTENER + i,
                    strerror(errno));
            return 1;
        }
        // They end where the connections begin, so that one poll() takes both.
        polled[MAX_LISTENERS - 1 - i] = (struct pollfd){.fd = FIRST_LISTENER + i, .events = POLLIN};
    }
    printf("tcp-echo: ready\n");
    fflush(stdout);

    while (!draining || connected > 0) {
        // Whoever waits for a place waits in the listener's queue.
        int asked = draining || connected == MAX_CONNECTIONS ? 0 : listeners;
        if (poll(sockets - asked, (nfds_t)(asked + connected), -1) < 0) {
            if (errno == EINTR)
                continue;
            perror("tcp-echo: poll");
            return 1;
        }
        // From the end, for a connection that is removed is replaced by the last one.
        for (int i = connected - 1; i >= 0; i--)
            if (sockets[i].revents != 0 && !serve(&sockets[i], &connections[i]))
                remove_connection(i);
        for (int i = 1; i <= asked && !draining; i++)
            if (sockets[-i].revents != 0)
                accept_from(sockets[-i].fd);
    }
    printf("tcp-echo: done\n");
    return 0;
}
