package docker

import "syscall"

// ownGroup lets a program go on when the user interrupts this one, which needs it to clean up.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}
