//go:build linux || darwin

package process

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"kwokctl/runtimes"
)

// state is what a supervisor leaves behind for its successor, and for those who must do without it.
type state struct {
	Supervisor identity              `json:"supervisor"`
	Components map[string]savedState `json:"components"`
}

// savedState is one component in the state file.
type savedState struct {
	Process  identity       `json:"process,omitzero"` // none when it does not run
	State    runtimes.State `json:"state"`
	Restarts int            `json:"restarts"`
	ExitCode *int           `json:"exitCode,omitempty"`
	Reason   string         `json:"reason,omitempty"`
	Changed  time.Time      `json:"changed,omitzero"`
}

// processes lists all components that ran when the state was saved.
func (s state) processes() []identity {
	var ids []identity
	for _, c := range s.Components {
		if c.Process.PID > 0 {
			ids = append(ids, c.Process)
		}
	}
	return ids
}

// loadState reads the state file. One that is damaged counts as absent: nothing may depend on it.
func loadState(dir string, log *slog.Logger) state {
	var s state
	text, err := os.ReadFile(filepath.Join(dir, stateName))
	if errors.Is(err, fs.ErrNotExist) {
		return s
	}
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		log.Warn("state file damaged; going on without it", "err", err)
		return state{}
	}
	return s
}

// saveState replaces the state file whole. It is not synced to disk, other than what package files writes: after a
// power cut no process of it lives, and syncing at each change would slow down etcd beside it.
func saveState(dir string, s state) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("save state: %w", err)
	}
	tmp := filepath.Join(dir, "."+stateName+".tmp")
	if err := os.WriteFile(tmp, append(text, '\n'), 0o600); err != nil {
		os.Remove(tmp)
		return fmt.Errorf("save state: %w", err)
	}
	if err := os.Rename(tmp, filepath.Join(dir, stateName)); err != nil {
		return fmt.Errorf("save state: %w", err)
	}
	return nil
}
