package controller

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"k8s.io/client-go/rest"

	"kwokctl/internal/api"
	"kwokctl/internal/kubelet"
)

// certify reads the certificates that the nodes' HTTP side needs. Unless told otherwise it takes clients to be signed by
// the authority that we know the API server by, which is so in most clusters; it is none of the system's. Without a
// serving certificate it stays away, which is said to those who have configured it.
func (c *config) certify(server *rest.Config, log *slog.Logger) (err error) {
	if c.cert, c.cas, err = kubelet.Credentials(&c.opts); err != nil || c.cas != nil {
		return err
	}
	if c.cert != nil {
		known := rest.CopyConfig(server)
		if err := rest.LoadTLSFiles(known); err != nil {
			return fmt.Errorf("read the API server's authority: %w", err)
		}
		if pool := x509.NewCertPool(); pool.AppendCertsFromPEM(known.CAData) {
			c.cas = pool
		}
		return nil
	}
	inCluster := slices.ContainsFunc(kubelet.Kinds(), func(k string) bool { return slices.Contains(c.opts.EnableCRDs, k) })
	if len(c.rules) > 0 || inCluster {
		log.Warn("no --tls-cert-file: kubectl logs, exec, attach and port-forward are not answered")
	}
	return nil
}

// follow reads the objects of one kind of ours. It calls begin when all of them come anew, take for one after the other,
// and whole whenever it is known which there are; until then those of before count.
func (l *loop) follow(ctx context.Context, kind string, begin func(), take func(name string, e event), whole func()) {
	in := make(chan batch)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { l.readKind(ctx, ruleObjects, api.ResourceRef{APIGroup: api.Version, Kind: kind}, nil, in) })
	complete := false
	for {
		var b batch
		select {
		case b = <-in:
		case <-ctx.Done():
			return
		}
		if b.refused != nil {
			l.log.Warn("no right to read a kind", "object", kind, "err", b.refused)
		}
		if b.begin || b.missing {
			begin()
			complete = b.missing
		}
		for _, e := range b.events {
			m := e.obj.Meta()
			take(m.Namespace+"/"+m.Name, e)
		}
		if complete = complete || b.end; complete {
			whole()
		}
	}
}

// readRules reads the objects of one kind that say how the nodes' HTTP side answers, and hands them on whenever they
// change. One that cannot be read is left out.
func (l *loop) readRules(ctx context.Context, kind string) {
	have := map[string]api.Object{}
	l.follow(ctx, kind, func() { clear(have) }, func(name string, e event) {
		delete(have, name)
		if e.gone {
			return
		}
		o, err := readObject(e.obj, kind)
		if err != nil {
			l.log.Error("object is left out", "object", kind+" "+name, "err", err)
			return
		}
		have[name] = o
	}, func() { l.rules.SetLive(kind, sorted(have)) })
}

// sorted is what a map has, in the order of its keys.
func sorted[T any](m map[string]T) []T {
	list := make([]T, 0, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		list = append(list, m[key])
	}
	return list
}
