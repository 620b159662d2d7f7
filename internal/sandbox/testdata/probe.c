// The program that the sandbox's tests confine. A Go program can't take its
// place: Go's runtime needs system calls that the filter refuses.
//
//   probe attempts OUTSIDE SOCKET ABSTRACT PORT VICTIM   try all, print "NAME ERRNO" (0: it worked)
//   probe wait                                           print "waiting", read until standard input ends
//   probe serve                                          listen on "s", give one client its line back
//   probe abort                                          abort()
//   probe nothing                                        end with 0
//
// The working directory is the run directory and holds the files "existing"
// and "mine". OUTSIDE is another directory of the same user with a file
// "theirs". SOCKET and ABSTRACT are unix sockets, PORT is a TCP port on
// loopback, all of them listening, and VICTIM is another process of the user.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <linux/vm_sockets.h>

static const char *outside, *socket_path, *abstract_name;
static int port;
static pid_t victim;
static char in_victim[] = "the same address in each process of this program (-no-pie)";

static int result(long rc) { return rc < 0 ? errno : 0; }

// ---- files

static int create(void) { return result(open("new", O_WRONLY | O_CREAT, 0600)); }
static int create_exclusive(void) { return result(open("new2", O_RDONLY | O_CREAT | O_EXCL, 0600)); }
static int create_old(void) { return result(creat("new3", 0600)); }
static int create_temporary(void) { return result(open(".", O_TMPFILE | O_WRONLY, 0600)); }
static int open_write(void) { return result(open("existing", O_WRONLY)); }
static int open_read_write(void) { return result(open("existing", O_RDWR)); }
static int open_truncate(void) { return result(open("existing", O_RDONLY | O_TRUNC)); }
static int open_write_openat2(void) {
	unsigned long long how[3] = {O_WRONLY, 0, 0}; // struct open_how
	return result(syscall(SYS_openat2, AT_FDCWD, "existing", how, sizeof how));
}
static int try_truncate(void) { return result(truncate("existing", 7)); }
static int try_rename(void) { return result(rename("existing", "renamed")) ?: result(rename("renamed", "existing")); }
static int rename_out(void) {
	char to[4096];
	snprintf(to, sizeof to, "%s/moved", outside);
	return result(rename("existing", to)) ?: result(rename(to, "existing"));
}
static int try_link(void) { return result(link("existing", "linked")); }
static int try_symlink(void) { return result(symlink("existing", "symlinked")); }
static int try_mkdir(void) { return result(mkdir("directory", 0700)); }
static int try_mkfifo(void) { return result(mkfifo("fifo", 0600)); }
static int try_mknod(void) { return result(mknod("node", S_IFREG | 0600, 0)); }
static int chmod_dir(void) { return result(chmod(".", 0777)); }
static int chmod_file(void) { return result(fchmodat(AT_FDCWD, "existing", 0700, 0)); }
static int chown_file(void) { return result(chown("existing", getuid(), getgid())); }
static int set_attribute(void) { return result(setxattr("existing", "user.note", "x", 1, 0)); }
static int set_time(void) { return result(utimensat(AT_FDCWD, "existing", NULL, 0)); }
static int unlink_own(void) { return result(unlink("mine")); }
static int unlink_outside(void) {
	char path[4096];
	snprintf(path, sizeof path, "%s/theirs", outside);
	return result(unlink(path));
}
static int read_file(const char *path) {
	char byte;
	int fd = open(path, O_RDONLY);
	return fd < 0 ? errno : result(read(fd, &byte, 1));
}
static int read_passwd(void) { return read_file("/etc/passwd"); }
static int list(const char *path) {
	DIR *dir = opendir(path);
	if (!dir) return errno;
	errno = 0;
	return readdir(dir) ? 0 : errno;
}
static int list_root(void) { return list("/"); }
static int list_own(void) { return list("."); }
static int stat_outside(void) { struct stat st; return result(stat(outside, &st)); }
static int read_proc(const char *file) {
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/%s", victim, file);
	return read_file(path);
}
static int read_cmdline(void) { return read_proc("cmdline"); }
static int read_environ(void) { return read_proc("environ"); }
static int open_own_memory(void) { return result(open("/proc/self/mem", O_RDWR)); }
static int fill_core_dumps(void) { return result(open("/proc/self/coredump_filter", O_WRONLY)); }
static int protect_from_oom(void) { return result(open("/proc/self/oom_score_adj", O_WRONLY)); }
static int open_device(void) { return result(open("/dev/null", O_RDWR)); }
static int create_shm(void) {
	const char *path = "/dev/shm/redoubt-sandbox-probe";
	return result(open(path, O_WRONLY | O_CREAT, 0600)) ?: result(unlink(path));
}
static int try_memfd(void) { return result(memfd_create("probe", 0)); }

