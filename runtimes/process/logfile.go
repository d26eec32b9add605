//go:build linux || darwin

package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"
)

const (
	logMax  = 10 << 20 // bytes until a log is rotated
	logKeep = 5        // files of one log, the current one included
	queued  = 64       // chunks of up to 32 KiB that may wait for a slow disk
	patient = time.Second
)

// logFile is the log of one component. Writing to it never blocks for long and never fails: what a full or slow
// disk does not take is dropped, counted, and mentioned once the disk takes something again.
type logFile struct {
	path  string
	max   int64
	queue chan []byte
	done  chan struct{}

	mu      sync.Mutex // guards what follows, which writers and the one who writes to disk share
	dropped int
	slow    bool // the queue was full for long: do not wait again until it has room

	f    *os.File // the rest belongs to run
	size int64
	err  error // why the last write failed
}

func newLogFile(path string, most int64) *logFile {
	l := &logFile{path: path, max: most, queue: make(chan []byte, queued), done: make(chan struct{})}
	go l.run()
	return l
}

// write queues chunk, which it keeps.
func (l *logFile) write(chunk []byte) {
	select {
	case l.queue <- chunk:
		l.setSlow(false)
		return
	default:
	}
	if !l.isSlow() {
		timer := time.NewTimer(patient)
		defer timer.Stop()
		select {
		case l.queue <- chunk:
			return
		case <-timer.C:
			l.setSlow(true)
		}
	}
	l.drop(len(chunk))
}

func (l *logFile) setSlow(slow bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slow = slow
}

func (l *logFile) isSlow() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.slow
}

func (l *logFile) drop(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropped += n
}

// mark writes a line of ours between those of the component.
func (l *logFile) mark(format string, args ...any) {
	l.write(marker(format, args...))
}

func marker(format string, args ...any) []byte {
	return fmt.Appendf(nil, "--- %s %s ---\n", time.Now().UTC().Format(time.RFC3339), fmt.Sprintf(format, args...))
}

// close returns when all has been written. Nobody may write any more.
func (l *logFile) close() {
	close(l.queue)
	<-l.done
}

func (l *logFile) run() {
	defer close(l.done)
	for chunk := range l.queue {
		l.put(chunk)
	}
	if l.f != nil {
		l.f.Close()
	}
}

// put writes one chunk to disk, and before it what is to be said of lost ones.
func (l *logFile) put(chunk []byte) {
	l.mu.Lock()
	lost := l.dropped
	l.mu.Unlock()
	if lost > 0 {
		cause := "disk too slow"
		if l.err != nil {
			cause = l.err.Error()
		}
		if !l.append(marker("%d bytes of log lost: %s", lost, cause)) {
			l.drop(len(chunk))
			return
		}
		l.drop(-lost)
		l.err = nil
	}
	if room := l.max - l.size; l.f != nil && int64(len(chunk)) > room {
		// Rotate between lines, so that each file can be read by itself.
		cut := bytes.LastIndexByte(chunk[:max(0, min(room, int64(len(chunk))))], '\n') + 1
		if cut > 0 {
			if !l.append(chunk[:cut]) {
				l.drop(len(chunk))
				return
			}
			chunk = chunk[cut:]
		}
		l.rotate()
	}
	if !l.append(chunk) {
		l.drop(len(chunk))
	}
}

// append writes to the current file and tells whether that worked. After an error it starts anew with the file of
// that name: the disk, or what is mounted there, may be another one by then.
func (l *logFile) append(data []byte) bool {
	err := l.openFile()
	if err == nil {
		var n int
		n, err = l.f.Write(data)
		l.size += int64(n)
	}
	if err == nil {
		return true
	}
	if l.f != nil {
		l.f.Close()
		l.f = nil
	}
	var pe *os.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	l.err = err
	return false
}

func (l *logFile) openFile() error {
	if l.f != nil {
		return nil
	}
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	l.f, l.size = f, info.Size()
	return nil
}

// rotate renames each file to the next number. The last one is overwritten.
func (l *logFile) rotate() {
	l.f.Close()
	l.f = nil
	for i := logKeep - 1; i > 0; i-- {
		_ = os.Rename(rotated(l.path, i-1), rotated(l.path, i)) // those that are not there yet do not matter
	}
}

// rotated is the name of the i-th file of a log; 0 is the current one.
func rotated(path string, i int) string {
	if i == 0 {
		return path
	}
	return path + "." + strconv.Itoa(i)
}
