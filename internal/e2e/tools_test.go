package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"kwokctl/internal/api"
)

// all are the components of a cluster, in the order of need.
var all = []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok-controller"}

// shell runs a script of sh in the home of this world, where ./kwokctl is.
func (w *world) shell(script string, env ...string) result {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", script)
	cmd.Env, cmd.Dir = append(slices.Clone(w.env), env...), w.home
	return w.finish(cmd)
}

// in is this world as a sub-test sees it.
func (w *world) in(t *testing.T) *world {
	sub := *w
	sub.t = t
	return &sub
}

// moveTo makes dir the work directory of this world.
func (w *world) moveTo(dir string) {
	w.dir = dir
	for i, e := range w.env {
		if strings.HasPrefix(e, "KWOK_WORKDIR=") {
			w.env[i] = "KWOK_WORKDIR=" + dir
		}
	}
}

// pids returns the processes of a cluster by the name they go by.
func (w *world) pids(name string) map[string]int {
	pids := map[string]int{}
	for pid, args := range w.processes() {
		if cwd, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid)); cwd == w.cluster(name) {
			pids[strings.Fields(args)[0]] = pid
		}
	}
	return pids
}

func (w *world) kill(pid int) {
	w.t.Helper()
	if pid <= 1 {
		w.t.Fatalf("kill: pid %d", pid)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		w.t.Fatalf("kill %d: %v", pid, err)
	}
}

// ready fails the test unless a cluster is Ready and has one process for each component and one supervisor.
func (w *world) ready(name string) {
	w.t.Helper()
	if got := w.status(name); got != "Ready" {
		w.t.Errorf("status of cluster %s: %q; its components: %+v", name, got, w.components(name))
	}
	if w.runtime != "" {
		if got := w.thingsOf(name); len(got) != len(all)+3 { // a network and two volumes
			w.t.Errorf("the engine has %v of cluster %s", got, name)
		}
	} else if got := w.processesOf(name); len(got) != len(all)+1 {
		w.t.Errorf("cluster %s has %d processes, want %d: %q", name, len(got), len(all)+1, got)
	}
}

func (w *world) processesOf(name string) []string {
	var list []string
	for pid, args := range w.processes() {
		if cwd, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid)); strings.TrimSuffix(cwd, " (deleted)") == w.cluster(name) {
			list = append(list, fmt.Sprintf("%d %.60s", pid, args))
		}
	}
	return list
}

// gone fails the test when anything of a cluster is left.
func (w *world) gone(name string) {
	w.t.Helper()
	if left := w.processesOf(name); len(left) > 0 {
		w.t.Errorf("processes of cluster %s are left: %q", name, left)
	}
	if left := w.thingsOf(name); len(left) > 0 {
		w.t.Errorf("the engine still has %v of cluster %s", left, name)
	}
	entries, _ := os.ReadDir(filepath.Join(w.dir, "clusters"))
	for _, e := range entries {
		if strings.Contains(e.Name(), name) {
			w.t.Errorf("%s of cluster %s is left", e.Name(), name)
		}
	}
	if strings.Contains(read(w.kubeconfig()), "kwok-"+name) {
		w.t.Errorf("context of cluster %s is left in the kubeconfig file", name)
	}
}

// oneLine fails the test unless a command failed with one line that holds some words.
func (w *world) oneLine(what string, r result, words ...string) {
	w.t.Helper()
	w.lineWith(1, what, r, words...)
}

// lineWith is oneLine for another exit status.
func (w *world) lineWith(status int, what string, r result, words ...string) {
	w.t.Helper()
	if r.code != status {
		w.t.Errorf("%s: exit status %d, want %d", what, r.code, status)
	}
	ours := strings.HasPrefix(r.stderr, "kwokctl: ") || strings.HasPrefix(r.stderr, "kectl: ")
	if strings.Count(r.stderr, "\n") != 1 || !ours || r.stdout != "" {
		w.t.Errorf("%s: want one line on standard error; there is %.400q, and on standard output %.100q", what, r.stderr, r.stdout)
	}
	for _, word := range words {
		if !strings.Contains(r.stderr, word) {
			w.t.Errorf("%s: %q is not in the message %.400q", what, word, r.stderr)
		}
	}
}

