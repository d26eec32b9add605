package api

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
)

// The kinds in this file say how the nodes' HTTP side answers. Each but Metric exists twice: Exec is for the pod of
// its own namespace and name, ClusterExec, the same struct, for the pods that its selector takes.

// PodSelector takes pods by namespace and name. An empty list takes any; so does a nil selector.
type PodSelector struct {
	MatchNamespaces []string `json:"matchNamespaces,omitempty"`
	MatchNames      []string `json:"matchNames,omitempty"`
}

// Matches reports whether the selector takes a pod.
func (s *PodSelector) Matches(namespace, name string) bool {
	return s == nil || has(s.MatchNamespaces, namespace) && has(s.MatchNames, name)
}

func has(list []string, s string) bool {
	for _, e := range list {
		if e == s {
			return true
		}
	}
	return len(list) == 0
}

// Exec says how commands are run; also ClusterExec.
type Exec struct {
	TypeMeta `json:",inline"`
	Metadata ObjectMeta `json:"metadata,omitzero"`
	Spec     ExecSpec   `json:"spec"`
	Status   Status     `json:"status,omitzero"`
}

// ExecSpec holds one rule per set of containers.
type ExecSpec struct {
	Selector *PodSelector `json:"selector,omitempty"`
	Execs    []ExecRule   `json:"execs"`
}

// ExecRule is for the containers it names; without any, for those that no other rule names.
type ExecRule struct {
	Containers []string   `json:"containers,omitempty"`
	Local      *ExecLocal `json:"local,omitempty"`
}

// ExecLocal runs the command on the machine of the controller.
type ExecLocal struct {
	WorkDir         string           `json:"workDir,omitempty"`
	Envs            []Env            `json:"envs,omitempty"`
	SecurityContext *SecurityContext `json:"securityContext,omitempty"`
}

// SecurityContext says as whom a command runs.
type SecurityContext struct {
	RunAsUser  *int64 `json:"runAsUser,omitempty"`
	RunAsGroup *int64 `json:"runAsGroup,omitempty"`
}

// Logs says what the logs of containers are; also ClusterLogs.
type Logs struct {
	TypeMeta `json:",inline"`
	Metadata ObjectMeta `json:"metadata,omitzero"`
	Spec     LogsSpec   `json:"spec"`
	Status   Status     `json:"status,omitzero"`
}

// LogsSpec holds one rule per set of containers.
type LogsSpec struct {
	Selector *PodSelector `json:"selector,omitempty"`
	Logs     []LogsRule   `json:"logs"`
}

// LogsRule is for the containers it names; without any, for those that no other rule names.
type LogsRule struct {
	Containers       []string `json:"containers,omitempty"`
	LogsFile         string   `json:"logsFile,omitempty"`
	PreviousLogsFile string   `json:"previousLogsFile,omitempty"`
	Follow           bool     `json:"follow,omitempty"`
}

// Attach says what is seen by those who attach to containers; also ClusterAttach.
type Attach struct {
	TypeMeta `json:",inline"`
	Metadata ObjectMeta `json:"metadata,omitzero"`
	Spec     AttachSpec `json:"spec"`
	Status   Status     `json:"status,omitzero"`
}

// AttachSpec holds one rule per set of containers.
type AttachSpec struct {
	Selector *PodSelector `json:"selector,omitempty"`
	Attaches []AttachRule `json:"attaches"`
}

// AttachRule is for the containers it names; without any, for those that no other rule names.
type AttachRule struct {
	Containers []string `json:"containers,omitempty"`
	LogsFile   string   `json:"logsFile,omitempty"`
}

// PortForward says where ports lead; also ClusterPortForward.
type PortForward struct {
	TypeMeta `json:",inline"`
	Metadata ObjectMeta      `json:"metadata,omitzero"`
	Spec     PortForwardSpec `json:"spec"`
	Status   Status          `json:"status,omitzero"`
}

// PortForwardSpec holds one rule per set of ports.
type PortForwardSpec struct {
	Selector *PodSelector  `json:"selector,omitempty"`
	Forwards []ForwardRule `json:"forwards"`
}

// ForwardRule is for the ports it names; without any, for those that no other rule names. Command beats Target.
type ForwardRule struct {
	Ports   []int32        `json:"ports,omitempty"`
	Target  *ForwardTarget `json:"target,omitempty"`
	Command []string       `json:"command,omitempty"`
}

// ForwardTarget is a TCP address.
type ForwardTarget struct {
	Address string `json:"address"`
	Port    int32  `json:"port"`
}

// ResourceUsage says what containers use; also ClusterResourceUsage.
type ResourceUsage struct {
	TypeMeta `json:",inline"`
	Metadata ObjectMeta        `json:"metadata,omitzero"`
	Spec     ResourceUsageSpec `json:"spec"`
	Status   Status            `json:"status,omitzero"`

	origin
}

