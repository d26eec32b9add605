package kubelet

import (
	"errors"
	"os"
	"os/exec"
	"syscall"

	"kwokctl/internal/api"
)

func isolate(_ *exec.Cmd, as *api.SecurityContext) error {
	if as != nil && (as.RunAsUser != nil || as.RunAsGroup != nil) {
		return errors.New("securityContext: users have no numbers on Windows")
	}
	return nil
}

func session(*exec.Cmd) *syscall.SysProcAttr { return nil }

func kill(p *os.Process) { _ = p.Kill() }

func signalled(*os.ProcessState) int { return 1 }
