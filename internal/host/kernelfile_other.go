//go:build !linux

package host

import "errors"

// kernelFile needs Linux.
func kernelFile(string) ([]byte, bool, error) {
	return nil, false, errors.New("it can be seen on Linux only")
}
