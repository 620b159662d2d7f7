//go:build linux

package sandbox

import "testing"

// expectation is one attempt and how it ends: free, under Landlock without
// seccomp, under seccomp without Landlock, and under both. "yes" is success;
// "?" in the free column depends on the machine's settings, and the attempt
// then counts as tried and no more.
type expectation struct {
	name                          string
	free, landlock, seccomp, both string
}

// matrix is the answer to "what can a taken-over engine do".
var matrix = []expectation{
	// Writing: each layer refuses it alone.
	{"create", "yes", "EACCES", "EACCES", "EACCES"},
	{"create_exclusive", "yes", "EACCES", "EACCES", "EACCES"},
	{"create_old", "yes", "EACCES", "EPERM", "EPERM"},
	{"create_temporary", "yes", "EACCES", "EACCES", "EACCES"},
	{"open_write", "yes", "EACCES", "EACCES", "EACCES"},
	{"open_read_write", "yes", "EACCES", "EACCES", "EACCES"},
	{"open_truncate", "yes", "EACCES", "EACCES", "EACCES"},
	{"open_write_openat2", "yes", "EACCES", "ENOSYS", "ENOSYS"},
	{"try_truncate", "yes", "EACCES", "EPERM", "EPERM"},
	{"try_rename", "yes", "EACCES", "EPERM", "EPERM"},
	{"rename_out", "yes", "EACCES", "EPERM", "EPERM"},
	{"try_link", "yes", "EACCES", "EPERM", "EPERM"},
	{"try_symlink", "yes", "EACCES", "EPERM", "EPERM"},
	{"try_mkdir", "yes", "EACCES", "EPERM", "EPERM"},
	{"try_mkfifo", "yes", "EACCES", "ENOSYS", "ENOSYS"},
	{"try_mknod", "yes", "EACCES", "ENOSYS", "ENOSYS"},
	{"open_own_memory", "yes", "EACCES", "EACCES", "EACCES"},
	{"fill_core_dumps", "yes", "EACCES", "EACCES", "EACCES"},
	{"protect_from_oom", "yes", "EACCES", "EACCES", "EACCES"},
	{"open_device", "yes", "EACCES", "EACCES", "EACCES"},
	{"create_shm", "yes", "EACCES", "EACCES", "EACCES"},
	// Writing that Landlock knows nothing of.
	{"chmod_dir", "yes", "yes", "EPERM", "EPERM"},
	{"chmod_file", "yes", "yes", "EPERM", "EPERM"},
	{"chown_file", "yes", "yes", "ENOSYS", "ENOSYS"},
	{"set_attribute", "yes", "yes", "ENOSYS", "ENOSYS"},
	{"set_time", "yes", "yes", "ENOSYS", "ENOSYS"},
	{"try_memfd", "yes", "yes", "EPERM", "EPERM"},
	// Removing and reading: by path, so Landlock's business.
	{"unlink_own", "yes", "yes", "yes", "yes"},
	{"unlink_outside", "yes", "EACCES", "yes", "EACCES"},
	{"read_passwd", "yes", "EACCES", "yes", "EACCES"},
	{"list_root", "yes", "EACCES", "ENOSYS", "EACCES"},
	{"list_own", "yes", "EACCES", "ENOSYS", "EACCES"},
	{"read_environ", "yes", "EACCES", "yes", "EACCES"},

	// Sockets.
	{"socket_tcp", "yes", "yes", "EACCES", "EACCES"},
	{"socket_tcp6", "yes", "yes", "EACCES", "EACCES"},
	{"socket_udp", "yes", "yes", "EACCES", "EACCES"},
	{"socket_netlink", "yes", "yes", "EACCES", "EACCES"},
	{"socket_vsock", "?", "?", "EACCES", "EACCES"},
	{"socket_packet", "EPERM", "EPERM", "EACCES", "EACCES"},
	{"socket_unix_datagram", "yes", "yes", "EACCES", "EACCES"},
	{"socket_pair", "yes", "yes", "ENOSYS", "ENOSYS"},
	{"tcp_connect", "yes", "EACCES", "EACCES", "EACCES"},
	{"tcp_bind", "yes", "EACCES", "EACCES", "EACCES"},
	{"tcp_listen", "yes", "yes", "EACCES", "EACCES"},
	{"udp_send", "yes", "yes", "EACCES", "EACCES"},
	{"unix_connect", "yes", "yes", "EPERM", "EPERM"},
	{"abstract_connect", "yes", "EPERM", "EPERM", "EPERM"},
	{"unix_bind_outside", "yes", "EACCES", "yes", "EACCES"},
	{"unix_send", "yes", "yes", "EPERM", "EPERM"},
	{"send_descriptor", "yes", "yes", "ENOSYS", "ENOSYS"},
	{"receive_descriptor", "yes", "yes", "ENOSYS", "ENOSYS"},
	{"other_ioctl", "yes", "yes", "ENOTTY", "ENOTTY"},

	// Other processes.
	{"signal_other", "yes", "EPERM", "EPERM", "EPERM"},
	{"signal_thread", "yes", "EPERM", "EPERM", "EPERM"},
	{"signal_thread_old", "yes", "EPERM", "ENOSYS", "ENOSYS"},
	{"signal_queue", "yes", "EPERM", "ENOSYS", "ENOSYS"},
	{"signal_by_descriptor", "yes", "yes", "EINVAL", "EINVAL"},
	{"trace", "yes", "EPERM", "EPERM", "EPERM"},
	{"read_memory", "yes", "EPERM", "ENOSYS", "ENOSYS"},
	{"write_memory", "yes", "EPERM", "ENOSYS", "ENOSYS"},
	{"pidfd", "yes", "yes", "ENOSYS", "ENOSYS"},
	{"limit_other", "yes", "yes", "EPERM", "EPERM"},
	{"priority_other", "yes", "yes", "ENOSYS", "ENOSYS"},
	{"affinity_other", "yes", "yes", "EPERM", "EPERM"},

	// Becoming something else.
	{"try_fork", "yes", "yes", "EPERM", "EPERM"},
	{"try_vfork", "yes", "yes", "EPERM", "EPERM"},
	{"fork_call", "yes", "yes", "EPERM", "EPERM"},
	{"clone_process", "yes", "yes", "EPERM", "EPERM"},
	{"clone_user", "?", "?", "EPERM", "EPERM"},
	{"clone_3", "yes", "yes", "ENOSYS", "ENOSYS"},
	{"unshare_user", "?", "?", "ENOSYS", "ENOSYS"},
	{"exec_other", "yes", "EACCES", "EPERM", "EPERM"},
	{"exec_self", "yes", "yes", "EPERM", "EPERM"},
	{"exec_guessing", "yes", "yes", "EPERM", "EPERM"},
	{"exec_descriptor", "yes", "yes", "EPERM", "EPERM"},
	{"outlive_parent", "yes", "yes", "EINVAL", "EINVAL"},
	{"raise_limit", "yes", "EPERM", "EPERM", "EPERM"}, // hard limit, no capability

	// Memory: MDWE alone in the Landlock column, the filter alone in the next.
	{"map_writable_code", "yes", "EACCES", "EACCES", "EACCES"},
	{"write_then_execute", "yes", "EACCES", "EACCES", "EACCES"},
	{"write_then_execute_by_key", "yes", "EACCES", "ENOSYS", "ENOSYS"},

	// The kernel's doors, open to an ordinary user or by the machine's settings.
	{"try_io_uring", "?", "?", "ENOSYS", "ENOSYS"},
	{"try_userfaultfd", "?", "?", "ENOSYS", "ENOSYS"},
	{"try_bpf", "?", "?", "ENOSYS", "ENOSYS"},
	{"try_perf", "?", "?", "ENOSYS", "ENOSYS"},
	{"try_keyring", "yes", "yes", "ENOSYS", "ENOSYS"},
	{"try_shmget", "yes", "yes", "ENOSYS", "ENOSYS"},
	{"try_message_queue", "yes", "EMFILE", "ENOSYS", "ENOSYS"}, // RLIMIT_MSGQUEUE
	// For root only: see TestRootIsConfinedAlike.
	{"unshare_net", "EPERM", "EPERM", "ENOSYS", "ENOSYS"},
	{"try_setns", "EPERM", "EPERM", "ENOSYS", "ENOSYS"},
	{"try_chroot", "EPERM", "EPERM", "ENOSYS", "ENOSYS"},
	{"try_setuid", "EPERM", "EPERM", "ENOSYS", "ENOSYS"},
	{"try_mount", "EPERM", "EPERM", "ENOSYS", "ENOSYS"},

	// What stays, and is written down as staying.
	{"stat_outside", "yes", "yes", "yes", "yes"},
	{"read_cmdline", "yes", "yes", "yes", "yes"},
	{"abstract_bind", "yes", "yes", "yes", "yes"}, // with Spec.Isolate nobody else sees it
	// What must work.
	{"map_program", "yes", "yes", "yes", "yes"},
	{"try_thread", "yes", "yes", "yes", "yes"},
	{"try_pipe", "yes", "yes", "yes", "yes"},
	{"try_epoll", "yes", "yes", "yes", "yes"},
	{"signal_self", "yes", "yes", "yes", "yes"},
	{"read_random", "yes", "yes", "yes", "yes"},
	{"read_own_stat", "yes", "yes", "yes", "yes"},
	{"unix_bind", "yes", "yes", "yes", "yes"},
}

