package process

import (
	"errors"
	"fmt"
	"os"
	"strconv"
)

// gateEnv names the file descriptor of the gate in the environment of an embedded component.
const gateEnv = "KWOK_GATE"

// ErrGateShut is returned by WaitGate when the supervisor gave up before the gate was opened.
var ErrGateShut = errors.New("wait at the gate: the supervisor has gone")

// WaitGate blocks until everything this component needs is ready. An applet does what it can without the others,
// then calls it; when it returns an error the applet must exit. Without a gate, as when a user runs the applet, and
// after the first call, it returns at once.
func WaitGate() error {
	value, ok := os.LookupEnv(gateEnv)
	if !ok {
		return nil
	}
	os.Unsetenv(gateEnv) // the gate is ours alone, not that of programs we run
	fd, err := strconv.Atoi(value)
	if err != nil || fd < 3 {
		return fmt.Errorf("wait at the gate: bad %s=%q", gateEnv, value)
	}
	gate := os.NewFile(uintptr(fd), "gate")
	if gate == nil {
		return fmt.Errorf("wait at the gate: bad %s=%q", gateEnv, value)
	}
	defer gate.Close()
	if n, _ := gate.Read(make([]byte, 1)); n != 1 {
		return ErrGateShut
	}
	return nil
}