// ---- sockets

static int make(int family, int type) { return result(socket(family, type, 0)); }
static int socket_tcp(void) { return make(AF_INET, SOCK_STREAM); }
static int socket_tcp6(void) { return make(AF_INET6, SOCK_STREAM); }
static int socket_udp(void) { return make(AF_INET, SOCK_DGRAM); }
static int socket_netlink(void) { return make(AF_NETLINK, SOCK_RAW); }
static int socket_vsock(void) { return make(AF_VSOCK, SOCK_STREAM); }
static int socket_packet(void) { return make(AF_PACKET, SOCK_RAW); }
static int socket_unix_datagram(void) { return make(AF_UNIX, SOCK_DGRAM); }
static int socket_pair(void) { int fd[2]; return result(socketpair(AF_UNIX, SOCK_STREAM, 0, fd)); }

static struct sockaddr_in loopback(int port) {
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	return to;
}
static int tcp_connect(void) {
	struct sockaddr_in to = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	return fd < 0 ? errno : result(connect(fd, (struct sockaddr *)&to, sizeof to));
}
static int tcp_bind(void) {
	struct sockaddr_in at = loopback(0);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	return fd < 0 ? errno : result(bind(fd, (struct sockaddr *)&at, sizeof at));
}
static int tcp_listen(void) {
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	return fd < 0 ? errno : result(listen(fd, 1));
}
static int udp_send(void) {
	struct sockaddr_in to = loopback(port);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	return fd < 0 ? errno : result(sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof to));
}

// unix_address returns the length; an abstract name has a zero in front of it.
static socklen_t unix_address(struct sockaddr_un *un, const char *name, int abstract) {
	memset(un, 0, sizeof *un);
	un->sun_family = AF_UNIX;
	strncpy(un->sun_path + abstract, name, sizeof un->sun_path - 1 - abstract);
	return offsetof(struct sockaddr_un, sun_path) + abstract + strlen(name);
}
static int unix_call(int (*call)(int, const struct sockaddr *, socklen_t), const char *name, int abstract) {
	struct sockaddr_un un;
	socklen_t len = unix_address(&un, name, abstract);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (fd < 0) return errno;
	int failed = result(call(fd, (struct sockaddr *)&un, len));
	close(fd);
	return failed;
}
static int unix_connect(void) { return unix_call(connect, socket_path, 0); }
static int abstract_connect(void) { return unix_call(connect, abstract_name, 1); }
static int abstract_bind(void) { return unix_call(bind, "redoubt-sandbox-probe", 1); }
static int unix_bind(void) { return unix_call(bind, "bound", 0) ?: result(unlink("bound")); }
static int unix_bind_outside(void) {
	char path[108];
	snprintf(path, sizeof path, "%s/bound", outside);
	return unix_call(bind, path, 0) ?: result(unlink(path));
}
static int unix_send(void) {
	struct sockaddr_un un;
	socklen_t len = unix_address(&un, socket_path, 0);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	// A stream socket never takes an address: EISCONN or EOPNOTSUPP says that the call was made.
	int failed = result(sendto(fd, "x", 1, 0, (struct sockaddr *)&un, len));
	return failed == EOPNOTSUPP ? 0 : failed;
}
// Standard input is no socket: ENOTSOCK says that the call was made.
static int send_descriptor(void) { struct msghdr none = {0}; int failed = result(sendmsg(0, &none, 0)); return failed == ENOTSOCK ? 0 : failed; }
static int receive_descriptor(void) { struct msghdr none = {0}; int failed = result(recvmsg(0, &none, 0)); return failed == ENOTSOCK ? 0 : failed; }
static int other_ioctl(void) { int fd[2], n; return result(pipe(fd)) ?: result(ioctl(fd[0], FIONREAD, &n)); }