// compare holds one run against one column. Every attempt must be reported and
// be in the matrix: a probe that stops half-way proves nothing.
func compare(t *testing.T, found map[string]string, column func(expectation) string) {
	t.Helper()
	for _, e := range matrix {
		if want := column(e); found[e.name] != want && want != "?" {
			t.Errorf("%s: %q, want %s", e.name, found[e.name], want)
		}
	}
	if len(found) != len(matrix) {
		t.Errorf("the probe made %d attempts, the matrix has %d", len(found), len(matrix))
	}
}

func TestEveryAttemptIsPossibleWithoutTheSandbox(t *testing.T) {
	needRoot(t)
	a := newArena(t, freeUID)
	compare(t, outcomes(t, a.free(a.attempts()...)), func(e expectation) string { return e.free })
}

func TestLandlockAloneRefusesItsShare(t *testing.T) {
	needRoot(t)
	a := newArena(t, freeUID)
	with := allLayers()
	with.Seccomp = false
	compare(t, outcomes(t, confined(t, a.spec(a.attempts()...), with)), func(e expectation) string {
		if e.name == "unix_connect" && Probe().Landlock >= 9 {
			return "EACCES" // LANDLOCK_ACCESS_FS_RESOLVE_UNIX; not run yet, the tests' kernels had 7
		}
		return e.landlock
	})
}

