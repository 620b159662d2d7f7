// Package sandbox starts a program that may do next to nothing: the engine, or a part
// of this very program, locked in by the kernel before its first instruction runs.
//
// # How it works
//
// [Command] returns a command that executes this very binary again
// (/proc/self/exe) under the name "redoubt-sandbox", with the [Spec] in a pipe
// on descriptor 3: nothing of it stands in an argument or the environment.
// [Main], the first call of main, sees that name, locks the thread down step
// by step (shim_linux.go is that list, in order) and executes the program in
// its place: same process id, no process in between, no way back.
//
// [Part.Command] does the same for a part of this program: the shim executes this binary
// once more, under the part's name, by which [Main] knows what to run.
//
// # What the engine can no longer do
//
//   - write: no file can be created, opened for writing, truncated, renamed,
//     linked, made executable or given attributes; no directory, fifo, memfd or
//     shared memory. Only a unix socket in Spec.Dir can be made and removed.
//   - read: only its libraries, /dev/urandom, /proc and two files of /sys; no
//     directory can be listed.
//   - talk: the only socket it can make is a unix stream socket, and it can
//     listen and accept but not connect, nor give the kernel a filter or a
//     program for it. With Spec.Isolate it also has a
//     network, IPC and host name space to itself.
//   - become something else: no process, no namespace, no second exec, no
//     gain of privilege, no memory that is writable and executable.
//   - touch others: no signal, no ptrace, no reading of their memory, no
//     setting of their limits.
//   - leave a trace: no core dump, not even through a piped core_pattern, and
//     no message queue. It dies with the thread that started it.
//
// Threads, pipes, timers and its own memory stay. What stays and is meant to
// be known: the metadata of every path (stat) and /proc/PID/cmdline of other
// processes can be read, so no secret may stand in an argument of any
// process; without Spec.Isolate an abstract unix socket can be bound; without
// Landlock files can be removed that its uid may remove (unlink). Its own
// argument memory is shown to every user in /proc/PID/cmdline (the kernel
// reads it there), and the names of the sockets that it makes in Spec.Dir to
// who can list that: ways out, if slow ones, for code that has taken it over.
//
// # What a part of ours can no longer do
//
// The same, but for what a Go server needs and the engine doesn't, and less where it
// needs less (syscalls_part_linux.go is the list):
//
//   - files: it opens none but those that Part.Read and Part.Write name, and itself; its
//     directory is /, and /proc is not there for it. A build with cgo (tests with the
//     race detector) reads its libraries too.
//   - sockets: it makes none, connects none and binds none. It serves on what it was
//     started with (from [FirstFile] on), and takes descriptors that are sent to it
//     (recvmsg), so that its owner decides about each; it can send none away (sendmsg),
//     so that Part.Descriptors bounds all that it can hold.
//   - programs, processes, others' memory, signals to others, privileges: as the engine.
//
// Started by root it has a user and a group of its own, no further group, no capability
// in any set. Started by an ordinary user it keeps that user, without namespaces; then
// Landlock and the filter alone keep it from the files and processes of that user.
// Its environment holds the locale, GOMAXPROCS and GODEBUG as they are here.
//
// # What the kernel must have
//
//	seccomp        Linux 3.17   required: without it the shim refuses to start a program
//	Landlock       Linux 5.13   used as far as it goes: ABI 2 (5.19) rename across directories,
//	                            3 (6.2) truncate, 4 (6.7) TCP, 5 (6.10) device ioctl,
//	                            6 (6.12) abstract sockets and signals, 9 (7.1) pathname sockets
//	MDWE           Linux 6.3    the seccomp filter holds the same line on older kernels
//	namespaces     root         only if Spec.Isolate asks for them, and then required
//
// [Probe] says what this host gives and [Report.Missing] names, in words, what
// it does not: a caller prints these, they are never passed over.
//
// # What callers must know
//
// Who calls it: engine starts the cache with it, package part our own parts; verify and
// the start-up output print the Report. Landlock, seccomp and the parent-death signal
// belong to threads: start the command from a locked OS thread that lives as
// long as the program is to live. A shim that fails writes one line,
// "sandbox: STEP: cause", to its standard error and ends with [ExitFailed];
// after a successful exec the shim is gone and prints nothing, so a line of
// that form counts only together with that exit code. Standard error must be a
// pipe or a terminal: a regular file cannot be written to any more.
//
// The package never reads a secret (standard input is passed on unread), has
// no goroutine and keeps no state. Other systems than Linux on amd64 and arm64
// get a Report in which everything is missing, and an error from Command.
//
// # How it is tested
//
// A small C program (testdata/probe.c) tries every attempt that the list
// above names, in four states: free, under each of the two layers alone, and
// under both. The free run must succeed where the confined ones are refused,
// else the test proves nothing. A real redis-server must work in it. A part is this
// package's own test binary, which serves, reads and writes what it may, and is refused
// the rest (part_test.go).
package sandbox
