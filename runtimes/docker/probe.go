package docker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"

	"kwokctl/runtimes"
)

// The programs of the image that are ours.
const (
	ProbeApplet = "probe" // asks components for their health, from inside
	DialApplet  = "dial"  // connects its standard input and output to an address inside
)

// question is whom to ask for its health, and how.
type question struct {
	Name  string         `json:"name"`
	Probe runtimes.Probe `json:"probe"`
}

// answer is what a component said; an empty Error means that it is ready.
type answer struct {
	Name  string `json:"name"`
	Error string `json:"error,omitempty"`
}

const askTime = 3 * time.Second // how long a component may take to answer

// ProbeMain is the program that asks the components of a list for their health. As "watch" it asks until each was ready
// once, as "once" it asks once; both print answers. As "health" it exits with status 1 unless all are ready. Only from
// inside can all be asked alike: on unix sockets, by their names, and on engines of other machines.
func ProbeMain(args []string, out, errs io.Writer) int {
	var list []question
	if len(args) != 2 {
		fmt.Fprintln(errs, "usage: probe watch|once|health LIST")
		return 2
	}
	if err := json.Unmarshal([]byte(args[1]), &list); err != nil {
		fmt.Fprintf(errs, "probe: read list: %v\n", err)
		return 2
	}
	var mu sync.Mutex
	enc, status := json.NewEncoder(out), 0
	tell := func(name string, err error) bool {
		mu.Lock()
		defer mu.Unlock()
		a := answer{Name: name}
		if err != nil {
			a.Error, status = err.Error(), 1
		}
		return enc.Encode(a) == nil // nobody listens any more: no reason to go on
	}
	var wg sync.WaitGroup
	for _, q := range list {
		wg.Go(func() {
			p := runtimes.NewProber("", q.Probe)
			defer p.Close()
			if args[0] != "watch" {
				tell(q.Name, p.Ask(context.Background(), q.Probe.Ready, askTime))
				return
			}
			var last string
			p.UntilReady(context.Background(), runtimes.Pace{First: 10 * time.Millisecond, Most: 100 * time.Millisecond, Patience: askTime}, func(err error) bool {
				if err != nil && err.Error() == last {
					return true
				}
				if err != nil {
					last = err.Error()
				}
				return tell(q.Name, err)
			})
		})
	}
	wg.Wait()
	if args[0] == "health" {
		return status
	}
	return 0
}

// DialMain is the program that connects its standard input and output to a network and an address.
func DialMain(args []string, in io.Reader, out, errs io.Writer) int {
	if len(args) != 2 {
		fmt.Fprintln(errs, "usage: dial unix|tcp ADDRESS")
		return 2
	}
	c, err := net.DialTimeout(args[0], args[1], askTime)
	if err != nil {
		fmt.Fprintf(errs, "dial: %v\n", err)
		return 1
	}
	defer c.Close()
	go func() {
		_, _ = io.Copy(c, in)
		if half, ok := c.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
	}()
	if _, err := io.Copy(out, c); err != nil {
		fmt.Fprintf(errs, "dial: %v\n", err)
		return 1
	}
	return 0
}

// ask runs the probe program beside the components and hands on each of its answers, until it ends or ctx does.
func (r *Runtime) ask(ctx context.Context, e *engine, host, how string, list []question, tell func(answer)) error {
	s, err := r.beside(ctx, e, host, "/bin/"+ProbeApplet, how, encode(list))
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, s.Close)
	defer stop()
	defer s.Close()
	in, out := io.Pipe()
	said := &lastLine{}
	go func() {
		_, err := stdcopy.StdCopy(out, said, s.Reader)
		out.CloseWithError(err)
	}()
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var a answer
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			return fmt.Errorf("ask components: %w", err)
		}
		tell(a)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case lines.Err() != nil:
		return fmt.Errorf("ask components: %w", lines.Err())
	case said.text != "":
		return errors.New("ask components: " + said.text)
	}
	return nil
}

// lastLine keeps what was last written to it.
type lastLine struct{ text string }

func (l *lastLine) Write(p []byte) (int, error) {
	l.text = string(p)
	return len(p), nil
}
