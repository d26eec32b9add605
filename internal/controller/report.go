package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kwokctl/internal/api"
)

// reporter writes Events and conditions of Stages, apart from all other requests: it never makes an object wait, and
// what is too much for it is lost.
type reporter struct {
	do    Doer
	stats *stats
	log   *slog.Logger
	desks [4]chan report // an object's reports go to one desk, in order
}

// report is an Event, or the condition of a Stage.
type report struct {
	refer           corev1.ObjectReference
	typ, reason     string
	message         string
	at              time.Time
	path            string // of the Stage's status
	stageConditions []api.Condition
}

// Limits of events, those of the recorder in client-go: so many of one object at once, then one in a while.
const (
	eventBurst  = 25
	eventRefill = 5 * time.Minute
	repeatTime  = 10 * time.Minute // an event that was there within this time is counted, not written again
	maxSubjects = 4096
	reportTries = 4
)

func newReporter(do Doer, st *stats, log *slog.Logger) *reporter {
	r := &reporter{do: do, stats: st, log: log}
	for i := range r.desks {
		r.desks[i] = make(chan report, 1024)
	}
	return r
}

// run writes reports until ctx ends.
func (r *reporter) run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, in := range r.desks {
		wg.Go(func() {
			d := &desk{reporter: r, subjects: map[string]*subjectEvents{}}
			for {
				select {
				case <-ctx.Done():
					return
				case rep := <-in:
					d.write(ctx, &rep)
				}
			}
		})
	}
	wg.Wait()
}

// event announces something about an object.
func (r *reporter) event(refer corev1.ObjectReference, typ, reason, message string) {
	r.hand(report{refer: refer, typ: typ, reason: reason, message: message, at: time.Now()}, refer.Kind+refer.Namespace+refer.Name)
}

// condition sets the condition of a Stage, whose status is at path, beside those of others.
func (r *reporter) condition(path string, others []api.Condition, c api.Condition) {
	r.hand(report{path: path, stageConditions: append([]api.Condition{c}, others...)}, path)
}

// own splits the conditions of an object of ours into the one that we write and those of others.
func own(all []api.Condition) (c api.Condition, others []api.Condition) {
	for _, e := range all {
		if e.Type == conditionReady {
			c = e
		} else {
			others = append(others, e)
		}
	}
	return c, others
}

func (r *reporter) hand(rep report, subject string) {
	h := fnv.New32a()
	_, _ = h.Write([]byte(subject)) // never fails
	select {
	case r.desks[h.Sum32()%uint32(len(r.desks))] <- rep:
	default:
		r.stats.lost.Inc()
	}
}

// desk is one worker of a reporter.
type desk struct {
	*reporter
	subjects map[string]*subjectEvents
}

// subjectEvents is what was said of one object lately.
type subjectEvents struct {
	tokens float64
	last   time.Time
	said   map[string]*said
}

type said struct {
	name  string
	count int32
	last  time.Time
}

func (d *desk) write(ctx context.Context, rep *report) {
	if rep.path != "" {
		body, err := json.Marshal(map[string]any{"status": map[string]any{"conditions": rep.stageConditions}})
		if err == nil {
			err = d.send(ctx, &request{method: http.MethodPatch, path: rep.path, ctype: mergePatch, body: body}).faultOrNil()
		}
		if err != nil && ctx.Err() == nil {
			d.log.Warn("write the condition of a Stage", "object", rep.path, "err", err)
		}
		return
	}
	if err := d.announce(ctx, rep); err != nil && ctx.Err() == nil {
		d.stats.lost.Inc()
		d.log.Debug("write event", "object", rep.refer.Kind+" "+rep.refer.Namespace+"/"+rep.refer.Name, "err", err)
	}
}

const mergePatch = "application/merge-patch+json"

// announce writes an event, or counts one that is there already.
func (d *desk) announce(ctx context.Context, rep *report) error {
	key := rep.refer.Kind + "/" + rep.refer.Namespace + "/" + rep.refer.Name + "/" + string(rep.refer.UID)
	s := d.subjects[key]
	if s == nil {
		if len(d.subjects) >= maxSubjects {
			clear(d.subjects)
		}
		s = &subjectEvents{tokens: eventBurst, last: rep.at, said: map[string]*said{}}
		d.subjects[key] = s
	}
	s.tokens = min(eventBurst, s.tokens+float64(rep.at.Sub(s.last))/float64(eventRefill))
	if s.last = rep.at; s.tokens < 1 {
		d.stats.lost.Inc()
		return nil
	}
	s.tokens--
	namespace := rep.refer.Namespace
	if namespace == "" {
		namespace = "default"
	}
	path := "/api/v1/namespaces/" + namespace + "/events"
	what := rep.typ + "/" + rep.reason + "/" + rep.message
	old := s.said[what]
	if old != nil && rep.at.Sub(old.last) < repeatTime {
		old.count++
		old.last = rep.at
		body := fmt.Appendf(nil, `{"count":%d,"lastTimestamp":%q}`, old.count, rep.at.UTC().Format(time.RFC3339))
		answer := d.send(ctx, &request{method: http.MethodPatch, path: path + "/" + old.name, ctype: mergePatch, body: body})
		if !answer.gone() {
			return answer.faultOrNil()
		}
	}
	if len(s.said) >= eventBurst {
		clear(s.said)
	}
	now := &said{name: fmt.Sprintf("%s.%x", strings.ToLower(rep.refer.Name), rep.at.UnixNano()), count: 1, last: rep.at}
	s.said[what] = now
	when := metav1.NewTime(rep.at)
	body, err := seal("v1", "Event", &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Name: now.name, Namespace: namespace},
		InvolvedObject: rep.refer,
		Type:           rep.typ, Reason: rep.reason, Message: short(rep.message), Count: 1,
		FirstTimestamp: when, LastTimestamp: when, Source: corev1.EventSource{Component: "kwok_controller"},
	})
	if err != nil {
		return err
	}
	return d.send(ctx, &request{method: http.MethodPost, path: path, ctype: protobuf, body: body}).faultOrNil()
}

// short cuts a message to what an Event may hold.
func short(message string) string {
	const most = 1000
	if len(message) <= most {
		return message
	}
	return strings.ToValidUTF8(message[:most], "") + " …"
}

// send tries a few times.
func (d *desk) send(ctx context.Context, r *request) reply {
	r.lane, r.accept = rest2, metaOnlyAny
	for n := uint8(0); ; n++ {
		rep := d.do.Do(ctx, r)
		if !rep.transient() || n == reportTries || !wait(ctx, max(rep.after, patience(n))) {
			return rep
		}
	}
}

func (r reply) faultOrNil() error {
	if r.ok() {
		return nil
	}
	return r.fault()
}
