// A program that looks around in its sandbox. Arguments are commands, separated by ";"; the status is the last one's.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static char *name;

static int say(const char *what, int failed)
{
    printf("%s: %s\n", what, failed ? strerrorname_np(errno) : "ok");
    return failed;
}

static int command(int n, char **word)
{
    const char *verb = word[0], *a = n > 1 ? word[1] : "", *b = n > 2 ? word[2] : "";
    if (!strcmp(verb, "env")) {
        printf("argv0=%s\ncwd=%s\n", name, getcwd(NULL, 0));
        for (char **variable = environ; *variable; variable++) puts(*variable);
    } else if (!strcmp(verb, "connect")) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        struct sockaddr_in to = {AF_INET, htons(atoi(a)), {htonl(INADDR_LOOPBACK)}, {0}};
        return say("connect", fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to));
    } else if (!strcmp(verb, "ls")) {
        DIR *directory = opendir(a);
        if (!directory) return say("ls", 1);
        for (struct dirent *entry; (entry = readdir(directory));)
            if (entry->d_name[0] != '.') puts(entry->d_name);
    } else if (!strcmp(verb, "readlink")) {
        char target[4096];
        ssize_t len = readlink(a, target, sizeof target);
        if (len < 0) return say("readlink", 1);
        printf("%.*s\n", (int)len, target);
    } else if (!strcmp(verb, "stat")) {
        struct stat stat;
        if (lstat(a, &stat)) return say("stat", 1);
        printf("%s ino=%lu mode=%o mtime=%ld.%09ld\n", a, stat.st_ino, stat.st_mode, stat.st_mtim.tv_sec, stat.st_mtim.tv_nsec);
    } else if (!strcmp(verb, "cat")) {
        char bytes[4096];
        int fd = open(a, O_RDONLY);
        if (fd < 0) return say("cat", 1);
        for (ssize_t len; (len = read(fd, bytes, sizeof bytes)) > 0;) fwrite(bytes, 1, len, stdout);
    } else if (!strcmp(verb, "write")) {
        int fd = open(a, O_WRONLY | O_CREAT | O_TRUNC, 0666);
        return say("write", fd < 0 || write(fd, b, strlen(b)) < 0);
    } else if (!strcmp(verb, "chmod")) {
        return say("chmod", chmod(a, strtol(b, NULL, 8)));
    } else if (!strcmp(verb, "unlink")) {
        return say("unlink", unlink(a));
    } else if (!strcmp(verb, "symlink")) {
        return say("symlink", symlink(a, b));
    } else if (!strcmp(verb, "mkfifo")) {
        return say("mkfifo", mkfifo(a, 0666));
    } else if (!strcmp(verb, "burrow")) {
        // Directories inside one another, none of which can be entered any more.
        int depth = atoi(a), *fds = calloc(depth, sizeof *fds);
        for (int i = 0; i < depth; i++)
            if (mkdir("d", 0777) || chdir("d") || (fds[i] = open(".", O_RDONLY)) < 0) return say("burrow", 1);
        for (int i = 0; i < depth; i++)
            if (fchmod(fds[i], 0)) return say("burrow", 1);
    } else if (!strcmp(verb, "fill")) {
        static char block[1 << 16];
        int fd = !strcmp(a, "-") ? 1 : open(a, O_WRONLY | O_CREAT, 0666);
        for (long left = atol(b); left > 0; left -= sizeof block)
            if (write(fd, block, sizeof block) < 0) return say("fill", 1);
    } else if (!strcmp(verb, "allocate")) {
        size_t size = atol(a);
        char *memory = malloc(size);
        for (size_t i = 0; i < size; i += 4096) ((volatile char *)memory)[i] = 1;
    } else if (!strcmp(verb, "burn")) {
        struct rusage usage;
        do getrusage(RUSAGE_SELF, &usage);
        while ((usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000 + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000 < atol(a));
    } else if (!strcmp(verb, "limit")) {
        struct rlimit limit;
        getrlimit(RLIMIT_CORE, &limit);
        printf("core=%lu\n", limit.rlim_cur);
    } else if (!strcmp(verb, "syscall")) {
        return say("syscall", syscall(atol(a), 0, 0, 0, 0, 0, 0) < 0);
    } else if (!strcmp(verb, "unshare")) {
        return say("unshare", unshare(CLONE_NEWUSER));
    } else if (!strcmp(verb, "clone")) {
        return say("clone", syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0) < 0);
    } else if (!strcmp(verb, "hide")) {
        // Out of sight of any parent, session or group, deaf to all it can be deaf to.
        if (!fork()) {
            setsid();
            if (!fork())
                for (;;) pause();
            _exit(0);
        }
        wait(NULL);
    } else if (!strcmp(verb, "pause")) {
        for (;;) pause();
    } else if (!strcmp(verb, "die")) {
        kill(getpid(), atoi(a));
    } else if (!strcmp(verb, "exit")) {
        exit(atoi(a));
    } else {
        return say(verb, 1);
    }
    return 0;
}

int main(int n, char **word)
{
    int status = 0;
    name = word[0];
    for (int first = 1, i = 1; i <= n; i++)
        if (i == n || !strcmp(word[i], ";")) {
            if (i > first) status = command(i - first, word + first);
            fflush(stdout);
            first = i + 1;
        }
    return status;
}
