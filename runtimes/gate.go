package runtimes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// GateEnv tells an embedded component, in its environment, what to wait for: the number of a file descriptor, from
// which a supervisor lets it read one byte, or a JSON list of the Probes of what it needs, which it asks by itself.
const GateEnv = "KWOK_GATE"

// ErrGateShut is returned by WaitGate when the supervisor gave up before the gate was opened.
var ErrGateShut = errors.New("wait at the gate: the supervisor has gone")

// WaitGate blocks until everything this component needs is ready. An applet does what it can without the others,
// then calls it; when it returns an error the applet must exit. Without a gate, as when a user runs the applet, and
// after the first call, it returns at once.
func WaitGate() error {
	value, ok := os.LookupEnv(GateEnv)
	if !ok {
		return nil
	}
	os.Unsetenv(GateEnv) // the gate is ours alone, not that of programs we run
	if strings.HasPrefix(value, "[") {
		return waitProbes(value)
	}
	fd, err := strconv.Atoi(value)
	if err != nil || fd < 3 {
		return fmt.Errorf("wait at the gate: bad %s=%q", GateEnv, value)
	}
	gate := os.NewFile(uintptr(fd), "gate")
	if gate == nil {
		return fmt.Errorf("wait at the gate: bad %s=%q", GateEnv, value)
	}
	defer gate.Close()
	if n, _ := gate.Read(make([]byte, 1)); n != 1 {
		return ErrGateShut
	}
	return nil
}

// gatePace is that of a component that asks for what it needs by itself.
func gatePace() Pace {
	return Pace{First: 20 * time.Millisecond, Most: 500 * time.Millisecond, Patience: 3 * time.Second}
}

// waitProbes returns when all probes of a JSON list have answered. It has no end of its own: a signal ends the process.
func waitProbes(list string) error {
	var probes []Probe
	if err := json.Unmarshal([]byte(list), &probes); err != nil {
		return fmt.Errorf("wait at the gate: bad %s: %w", GateEnv, err)
	}
	for _, probe := range probes {
		p := NewProber("", probe)
		p.UntilReady(context.Background(), gatePace(), func(error) bool { return true })
		p.Close()
	}
	return nil
}
