package verify

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/redoubt-cache/redoubt/internal/regular"
)

// TestASearchWaitsForNobody: whoever can write where it looks exchanges a file for a FIFO
// between its being found and its being opened, over and over. Root must not hang, and
// what it could not read must count as not read.
func TestASearchWaitsForNobody(t *testing.T) {
	dir := t.TempDir()
	file, fifo := filepath.Join(dir, "file"), filepath.Join(dir, "fifo")
	if err := os.WriteFile(file, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				if err := unix.Renameat2(unix.AT_FDCWD, file, unix.AT_FDCWD, fifo, unix.RENAME_EXCHANGE); err != nil {
					t.Error(err)
					return
				}
			}
		}
	}()
	defer func() { close(stop); <-stopped }()
	done := make(chan int)
	go func() {
		exchanged := 0
		for until := time.Now().Add(3 * time.Minute); exchanged < 3 && time.Now().Before(until); {
			s := search{ctx: t.Context(), mark: []byte("mark"), seen: map[fileID]bool{}}
			s.look(file, regular.OpenItself)
			exchanged += len(s.lacking)
		}
		done <- exchanged
	}()
	select {
	case exchanged := <-done:
		if exchanged < 3 {
			t.Errorf("exchanged at the right moment: %d times", exchanged)
		}
	case <-time.After(5 * time.Minute):
		t.Fatal("the search waits for whoever would write to the FIFO")
	}
	s := search{ctx: t.Context(), mark: []byte("mark"), seen: map[fileID]bool{}}
	s.look(filepath.Join(dir, "none"), func(string) (*os.File, fs.FileInfo, error) { return nil, nil, fs.ErrNotExist })
	if len(s.lacking) > 0 || len(s.seen) > 0 {
		t.Error(errors.New("what has gone is not read, and isn't lacking"))
	}
}

// TestAFileIsNamedByWhatWasOpened: while the search looks through the descriptors of a
// process, that process closes one file and gets another by the same number.
func TestAFileIsNamedByWhatWasOpened(t *testing.T) {
	control, err := plant("mark")
	if err != nil {
		t.Fatal(err)
	}
	defer control.remove()
	dir, stop := t.TempDir(), make(chan struct{})
	var busy sync.WaitGroup
	for range 4 {
		busy.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				f, err := os.CreateTemp(dir, "innocent-")
				if err != nil {
					t.Error(err)
					return
				}
				f.Close()
				if f, err = os.Open(control.named.Name()); err != nil {
					t.Error(err)
					return
				}
				f.Close()
			}
		})
	}
	defer busy.Wait()
	defer close(stop)
	for range 200 {
		s := search{ctx: t.Context(), mark: []byte("mark"), seen: map[fileID]bool{}}
		s.openIn(process{"this test", os.Getpid()})
		if found, controlled := s.foundBut(control); len(found) > 0 || controlled != controls {
			t.Fatalf("found in %q, and %d controls", found, controlled)
		}
	}
}

// TestFilesOfOneNameAreTwo, as those of two containers are.
func TestFilesOfOneNameAreTwo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	s := search{ctx: t.Context(), mark: []byte("mark"), seen: map[fileID]bool{}}
	for _, text := range []string{"nothing", "a mark"} {
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close() // it keeps its inode
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		s.look(path, regular.OpenItself)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.found) != 1 {
		t.Errorf("found in %d of two files", len(s.found))
	}
}
