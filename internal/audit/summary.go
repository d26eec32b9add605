package audit

import (
	"cmp"
	"slices"
	"strconv"
	"time"
)

// Summary says who asked the API server for what, and how that went.
type Summary struct {
	Requests   int       `json:"requests"`
	Failed     int       `json:"failed"` // with a status of 400 or more
	From       time.Time `json:"from,omitzero"`
	To         time.Time `json:"to,omitzero"`
	PerSecond  float64   `json:"perSecond"`
	Unreadable int       `json:"unreadable,omitempty"` // lines of the log that are no events
	Users      []Count   `json:"users"`                // all lists are sorted, most first
	Verbs      []Count   `json:"verbs"`
	Resources  []Count   `json:"resources"`
	Codes      []Count   `json:"codes"`
	Busiest    []Pair    `json:"busiest"` // the ten most frequent of who does what
	Slowest    []Slow    `json:"slowest"` // the ten requests that took longest, watches and the like left out
}

// Count is how often a value occurred.
type Count struct {
	Name     string `json:"name"`
	Requests int    `json:"requests"`
}

// Pair is how often a user did something.
type Pair struct {
	User     string `json:"user"`
	Verb     string `json:"verb"`
	Resource string `json:"resource"`
	Requests int    `json:"requests"`
}

// Slow is a request that took long.
type Slow struct {
	Took time.Duration `json:"took"` // nanoseconds
	Time time.Time     `json:"time"` // when it was received
	User string        `json:"user"`
	Verb string        `json:"verb"`
	URI  string        `json:"uri"`
	Code int           `json:"code"`
}

// top is how many of the busiest and slowest are named.
const top = 10

// Counter makes a Summary of events, in memory that does not grow with the number of requests, only with their variety. Its zero value is ready.
type Counter struct {
	sum     Summary
	users   map[string]int
	verbs   map[string]int
	places  map[string]int
	codes   map[string]int
	pairs   map[Pair]int
	running map[string]bool // requests that were counted when they started, such as watches
}

// Add takes an event. Each request counts once.
func (c *Counter) Add(e *Event) {
	if c.users == nil {
		c.users, c.verbs, c.places, c.codes = map[string]int{}, map[string]int{}, map[string]int{}, map[string]int{}
		c.pairs, c.running = map[Pair]int{}, map[string]bool{}
	}
	switch e.Stage {
	case "ResponseStarted":
		c.running[e.ID] = true
	case "ResponseComplete", "Panic":
		if c.running[e.ID] {
			delete(c.running, e.ID)
			return
		}
		c.slow(e)
	default:
		return
	}
	s, place := &c.sum, e.Resource()
	s.Requests++
	if e.Response.Code >= 400 || e.Stage == "Panic" {
		s.Failed++
	}
	if s.From.IsZero() || e.Received.Before(s.From) {
		s.From = e.Received
	}
	if e.Received.After(s.To) {
		s.To = e.Received
	}
	c.users[e.User.Name]++
	c.verbs[e.Verb]++
	c.places[place]++
	c.codes[strconv.Itoa(e.Response.Code)]++
	c.pairs[Pair{User: e.User.Name, Verb: e.Verb, Resource: place}]++
}

// slow keeps e if it is one of the slowest so far.
func (c *Counter) slow(e *Event) {
	list := c.sum.Slowest
	if len(list) == top && e.Took() <= list[top-1].Took {
		return
	}
	at, _ := slices.BinarySearchFunc(list, e.Took(), func(s Slow, took time.Duration) int { return cmp.Compare(took, s.Took) })
	list = slices.Insert(list, at, Slow{e.Took(), e.Received, e.User.Name, e.Verb, e.URI, e.Response.Code})
	c.sum.Slowest = list[:min(top, len(list))]
}

// Summary returns what was counted so far. bad is how many lines were no events.
func (c *Counter) Summary(bad int) Summary {
	s := c.sum
	s.Unreadable = bad
	if d := s.To.Sub(s.From); d > 0 {
		s.PerSecond = float64(s.Requests) / d.Seconds()
	}
	s.Users, s.Verbs, s.Resources, s.Codes = counts(c.users), counts(c.verbs), counts(c.places), counts(c.codes)
	s.Slowest = append([]Slow{}, s.Slowest...)
	s.Busiest = []Pair{}
	for p, n := range c.pairs {
		p.Requests = n
		s.Busiest = append(s.Busiest, p)
	}
	slices.SortFunc(s.Busiest, func(a, b Pair) int {
		return cmp.Or(b.Requests-a.Requests, cmp.Compare(a.User, b.User), cmp.Compare(a.Verb, b.Verb), cmp.Compare(a.Resource, b.Resource))
	})
	s.Busiest = s.Busiest[:min(top, len(s.Busiest))]
	return s
}

func counts(of map[string]int) []Count {
	list := make([]Count, 0, len(of))
	for name, n := range of {
		list = append(list, Count{name, n})
	}
	slices.SortFunc(list, func(a, b Count) int { return cmp.Or(b.Requests-a.Requests, cmp.Compare(a.Name, b.Name)) })
	return list
}
