//go:build linux || darwin

package process

import (
	"os"
	"time"

	"kwokctl/runtimes"
)

// tailBytes is how much of the end of its output is remembered of a process.
const tailBytes = 32 << 10

// drain moves what one process prints into the log of its component, and remembers the end of it.
type drain struct {
	r    *os.File
	log  *logFile
	tail []byte // up to twice tailBytes, so that it need not be moved for each chunk
	eof  chan struct{}
}

func newDrain(r *os.File, log *logFile) *drain {
	d := &drain{r: r, log: log, eof: make(chan struct{})}
	go d.run()
	return d
}

func (d *drain) run() {
	defer close(d.eof)
	buf := make([]byte, 32<<10)
	for {
		n, err := d.r.Read(buf)
		if n > 0 {
			chunk := append([]byte(nil), buf[:n]...)
			d.remember(chunk)
			d.log.write(chunk)
		}
		if err != nil {
			return
		}
	}
}

func (d *drain) remember(chunk []byte) {
	d.tail = append(d.tail, chunk...)
	if over := len(d.tail) - tailBytes; over > tailBytes {
		d.tail = append(d.tail[:0], d.tail[over:]...)
	}
}

// finish takes what an ended process has left in its pipe. A stranger that inherited the pipe could keep it open,
// so there is a limit.
func (d *drain) finish() {
	_ = d.r.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	<-d.eof
	d.r.Close()
}

// lines gives the last lines; only after finish.
func (d *drain) lines() []string { return runtimes.Tail(string(d.tail)) }
