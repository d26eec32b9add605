package process

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// identify reads the identity of a running process; errGone when there is none.
func identify(pid int) (identity, error) {
	boot, err := unix.Sysctl("kern.bootsessionuuid")
	if err != nil {
		return identity{}, fmt.Errorf("read boot id: %w", err)
	}
	const zombie = 5 // SZOMB of <sys/proc.h>
	p, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil || int(p.Proc.P_pid) != pid || p.Proc.P_stat == zombie {
		return identity{}, errGone
	}
	began := p.Proc.P_starttime
	return identity{PID: pid, Start: uint64(began.Sec)*1e6 + uint64(began.Usec), Boot: boot}, nil
}

// handle is only as good as the identity: this system has nothing that holds on to a process.
type handle struct{ id identity }

func (id identity) open() (*handle, error) {
	if !id.alive() {
		return nil, errGone
	}
	return &handle{id: id}, nil
}

func (h *handle) close() {}

func (h *handle) kill() error {
	if !h.id.alive() {
		return errGone
	}
	return unix.Kill(h.id.PID, unix.SIGKILL)
}

// wait waits for the process to end; false means too late.
func (h *handle) wait(most time.Duration) bool {
	for until := time.Now().Add(most); h.id.alive(); {
		if time.Now().After(until) {
			return false
		}
		time.Sleep(10 * time.Millisecond) // the end of a process that is not our child is no event here
	}
	return true
}

// childrenOf is not known here; the state file has to do.
func childrenOf(int) []identity { return nil }