// ---- other processes

static int signal_other(void) { return result(kill(victim, SIGCONT)); }
static int signal_thread(void) { return result(syscall(SYS_tgkill, victim, victim, SIGCONT)); }
static int signal_thread_old(void) { return result(syscall(SYS_tkill, victim, SIGCONT)); }
static int signal_queue(void) { union sigval none = {0}; return result(sigqueue(victim, SIGCONT, none)); }
static int signal_by_descriptor(void) {
	int fd[2];
	return result(pipe(fd)) ?: result(fcntl(fd[0], F_SETOWN, victim));
}
static int trace(void) { return result(ptrace(PTRACE_SEIZE, victim, 0, 0)); }
static int read_memory(void) {
	char copy[8];
	struct iovec here = {copy, sizeof copy}, there = {in_victim, sizeof copy};
	return result(process_vm_readv(victim, &here, 1, &there, 1, 0));
}
static int write_memory(void) {
	struct iovec here = {in_victim, 8}, there = {in_victim, 8};
	return result(process_vm_writev(victim, &here, 1, &there, 1, 0));
}
static int pidfd(void) { return result(syscall(SYS_pidfd_open, victim, 0)); }
static int limit_other(void) { struct rlimit old; return result(prlimit(victim, RLIMIT_NOFILE, NULL, &old)); }
static int priority_other(void) { return result(setpriority(PRIO_PROCESS, victim, 19)); }
static int affinity_other(void) {
	cpu_set_t cpus;
	sched_getaffinity(0, sizeof cpus, &cpus);
	return result(sched_setaffinity(victim, sizeof cpus, &cpus));
}

// ---- becoming something else

static int reap(pid_t pid) {
	if (pid < 0) return errno;
	if (pid == 0) _exit(0);
	return result(waitpid(pid, NULL, __WALL));
}
static int try_fork(void) { return reap(fork()); }
static int try_vfork(void) {
	pid_t pid = vfork();
	if (pid == 0) _exit(0);
	return reap(pid);
}
static int fork_call(void) {
#ifdef SYS_fork
	return reap(syscall(SYS_fork));
#else
	return reap(fork());
#endif
}
static int clone_process(void) { return reap(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)); }
static int clone_user(void) { return reap(syscall(SYS_clone, SIGCHLD | CLONE_NEWUSER, 0, 0, 0, 0)); }
static int clone_3(void) {
	struct clone_args args = {.exit_signal = SIGCHLD};
	return reap(syscall(SYS_clone3, &args, sizeof args));
}
static int unshare_user(void) { return result(unshare(CLONE_NEWUSER)); }
static int unshare_net(void) { return result(unshare(CLONE_NEWNET)); }
static int try_setns(void) {
	int fd = open("/proc/self/ns/uts", O_RDONLY);
	return fd < 0 ? errno : result(syscall(SYS_setns, fd, CLONE_NEWUTS));
}
static int try_chroot(void) { return result(chroot(".")); }
static int try_setuid(void) { return result(setuid(1)); }
static int exec_other(void) { return result(execl("/bin/true", "true", NULL)); }
static int exec_self(void) { return result(execl("/proc/self/exe", "probe", "nothing", NULL)); }
static int exec_guessing(void) {
	char *argv[] = {"probe", "nothing", NULL}, *envp[] = {NULL};
	return result(syscall(SYS_execve, "/proc/self/exe", argv, envp, -1L, -1L, -1L));
}
static int exec_descriptor(void) {
	char *argv[] = {"probe", "nothing", NULL}, *envp[] = {NULL};
	int fd = open("/proc/self/exe", O_RDONLY);
	return fd < 0 ? errno : result(syscall(SYS_execveat, fd, "", argv, envp, AT_EMPTY_PATH));
}
static int outlive_parent(void) { return result(prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0)); }
static int raise_limit(void) {
	struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
	return result(setrlimit(RLIMIT_FSIZE, &unlimited));
}

