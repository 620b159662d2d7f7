package statedir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// lockPoll is how often Lock looks whether a taken lock is free. The holders
// that are waited for write a few small files.
const lockPoll = 5 * time.Millisecond

// Lock takes the lock that the file at path stands for, and makes the file when
// it isn't there, for the directory's owner. It waits for another holder at most so long and says ErrInUse
// then. The lock is the kernel's (flock), so that it can't outlive a process
// that died; closing the file gives it back.
func Lock(path string, patience time.Duration) (*os.File, error) {
	// Reading is enough for a lock, and works where nothing can be written.
	lock, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o600)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(LeaveToOwner(filepath.Dir(path), lock.Chown), await(lock, patience)); err != nil {
		lock.Close()
		return nil, err
	}
	return lock, nil
}

// LockDir is Lock on a directory that is there, which needs no file of its own.
// It doesn't wait.
func LockDir(path string) (*os.File, error) {
	lock, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := await(lock, 0); err != nil {
		lock.Close()
		return nil, err
	}
	return lock, nil
}

func await(lock *os.File, patience time.Duration) error {
	deadline, poll := time.NewTimer(patience), time.NewTicker(lockPoll)
	defer deadline.Stop()
	defer poll.Stop()
	for {
		err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return fmt.Errorf("lock %s: %w", lock.Name(), err)
		}
		select {
		case <-poll.C:
		case <-deadline.C:
			return ErrInUse
		}
	}
}
