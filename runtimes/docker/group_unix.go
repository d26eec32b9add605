//go:build unix

package docker

import "syscall"

// ownGroup lets a program go on when the user interrupts this one, which needs it to clean up. It has no terminal to ask on.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