// ---- memory and the kernel's doors

static void *page(int protection) { return mmap(NULL, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); }
static int map_writable_code(void) { return page(PROT_READ | PROT_WRITE | PROT_EXEC) == MAP_FAILED ? errno : 0; }
static int write_then_execute(void) { return result(mprotect(page(PROT_READ | PROT_WRITE), 4096, PROT_READ | PROT_EXEC)); }
static int write_then_execute_by_key(void) {
	return result(syscall(SYS_pkey_mprotect, page(PROT_READ | PROT_WRITE), 4096, PROT_READ | PROT_EXEC, -1));
}
static int map_program(void) {
	int fd = open("/proc/self/exe", O_RDONLY);
	if (fd < 0) return errno;
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) == MAP_FAILED ? errno : 0;
}
static int try_io_uring(void) { char params[120] = {0}; return result(syscall(SYS_io_uring_setup, 1, params)); }
static int try_userfaultfd(void) { return result(syscall(SYS_userfaultfd, 1 /* UFFD_USER_MODE_ONLY */)); }
static int try_bpf(void) {
	unsigned int attr[32] = {2 /* BPF_MAP_TYPE_ARRAY */, 4, 4, 1};
	return result(syscall(SYS_bpf, 0 /* BPF_MAP_CREATE */, attr, sizeof attr));
}
static int try_perf(void) {
	unsigned int attr[32] = {1 /* PERF_TYPE_SOFTWARE */, sizeof attr};
	return result(syscall(SYS_perf_event_open, attr, 0, -1, -1, 0));
}
static int try_keyring(void) { return result(syscall(SYS_add_key, "user", "probe", "x", 1L, -1 /* thread keyring */)); }
static int try_mount(void) {
	// In a mount namespace of its own, so that the machine keeps its mounts.
	return result(unshare(CLONE_NEWNS)) ?: result(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL)) ?:
	       result(mount("none", ".", "tmpfs", 0, NULL));
}
static int try_shmget(void) {
	int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
	return id < 0 ? errno : result(shmctl(id, IPC_RMID, NULL));
}
static int try_message_queue(void) {
	const char *name = "redoubt-sandbox-probe"; // the call takes it without the slash of mq_open(3)
	return result(syscall(SYS_mq_open, name, O_RDWR | O_CREAT, 0600, NULL)) ?: result(syscall(SYS_mq_unlink, name));
}

// ---- what must work

static void *thread(void *arg) { return arg; }
static int try_thread(void) {
	pthread_t t;
	return pthread_create(&t, NULL, thread, NULL) ?: pthread_join(t, NULL);
}
static int try_pipe(void) {
	int fd[2];
	char byte;
	return result(pipe(fd)) ?: result(write(fd[1], "x", 1)) ?: result(read(fd[0], &byte, 1));
}
static int try_epoll(void) {
	struct epoll_event event = {.events = EPOLLOUT};
	int poll = epoll_create1(0), fd = eventfd(0, 0);
	return result(poll) ?: result(fd) ?: result(epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event)) ?: result(epoll_wait(poll, &event, 1, 0));
}
static int signal_self(void) { return result(kill(getpid(), SIGCONT)) ?: raise(SIGCONT); }
static int read_random(void) { return read_file("/dev/urandom"); }
static int read_own_stat(void) { return read_file("/proc/self/stat"); }

