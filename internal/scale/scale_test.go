package scale

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"kwokctl/internal/api"
)

// store is an API server with nodes and pods that remembers names, labels and times.
type store struct {
	*httptest.Server
	mu      sync.Mutex
	objects map[string]metav1.PartialObjectMetadata // by path
	removed []string
	clock   time.Time
	each    func(w http.ResponseWriter, r *http.Request) bool // may answer first
}

func newStore(t *testing.T) *store {
	t.Helper()
	s := &store{objects: map[string]metav1.PartialObjectMetadata{}, clock: time.Unix(0, 0)}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *store) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	fail := func(code int, reason metav1.StatusReason) {
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status"}, Reason: reason, Message: string(reason)})
	}
	o, exists := s.objects[r.URL.Path]
	switch {
	case s.each != nil && s.each(w, r):
	case r.URL.Path == "/api/v1":
		_, _ = io.WriteString(w, `{"resources":[{"name":"nodes","kind":"Node"},{"name":"pods","kind":"Pod","namespaced":true}]}`)
	case r.Method == http.MethodPost:
		_ = json.Unmarshal(body, &o)
		at := r.URL.Path + "/" + o.Name
		if _, exists := s.objects[at]; exists {
			fail(http.StatusConflict, metav1.StatusReasonAlreadyExists)
			return
		}
		s.clock = s.clock.Add(time.Second)
		o.CreationTimestamp = metav1.NewTime(s.clock)
		s.objects[at] = o
		_ = json.NewEncoder(w).Encode(o)
	case r.Method == http.MethodDelete && exists:
		delete(s.objects, r.URL.Path)
		s.removed = append(s.removed, o.Name)
	case r.Method == http.MethodGet && exists:
		_ = json.NewEncoder(w).Encode(o)
	case r.Method == http.MethodGet && strings.Count(r.URL.Path, "/") > 2:
		s.list(w, r)
	default:
		fail(http.StatusNotFound, metav1.StatusReasonNotFound)
	}
}

// list answers in pages of two, whatever the limit, and forgets the first continuation to test that too.
func (s *store) list(w http.ResponseWriter, r *http.Request) {
	_, want, one := strings.Cut(r.URL.Query().Get("labelSelector"), "=")
	var names []string
	for p, o := range s.objects {
		if strings.HasPrefix(p, r.URL.Path+"/") && (o.Labels[Label] == want || !one && o.Labels[Label] != "") {
			names = append(names, p)
		}
	}
	slices.Sort(names)
	var list metav1.PartialObjectMetadataList
	after := r.URL.Query().Get("continue")
	for _, n := range names {
		if n > after && len(list.Items) < 2 {
			list.Items = append(list.Items, s.objects[n])
		} else if n > after {
			list.Continue = r.URL.Path + "/" + list.Items[1].Name
		}
	}
	_ = json.NewEncoder(w).Encode(list)
}

