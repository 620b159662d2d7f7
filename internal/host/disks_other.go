//go:build !linux

package host

import "errors"

// DiskOf needs Linux.
func DiskOf(string) (Disk, error) { return Disk{}, errors.New("it can be seen on Linux only") }
