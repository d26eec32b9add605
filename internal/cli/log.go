package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
)

// parseLevel reads a log level: a name with an optional offset, or a number.
func parseLevel(text string) (slog.Level, error) {
	var level slog.Level
	if n, err := strconv.Atoi(text); err == nil && n >= -1000 && n <= 1000 {
		return slog.Level(n), nil
	}
	if err := level.UnmarshalText([]byte(text)); err != nil {
		return 0, fmt.Errorf("-v %q: allowed are DEBUG, INFO, WARN, ERROR, a number such as -4, or both as in INFO+1", text)
	}
	return level, nil
}

func (e *Env) logger() (*slog.Logger, error) {
	level, err := parseLevel(e.verbosity)
	if err != nil {
		return nil, err
	}
	if lines, ok := e.Err.(*jsonLines); ok {
		return slog.New(slog.NewJSONHandler(lines.out, &slog.HandlerOptions{Level: level})), nil
	}
	return slog.New(slog.NewTextHandler(e.Err, &slog.HandlerOptions{Level: level})), nil
}

// say returns where to tell what is done and how far it is. With -v WARN and above nobody wants to know: then only
// warnings and errors, which go to Err itself, are written.
func (e *Env) say() io.Writer {
	if level, err := parseLevel(e.verbosity); err == nil && level > slog.LevelInfo {
		return io.Discard
	}
	return e.Err
}

// prepareLog gives what is written to stderr the form that --log-format asks for.
func (e *Env) prepareLog() error {
	switch e.logFormat {
	case "text":
		return nil
	case "json":
		if _, done := e.Err.(*jsonLines); !done {
			e.Err = newJSONLines(e.Err)
		}
		return nil
	}
	return fmt.Errorf("--log-format %q: allowed are text and json", e.logFormat)
}

// complain tells the user why a command failed.
func (e *Env) complain(text string) {
	if lines, ok := e.Err.(*jsonLines); ok {
		lines.say(slog.LevelError, text)
		return
	}
	fmt.Fprintf(e.Err, "kwokctl: %s\n", text)
}

// jsonLines turns lines into JSON objects, one per line.
type jsonLines struct {
	out  io.Writer
	log  *slog.Logger
	mu   sync.Mutex
	rest []byte // begun and not yet ended
}

func newJSONLines(out io.Writer) *jsonLines {
	return &jsonLines{out: out, log: slog.New(slog.NewJSONHandler(out, nil))}
}

func (j *jsonLines) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.rest = append(j.rest, p...)
	for {
		i := bytes.IndexByte(j.rest, '\n')
		if i < 0 {
			return len(p), nil
		}
		if line := strings.TrimSpace(string(j.rest[:i])); line != "" {
			j.say(slog.LevelInfo, line)
		}
		j.rest = j.rest[i+1:]
	}
}

func (j *jsonLines) say(level slog.Level, text string) { j.log.Log(context.Background(), level, text) }
