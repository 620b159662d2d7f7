package verify

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/redoubt-cache/redoubt/internal/regular"
)

// maxWritten bounds how many files are held that were written while it is watched.
const maxWritten = 8192

// writes are the files that are written on this host, by whomever, from watchWrites
// until end: on every file system that some process sees (fanotify(7)). Each is held
// open, so that it can be read also where it has no name any more. What is written by
// way of a mapping alone (mmap(2)) is not seen.
type writes struct {
	group   *os.File // nil: the kernel doesn't tell
	watched []string // types of file systems and where they are
	others  []string // and those of other machines, which are not watched
	ended   sync.WaitGroup

	mu    sync.Mutex
	more  *sync.Cond // files has more
	files map[fileID]*os.File
	lost  error // why some may be missing
}

// noFiles are file systems that hold nothing that is written down: views of the
// kernel's, and devices.
var noFiles = []string{
	"proc", "sysfs", "cgroup", "cgroup2", "devtmpfs", "devpts", "debugfs", "tracefs", "securityfs", "selinuxfs", "mqueue", "hugetlbfs", "bpf", "pstore",
	"efivarfs", "configfs", "fusectl", "binfmt_misc", "autofs", "nsfs", "rpc_pipefs", "nfsd", "squashfs", "iso9660", "erofs",
}

// elsewhere says whether a file system is another machine's, or a program's: to look
// at one that doesn't answer can take for ever.
func elsewhere(kind string) bool {
	return strings.HasPrefix(kind, "fuse.") || slices.Contains([]string{"fuse", "nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "virtiofs", "afs", "lustre"}, kind)
}

// watchWrites begins. It needs root, and Linux 4.20 for whole file systems; what can't
// be watched is lacking in the search.
func watchWrites() *writes {
	const events = unix.O_RDONLY | unix.O_LARGEFILE | unix.O_CLOEXEC | unix.O_NONBLOCK // a fifo must not be waited for
	w := &writes{files: map[fileID]*os.File{}}
	w.more = sync.NewCond(&w.mu)
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_NOTIF|unix.FAN_CLOEXEC|unix.FAN_NONBLOCK, events)
	if err != nil {
		w.lost = fmt.Errorf("the kernel doesn't tell what is written (fanotify): %w", err)
		return w
	}
	w.group = os.NewFile(uintptr(fd), "fanotify")
	w.lost = w.mark(fd)
	w.ended.Go(w.read)
	return w
}

// mark has every local file system watched that some process has mounted.
func (w *writes) mark(group int) error {
	list, err := processes()
	if err != nil {
		return err
	}
	spaces, devices := map[string]bool{}, map[string]bool{}
	for _, p := range list {
		space, err := os.Readlink(p.path("ns", "mnt"))
		if err != nil || spaces[space] {
			continue // it has ended, or is a thread of the kernel's
		}
		table, err := p.read("mountinfo")
		if err != nil {
			continue
		}
		spaces[space] = true
		for line := range strings.Lines(table) {
			m, ok := parseMount(line)
			if !ok || devices[m.device] || slices.Contains(noFiles, m.kind) {
				continue
			}
			if elsewhere(m.kind) {
				devices[m.device] = true
				w.others = append(w.others, m.kind+" "+m.at)
				continue
			}
			err := unix.FanotifyMark(group, unix.FAN_MARK_ADD|unix.FAN_MARK_FILESYSTEM, unix.FAN_MODIFY|unix.FAN_CLOSE_WRITE, unix.AT_FDCWD, p.path("root")+m.at)
			switch {
			case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ESRCH): // unmounted, or the process has ended
			case err != nil:
				return fmt.Errorf("writing to %s (%s) can't be watched: %w", m.at, m.kind, err)
			default:
				devices[m.device] = true
				w.watched = append(w.watched, m.kind+" "+m.at)
			}
		}
	}
	return nil
}

// read takes the events until the group is closed.
func (w *writes) read() {
	buffer := make([]byte, 64<<10)
	for {
		n, err := w.group.Read(buffer)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil {
			w.lose(fmt.Errorf("a file that was written could not be looked at: %w", err))
			if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) {
				return
			}
			continue
		}
		for rest := buffer[:n]; len(rest) >= unix.FAN_EVENT_METADATA_LEN; {
			length := binary.NativeEndian.Uint32(rest)
			mask, fd := binary.NativeEndian.Uint64(rest[8:]), int32(binary.NativeEndian.Uint32(rest[16:]))
			if mask&unix.FAN_Q_OVERFLOW != 0 {
				w.lose(errors.New("more was written than the kernel could tell of"))
			}
			if fd >= 0 {
				w.add(os.NewFile(uintptr(fd), ""))
			}
			rest = rest[min(int(length), len(rest)):]
		}
	}
}

// lose notes the first reason why a file may be missing.
func (w *writes) lose(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.miss(err)
}

func (w *writes) miss(err error) {
	if w.lost == nil {
		w.lost = err
	}
	w.more.Broadcast()
}

// add keeps a file that isn't kept yet.
func (w *writes) add(f *os.File) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var st unix.Stat_t
	err := unix.Fstat(int(f.Fd()), &st)
	id := fileID{uint64(st.Dev), st.Ino}
	switch {
	case err != nil:
		w.miss(err)
	case st.Mode&unix.S_IFMT == unix.S_IFBLK:
		w.miss(fmt.Errorf("a device was written to past its file system: %s", nameOf(f)))
	case st.Mode&unix.S_IFMT != unix.S_IFREG || w.files[id] != nil:
	case len(w.files) == maxWritten:
		w.miss(fmt.Errorf("more than %d files were written", maxWritten))
	default:
		w.files[id] = f
		w.more.Broadcast()
		return
	}
	f.Close()
}

// catchUp waits until all that was written before is known. The kernel tells in order,
// so it writes a file and waits to be told of it.
func (w *writes) catchUp(ctx context.Context) error {
	if w.group == nil {
		return nil
	}
	f, err := os.CreateTemp("", "redoubt-verify-")
	if err != nil {
		return err
	}
	defer f.Close()
	defer os.Remove(f.Name())
	if _, err := f.WriteString("\n"); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, w.more.Broadcast)()
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.files[fileID{uint64(st.Dev), st.Ino}] == nil {
		if ctx.Err() != nil || w.lost != nil {
			return errors.Join(errors.New("the kernel didn't tell of a file that was written on purpose"), w.lost)
		}
		w.more.Wait()
	}
	return nil
}

// searchIn looks for the mark in all that was written until now.
func (w *writes) searchIn(s *search) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lost != nil {
		s.lacking = append(s.lacking, w.lost.Error())
	}
	for _, f := range w.files {
		s.look(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), regular.Open)
	}
}

// end lets all go.
func (w *writes) end() {
	if w.group != nil {
		w.group.Close()
		w.ended.Wait()
	}
	for _, f := range w.files {
		f.Close()
	}
}
