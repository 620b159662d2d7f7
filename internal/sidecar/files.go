package sidecar

import (
	"log/slog"
	"syscall"
)

// Each application connection takes an open file, and each lane of its own another. The
// process has so many and no more (RLIMIT_NOFILE; Go's runtime has raised it to the hard
// limit). Some are kept back, so that who was accepted also finds a lane: for shared
// lanes and handshakes, listeners, the log, certificates that are read anew.
const keptBack = 160

// fit lowers the limits to what so many files suffice for, if they are too high.
func (l Limits) fit(files uint64) (fitted Limits, lowered bool) {
	most := int(min(files, 1<<30)) // unlimited is the largest number there is
	room := most - min(keptBack, most/2)
	if l.Connections+l.OwnLanes <= room {
		return l, false
	}
	l.OwnLanes = min(l.OwnLanes, room/4)
	l.Connections = min(l.Connections, room-l.OwnLanes)
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
		log.Warn("this process may open too few files for its limits, which are lowered: raise LimitNOFILE (ulimit -n) or lower limits.connections and limits.own_lanes",
			"files_allowed", files.Cur, "files_needed", l.Connections+l.OwnLanes+keptBack, "connections", fitted.Connections, "own_lanes", fitted.OwnLanes)
	}
	return fitted
}
