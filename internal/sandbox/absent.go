//go:build !linux || (!amd64 && !arm64)

package sandbox

import (
	"context"
	"fmt"
	"os/exec"
	"runtime"
)

// Command fails: there is nothing here to confine a program with.
func Command(Spec) (*exec.Cmd, error) {
	return nil, fmt.Errorf("sandbox: %s/%s can't confine the engine: Linux on amd64 or arm64 is needed", runtime.GOOS, runtime.GOARCH)
}

// Try fails for the same reason.
func Try(context.Context, int, int, bool) (Trial, error) {
	_, err := Command(Spec{})
	return Trial{}, err
}

// Ourselves does nothing: what it asks for is Linux's.
func Ourselves() error { return nil }

// NoCoreFile does nothing for the same reason.
func NoCoreFile() error { return nil }

// Main returns: no shim is ever started here.
func Main() {}

// Probe reports every protection as missing.
func Probe() Report { return Report{} }
