//go:build !linux

package lockdown

import "time"

// sinceBoot is Linux's; hosts of another kind aren't locked down.
func sinceBoot() time.Duration { return 0 }
