package process

import (
	"bufio"
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownGroup makes a process the head of its own session, that ends with the thread that forked it.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
}

// await waits for the process to end, kills what is left of its group, and reaps it, in this order: until it is
// reaped its group cannot be anybody else's.
func (c *child) await() syscall.WaitStatus {
	for {
		err := unix.Waitid(unix.P_PID, c.id.PID, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = syscall.Kill(-c.id.PID, syscall.SIGKILL)
	c.reaped = true
	return wait(c.proc)
}

// yieldMemory makes a component die before the supervisor when memory runs out. It may be forbidden; no matter.
func yieldMemory(pid int) {
	_ = os.WriteFile("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", []byte("300"), 0)
}

// oomKills counts the processes killed for lack of memory, on this machine and in our control group.
func oomKills() uint64 {
	total := counter("/proc/vmstat", "oom_kill")
	own, _ := os.ReadFile("/proc/self/cgroup")
	if _, path, ok := strings.Cut(string(own), "0::"); ok {
		path, _, _ = strings.Cut(path, "\n")
		total += counter("/sys/fs/cgroup"+path+"/memory.events", "oom_kill")
	}
	return total
}

// counter reads one number of a file of lines "name number"; 0 when it is not there.
func counter(path, name string) uint64 {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, _ := strings.Cut(lines.Text(), " "); key == name {
			n, _ := strconv.ParseUint(value, 10, 64)
			return n
		}
	}
	return 0
}
