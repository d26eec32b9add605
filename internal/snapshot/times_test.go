package snapshot

import (
	"encoding/json"
	"testing"
	"time"
)

// TestMoveTimes holds which texts are times: by the fields of a built-in kind, by their form in a custom one.
func TestMoveTimes(t *testing.T) {
	t.Parallel()
	kinds := someKinds()
	if err := kinds.define(mustJSON(t, definitionOfWidgets)); err != nil {
		t.Fatal(err)
	}
	const at, late = `"2026-01-01T00:00:00Z"`, `"2026-01-01T01:00:00Z"`
	for _, tt := range []struct{ kind, object, shifted string }{
		{"pods", `{"metadata":{"annotations":{"a":` + at + `},"creationTimestamp":` + at + `,"labels":{"startTime":` + at + `},"managedFields":[{"time":` + at + `}]}}`,
			`{"metadata":{"annotations":{"a":` + at + `},"creationTimestamp":` + late + `,"labels":{"startTime":` + at + `},"managedFields":[{"time":` + late + `}]}}`},
		{"pods", `{"spec":{"containers":[{"args":[` + at + `],"env":[{"name":"startTime","value":` + at + `}],"name":"c"}]}}`, ""},
		{"pods", `{"status":{"conditions":[{"lastProbeTime":null,"lastTransitionTime":` + at + `}],"containerStatuses":[{"lastState":{"terminated":{"finishedAt":` + at + `,"startedAt":` + at + `}},"restartCount":12345678901234567}],"message":` + at + `,"startTime":` + at + `}}`,
			`{"status":{"conditions":[{"lastProbeTime":null,"lastTransitionTime":` + late + `}],"containerStatuses":[{"lastState":{"terminated":{"finishedAt":` + late + `,"startedAt":` + late + `}},"restartCount":12345678901234567}],"message":` + at + `,"startTime":` + late + `}}`},
		{"nodes", `{"spec":{"taints":[{"key":"k","timeAdded":` + at + `}]},"status":{"conditions":[{"lastHeartbeatTime":` + at + `}]}}`,
			`{"spec":{"taints":[{"key":"k","timeAdded":` + late + `}]},"status":{"conditions":[{"lastHeartbeatTime":` + late + `}]}}`},
		{"configmaps", `{"data":{"creationTimestamp":` + at + `,"metadata":` + at + `}}`, ""},
		{"leases.coordination.k8s.io", `{"spec":{"renewTime":"2026-01-01T00:00:00.5Z"}}`, `{"spec":{"renewTime":"2026-01-01T01:00:00.500000Z"}}`},
		{"poddisruptionbudgets.policy", `{"status":{"disruptedPods":{"p":` + at + `}}}`, `{"status":{"disruptedPods":{"p":` + late + `}}}`},
		{"controllerrevisions.apps", `{"data":{"metadata":{"creationTimestamp":` + at + `}}}`, ""},
		{"widgets.acme.io", `{"metadata":{"annotations":{"a":` + at + `},"creationTimestamp":` + at + `},"spec":{"data":{"a":` + at + `},"list":[` + at + `,"2026-01-01"],"when":` + at + `}}`,
			`{"metadata":{"annotations":{"a":` + at + `},"creationTimestamp":` + late + `},"spec":{"data":{"a":` + at + `},"list":[` + late + `,"2026-01-01"],"when":` + late + `}}`},
		{"widgets.acme.io", `{"never":"9999-12-31T23:59:59Z","word":"2026-xx-01T00:00:00Z"}`, ""},
	} {
		if tt.shifted == "" {
			tt.shifted = tt.object
		}
		if got, err := shift(kindNamed(kinds, tt.kind), []byte(tt.object), time.Hour); err != nil || string(got) != tt.shifted {
			t.Errorf("%s %s:\n got %s %v\nwant %s", tt.kind, tt.object, got, err, tt.shifted)
		}
	}
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	in := parseObject(t, `{"a":"2026-01-02T03:04:06Z","b":["2026-01-02T05:04:05.5+02:00"],"c":"0001-01-01T00:00:00Z"}`)
	moved, err := relative(kindNamed(kinds, "widgets.acme.io"), in, start)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"a":"$(time-offset-nanosecond 1000000000)","b":["$(time-offset-nanosecond 500000000)"],"c":"0001-01-01T00:00:00Z"}`
	if got, _ := json.Marshal(moved); string(got) != want {
		t.Errorf("got %s", got)
	}
	if in["a"] != "2026-01-02T03:04:06Z" {
		t.Error("the object itself was changed")
	}
}
