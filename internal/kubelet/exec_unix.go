//go:build unix

package kubelet

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"kwokctl/internal/api"
)

// isolate makes the command the head of a group of processes of its own, and run as whom the rule says. Numbers are
// enough: nobody needs to have a name for them.
func isolate(cmd *exec.Cmd, as *api.SecurityContext) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	endWithUs(cmd.SysProcAttr)
	if as == nil || as.RunAsUser == nil && as.RunAsGroup == nil {
		return nil
	}
	user, group := int64(os.Getuid()), int64(os.Getgid())
	mine := [2]int64{user, group}
	if as.RunAsUser != nil {
		user = *as.RunAsUser
	}
	if as.RunAsGroup != nil {
		group = *as.RunAsGroup
	}
	const most = 1<<32 - 2 // the last number means nobody in particular
	if user < 0 || user > most || group < 0 || group > most {
		return fmt.Errorf("securityContext: runAsUser %d, runAsGroup %d: want 0 to %d", user, group, int64(most))
	}
	if mine == [2]int64{user, group} {
		return nil
	}
	if os.Getuid() != 0 {
		return fmt.Errorf("securityContext: runAsUser %d, runAsGroup %d: kwok runs as user %d, who may not change to them", user, group, os.Getuid())
	}
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(user), Gid: uint32(group)}
	return nil
}

// session are the attributes of a command that gets a terminal: a session of its own is a group of its own too.
func session(cmd *exec.Cmd) *syscall.SysProcAttr {
	a := *cmd.SysProcAttr
	a.Setpgid, a.Setsid, a.Setctty = false, true, true
	return &a
}

// kill ends a command with all of its group.
func kill(p *os.Process) { _ = syscall.Kill(-p.Pid, syscall.SIGKILL) } // fails when all are gone

func signalled(s *os.ProcessState) int {
	const base = 128
	if w, ok := s.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return base + int(w.Signal())
	}
	return 1
}