// tree is what is below a directory: for each path the mode, and the hash of a file or the target of a link.
func tree(dir string) map[string]string {
	all := map[string]string{}
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // gone meanwhile
		}
		info, err := d.Info()
		if err != nil {
			return nil
		}
		content := ""
		switch {
		case info.Mode().IsRegular():
			data, _ := os.ReadFile(path)
			content = fmt.Sprintf("%x", sha256.Sum256(data))
		case info.Mode()&fs.ModeSymlink != 0:
			content, _ = os.Readlink(path)
		}
		name, _ := filepath.Rel(dir, path)
		all[name] = info.Mode().String() + " " + content
		return nil
	})
	return all
}

// differ lists the paths in which two trees differ.
func differ(a, b map[string]string) []string {
	var names []string
	for name := range a {
		if a[name] != b[name] {
			names = append(names, name)
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// ports returns the ports that a cluster takes of this machine, as its configuration says, by component.
func (w *world) ports(name string) map[string]int {
	w.t.Helper()
	path := filepath.Join(w.cluster(name), "kwok.yaml")
	objs, err := api.Load(strings.NewReader(read(path)), path)
	if err != nil {
		w.t.Fatal(err)
	}
	ports := map[string]int{}
	for _, c := range api.Of[*api.KwokctlConfiguration](objs)[0].Components {
		for _, p := range c.Ports {
			if p.HostPort != 0 {
				ports[c.Name] = p.HostPort
			}
		}
	}
	return ports
}

// occupy listens on a port of the loopback address, 0 for a free one, until the test ends or the listener is closed.
func occupy(t testing.TB, port int) (net.Listener, int) {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, l.Addr().(*net.TCPAddr).Port
}

// listeners returns the addresses of TCP sockets that a process listens on.
func listeners(t testing.TB, pid int) []string {
	t.Helper()
	mine := map[string]bool{}
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil {
			mine[target] = true
		}
	}
	var list []string
	for _, table := range []string{"tcp", "tcp6"} {
		for line := range strings.Lines(read(fmt.Sprintf("/proc/%d/net/%s", pid, table))) {
			f := strings.Fields(line) // sl local_address rem_address st … inode
			if len(f) > 9 && f[3] == "0A" && mine["socket:["+f[9]+"]"] {
				list = append(list, address(t, f[1]))
			}
		}
	}
	return list
}

// address decodes an address of /proc/net/tcp: words in the order of this machine, which is little-endian.
func address(t testing.TB, text string) string {
	t.Helper()
	host, port, _ := strings.Cut(text, ":")
	ip, err := hex.DecodeString(host)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(ip); i += 4 {
		slices.Reverse(ip[i : i+4])
	}
	n, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort(net.IP(ip).String(), strconv.Itoa(int(n)))
}

// visitor is an HTTPS client that trusts one authority of a cluster and shows one certificate of it, "" for none.
func (w *world) visitor(name, ca, cert string) *http.Client {
	w.t.Helper()
	dir := filepath.Join(w.cluster(name), "pki")
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	if !config.RootCAs.AppendCertsFromPEM([]byte(read(filepath.Join(dir, ca+".crt")))) {
		w.t.Fatalf("no certificate in %s.crt", ca)
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(filepath.Join(dir, cert+".crt"), filepath.Join(dir, cert+".key"))
		if err != nil {
			w.t.Fatal(err)
		}
		// Shown whatever authority the server asks for: an attacker would not hold it back.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	c := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}}
	w.t.Cleanup(c.CloseIdleConnections)
	return c
}

// call sends a request and returns the status and the body; an error when there is no answer.
func call(c *http.Client, method, url, body string, header ...string) (int, string, error) {
	req, err := http.NewRequest(method, url, bytes.NewReader([]byte(body)))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

// server is the address of a cluster's API server.
func (w *world) server(name string) string {
	w.t.Helper()
	var list []struct{ Name, Server string }
	if err := json.Unmarshal([]byte(w.ok("get", "clusters", "-o", "json")), &list); err != nil {
		w.t.Fatal(err)
	}
	for _, c := range list {
		if c.Name == name {
			return c.Server
		}
	}
	w.t.Fatalf("no cluster %s", name)
	return ""
}
