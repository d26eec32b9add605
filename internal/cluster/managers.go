package cluster

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"kwokctl/internal/components"
	"kwokctl/internal/files"
	"kwokctl/internal/pki"
	"kwokctl/runtimes"
	"kwokctl/runtimes/docker"
)

// remote tells whether manifests have to be fetched.
func remote(from string) bool { return strings.Contains(from, "://") }

// bring reads the manifests of managers: of those that have all of them here or, when they can be fetched, of the
// others.
func (r *Create) bring(fetch func(address string) ([]byte, error)) error {
	for _, m := range components.Managers(&r.Config.Options) {
		if slices.ContainsFunc(m.Manifests, remote) != (fetch != nil) {
			continue
		}
		var all [][]byte
		for _, from := range m.Manifests {
			read := r.ReadManifest
			if remote(from) {
				read = fetch
			}
			part, err := read(from)
			if err != nil {
				return fmt.Errorf("manifests of %s: %w; --%[1]s-manifests names others", m.Name, err)
			}
			all = append(all, part)
		}
		adapted, err := components.Adapt(m.Name, bytes.Join(all, []byte("\n---\n")))
		if err != nil {
			return fmt.Errorf("manifests of %s: %s: %w", m.Name, strings.Join(m.Manifests, ", "), err)
		}
		r.Files = append(r.Files, adapted...)
	}
	return nil
}

// Managers have certificates of their own making: for a client, which has the rights of a service account, and for
// webhooks. They are made anew when less than this is left of them; managers themselves would do so a little later.
const managerEarly = 120 * 24 * time.Hour

// installManagers makes what certificates are missing for managers.
func (c *Cluster) installManagers(now time.Time) error {
	for _, m := range components.Managers(&c.Config.Options) {
		client := pkiDir + "/" + m.Name
		if pki.Expiring(c.read(client+".crt"), now, managerEarly) {
			cert, key, err := pki.Sign(c.read(pkiDir+"/ca.crt"), c.read(pkiDir+"/ca.key"), m.User, m.Groups, now)
			if err != nil {
				return err
			}
			if err := writeAll(c.Dir, map[string][]byte{client + ".crt": cert, client + ".key": key}); err != nil {
				return err
			}
		}
		dir := components.WebhookDir(m.Name)
		if m.Service == "" || !pki.Expiring(c.read(dir+"/tls.crt"), now, managerEarly) {
			continue
		}
		made, err := pki.MakeWebhook(m.Name+"-ca", []string{m.Service, m.Name, docker.ContainerName(c.Name, m.Name)}, now, rand.Reader)
		if err != nil {
			return err
		}
		if err := c.replaceDir(dir, made); err != nil {
			return err
		}
	}
	return nil
}

// replaceDir makes a directory below the cluster's hold these files, all or none.
func (c *Cluster) replaceDir(dir string, made map[string][]byte) error {
	path := filepath.Join(c.Dir, dir)
	parent, name := filepath.Split(path)
	if err := writeAll(path+".new", made); err != nil { // over what was left of one that was cut
		return err
	}
	if err := files.RemoveTree(parent, name); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// manyObjects is the size of etcd's database, in bytes, of some ten thousand pods.
const manyObjects = 32 << 20

// waves splits the components in those that start first, and those that start when the manifests are applied, with
// those that need them. When there are many objects, the controller-manager is one of these: it is ready before it has
// read them, which takes the processors from those that are not.
func (c *Cluster) waves() (first, then []runtimes.Spec) {
	late := slices.Clone(c.last)
	if used, _ := c.etcdUse(); used > manyObjects {
		late = append(late, "kube-controller-manager")
	}
	for _, s := range c.specs { // in the order of need
		if slices.ContainsFunc(s.Needs, func(n string) bool { return slices.Contains(late, n) }) {
			late = append(late, s.Name)
		}
		if slices.Contains(late, s.Name) {
			then = append(then, s)
		} else {
			first = append(first, s)
		}
	}
	return first, then
}
