package gateway

import (
	"log/slog"
	"syscall"
)

// A connection takes two open files, a handshake one, and the process has so many
// (RLIMIT_NOFILE). Running out of them would hit peers at random, long before a limit of
// ours says a clear word. keptBack are for the log, the listener, the engine's pipes, the
// admin port, files that are followed.
const keptBack = 64

// fit lowers the limits to what so many files suffice for, if they are too high.
func (l Limits) fit(files uint64) (fitted Limits, lowered bool) {
	most := int(min(files, 1<<30)) // unlimited is the largest number there is
	room := most - min(keptBack, most/2)
	if 2*l.Connections+l.Handshakes <= room {
		return l, false
	}
	l.Handshakes = max(1, min(l.Handshakes, room/4))
	l.Connections = max(1, min(l.Connections, (room-l.Handshakes)/2))
	return l, true
}

// fitFiles says so where they are.
func (l Limits) fitFiles(log *slog.Logger) Limits {
	var files syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files) != nil {
		return l
	}
	fitted, lowered := l.fit(uint64(files.Cur))
	if lowered {
		log.Warn("this process may open too few files for its limits, which are lowered: raise LimitNOFILE (ulimit -n) or lower limits.connections and limits.handshakes",
			"files_allowed", files.Cur, "files_needed", 2*l.Connections+l.Handshakes+keptBack, "connections", fitted.Connections, "handshakes", fitted.Handshakes)
	}
	return fitted
}
