package snapshot

import (
	"context"
	"sync"
	"time"
)

// The speeds of a replay that can be chosen with a key.
const (
	minSpeed = 0.01
	maxSpeed = 10
	// maxLag is how far a replay may fall behind until its clock waits for it.
	maxLag = time.Second
)

// Clock is the time of a recording that is played. It is safe for concurrent use.
type Clock struct {
	mu     sync.Mutex
	speed  float64 // 0: as fast as it goes
	paused bool
	at     time.Duration // of the recording
	since  time.Time     // when it was at
	turned chan struct{} // closed when speed or paused change
}

// NewClock returns a clock that stands at the beginning. Speed 1 is that of the recording; 0 does not wait.
func NewClock(speed float64) *Clock {
	return &Clock{speed: speed, since: time.Now(), turned: make(chan struct{})}
}

// now is where the recording is. The caller holds mu.
func (c *Clock) now() time.Duration {
	if c.paused {
		return c.at
	}
	return c.at + time.Duration(float64(time.Since(c.since))*c.speed)
}

// turn changes the course of the clock.
func (c *Clock) turn(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at, c.since = c.now(), time.Now()
	change()
	close(c.turned)
	c.turned = make(chan struct{})
}

// Start lets the clock begin to run now.
func (c *Clock) Start() { c.turn(func() { c.at = 0 }) }

// Pause stops the clock, or lets it go on.
func (c *Clock) Pause(paused bool) { c.turn(func() { c.paused = paused }) }

// Faster and Slower change the speed by a step: a tenth, below 1 a tenth of what it is.
func (c *Clock) Faster() { c.step(1) }

// Slower is the opposite of Faster.
func (c *Clock) Slower() { c.step(-1) }

func (c *Clock) step(sign float64) {
	c.turn(func() {
		if c.speed == 0 {
			c.speed = maxSpeed
		}
		size := 0.1
		if c.speed+sign*size/2 < 1 {
			size = c.speed / 10
		}
		c.speed = min(max(c.speed+sign*size, minSpeed), max(maxSpeed, c.speed))
	})
}

// State is the speed, and whether the clock is stopped.
func (c *Clock) State() (speed float64, paused bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.speed, c.paused
}

// wait returns when the recording has come to a moment, or ctx ends. When that has long passed, the clock is set back
// to it: a machine that cannot keep up plays slower, and does not hurry for ever.
func (c *Clock) wait(ctx context.Context, until time.Duration) error {
	for {
		c.mu.Lock()
		turned, left := c.turned, time.Duration(0)
		now := c.now()
		switch {
		case c.paused:
			left = -1
		case c.speed == 0:
			c.at, c.since = until, time.Now()
		case now < until:
			left = max(1, time.Duration(float64(until-now)/c.speed))
		case float64(now-until) > float64(maxLag)*c.speed:
			c.at, c.since = until, time.Now()
		}
		c.mu.Unlock()
		if left == 0 {
			return ctx.Err()
		}
		var due <-chan time.Time
		if left > 0 {
			due = time.After(left)
		}
		select {
		case <-due:
		case <-turned:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