func TestSeccompAloneRefusesItsShare(t *testing.T) {
	needRoot(t)
	a := newArena(t, freeUID)
	found := outcomes(t, confined(t, a.spec(a.attempts()...), layers{Seccomp: true}))
	compare(t, found, func(e expectation) string { return e.seccomp })
}

func TestBothTogetherRefuseEveryAttempt(t *testing.T) {
	needRoot(t)
	for _, isolate := range []bool{false, true} {
		a := newArena(t, freeUID)
		s := a.spec(a.attempts()...)
		s.Isolate = isolate
		compare(t, outcomes(t, confined(t, s, allLayers())), func(e expectation) string { return e.both })
	}
}

// forRoot is what an ordinary user could not have done anyway.
var forRoot = []string{"unshare_net", "try_setns", "try_chroot", "try_setuid", "try_mount", "socket_packet"}

// TestRootIsConfinedAlike: without a uid to become, the program keeps uid 0 and
// still can't do what root can.
func TestRootIsConfinedAlike(t *testing.T) {
	needRoot(t)
	a := newArena(t, 0)
	free := outcomes(t, a.free(a.attempts()...))
	for _, name := range forRoot {
		if free[name] != "yes" {
			t.Errorf("%s without the sandbox: %s, want yes: the control proves nothing", name, free[name])
		}
	}
	a = newArena(t, 0)
	s := a.spec(a.attempts()...)
	s.UID, s.GID = -1, -1
	compare(t, outcomes(t, confined(t, s, allLayers())), func(e expectation) string { return e.both })
}
