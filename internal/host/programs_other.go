//go:build !linux

package host

import "errors"

// linkedPrograms needs Linux.
func linkedPrograms() ([]string, error) { return nil, errors.New("it can be seen on Linux only") }