func (s *store) names() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for p := range s.objects {
		all = append(all, strings.TrimPrefix(strings.TrimPrefix(p, "/api/v1/"), "namespaces/"))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func TestRun(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		have []string // paths below /api/v1; "!" before: without our label, "-": being deleted
		job  Job
		want string
		err  string
	}{
		{"create", nil, Job{Kind: "node", Replicas: 3, SerialLength: 6}, "nodes/node-000000 nodes/node-000001 nodes/node-000002", ""},
		{"name", nil, Job{Kind: "node", Name: "n", Replicas: 1, SerialLength: 1}, "nodes/n-0", ""},
		{"plain name", nil, Job{Kind: "node", Name: "n", Replicas: 1}, "nodes/n", ""},
		{"namespace of the template", nil, Job{Kind: "pod", Replicas: 1, SerialLength: 2}, "default/pods/pod-00", ""},
		{"namespace", nil, Job{Kind: "pod", Namespace: "x", Replicas: 1, SerialLength: 2}, "x/pods/pod-00", ""},
		{"gap", []string{"nodes/node-0", "nodes/node-2"}, Job{Kind: "node", Replicas: 4, SerialLength: 1},
			"nodes/node-0 nodes/node-1 nodes/node-2 nodes/node-3", ""},
		{"equal", []string{"nodes/node-7"}, Job{Kind: "node", Replicas: 1, SerialLength: 1}, "nodes/node-7", ""},
		{"newest go", []string{"nodes/node-3", "nodes/node-1", "nodes/node-0"}, Job{Kind: "node", Replicas: 1, SerialLength: 1}, "nodes/node-3", ""},
		{"all go", []string{"nodes/node-0", "nodes/node-1", "nodes/node-2", "nodes/node-3", "nodes/node-4"}, Job{Kind: "node", SerialLength: 6}, "", ""},
		{"others stay", []string{"!nodes/other", "nodes/node-0"}, Job{Kind: "node", SerialLength: 1}, "nodes/other", ""},
		{"other namespaces stay", []string{"namespaces/a/pods/pod-0"}, Job{Kind: "pod", Namespace: "b", Replicas: 0, SerialLength: 1}, "a/pods/pod-0", ""},
		{"being deleted", []string{"-nodes/node-0"}, Job{Kind: "node", Replicas: 1, SerialLength: 1}, "nodes/node-0 nodes/node-1", ""},
		{"plain name being deleted", []string{"-nodes/n"}, Job{Kind: "node", Name: "n", Replicas: 1}, "nodes/n", "create nodes n: it is being deleted"},
		{"name is taken", []string{"!nodes/node-0"}, Job{Kind: "node", Replicas: 1, SerialLength: 1}, "nodes/node-0", "create nodes node-0: AlreadyExists"},
		{"unknown kind", nil, Job{Kind: "cow", Replicas: 1}, "", "no KwokctlResource of that name; there are node, pod"},
		{"negative", nil, Job{Kind: "node", Replicas: -1}, "", "replicas -1"},
		{"no serial", nil, Job{Kind: "node", Replicas: 2}, "", "serial length 0"},
		{"long serial", nil, Job{Kind: "node", Replicas: 2, SerialLength: 99}, "", "serial length 99"},
		{"bad name", nil, Job{Kind: "node", Name: "A/b", Replicas: 1}, "", "bad name"},
		{"bad param", nil, Job{Kind: "node", Replicas: 1, SerialLength: 1, Params: []string{".["}}, "", "--param"},
		{"param of two", nil, Job{Kind: "node", Replicas: 1, SerialLength: 1, Params: []string{".,."}}, "", "has 2 outputs"},
		{"param of text", nil, Job{Kind: "node", Replicas: 1, SerialLength: 1, Params: []string{`"x"`}}, "", "no object"},
		{"no output", nil, Job{Kind: "x", Replicas: 1, SerialLength: 1, Resource: &api.KwokctlResource{}}, "", "not an object"},
		{"no kind", nil, Job{Kind: "x", Replicas: 1, SerialLength: 1, Resource: &api.KwokctlResource{Template: "a: b"}}, "", "no kind"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newStore(t)
			tt.job.Version = "v1"
			name := tt.job.Name
			if name == "" {
				name = tt.job.Kind
			}
			s.fill(tt.have, name)
			last := 0
			err := Run(t.Context(), &rest.Config{Host: s.URL}, tt.job, func(done, total int) {
				if done != last+1 || done > total {
					t.Errorf("progress %d of %d after %d", done, total, last)
				}
				last = done
			})
			if (err == nil) != (tt.err == "") || err != nil && (!strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "\n")) {
				t.Fatalf("got %v, want %q", err, tt.err)
			}
			if got := s.names(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func (s *store) fill(paths []string, name string) {
	for _, p := range paths {
		bare := strings.TrimLeft(p, "!-")
		s.clock = s.clock.Add(time.Second)
		o := metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: filepath.Base(bare), CreationTimestamp: metav1.NewTime(s.clock)}}
		if p[0] != '!' {
			o.Labels = map[string]string{Label: name}
		}
		if p[0] == '-' {
			now := metav1.NewTime(s.clock)
			o.DeletionTimestamp = &now
		}
		s.objects["/api/v1/"+bare] = o
	}
}

// TestFaults loses answers, refuses and delays, as a busy or restarting API server does.
func TestFaults(t *testing.T) {
	t.Parallel()
	for name, code := range map[string]int{"busy": 429, "down": 503, "no account yet": 403, "answer lost": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStore(t)
			failed := map[string]bool{}
			s.each = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodPost || len(failed) >= 5 {
					return false
				}
				failed[fmt.Sprint(len(failed))] = true
				if code == 0 { // it is done, but nobody is told
					s.objects[r.URL.Path+"/node-"+fmt.Sprint(len(failed)-1)] = metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
						Name: "node-" + fmt.Sprint(len(failed)-1), Labels: map[string]string{Label: "node"}}}
					panic(http.ErrAbortHandler)
				}
				w.WriteHeader(code)
				_, _ = io.WriteString(w, `{"kind":"Status","reason":"Forbidden","message":"error looking up service account a/default: not found"}`)
				return true
			}
			if err := Run(t.Context(), &rest.Config{Host: s.URL}, Job{Kind: "node", Replicas: 8, SerialLength: 1}, nil); err != nil {
				t.Fatal(err)
			}
			if n := len(s.objects); n != 8 {
				t.Errorf("%d objects: %s", n, s.names())
			}
		})
	}
}

