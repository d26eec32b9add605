package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"kwokctl/internal/kube"
)

// examined is how many objects of a kind are looked at: enough to see what is wrong with all.
const examined = "5000"

// examineObjects looks at nodes, their leases and pods that wait.
func (c *Cluster) examineObjects(ctx context.Context, r *report) {
	config, err := kube.Connect(c.Kubeconfig(), "")
	if err == nil {
		var client *kube.Client
		if client, err = kube.New(config); err == nil {
			for _, examine := range []func(context.Context, *kube.Client, *report) error{examineLeases, examineNodes, examinePods} {
				if err = examine(ctx, client, r); err != nil {
					break
				}
			}
		}
	}
	if err != nil {
		r.problem("see kwokctl logs kube-apiserver --name "+c.Name, "the API server does not answer: %v", err)
	}
}

// listed reads the objects at path into a list type.
func listed(ctx context.Context, client *kube.Client, path string, query url.Values, into any) error {
	query.Set("limit", examined)
	body, err := client.Do(ctx, kube.Request{Method: http.MethodGet, Path: path, Query: query})
	if err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}

// examineLeases finds out whether more than one controller plays nodes.
func examineLeases(ctx context.Context, client *kube.Client, r *report) error {
	var list struct {
		Items []struct {
			Spec struct {
				HolderIdentity       string
				LeaseDurationSeconds int
				RenewTime            time.Time
			}
		}
	}
	if err := listed(ctx, client, "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases", url.Values{}, &list); err != nil {
		return err
	}
	held := map[string]int{}
	for _, lease := range list.Items {
		s := lease.Spec
		if s.HolderIdentity != "" && s.RenewTime.Add(time.Duration(s.LeaseDurationSeconds)*time.Second).After(time.Now()) {
			held[s.HolderIdentity]++
		}
	}
	if len(held) < 2 {
		return nil
	}
	var who []string
	for _, holder := range slices.Sorted(maps.Keys(held)) {
		who = append(who, fmt.Sprintf("%s (%d)", holder, held[holder]))
	}
	r.warning("end the controllers that are not this cluster's, or divide the nodes by selectors", "the nodes are played by more than one controller: %s", strings.Join(who, ", "))
	return nil
}

// conditions of a node or a pod.
type conditions []struct{ Type, Status, Reason, Message string }

func (c conditions) get(kind string) (status, message string) {
	for _, one := range c {
		if one.Type == kind {
			return one.Status, one.Message
		}
	}
	return "", ""
}

// examineNodes finds nodes that nobody plays.
func examineNodes(ctx context.Context, client *kube.Client, r *report) error {
	var list struct {
		Items []struct {
			Metadata struct {
				Name              string
				CreationTimestamp time.Time
			}
			Status struct{ Conditions conditions }
		}
	}
	if err := listed(ctx, client, "/api/v1/nodes", url.Values{}, &list); err != nil {
		return err
	}
	var late []string
	for _, n := range list.Items {
		if status, _ := n.Status.Conditions.get("Ready"); status != "True" && time.Since(n.Metadata.CreationTimestamp) > settleTime {
			late = append(late, n.Metadata.Name)
		}
	}
	if len(late) > 0 {
		r.problem("see that the kwok-controller runs, that Node stages match them, and that its selectors do", "nodes are not ready: %s", some(late))
	}
	return nil
}

// settleTime is how long new objects may take before something is wrong.
const settleTime = 30 * time.Second

// examinePods finds pods that can never be placed.
func examinePods(ctx context.Context, client *kube.Client, r *report) error {
	var list struct {
		Items []struct {
			Metadata struct {
				Name, Namespace   string
				CreationTimestamp time.Time
			}
			Status struct{ Conditions conditions }
		}
	}
	if err := listed(ctx, client, "/api/v1/pods", url.Values{"fieldSelector": {"status.phase=Pending"}}, &list); err != nil {
		return err
	}
	why := map[string][]string{}
	for _, p := range list.Items {
		name := p.Metadata.Namespace + "/" + p.Metadata.Name
		switch status, message := p.Status.Conditions.get("PodScheduled"); {
		case status == "False":
			message, _, _ = strings.Cut(message, " preemption:")
			message = strings.TrimRight(strings.TrimSuffix(message, " no new claims to deallocate,"), " .,")
			why[message] = append(why[message], name)
		case status == "" && time.Since(p.Metadata.CreationTimestamp) > settleTime:
			why["nobody has looked at them"] = append(why["nobody has looked at them"], name)
		}
	}
	for _, message := range slices.Sorted(maps.Keys(why)) {
		advice := "add nodes, or ask for less"
		switch {
		case strings.Contains(message, "untolerated taint"):
			advice = "add a toleration of that taint to the pods, or take it from the nodes"
		case strings.Contains(message, "no nodes available"):
			advice = "kwokctl scale node --replicas 3"
		case strings.Contains(message, "affinity") || strings.Contains(message, "selector"):
			advice = "label nodes as the pods ask for, as with kwokctl scale node --pool"
		case strings.HasPrefix(message, "nobody"):
			advice = "see that the kube-scheduler runs, and whether the pods name another schedulerName"
		}
		r.warning(advice, "pods wait: %s: %s", some(why[message]), message)
	}
	return nil
}

// some names a few of many.
func some(names []string) string {
	const few = 3
	if len(names) <= few {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:few], ", "), len(names)-few)
}
