package cluster

import (
	"path/filepath"

	"kwokctl/internal/components"
	"kwokctl/internal/snapshot"
)

// DrySave writes how the state is saved, in etcd's format.
func (c *Cluster) DrySave(s *Script, path string) error {
	s.Command("etcdctl", "--endpoints=unix://"+c.EtcdSocket(), "snapshot", "save", path)
	return s.Err()
}

// DryRestore writes how a snapshot in etcd's format is restored.
func (c *Cluster) DryRestore(s *Script, path string) error {
	own, prev, made := filepath.Join(c.Dir, components.DataDir), filepath.Join(c.Dir, prevDir), filepath.Join(c.Dir, stageDir, components.DataDir)
	s.Command("etcdutl", "snapshot", "status", path)
	s.Command(append([]string{"etcdutl"}, snapshot.RestoreArgs(path, made, components.Member, components.PeerURL, "1000000000")...)...)
	if err := c.DryStop(s); err != nil {
		return err
	}
	s.Command("mv", own, prev)
	s.Command("mv", made, own)
	if err := c.DryStart(s); err != nil {
		return err
	}
	s.Command("rm", "-rf", prev)
	return s.Err()
}
