package bench

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// userHZ is the unit of /proc's times: USER_HZ, 100 on every Linux whatever the
// kernel's own tick (time(7)).
const userHZ = 100

// cpuTime is what the machine has worked since it started: all of it, and what
// this process and its descendants did. A machine without /proc tells nothing.
type cpuTime struct {
	at         time.Time
	busy, ours int64 // in 1/userHZ s
}

func readCPUTime() cpuTime {
	t := cpuTime{at: time.Now()}
	if stat, err := os.ReadFile("/proc/stat"); err == nil {
		t.busy = busyTicks(string(stat))
	}
	processes := map[int]processTime{}
	files, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is right
	for _, file := range files {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		if pid, p, ok := parseProcessStat(string(stat)); ok {
			processes[pid] = p
		}
	}
	t.ours = descendants(processes, os.Getpid())
	return t
}

// foreignSince is the share of the machine's cores that others had since then,
// 0 to 1; time stolen by the hypervisor is theirs too.
func (t cpuTime) foreignSince(before cpuTime) float64 {
	all := t.at.Sub(before.at).Seconds() * float64(runtime.NumCPU()) * userHZ
	foreign := float64((t.busy - before.busy) - (t.ours - before.ours))
	return min(max(foreign/all, 0), 1)
}

// busyTicks reads the first line of /proc/stat: user, nice, system, idle,
// iowait, irq, softirq, steal (proc(5)); all but the two of waiting.
func busyTicks(stat string) (sum int64) {
	line, _, _ := strings.Cut(stat, "\n")
	for i, field := range strings.Fields(line) {
		if n, err := strconv.ParseInt(field, 10, 64); err == nil && i <= 8 && i != 4 && i != 5 {
			sum += n
		}
	}
	return sum
}

type processTime struct {
	parent int
	ticks  int64
}

// parseProcessStat reads /proc/PID/stat: pid, (name), state, ppid, and as fields
// 14 and 15 utime and stime. A name may hold spaces and parentheses.
func parseProcessStat(stat string) (pid int, p processTime, ok bool) {
	first, rest := strings.Index(stat, " ("), strings.LastIndex(stat, ") ")
	if first < 0 || rest < first {
		return 0, p, false
	}
	fields := strings.Fields(stat[rest+2:])
	if len(fields) < 13 {
		return 0, p, false
	}
	var numbers [4]int64
	for i, s := range []string{stat[:first], fields[1], fields[11], fields[12]} {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return 0, p, false
		}
		numbers[i] = n
	}
	return int(numbers[0]), processTime{parent: int(numbers[1]), ticks: numbers[2] + numbers[3]}, true
}

// descendants sums the times of a process and all below it.
func descendants(processes map[int]processTime, root int) (sum int64) {
	for pid, p := range processes {
		// The way up ends at init, or at one that ended while we read.
		for up, steps := pid, 0; up > 0 && steps <= len(processes); up, steps = processes[up].parent, steps+1 {
			if up == root {
				sum += p.ticks
				break
			}
		}
	}
	return sum
}