func render[T any](t *testing.T, job Job, serial int) T {
	t.Helper()
	r, err := builtIn(job.Kind)
	if err != nil {
		t.Fatal(err)
	}
	job.Resource, job.Name, job.SerialLength = r, job.Kind, 6
	params, err := parameters(r.Parameters, job.Params)
	if err != nil {
		t.Fatal(err)
	}
	rr, err := newRenderer(job, params, nil)
	if err != nil {
		t.Fatal(err)
	}
	o, err := rr.render(serial, serial, job.Namespace)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(o)
	var typed T
	if err := yaml.UnmarshalStrict(text, &typed); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return typed
}

func TestNodeTemplate(t *testing.T) {
	t.Parallel()
	n := render[corev1.Node](t, Job{Kind: "node", Params: []string{`.capacity.cpu = 64`, `.allocatable["example.com/gpu"] = 10000000`,
		`.nodeInfo.kubeletVersion = "kwok"`}}, 300)
	got, _ := json.Marshal(n)
	want := `{"kind":"Node","apiVersion":"v1","metadata":{"name":"node-000300","labels":{` +
		`"beta.kubernetes.io/arch":"amd64","beta.kubernetes.io/os":"linux","kubernetes.io/arch":"amd64",` +
		`"kubernetes.io/hostname":"node-000300","kubernetes.io/os":"linux","kubernetes.io/role":"agent",` +
		`"kwok.x-k8s.io/kwokctl-scale":"node","node-role.kubernetes.io/agent":"","type":"kwok"},` +
		`"annotations":{"kwok.x-k8s.io/node":"fake","metrics.k8s.io/resource-metrics-path":"/metrics/nodes/node-000300/metrics/resource",` +
		`"node.alpha.kubernetes.io/ttl":"0"}},"spec":{"podCIDR":"10.1.44.0/24","podCIDRs":["10.1.44.0/24","fd00:0:0:12c::/64"]},` +
		`"status":{"capacity":{"cpu":"64","example.com/gpu":"10M","memory":"256Gi","pods":"110"},` +
		`"allocatable":{"cpu":"32","example.com/gpu":"10M","memory":"256Gi","pods":"110"},` +
		`"addresses":[{"type":"InternalIP","address":"192.0.3.45"},{"type":"InternalIP","address":"2001:db8::12d"}],` +
		`"daemonEndpoints":{"kubeletEndpoint":{"Port":0}},"nodeInfo":{"machineID":"","systemUUID":"","bootID":"",` +
		`"kernelVersion":"","osImage":"","containerRuntimeVersion":"","kubeletVersion":"kwok","kubeProxyVersion":"",` +
		`"operatingSystem":"linux","architecture":"amd64"}}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	empty := render[corev1.Node](t, Job{Kind: "node", Params: []string{`.allocatable = {} | .podCIDRs = [] | .nodeIPs = []`}}, 0)
	if len(empty.Status.Capacity) > 0 || len(empty.Spec.PodCIDR) > 0 || len(empty.Status.Addresses) > 0 {
		t.Errorf("%+v", empty)
	}
}

func TestPodTemplate(t *testing.T) {
	t.Parallel()
	p := render[corev1.Pod](t, Job{Kind: "pod"}, 1)
	if p.Namespace != "default" || p.Name != "pod-000001" || len(p.Spec.Containers) != 1 || p.Spec.Containers[0].Image != "busybox" ||
		p.Spec.HostNetwork || p.Spec.NodeName != "" || p.Labels[Label] != "pod" || len(p.Spec.Containers[0].Resources.Limits) > 0 {
		t.Errorf("%+v", p)
	}
	p = render[corev1.Pod](t, Job{Kind: "pod", Namespace: "x", Params: []string{`.nodeName="n1"`, `.hostNetwork=true`,
		`.initContainers=[{name:"i",image:"b"}]`, `.containers[0].resources={requests:{cpu:1,memory:"1Gi"},limits:{cpu:2}}`}}, 1)
	c := p.Spec.Containers[0].Resources
	if p.Namespace != "x" || p.Spec.NodeName != "n1" || !p.Spec.HostNetwork || len(p.Spec.InitContainers) != 1 ||
		c.Requests.Cpu().String() != "1" || c.Limits.Cpu().String() != "2" || c.Limits.Memory().String() != "1Gi" {
		t.Errorf("%+v", p.Spec)
	}
}

func TestAdd(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		f    func(string, int) (string, error)
		text string
		n    int
		want string
	}{
		{addCIDR, "10.0.0.0/24", 0, "10.0.0.0/24"},
		{addCIDR, "10.0.0.7/24", 256, "10.1.0.0/24"},
		{addCIDR, "255.255.255.0/24", 1, ""},
		{addCIDR, "10.0.0.0/24", -1, "9.255.255.0/24"},
		{addCIDR, "0.0.0.0/24", -1, ""},
		{addCIDR, "fd00::/64", 65536, "fd00:0:1::/64"},
		{addCIDR, "10.0.0.0", 1, ""},
		{addIP, "192.0.2.255", 1, "192.0.3.0"},
		{addIP, "255.255.255.255", 1, ""},
		{addIP, "2001:db8::1", 1 << 16, "2001:db8::1:1"},
		{addIP, "x", 1, ""},
	} {
		if got, err := tt.f(tt.text, tt.n); got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s + %d: got %q, %v; want %q", tt.text, tt.n, got, err, tt.want)
		}
	}
}

// TestVerbatim prints parameters as they were written.
func TestVerbatim(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ param, template, want string }{
		{`.v=1.10`, "{{ .v }}", "1.10"},
		{`.v=-1.10`, "{{ .v }}", "-1.10"},
		{`.v=1e3`, "{{ .v }}", "1e3"},
		{`.v=10000000`, "{{ .v }}", "10000000"},
		{`.v=12345678901234567890`, "{{ .v }}", "12345678901234567890"},
		{`.v="1.10"`, "{{ .v }}", "1.10"},
		{`.v={a: [1.10, 2]}`, "{{ index .v.a 0 }} {{ index .v.a 1 }}", "1.10 2"},
		{`.v=1.10+1`, "{{ .v }}", "2.1"},
		{`.v=.whole*1e7`, "{{ .v }}", "30000000"},
		{`.v=("1.10"|tostring)`, "{{ .v }}", "1.10"},
		{`.v=(if 1.10 == 1.1 then "same" else "other" end)`, "{{ .v }}", "same"},
		{`.v=1`, "{{ .whole }} {{ if gt .whole 2 }}more{{ end }} {{ .half }}", "3 more 0.5"},
	} {
		job := Job{Kind: "thing", Resource: &api.KwokctlResource{Template: "text: |-\n  " + tt.template,
			Parameters: map[string]any{"whole": int64(3), "half": 0.5}}}
		params, err := parameters(job.Resource.Parameters, []string{tt.param})
		if err != nil {
			t.Errorf("%s: %v", tt.param, err)
			continue
		}
		r, err := newRenderer(job, params, nil)
		if err != nil {
			t.Fatal(err)
		}
		if o, err := r.render(0, 0, ""); err != nil || o["text"] != tt.want {
			t.Errorf("%s: got %q, %v; want %q", tt.param, o["text"], err, tt.want)
		}
	}
}

func BenchmarkRender(b *testing.B) {
	for _, kind := range []string{"node", "pod"} {
		b.Run(kind, func(b *testing.B) {
			r, err := builtIn(kind)
			if err != nil {
				b.Fatal(err)
			}
			rr, err := newRenderer(Job{Kind: kind, Name: kind, SerialLength: 6, Resource: r}, verbatim(r.Parameters).(map[string]any), nil)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if _, err := rr.render(7, 7, ""); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
