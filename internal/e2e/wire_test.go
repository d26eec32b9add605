package e2e

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// wire is the way to a server, which can be cut.
type wire struct {
	t        testing.TB
	network  string // unix or tcp
	to, at   string
	mu       sync.Mutex
	listener net.Listener
	open     []net.Conn
	carried  atomic.Int64 // pieces that have gone to the server
	limit    atomic.Int64 // how many may; 0: any number
	delay    atomic.Int64 // of each of them, in nanoseconds
}

func newWire(t testing.TB, network, to, at string) *wire {
	t.Helper()
	l := &wire{t: t, network: network, to: to, at: at}
	l.mend()
	t.Cleanup(l.cut)
	return l
}

func (l *wire) mend() {
	listener, err := net.Listen(l.network, l.at)
	if err != nil {
		l.t.Fatal(err)
	}
	l.listener = listener
	go func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial(l.network, l.to)
			if err != nil {
				from.Close()
				continue
			}
			l.mu.Lock()
			l.open = append(l.open, from, to)
			l.mu.Unlock()
			go pass(to, counted{from, l})
			go pass(from, to)
		}
	}()
}

func pass(to net.Conn, from io.Reader) {
	_, _ = io.Copy(to, from)
	_ = to.(interface{ CloseWrite() error }).CloseWrite()
}

// counted is what comes from a client.
type counted struct {
	io.Reader
	wire *wire
}

func (c counted) Read(into []byte) (int, error) {
	n, err := c.Reader.Read(into)
	time.Sleep(time.Duration(c.wire.delay.Load()))
	if c.wire.carried.Add(1) == c.wire.limit.Load() {
		c.wire.cut()
		return 0, io.ErrClosedPipe
	}
	return n, err
}

// cutAfter cuts the wire when it has carried so many more pieces.
func (l *wire) cutAfter(pieces int64) { l.limit.Store(l.carried.Load() + pieces) }

func (l *wire) cut() {
	l.limit.Store(0)
	l.listener.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.open {
		c.Close()
	}
	l.open = nil
}
