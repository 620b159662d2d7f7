package front

import (
	"os"

	"golang.org/x/sys/unix"
)

// socketPair is one of whole messages, or one of bytes.
func socketPair(whole bool) ([2]int, error) {
	kind := unix.SOCK_STREAM
	if whole {
		kind = unix.SOCK_SEQPACKET
	}
	return unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
}

// memory is a file without a name that holds this and can't be changed (memfd_create(2)).
func memory(text []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("redoubt-front", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	file := os.NewFile(uintptr(fd), "state")
	_, err = file.WriteAt(text, 0)
	if err == nil {
		_, err = unix.FcntlInt(file.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}
