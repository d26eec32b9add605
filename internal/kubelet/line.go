package kubelet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// entry is one line of a container's log.
type entry struct {
	at      time.Time
	stderr  bool
	partial bool   // the next one goes on with it
	text    []byte // with its end of line, but for partial ones
}

// parseLine reads a line of the formats of container engines: that of the CRI, "<time> stdout F <text>", or Docker's
// JSON.
func parseLine(line []byte) (entry, error) {
	if len(line) > 0 && line[0] == '{' {
		var d struct {
			Log    string    `json:"log"`
			Stream string    `json:"stream"`
			Time   time.Time `json:"time"`
		}
		if err := json.Unmarshal(line, &d); err != nil || d.Time.IsZero() {
			return entry{}, errFormat(line)
		}
		return entry{d.Time, d.Stream == "stderr", d.Log == "" || d.Log[len(d.Log)-1] != '\n', []byte(d.Log)}, nil
	}
	part := bytes.SplitN(line, []byte(" "), 4)
	if len(part) < 3 {
		return entry{}, errFormat(line)
	}
	at, err := time.Parse(time.RFC3339Nano, string(part[0]))
	stream := string(part[1])
	tag, _, _ := bytes.Cut(part[2], []byte(":"))
	full := string(tag) == "F"
	if err != nil || stream != "stdout" && stream != "stderr" || !full && string(tag) != "P" {
		return entry{}, errFormat(line)
	}
	e := entry{at: at, stderr: stream == "stderr", partial: !full}
	if len(part) == 4 {
		e.text = part[3]
	}
	if full {
		e.text = append(bytes.Clone(e.text), '\n')
	}
	return e, nil
}

func errFormat(line []byte) error {
	const shown = 80
	if len(line) > shown {
		line = line[:shown]
	}
	return fmt.Errorf("want lines of the CRI (<time> stdout|stderr F|P <text>) or of Docker (JSON with log, stream and time), not %q", line)
}

// maxLine bounds a line; engines cut theirs at 16 KiB.
const maxLine = 1 << 20

// errEnough ends the reading of a log.
var errEnough = errors.New("enough")

// lines takes the bytes of a log and hands on its entries. Lines that it cannot read are left out.
type lines struct {
	rest  []byte // begun, without its end so far
	emit  func(entry) error
	flush func() // after what came at once; nil: not needed
}

// Write takes a part of the log.
func (l *lines) Write(p []byte) (int, error) {
	n := len(p)
	for {
		line, after, ended := bytes.Cut(p, []byte("\n"))
		if !ended {
			break
		}
		if len(l.rest) > 0 {
			line = append(l.rest, line...)
			l.rest = l.rest[:0]
		}
		if err := l.take(line); err != nil {
			return 0, err
		}
		p = after
	}
	if len(l.rest)+len(p) <= maxLine {
		l.rest = append(l.rest, p...)
	}
	if l.flush != nil {
		l.flush()
	}
	return n, nil
}

// end takes a last line that has no end.
func (l *lines) end() error {
	if len(l.rest) == 0 {
		return nil
	}
	return l.take(l.rest)
}

func (l *lines) take(line []byte) error {
	e, err := parseLine(bytes.TrimSuffix(line, []byte("\r")))
	if err != nil {
		return nil
	}
	return l.emit(e)
}
