package kubelet

import "syscall"

// endWithUs makes a command end also when we are killed. What it has started itself is not reached then.
func endWithUs(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGKILL }
