package engine

import (
	"fmt"
	"math"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// Where the kernel tells of memory: the machine's (proc_meminfo(5), proc_vmstat(5)), and
// that of our cgroup, which is the engine's too (cgroup-v2.rst, memory.rst).
const (
	memoryV2 = "/sys/fs/cgroup"
	memoryV1 = "/sys/fs/cgroup/memory"
)

// room is the memory that this process and its engine may have, in bytes: the machine's,
// or what a limit of its cgroup leaves. 0: nobody says.
func room() int64 {
	most := int64(math.MaxInt64)
	if kib, ok := numberIn("/proc/meminfo", "MemTotal:"); ok {
		most = min(most, int64(kib)<<10)
	}
	v2, v1 := ownCgroup()
	for dir := v2; v2 != ""; dir = path.Dir(dir) {
		if limit, err := os.ReadFile(filepath.Join(memoryV2, dir, "memory.max")); err == nil {
			if n, err := strconv.ParseInt(strings.TrimSpace(string(limit)), 10, 64); err == nil { // else "max"
				most = min(most, n)
			}
		}
		if dir == "/" {
			break
		}
	}
	if n, ok := numberIn(filepath.Join(memoryV1, v1, "memory.stat"), "hierarchical_memory_limit"); ok {
		most = min(most, int64(min(n, math.MaxInt64)))
	}
	if most == math.MaxInt64 {
		return 0
	}
	return most
}

// fits says whether an engine with this policy can live here. What is on the edge is
// only worth a word: it may never be filled.
func (p Policy) fits(room int64) (warning string, err error) {
	const mib = 1 << 20
	switch {
	case room == 0:
	case p.Memory > room:
		return "", fmt.Errorf("engine: memory is %d MiB, but this machine, or the limit of this process's cgroup (MemoryMax= of a unit), has %d MiB: before it is full the kernel would end the engine (choose %d MiB at most: a fifth is for the rest)", p.Memory/mib, room/mib, room/mib*8/10)
	case p.Memory > room/10*8:
		return fmt.Sprintf("engine.memory is %d MiB of the %d MiB that there are: leave a fifth to connections, fragmentation and the rest of the machine, else the kernel ends the engine", p.Memory/mib, room/mib), nil
	}
	return "", nil
}

// killsForMemory counts the processes that the kernel has ended for lack of memory, of
// our cgroup, or, where that isn't told, of the machine.
func killsForMemory() uint64 {
	v2, v1 := ownCgroup()
	for _, file := range []string{
		filepath.Join(memoryV2, v2, "memory.events"),
		filepath.Join(memoryV1, v1, "memory.oom_control"), "/proc/vmstat",
	} {
		if n, ok := numberIn(file, "oom_kill"); ok {
			return n
		}
	}
	return 0
}

// ownCgroup is the path of our cgroup, in version 2 and in version 1's hierarchy for
// memory (cgroups(7), /proc/[pid]/cgroup); "" where there is none.
func ownCgroup() (v2, v1 string) {
	text, _ := os.ReadFile("/proc/self/cgroup")
	for line := range strings.Lines(string(text)) {
		id, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, dir, _ := strings.Cut(rest, ":")
		switch {
		case id == "0" && controllers == "":
			v2 = dir
		case strings.Contains(","+controllers+",", ",memory,"):
			v1 = dir
		}
	}
	return v2, v1
}

// numberIn is the number behind a word that begins a line.
func numberIn(file, word string) (uint64, bool) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == word {
			n, err := strconv.ParseUint(fields[1], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
