//go:build !linux

package firewall

import (
	"errors"
	"time"
)

// Watch is Linux's.
type Watch struct{}

// NewWatch fails: packet filters of this kind are Linux's.
func NewWatch() (*Watch, error) { return nil, errors.ErrUnsupported }

// Close does nothing.
func (*Watch) Close() error { return nil }

// Wait fails.
func (*Watch) Wait(time.Duration) error { return errors.ErrUnsupported }
