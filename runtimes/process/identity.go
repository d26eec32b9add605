//go:build linux || darwin

package process

import (
	"errors"
	"fmt"
	"time"
)

// identity is a process beyond doubt: a pid alone may have been given to a stranger since.
type identity struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // when it was started, in the unit of the system
	Boot  string `json:"boot"`
}

// errGone means that a process has ended, or never was.
var errGone = errors.New("no such process")

// alive tells whether the process still runs. One that only waits to be reaped does not.
func (id identity) alive() bool {
	if id.PID <= 0 {
		return false
	}
	now, err := identify(id.PID)
	return err == nil && now == id
}

// bury waits until all processes have ended, kills those that have not after grace, and waits for them again.
// Strangers that have inherited a pid are not touched.
func bury(ids []identity, grace, most time.Duration) error {
	soft := time.Now().Add(grace)
	var late []identity
	for _, id := range ids {
		if !ended(id, time.Until(soft)) {
			late = append(late, id)
		}
	}
	for _, id := range late {
		if h, err := id.open(); err == nil {
			_ = h.kill()
			h.close()
		}
	}
	hard := time.Now().Add(most)
	for _, id := range late {
		if !ended(id, time.Until(hard)) {
			return fmt.Errorf("end process %d: it did not end within %s", id.PID, most)
		}
	}
	return nil
}

// ended waits for the end of a process.
func ended(id identity, most time.Duration) bool {
	h, err := id.open()
	if err != nil {
		return errors.Is(err, errGone) || !id.alive()
	}
	defer h.close()
	return h.wait(most)
}
