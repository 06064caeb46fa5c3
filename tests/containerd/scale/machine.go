package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// processes are those that memory is told of.
type processes struct{ containerd, plugin int }

// status is a number of /proc/PID/status, in bytes; 0 when the process is gone.
func status(pid int, name string) int64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == name+":" {
			n, _ := strconv.ParseInt(fields[1], 10, 64)
			return n << 10
		}
	}
	return 0
}

// shims are the processes that containers have with them, of all that this process can see.
func (p *processes) shims() (found []string) {
	all, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, one := range all {
		if name, err := os.ReadFile(one); err == nil && strings.HasPrefix(string(name), "containerd-shim") {
			found = append(found, "shim "+filepath.Base(filepath.Dir(one)))
		}
	}
	return found
}

// mountsOf are the mounts that have something of a directory in them.
func mountsOf(dir string) (found []string) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return []string{"mountinfo: " + err.Error()}
	}
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, dir) {
			found = append(found, "mount "+strings.TrimSpace(line))
		}
	}
	return found
}

func loadAverage() string {
	text, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(text), " ")
	return first
}

// memoryOf is what a process has resident.
func memoryOf(server, what string, pid int) memory {
	return memory{server, what, status(pid, "VmRSS"), status(pid, "RssAnon"), status(pid, "VmHWM")}
}

// remember keeps what the daemons have resident.
func (n *node) remember(what string) {
	for _, one := range []struct {
		name string
		pid  int
	}{{"containerd", n.pids.containerd}, {"ovl-snapshotter", n.pids.plugin}} {
		if one.pid != 0 {
			n.report.Memory = append(n.report.Memory, memoryOf(one.name, what, one.pid))
		}
	}
}