static const struct attempt {
	const char *name;
	int (*try)(void);
} attempts[] = {
#define A(f) {#f, f}
	A(create), A(create_exclusive), A(create_old), A(create_temporary), A(open_write), A(open_read_write), A(open_truncate),
	A(open_write_openat2), A(try_truncate), A(try_rename), A(rename_out), A(try_link), A(try_symlink), A(try_mkdir), A(try_mkfifo),
	A(try_mknod), A(chmod_dir), A(chmod_file), A(chown_file), A(set_attribute), A(set_time), A(unlink_own), A(unlink_outside),
	A(read_passwd), A(list_root), A(list_own), A(stat_outside), A(read_cmdline), A(read_environ), A(open_own_memory),
	A(fill_core_dumps), A(protect_from_oom), A(open_device), A(create_shm), A(try_memfd),
	A(socket_tcp), A(socket_tcp6), A(socket_udp), A(socket_netlink), A(socket_vsock), A(socket_packet), A(socket_unix_datagram),
	A(socket_pair), A(tcp_connect), A(tcp_bind), A(tcp_listen), A(udp_send), A(unix_connect), A(abstract_connect),
	A(abstract_bind), A(unix_bind_outside), A(unix_send),
	A(send_descriptor), A(receive_descriptor), A(other_ioctl),
	A(signal_other), A(signal_thread), A(signal_thread_old), A(signal_queue), A(signal_by_descriptor), A(trace), A(read_memory),
	A(write_memory), A(pidfd), A(limit_other), A(priority_other), A(affinity_other),
	A(try_fork), A(try_vfork), A(fork_call), A(clone_process), A(clone_user), A(clone_3), A(unshare_user), A(unshare_net), A(try_setns),
	A(try_chroot), A(try_setuid), A(exec_other), A(exec_self), A(exec_guessing), A(exec_descriptor), A(outlive_parent), A(raise_limit),
	A(map_writable_code), A(write_then_execute), A(write_then_execute_by_key), A(try_io_uring), A(try_userfaultfd), A(try_bpf),
	A(try_perf), A(try_keyring), A(try_mount), A(try_shmget), A(try_message_queue),
	A(map_program), A(try_thread), A(try_pipe), A(try_epoll), A(signal_self), A(read_random), A(read_own_stat), A(unix_bind),
};

// outcome tries in a child where children can be had, so that one success
// doesn't change the next attempt. Where not, a refusal changes nothing.
static int outcome(const struct attempt *a) {
	int status;
	pid_t pid = fork();
	if (pid < 0) return a->try();
	if (pid == 0) _exit(a->try());
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status)) return 255;
	return WEXITSTATUS(status);
}

static int try_all(char **argv) {
	outside = argv[0], socket_path = argv[1], abstract_name = argv[2], port = atoi(argv[3]), victim = atoi(argv[4]);
	for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++) {
		int failed = outcome(&attempts[i]);
		printf("%s %d\n", attempts[i].name, failed);
		fflush(stdout);
	}
	return 0;
}

static int wait_for_end(void) {
	char byte;
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0); // the attempts must not fail for Yama's sake
	puts("waiting");
	fflush(stdout);
	while (read(0, &byte, 1) > 0) {}
	return 0;
}

static int serve(void) {
	struct sockaddr_un un;
	socklen_t len = unix_address(&un, "s", 0);
	char line[64];
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (bind(fd, (struct sockaddr *)&un, len) || listen(fd, 1)) return 1;
	puts("waiting");
	fflush(stdout);
	int client = accept(fd, NULL, NULL);
	ssize_t n = recv(client, line, sizeof line, 0);
	return n > 0 && send(client, line, n, 0) == n ? 0 : 1;
}

int main(int argc, char **argv) {
	if (argc == 7 && !strcmp(argv[1], "attempts")) return try_all(argv + 2);
	if (argc != 2) return 2;
	if (!strcmp(argv[1], "wait")) return wait_for_end();
	if (!strcmp(argv[1], "serve")) return serve();
	if (!strcmp(argv[1], "abort")) abort();
	return strcmp(argv[1], "nothing") ? 2 : 0;
}
