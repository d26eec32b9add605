package process

import "syscall"

// ownGroup makes a process the head of its own session. Here it outlives a supervisor that was killed; the next one
// ends it.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// await waits for the process to end and kills what is left of its group.
func (c *child) await() syscall.WaitStatus {
	status := wait(c.proc)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reaped = true
	_ = syscall.Kill(-c.id.PID, syscall.SIGKILL)
	return status
}

func yieldMemory(int) {}

func oomKills() uint64 { return 0 }
