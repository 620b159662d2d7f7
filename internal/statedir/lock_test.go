package statedir_test

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/redoubt-cache/redoubt/internal/statedir"
)

func TestLockWaitsForItsHolderAndNoLonger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := statedir.Lock(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, err := statedir.Lock(path, 50*time.Millisecond); !errors.Is(err, statedir.ErrInUse) {
		t.Fatalf("got %v, want ErrInUse", err)
	}
	if waited := time.Since(began); waited < 50*time.Millisecond {
		t.Errorf("it waited %s", waited)
	}
	taken := make(chan error)
	go func() {
		second, err := statedir.Lock(path, time.Minute)
		if err == nil {
			err = second.Close()
		}
		taken <- err
	}()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-taken; err != nil {
		t.Errorf("the next one got %v", err)
	}
}
