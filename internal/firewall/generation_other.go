//go:build !linux

package firewall

import "errors"

// generation is Linux's.
func generation() (uint32, error) { return 0, errors.ErrUnsupported }
