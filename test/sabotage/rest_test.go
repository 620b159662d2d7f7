package sabotage_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/evidence"
)

func restSabotages() []sabotage {
	const cache, app = evidence.CacheHost, evidence.AppHost
	return []sabotage{
		{id: "RD-401", from: cache, how: "a proxy before the engine logs what passes", broken: func(t *testing.T, d *deployment) {
			log, err := os.Create(filepath.Join(t.TempDir(), "proxy.log"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { log.Close() })
			meddled(func(request []byte) string {
				log.Write(request)
				return ""
			})(t, d)
		}},
		{id: "RD-405", from: app, how: "a proxy before the sidecar logs what passes", broken: func(t *testing.T, d *deployment) {
			log, err := os.Create(filepath.Join(t.TempDir(), "proxy.log"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { log.Close() })
			d.target.App.Listen = meddler(t, "tcp", d.Sidecar, nil, func(request []byte) string {
				log.Write(request)
				return ""
			})
		}},
		{id: "RD-401", from: cache, how: "a proxy before the engine gathers what passes, and logs it a second later", broken: func(t *testing.T, d *deployment) {
			log := filepath.Join(t.TempDir(), "proxy.log")
			var once sync.Once
			meddled(func(request []byte) string {
				if bytes.Contains(request, []byte("canary")) {
					once.Do(func() {
						late := bytes.Clone(request)
						timer := time.AfterFunc(time.Second, func() { os.WriteFile(log, late, 0o600) })
						t.Cleanup(func() { timer.Stop() })
					})
				}
				return ""
			})(t, d)
		}},
		{id: "RD-401", from: cache, how: "strace writes the engine's system calls to a file", also: []string{"RD-403"}, broken: func(t *testing.T, d *deployment) {
			a, err := d.target.Cache.Audit(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			straced(t, a.PID)
		}},
		{id: "RD-405", from: app, how: "strace writes the sidecar's system calls to a file", also: []string{"RD-403"}, broken: func(t *testing.T, d *deployment) { straced(t, d.PID()) }},
		{id: "RD-405", from: app, how: "a proxy before the sidecar logs what passes, where nobody looks for logs", broken: func(t *testing.T, d *deployment) {
			dir, err := os.MkdirTemp("/opt", "redoubt-sabotage-")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			d.target.App.Listen = meddler(t, "tcp", d.Sidecar, nil, func(request []byte) string {
				os.WriteFile(filepath.Join(dir, "log"), request, 0o600)
				return ""
			})
		}},
		{id: "RD-405", from: app, how: "a proxy before the sidecar keeps what passes in a file that it has mapped", broken: func(t *testing.T, d *deployment) {
			file := mappedFile(t)
			d.target.App.Listen = meddler(t, "tcp", d.Sidecar, nil, func(request []byte) string {
				copy(file, request)
				return ""
			})
		}},
		{id: "RD-402", from: cache, how: "memory of the gateway is in swap", over: []instead{{path: ofGateway("status"), from: `VmSwap:\s+0 kB`, to: "VmSwap:\t     512 kB"}}},
		{id: "RD-403", from: app, how: "the sidecar may be dumped", env: "ourselves"},
		{id: "RD-404", from: app, how: "REDIS_URL with the password stands in the process's environment", extra: []string{"REDIS_URL=redis://:abcdef@127.0.0.1:6379"}},
		{id: "RD-404", from: cache, how: "a variable of the process's environment is called AWS_SECRET_ACCESS_KEY", extra: []string{"AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI"}},
		{id: "RD-404", from: app, how: "a variable of the process's environment is called API_TOKEN", extra: []string{"API_TOKEN=abcdef"}},
		{id: "RD-406", from: app, how: "packets of the loopback interface are captured", over: []instead{{path: ofGateway("net"), files: map[string]string{"packet": "sk RefCnt Type Proto Iface R Rmem User Inode\n0 3 3 0003 1 1 0 0 4711\n"}}}},
		{id: "RD-406", from: app, how: "a program takes what a packet filter logs, whole", over: []instead{{path: ofGateway("net"), files: map[string]string{"netfilter/nfnetlink_log": "    5  12430     0 2 65531    100  1\n"}}}},
		{id: "RD-411", from: cache, how: "the engine has no filter of system calls", env: "shim seccomp", also: []string{"RD-418"}},
		{id: "RD-411", from: cache, how: "the engine has no filter of its own, and inherits one of its service's", env: "shim seccomp", under: true, also: []string{"RD-418"}},
		{id: "RD-412", from: cache, how: "the engine keeps its bounding set of capabilities", env: "shim bounding set", also: []string{"RD-418"}},
		{id: "RD-412", from: cache, how: "another process has the engine's user", broken: func(t *testing.T, d *deployment) {
			runAs(t, func(uid uint32) syscall.Credential { return syscall.Credential{Uid: uid, Gid: 61000} }, d)
		}},
		{id: "RD-412", from: cache, how: "another process is in the engine's group", broken: func(t *testing.T, d *deployment) {
			runAs(t, func(uid uint32) syscall.Credential {
				return syscall.Credential{Uid: 61000, Gid: 61000, Groups: []uint32{uid}}
			}, d)
		}},
		{id: "RD-412", from: cache, how: "somebody who isn't logged in is in the engine's group", over: []instead{{path: at("/etc/group"), from: "$", toOf: func(d *deployment) string {
			a, _ := d.target.Cache.Audit(context.Background()) // without an answer the sabotage isn't found
			return "engines:x:" + strconv.Itoa(a.UID) + ":alice\n"
		}}}},
		{id: "RD-413", from: cache, how: "the engine shares the host's namespaces", env: "shim namespaces"},
		{id: "RD-414", from: cache, how: "pages of the engine's memory would be in a dump", env: "shim core dump filter"},
		{id: "RD-415", from: cache, how: "the engine has no limits", env: "shim resource limits"},
		{id: "RD-416", from: cache, how: "the engine has inherited a file that is open for writing", env: "shim descriptors", holds: func(t *testing.T) *os.File {
			left, err := os.Create(filepath.Join(t.TempDir(), "left"))
			if err != nil {
				t.Fatal(err)
			}
			return left
		}},
		{id: "RD-417", from: cache, how: "a file lies in the engine's directory", broken: func(t *testing.T, d *deployment) {
			a, err := d.target.Cache.Audit(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(a.RunDir, "dump.rdb"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{id: "RD-418", from: evidence.OneMachine, how: "the sandbox is without Landlock", within: "shim landlock"},
		{id: "RD-418", from: evidence.OneMachine, how: "the sandbox is without its filter of system calls", within: "shim seccomp"},
		{id: "RD-421", from: cache, how: "the front has no filter of system calls", env: "front seccomp", also: []string{"RD-423"}},
		{id: "RD-421", from: cache, how: "the front keeps its bounding set of capabilities", env: "front bounding set", also: []string{"RD-423"}},
		{id: "RD-421", from: cache, how: "the front shares the host's network", env: "front namespaces"},
		{id: "RD-422", from: cache, how: "the front has inherited a file that is open for writing", env: "front descriptors", holds: func(t *testing.T) *os.File {
			left, err := os.Create(filepath.Join(t.TempDir(), "left"))
			if err != nil {
				t.Fatal(err)
			}
			return left
		}},
		{id: "RD-423", from: evidence.OneMachine, how: "the front's sandbox is without Landlock", within: "attempt landlock"},
		{id: "RD-423", from: evidence.OneMachine, how: "the front's sandbox is without its filter of system calls", within: "attempt seccomp"},
	}
}

// mappedFile is memory that is written back to a file, which is open no more, where nobody
// looks for logs.
func mappedFile(t *testing.T) []byte {
	t.Helper()
	dir, err := os.MkdirTemp("/opt", "redoubt-sabotage-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	f, err := os.Create(filepath.Join(dir, "mapped"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size = 4096
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	memory, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	memory[0] = 1 // the file is changed now, and not when the value comes by
	return memory // until the tests end: whoever serves a connection may still write
}

func ofGateway(file string) func(*deployment) string {
	return func(d *deployment) string { return filepath.Join("/proc", strconv.Itoa(d.PID()), file) }
}

// runAs runs a process that shares something with the engine.
func runAs(t *testing.T, as func(engine uint32) syscall.Credential, d *deployment) {
	t.Helper()
	a, err := d.target.Cache.Audit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	who := as(uint32(a.UID))
	cmd := exec.Command("sleep", "300")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &who}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
}

// straced has strace write the system calls of a process to a file below /opt.
func straced(t *testing.T, pid int) {
	t.Helper()
	dir, err := os.MkdirTemp("/opt", "redoubt-sabotage-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	cmd := exec.Command("strace", "-f", "-s", "65536", "-p", strconv.Itoa(pid), "-o", filepath.Join(dir, "trace"))
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt) // it lets go of what it traces
		cmd.Wait()
	})
	if line, err := bufio.NewReader(said).ReadString('\n'); err != nil || !strings.Contains(line, "attached") {
		t.Fatalf("strace: %q %v", line, err)
	}
	go io.Copy(io.Discard, said)
}
