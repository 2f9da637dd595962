// What wasi-libc makes of listeners and connections. Says what was not so, and exits with 1.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHECK(what)                                                                                                    \
    do {                                                                                                               \
        if (!(what)) {                                                                                                 \
            fprintf(stderr, "%s (errno %d: %s)\n", #what, errno, strerror(errno));                                     \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

#define LISTENER 3

static void files_are_found_behind_the_listener(void) {
    char line[32] = "";
    FILE *file = fopen("/etc/motd", "r");
    CHECK(file != NULL);
    CHECK(fgets(line, sizeof line, file) != NULL && strcmp(line, "hello") == 0);
    fclose(file);
    file = fopen("/tmp/new", "w");
    CHECK(file != NULL && fputs("x", file) >= 0 && fclose(file) == 0);
    DIR *dir = opendir("/");
    CHECK(dir != NULL && closedir(dir) == 0);
}

static void a_socket_is_one(int fd) {
    struct stat stat;
    int type = 0;
    socklen_t length = sizeof type;
    CHECK(fstat(fd, &stat) == 0 && S_ISSOCK(stat.st_mode));
    CHECK(getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_STREAM);
    CHECK(!isatty(fd));
    CHECK(lseek(fd, 0, SEEK_SET) == -1 && errno == ESPIPE);
}

static void one_after_the_other(void) {
    char buffer[16] = "";
    int fd = accept(LISTENER, NULL, NULL);
    CHECK(fd > LISTENER);
    a_socket_is_one(fd);
    CHECK(accept(fd, NULL, NULL) == -1 && errno == EINVAL);
    CHECK(recv(LISTENER, buffer, 1, 0) == -1 && errno == ENOTCONN);
    CHECK(recv(0, buffer, 1, 0) == -1 && errno == ENOTSOCK);
    CHECK(recv(fd, buffer, 4, MSG_PEEK) == 2 && memcmp(buffer, "ab", 2) == 0);
    CHECK(recv(fd, buffer, 6, MSG_WAITALL) == 6 && memcmp(buffer, "abcdef", 6) == 0);
    CHECK(send(fd, "answer", 6, 0) == 6);
    CHECK(read(fd, buffer, sizeof buffer) == 0);
    CHECK(shutdown(fd, SHUT_WR) == 0);
    CHECK(close(fd) == 0 && close(fd) == -1 && errno == EBADF);
}

// Echoes what many send at once, until the last one is gone.
static void many_at_once(void) {
    struct pollfd polled[64] = {{.fd = LISTENER, .events = POLLIN}};
    int count = 1;
    CHECK(fcntl(LISTENER, F_SETFL, fcntl(LISTENER, F_GETFL) | O_NONBLOCK) == 0);
    CHECK(accept(LISTENER, NULL, NULL) == -1 && errno == EAGAIN);
    do {
        int ready = poll(polled, count, -1);
        CHECK(ready > 0);
        if (polled[0].revents & POLLIN) {
            int fd = accept4(LISTENER, NULL, NULL, SOCK_NONBLOCK);
            CHECK(fd > LISTENER && count < 64);
            polled[count++] = (struct pollfd){.fd = fd, .events = POLLIN};
        }
        for (int i = 1; i < count; i++) {
            char buffer[8];
            if (polled[i].revents == 0)
                continue;
            ssize_t got = recv(polled[i].fd, buffer, sizeof buffer, 0);
            CHECK(got >= 0);
            if (got > 0) {
                CHECK(send(polled[i].fd, buffer, got, 0) == got);
            } else {
                close(polled[i].fd);
                polled[i--] = polled[--count];
            }
        }
    } while (count > 1);
}

int main(void) {
    files_are_found_behind_the_listener();
    one_after_the_other();
    many_at_once();
    puts("served");
    return 0;
}
