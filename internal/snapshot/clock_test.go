package snapshot

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestClock(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	fast := NewClock(0)
	fast.Start()
	if err := fast.wait(ctx, time.Hour); err != nil {
		t.Error(err)
	}
	c := NewClock(100)
	c.Start()
	began := time.Now()
	if err := c.wait(ctx, 5*time.Second); err != nil || time.Since(began) < 50*time.Millisecond {
		t.Errorf("5 s at x100: %v, %s", err, time.Since(began))
	}
	c.Pause(true)
	done := make(chan error, 1)
	go func() { done <- c.wait(ctx, time.Hour) }()
	select {
	case err := <-done:
		t.Fatalf("it went on while paused: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	c.turn(func() { c.at, c.paused = time.Hour, false })
	if err := <-done; err != nil {
		t.Error(err)
	}
	for i, want := range []string{"1.1", "1", "0.9", "0.81"} {
		if i == 0 {
			c = NewClock(1)
			c.Faster()
		} else {
			c.Slower()
		}
		if speed, _ := c.State(); fmt.Sprintf("%.3g", speed) != want {
			t.Errorf("speed %.3g, want %s", speed, want)
		}
	}
	ended, stop := context.WithCancel(context.Background())
	stop()
	if err := NewClock(1).wait(ended, time.Hour); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