// ResourceUsageSpec holds one rule per set of containers.
type ResourceUsageSpec struct {
	Selector *PodSelector `json:"selector,omitempty"`
	Usages   []UsageRule  `json:"usages"`
}

// UsageRule is for the containers it names; without any, for those that no other rule names.
type UsageRule struct {
	Containers []string         `json:"containers,omitempty"`
	Usage      map[string]Usage `json:"usage,omitempty"` // by name of the resource
}

// Usage is an amount, or a CEL expression that yields it. Value beats Expression.
type Usage struct {
	Value      *resource.Quantity `json:"value,omitempty"`
	Expression string             `json:"expression,omitempty"`
}

// Metric is a set of Prometheus metrics under one path.
type Metric struct {
	TypeMeta `json:",inline"`
	Metadata ObjectMeta `json:"metadata,omitzero"`
	Spec     MetricSpec `json:"spec"`
	Status   Status     `json:"status,omitzero"`

	origin
}

// MetricSpec says where metrics are served; {nodeName} in Path stands for any node's name.
type MetricSpec struct {
	Path    string         `json:"path"`
	Metrics []MetricFamily `json:"metrics"`
}

// MetricFamily is one metric, with a series per node, pod or container. Texts named value are CEL expressions.
type MetricFamily struct {
	Name      string         `json:"name"`
	Help      string         `json:"help,omitempty"`
	Kind      string         `json:"kind"`                // counter, gauge or histogram
	Dimension string         `json:"dimension,omitempty"` // node (default), pod or container
	Labels    []MetricLabel  `json:"labels,omitempty"`
	Value     string         `json:"value,omitempty"`   // counter, gauge
	Buckets   []MetricBucket `json:"buckets,omitempty"` // histogram
}

// MetricLabel is a label of every series.
type MetricLabel struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// MetricBucket counts the observations up to LE that fall into no bucket before; a hidden one adds to the next.
type MetricBucket struct {
	LE     float64 `json:"le"`
	Value  string  `json:"value"`
	Hidden bool    `json:"hidden,omitempty"`
}

// Meta returns the metadata.
func (e *Exec) Meta() *ObjectMeta { return &e.Metadata }

// Meta returns the metadata.
func (l *Logs) Meta() *ObjectMeta { return &l.Metadata }

// Meta returns the metadata.
func (a *Attach) Meta() *ObjectMeta { return &a.Metadata }

// Meta returns the metadata.
func (f *PortForward) Meta() *ObjectMeta { return &f.Metadata }

// Meta returns the metadata.
func (u *ResourceUsage) Meta() *ObjectMeta { return &u.Metadata }

// Meta returns the metadata.
func (m *Metric) Meta() *ObjectMeta { return &m.Metadata }

func (e *Exec) selector() *PodSelector          { return e.Spec.Selector }
func (l *Logs) selector() *PodSelector          { return l.Spec.Selector }
func (a *Attach) selector() *PodSelector        { return a.Spec.Selector }
func (f *PortForward) selector() *PodSelector   { return f.Spec.Selector }
func (u *ResourceUsage) selector() *PodSelector { return u.Spec.Selector }

// unselected refuses a selector in a kind that is for one pod, which shares its struct with the kind that has one.
func unselected(o Object, k Kind) error {
	if s, ok := o.(interface{ selector() *PodSelector }); ok && k.Namespaced && s.selector() != nil {
		return fmt.Errorf("spec.selector: no such field; Cluster%s has one", k.Name)
	}
	return nil
}

func (e *Exec) paths() (all []*string) {
	for i := range e.Spec.Execs {
		if l := e.Spec.Execs[i].Local; l != nil {
			all = append(all, &l.WorkDir)
		}
	}
	return all
}

func (l *Logs) paths() (all []*string) {
	for i := range l.Spec.Logs {
		all = append(all, &l.Spec.Logs[i].LogsFile, &l.Spec.Logs[i].PreviousLogsFile)
	}
	return all
}

func (a *Attach) paths() (all []*string) {
	for i := range a.Spec.Attaches {
		all = append(all, &a.Spec.Attaches[i].LogsFile)
	}
	return all
}

// absolute makes paths such that they mean the same from anywhere: ~ is the home directory, and others begin in the
// current one.
func absolute(paths []*string) error {
	for _, p := range paths {
		if *p == "" {
			continue
		}
		if rest, ok := strings.CutPrefix(*p, "~/"); ok {
			home, err := os.UserHomeDir()
			if err != nil {
				return fmt.Errorf("path %s: %w", *p, err)
			}
			*p = filepath.Join(home, rest)
		}
		full, err := filepath.Abs(*p)
		if err != nil {
			return fmt.Errorf("path %s: %w", *p, err)
		}
		*p = full
	}
	return nil
}
