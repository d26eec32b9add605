package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"kwokctl/internal/cluster"
	"kwokctl/runtimes"
)

const spinner = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"

// How often a terminal is drawn anew, and how often lines elsewhere say who is waited for.
const (
	drawEvery   = 80 * time.Millisecond
	remindEvery = 15 * time.Second
)

// progress shows how components come up: on a terminal a line for each that moves, elsewhere a line for each that
// is done.
type progress struct {
	out   io.Writer
	title string // the first line; not before there is another one, since what is refused says so in one line
	live  bool   // redraw lines in place
	color bool
	began time.Time

	mu    sync.Mutex
	order []string
	seen  map[string]runtimes.Status
	since map[string]time.Time
	lines int // drawn, below which the cursor stands
	frame int
	done  chan struct{}
	ended sync.WaitGroup
}

func newProgress(env *Env, title string) *progress {
	p := &progress{out: env.say(), title: title, began: time.Now(), seen: map[string]runtimes.Status{}, since: map[string]time.Time{}, done: make(chan struct{})}
	p.live, p.color = liveTerminal(env)
	if p.live {
		p.ended.Go(func() { p.repeat(drawEvery, func() { p.frame++; p.draw() }) })
	} else {
		p.ended.Go(func() { p.repeat(remindEvery, p.remind) })
	}
	return p
}

// liveTerminal tells whether lines can be redrawn and whether colour is wanted.
func liveTerminal(env *Env) (live, color bool) {
	f, ok := env.say().(*os.File)
	live = ok && term.IsTerminal(int(f.Fd())) && env.Getenv("TERM") != "dumb"
	return live, live && env.Getenv("NO_COLOR") == ""
}

// observe takes a change of a component.
func (p *progress) observe(s runtimes.Status) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.order) == 0 {
		fmt.Fprintln(p.out, p.title)
	}
	if _, ok := p.seen[s.Name]; !ok {
		p.order = append(p.order, s.Name)
		p.since[s.Name] = time.Now()
	}
	was := p.seen[s.Name].State
	p.seen[s.Name] = s
	switch {
	case p.live:
		p.draw()
	case s.State == runtimes.Ready && was != runtimes.Ready:
		fmt.Fprintf(p.out, "  %s ready (%s)\n", s.Name, seconds(p.took(s)))
	case s.State == cluster.Fetching && was != cluster.Fetching:
		fmt.Fprintf(p.out, "  %s\n", s.Name)
	case s.State == runtimes.Exited && was != runtimes.Exited:
		fmt.Fprintf(p.out, "  %s %s\n", s.Name, s.Reason)
	}
}

// took is how long a component needed: as it says itself, else since it was first seen.
func (p *progress) took(s runtimes.Status) time.Duration {
	if s.Took > 0 {
		return s.Took
	}
	return time.Since(p.since[s.Name])
}

// repeat calls show until the end, nobody else meanwhile.
func (p *progress) repeat(every time.Duration, show func()) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-p.done:
			return
		case <-tick.C:
			p.mu.Lock()
			show()
			p.mu.Unlock()
		}
	}
}

// remind names those that are waited for, so that a start that never ends says why.
func (p *progress) remind() {
	for _, name := range p.order {
		if s := p.seen[name]; s.State != runtimes.Ready {
			fmt.Fprintf(p.out, "  %s %s, %.0f s so far\n", name, strings.ToLower(string(s.State)), time.Since(p.since[name]).Seconds())
		}
	}
}

// draw writes all lines anew, over the old ones.
func (p *progress) draw() {
	var b strings.Builder
	if p.lines > 0 {
		fmt.Fprintf(&b, "\r\x1b[2K\x1b[%dA", p.lines) // a bar may stand below
	}
	for _, name := range p.order {
		s := p.seen[name]
		mark, tint, text := string([]rune(spinner)[p.frame%10]), "36", seconds(time.Since(p.since[name]))
		switch s.State {
		case runtimes.Ready:
			mark, tint, text = "✓", "32", seconds(p.took(s))
		case runtimes.Exited, runtimes.CrashLoop, runtimes.NotReady:
			mark, tint, text = "✗", "31", s.Reason
		case runtimes.Waiting:
			text = "waiting"
		case cluster.Fetching:
			text = s.Reason
		case runtimes.Stopped:
			mark, tint, text = "·", "90", "stopped"
		}
		if p.color {
			mark = "\x1b[" + tint + "m" + mark + "\x1b[0m"
		}
		fmt.Fprintf(&b, "\x1b[2K %s %-26s %s\n", mark, name, text)
	}
	p.lines = len(p.order)
	io.WriteString(p.out, b.String())
}

// end draws the last state and stops.
func (p *progress) end() {
	close(p.done)
	p.ended.Wait()
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2fs", d.Seconds()) }

// bar shows how many of many are done.
type bar struct {
	progress
	what string
	last time.Time
}

const barWidth = 30

func newBar(env *Env, what string) *bar {
	b := &bar{what: what, progress: progress{out: env.say(), began: time.Now()}}
	b.live, b.color = liveTerminal(env)
	return b
}

// set shows the state of the work, on a terminal ten times a second, elsewhere every two seconds.
func (b *bar) set(done, total int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	pace := 2 * time.Second
	if b.live {
		pace = 100 * time.Millisecond
	}
	if total == 0 || (done < total && time.Since(b.last) < pace) {
		return
	}
	if b.last.IsZero() && !b.live && done < total {
		b.last = time.Now() // work that is quick needs no lines
		return
	}
	b.last = time.Now()
	if !b.live {
		fmt.Fprintf(b.out, "  %s %d/%d\n", b.what, done, total)
		return
	}
	full := barWidth * done / total
	fmt.Fprintf(b.out, "\r\x1b[2K %s %s%s %d/%d", b.what, strings.Repeat("█", full), strings.Repeat("░", barWidth-full), done, total)
	b.lines = 1
}

// transfer shows work that is counted in objects, bytes or both. How much there is may not be known.
func (b *bar) transfer(objects, bytes, ofObjects, ofBytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	pace := 2 * time.Second
	if b.live {
		pace = 100 * time.Millisecond
	}
	if b.last.IsZero() {
		b.last = b.began
	}
	if time.Since(b.last) < pace {
		return
	}
	b.last = time.Now()
	line := " " + b.what
	if done, total := objects+bytes, ofObjects+ofBytes; b.live && total > 0 && done <= total {
		full := int(barWidth * done / total)
		line += " " + strings.Repeat("█", full) + strings.Repeat("░", barWidth-full)
	}
	switch {
	case ofObjects > 0:
		line += fmt.Sprintf(" %d/%d objects", objects, ofObjects)
	case objects > 0:
		line += fmt.Sprintf(" %d objects", objects)
	}
	switch {
	case ofBytes > 0:
		line += fmt.Sprintf(" %s of %s", mebibytes(bytes), mebibytes(ofBytes))
	case bytes > 0:
		line += " " + mebibytes(bytes)
	}
	line += " " + seconds(time.Since(b.began))
	if !b.live {
		fmt.Fprintln(b.out, line)
		return
	}
	fmt.Fprint(b.out, "\r\x1b[2K"+line)
	b.lines = 1
}

// end leaves the line of the bar.
func (b *bar) end() {
	if b.lines > 0 {
		fmt.Fprint(b.out, "\r\x1b[2K")
	}
}
