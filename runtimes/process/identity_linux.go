package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// identify reads the identity of a running process; errGone when there is none.
func identify(pid int) (identity, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return identity{}, fmt.Errorf("read boot id: %w", err)
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return identity{}, errGone
	}
	// The second field is the name in brackets, which may itself hold blanks and brackets.
	end := bytes.LastIndexByte(stat, ')')
	fields := strings.Fields(string(stat[end+1:]))
	if end < 0 || len(fields) < 20 {
		return identity{}, fmt.Errorf("read identity of process %d: unknown format", pid)
	}
	if fields[0] == "Z" || fields[0] == "X" {
		return identity{}, errGone
	}
	start, err := strconv.ParseUint(fields[19], 10, 64) // field 22 of the line
	if err != nil {
		return identity{}, fmt.Errorf("read identity of process %d: %w", pid, err)
	}
	return identity{PID: pid, Start: start, Boot: strings.TrimSpace(string(boot))}, nil
}

// handle holds on to one process: its pid can go to nobody else's signals.
type handle struct{ fd int }

// open returns a handle, or errGone. The identity is compared after the handle was taken: before, the process could
// have been replaced in between.
func (id identity) open() (*handle, error) {
	if id.PID <= 0 {
		return nil, errGone
	}
	fd, err := unix.PidfdOpen(id.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil, errGone
	}
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", id.PID, err)
	}
	if !id.alive() {
		unix.Close(fd)
		return nil, errGone
	}
	return &handle{fd: fd}, nil
}

func (h *handle) close() { unix.Close(h.fd) }

func (h *handle) kill() error { return unix.PidfdSendSignal(h.fd, unix.SIGKILL, nil, 0) }

// wait waits for the process to end; false means too late.
func (h *handle) wait(most time.Duration) bool {
	until := time.Now().Add(most)
	for {
		left := max(time.Until(until), 0)
		fds := []unix.PollFd{{Fd: int32(h.fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, int((left+time.Millisecond-1)/time.Millisecond))
		if n > 0 {
			return true
		}
		if (err != nil && !errors.Is(err, unix.EINTR)) || left == 0 {
			return false
		}
	}
}

// childrenOf lists the children of a process as they are now.
func childrenOf(pid int) []identity {
	var ids []identity
	tasks, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children")
	for _, path := range tasks {
		text, _ := os.ReadFile(path)
		for _, word := range strings.Fields(string(text)) {
			child, err := strconv.Atoi(word)
			if err != nil {
				continue
			}
			if id, err := identify(child); err == nil {
				ids = append(ids, id)
			}
		}
	}
	return ids
}
