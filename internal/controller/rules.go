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
	o := &c.opts
	if o.TLSCertFile+o.TLSPrivateKeyFile != "" {
		if c.cert, err = kubelet.Certificate(o.TLSCertFile, o.TLSPrivateKeyFile); err != nil {
			return err
		}
		if o.ClientCAFile != "" {
			c.cas, err = kubelet.Authorities(o.ClientCAFile)
			return err
		}
		known := rest.CopyConfig(server)
		if err := rest.LoadTLSFiles(known); err != nil {
			return fmt.Errorf("read the API server's authority: %w", err)
		}
		if pool := x509.NewCertPool(); pool.AppendCertsFromPEM(known.CAData) {
			c.cas = pool
		}
		return nil
	}
	inCluster := slices.ContainsFunc(kubelet.Kinds(), func(k string) bool { return slices.Contains(o.EnableCRDs, k) })
	if len(c.rules) > 0 || inCluster {
		log.Warn("no --tls-cert-file: kubectl logs, exec, attach and port-forward are not answered")
	}
	return nil
}

// readRules reads the objects of one kind that say how the nodes' HTTP side answers, and hands them on whenever they
// change. One that cannot be read is left out.
func (l *loop) readRules(ctx context.Context, kind string) {
	in := make(chan batch)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { l.readKind(ctx, ruleObjects, api.ResourceRef{APIGroup: api.Version, Kind: kind}, nil, in) })
	have, complete := map[string]api.Object{}, false
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
			have, complete = map[string]api.Object{}, b.missing
		}
		for _, e := range b.events {
			l.takeRule(have, kind, e)
		}
		complete = complete || b.end
		if !complete {
			continue // what there was before counts until all is known
		}
		var list []api.Object
		for _, name := range slices.Sorted(maps.Keys(have)) {
			list = append(list, have[name])
		}
		l.rules.SetLive(kind, list)
	}
}

func (l *loop) takeRule(have map[string]api.Object, kind string, e event) {
	m := e.obj.Meta()
	name := m.Namespace + "/" + m.Name
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
}
