// Package regular opens files that others may exchange while we look.
//
// Root reads much that other users of a host can write: configuration, logs, what a
// directory walk comes by. A FIFO in the place of a file has who opens it wait for ever,
// and a device may do something when it is opened. So a file is opened without waiting,
// and only then asked what it is: what was looked at before may be another one by now.
// Nothing but a regular file is ever read.
//
// Every package that reads such files does it by this one.
package regular

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// Open opens a file for reading. A link is followed.
func Open(path string) (*os.File, fs.FileInfo, error) { return open(path, 0) }

// OpenItself is Open, but refuses a link: for what a walk found to be a file.
func OpenItself(path string) (*os.File, fs.FileInfo, error) { return open(path, syscall.O_NOFOLLOW) }

func open(path string, flags int) (*os.File, fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|flags, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// Read is a file of at most so many bytes, whole. A link is followed.
func Read(path string, most int64) ([]byte, error) {
	f, _, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ReadAll(f, most)
}

// ReadAll is the rest of an open file, if it is at most so many bytes.
func ReadAll(f *os.File, most int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("%s is larger than %d bytes", f.Name(), most)
	}
	if err != nil {
		clear(text)
		return nil, err
	}
	return text, nil
}
