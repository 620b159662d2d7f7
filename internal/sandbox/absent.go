//go:build !linux || (!amd64 && !arm64)

package sandbox

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
)

// Command fails: there is nothing here to confine a program with.
func Command(Spec) (*exec.Cmd, error) {
	return nil, fmt.Errorf("sandbox: %s/%s can't confine a program: Linux on amd64 or arm64 is needed", runtime.GOOS, runtime.GOARCH)
}

// Try fails for the same reason.
func Try(context.Context, int, int, bool) (Trial, error) {
	_, err := Command(Spec{})
	return Trial{}, err
}

// TryPart fails too.
func TryPart(ctx context.Context, uid, gid int, isolate bool) (Trial, error) {
	return Try(ctx, uid, gid, isolate)
}

// Ourselves does nothing: what it asks for is Linux's.
func Ourselves() error { return nil }

// NoCoreFile does nothing for the same reason.
func NoCoreFile() error { return nil }

// Command fails for the same reason.
func (Part) Command(...*os.File) (*exec.Cmd, error) { return Command(Spec{}) }

// Main returns: no shim is ever started here.
func Main(...Role) {}

// Probe reports every protection as missing.
func Probe() Report { return Report{} }
