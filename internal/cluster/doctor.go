package cluster

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"kwokctl/internal/files"
	"kwokctl/internal/kubeconfig"
	"kwokctl/runtimes"
	"kwokctl/runtimes/process"
)

// Finding is something that is wrong, and what to do about it.
type Finding struct {
	Severity string `json:"severity"`          // problem: it does not work; warning: it soon will not
	Cluster  string `json:"cluster,omitempty"` // empty: the machine
	Message  string `json:"message"`
	Advice   string `json:"advice"`
}

// The severities of a Finding.
const (
	Problem = "problem"
	Warning = "warning"
)

// report collects findings about one cluster, or the machine.
type report struct {
	cluster string
	list    []Finding
}

func (r *report) problem(advice, format string, args ...any) {
	r.list = append(r.list, Finding{Problem, r.cluster, fmt.Sprintf(format, args...), advice})
}

func (r *report) warning(advice, format string, args ...any) {
	r.list = append(r.list, Finding{Warning, r.cluster, fmt.Sprintf(format, args...), advice})
}

// Doctor looks at the machine and at the cluster of that name, or at all clusters when it is empty, and changes
// nothing. kubeconfigPath is the user's kubeconfig file; it may be empty.
func (h Home) Doctor(ctx context.Context, name, kubeconfigPath string) ([]Finding, error) {
	names, err := h.List()
	if err != nil {
		return nil, err
	}
	if name != "" {
		if err := h.exists(name); err != nil {
			return nil, err
		}
		names = []string{name}
	}
	all := h.examineMachine(kubeconfigPath)
	owner := map[int]string{}
	for _, name := range names {
		r := &report{cluster: name}
		h.examine(ctx, r, name, owner)
		all = append(all, r.list...)
	}
	return all, ctx.Err()
}

// enough is the free disk space below which a warning is due, in bytes: twice what a new cluster asks for.
const enough = 2 * minSpace

// examineMachine looks at what all clusters share.
func (h Home) examineMachine(kubeconfigPath string) []Finding {
	r := &report{}
	if err := process.CheckLimits(); err != nil {
		r.problem("then log in again", "%v", err)
	}
	switch free, err := files.FreeSpace(h.Dir); {
	case err != nil:
		r.problem("give $KWOK_WORKDIR another value", "%v", err)
	case free < minSpace:
		r.problem("free some, or set $KWOK_WORKDIR to a larger disk", "only %d MiB are free at %s; a new cluster asks for %d", free>>20, h.Dir, uint64(minSpace)>>20)
	case free < enough:
		r.warning("free some, or set $KWOK_WORKDIR to a larger disk", "only %d MiB are free at %s", free>>20, h.Dir)
	}
	if _, err := os.Lstat(h.Dir); err == nil {
		if err := files.CheckPrivate(h.Dir); err != nil {
			r.problem("chmod go-w it, or set $KWOK_WORKDIR to a directory of your own", "%v", err)
		}
	}
	if free := files.FreeMemory(); free > 0 && free < clusterMemory {
		r.warning("end something, or stop a cluster", "only %d MiB of memory are free; a cluster takes about %d", free>>20, uint64(clusterMemory)>>20)
	}
	h.examineDirectories(r)
	if kubeconfigPath != "" {
		if _, err := kubeconfig.Has(kubeconfigPath, "kwok"); err != nil {
			r.problem("mend it; until then clusters can only be created with --kubeconfig \"\"", "%v", err)
		}
	}
	return r.list
}

// clusterMemory is about what a small cluster takes, in bytes.
const clusterMemory = 400 << 20

// examineDirectories looks for what is among clusters and is none.
func (h Home) examineDirectories(r *report) {
	entries, err := os.ReadDir(h.clusters())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.problem("see that it is yours", "%v", err)
	}
	for _, e := range entries {
		name := e.Name()
		path := filepath.Join(h.clusters(), name)
		begun := strings.TrimSuffix(strings.TrimPrefix(name, "."), ".new")
		switch {
		case CheckName(begun) == nil && name == unmarked(begun):
			r.warning("kwokctl delete cluster --name "+begun, "%s was left by a create that was killed", path)
		case CheckName(name) != nil || !h.ours(name):
			r.warning("remove it by hand, if nobody needs it", "%s is not a cluster of kwokctl", path)
		}
	}
}

// examine looks at one cluster. owner has the ports of those before.
func (h Home) examine(ctx context.Context, r *report, name string, owner map[int]string) {
	c, err := h.Open(name)
	if err != nil {
		r.problem("kwokctl delete cluster --name "+name, "%v", err)
		return
	}
	for _, s := range c.specs {
		for _, p := range s.Published() {
			if other := owner[p.Number]; other != "" {
				r.problem("do not run them at the same time, or delete one", "port %d of %s is also that of cluster %s", p.Number, s.Name, other)
			}
			owner[p.Number] = name
		}
	}
	c.examineFiles(r)
	ask, cancel := context.WithTimeout(ctx, examineTime)
	defer cancel()
	list, err := c.Status(ask)
	if err != nil {
		r.problem("kwokctl stop cluster --name "+name+", then start", "%v", err)
		return
	}
	if c.examineComponents(r, list) {
		c.examineObjects(ask, r)
	}
}

// examineTime bounds how long one cluster may take to answer.
const examineTime = 20 * time.Second

// examineComponents tells whether the API server can be asked.
func (c *Cluster) examineComponents(r *report, list []runtimes.Status) (ready bool) {
	var stopped, died []string
	for i, s := range list {
		log := "see kwokctl logs " + s.Name + " --name " + c.Name
		switch s.State {
		case runtimes.Ready, runtimes.Waiting, runtimes.Starting:
			ready = ready || s.Name == "kube-apiserver" && s.State == runtimes.Ready
			if s.Restarts > 0 {
				r.warning(log, "%s was restarted %d times; the last time: %s", s.Name, s.Restarts, s.LastExit)
			}
		case runtimes.Stopped:
			stopped = append(stopped, s.Name)
			if s.Reason != "" {
				died = append(died, s.Name)
			}
			for _, p := range c.specs[i].Published() {
				if err := checkPort(p.Number, s.Name, nil, tryPort(c.Config)); err != nil {
					r.problem("end that program before you start the cluster", "%v", err)
				}
			}
		default:
			r.problem(log, "%s is in state %s: %s", s.Name, s.State, s.Reason)
		}
	}
	switch start := "kwokctl start cluster --name " + c.Name; {
	case len(stopped) > 0 && len(stopped) < len(list):
		r.problem(start, "stopped while others run: %s", strings.Join(stopped, ", "))
	case len(died) > 0:
		r.warning(start+" brings it back as it was", "nobody stopped it: it was killed, or the machine was switched off")
	}
	return ready
}

// examineFiles looks at certificates, programs, and etcd's database.
func (c *Cluster) examineFiles(r *report) {
	soon := time.Now().AddDate(0, 0, 30)
	certs, _ := filepath.Glob(filepath.Join(c.Dir, pkiDir, "*.crt"))
	var late []string
	for _, path := range certs {
		text, err := os.ReadFile(path)
		if err != nil {
			r.problem("see that it is yours", "%v", err)
			continue
		}
		block, _ := pem.Decode(text)
		if block == nil {
			r.problem("delete the cluster", "%s is damaged", path)
			continue
		}
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil && cert.NotAfter.Before(soon) {
			late = append(late, strings.TrimSuffix(filepath.Base(path), ".crt"))
		}
	}
	if len(late) > 0 {
		r.warning("kwokctl stop cluster, then start: that renews them", "certificates run out within 30 days: %s", strings.Join(late, ", "))
	}
	for _, s := range c.specs {
		if _, err := os.Stat(s.Program); filepath.IsAbs(s.Program) && err != nil {
			r.problem("put it back, or delete the cluster", "the program of %s is gone: %s", s.Name, s.Program)
		}
	}
	if used, quota := c.etcdUse(); quota > 0 && used > quota/5*4 {
		r.problem("delete objects, then: kwokctl etcdctl compact and defrag; or a cluster with a larger --etcd-quota-backend-size",
			"etcd's database has %d MiB of the %d that it may have; when it is full nothing can be written", used>>20, quota>>20)
	}
	if has, err := kubeconfigHas(c); err == nil && !has {
		r.warning("kwokctl create cluster --name "+c.Name+" adds it again", "context %s is gone from %s", Context(c.Name), c.Config.Status.Kubeconfig)
	}
}

func kubeconfigHas(c *Cluster) (bool, error) {
	path := c.Config.Status.Kubeconfig
	if path == "" {
		return true, nil
	}
	return kubeconfig.Has(path, Context(c.Name))
}

// etcdUse is how large etcd's database is and may be, in bytes; 0 when that is not known.
func (c *Cluster) etcdUse() (used, quota int64) {
	info, err := os.Stat(filepath.Join(c.Dir, "etcd", "member", "snap", "db"))
	i := slices.IndexFunc(c.specs, func(s runtimes.Spec) bool { return s.Name == "etcd" })
	if err != nil || i < 0 {
		return 0, 0
	}
	for _, arg := range c.specs[i].Args {
		_, _ = fmt.Sscanf(arg, "--quota-backend-bytes=%d", &quota) // not this argument
	}
	return info.Size(), quota
}
