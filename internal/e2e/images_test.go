package e2e

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kwokctl/runtimes/docker"
)

// TestUnpulledImages asks for images that cannot be had. Each time there is one line, and nothing is made.
func TestUnpulledImages(t *testing.T) { inContainers(t, testUnpulledImages) }

func testUnpulledImages(t *testing.T, w *world) {
	refused := func(status int, what string, args []string, words ...string) {
		t.Helper()
		w.lineWith(status, what, w.run(append([]string{"create", "cluster", "--name", "none"}, args...)...), words...)
		w.gone("none")
	}
	refused(1, "unreachable", []string{"--kube-scheduler-image", "127.0.0.1:1/x:1"}, "image of kube-scheduler", "127.0.0.1:1/x:1", "refused")
	refused(1, "bad name", []string{"--kube-scheduler-image", "x/UPPER"}, "image of kube-scheduler", `"x/UPPER"`)
	refused(1, "program", []string{"--kube-scheduler-binary", "/bin/true"}, "--kube-scheduler-image")
	w.env = append(w.env, "KWOK_KUBE_IMAGE_PREFIX=127.0.0.1:1", "KWOK_KUBE_VERSION=1.35.2")
	refused(1, "another version", nil, "127.0.0.1:1/kube-apiserver:v1.35.2", "KWOK_KUBE_IMAGE_PREFIX")
	if got := w.ok("get", "artifacts", "--runtime", w.runtime, "--filter", "image"); got != "127.0.0.1:1/kube-apiserver:v1.35.2\n127.0.0.1:1/kube-controller-manager:v1.35.2\n127.0.0.1:1/kube-scheduler:v1.35.2\n" {
		t.Errorf("artifacts: %q", got)
	}
	w.env = w.env[:len(w.env)-2]
	if w.runtime == docker.Podman {
		return // it speaks TLS alone to registries, unless its machine's configuration says otherwise
	}
	r := newRegistry(t, make([]byte, 1<<20))
	refused(1, "unknown tag", []string{"--etcd-image", r.image("none")}, "image of etcd", "manifest unknown")
	refused(124, "silent", []string{"--etcd-image", r.image("hang"), "--timeout", "2s"}, "not done within 2s")
	cut := w.run("create", "cluster", "--name", "none", "--etcd-image", r.image("cut"), "--timeout", "4s") // the engine tries again
	if cut.code != 124 || !strings.Contains(cut.stderr, "not done within 4s") {
		t.Errorf("cut: exit status %d: %s", cut.code, cut.stderr)
	}
	w.gone("none")
	w.askedForLogin(refused)
}

// askedForLogin pulls from a registry that asks who the user is. Of the images, those that come first are pulled first.
func (w *world) askedForLogin(refused func(status int, what string, args []string, words ...string)) {
	const password = "open-sesame"
	r := newRegistry(w.t, make([]byte, 1<<20))
	r.login = "me:" + password
	as := func(login string) string {
		return fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, r.at(), base64.StdEncoding.EncodeToString([]byte(login)))
	}
	images := []string{"--etcd-image", r.image("good"), "--kube-scheduler-image", "127.0.0.1:1/x:1"}
	for _, tt := range []struct {
		config string
		words  []string
	}{
		{`{}`, []string{"image of etcd", "registry " + r.at() + " asks who you are: log in to it with docker login " + r.at()}},
		{as("me:wrong-sesame"), []string{"image of etcd", "registry " + r.at() + " does not let you by what", "docker login " + r.at()}},
	} {
		w.dockerConfig(tt.config)
		refused(1, tt.config, images, tt.words...)
	}
	w.dockerConfig(as(r.login))
	w.fails(1, []string{"fetch etcd ready", "image of kube-scheduler"}, append([]string{"create", "cluster", "--name", "none"}, images...)...)
	w.gone("none")
	w.untold(password)
	w.dropImage(r.image("good"))
}

// TestImagesOfOthers runs components in images that are not kwokctl's, with all that the user can add to a cluster of
// containers: they know nothing of kwokctl, and are ready when their ports say so.
func TestImagesOfOthers(t *testing.T) { inContainers(t, testImagesOfOthers) }

func testImagesOfOthers(t *testing.T, w *world) {
	layer := otherLayer(t)
	local := w.importImage(layer)
	scheduler := local
	if w.runtime == docker.Docker {
		r := newRegistry(t, layer)
		r.login = "me:open-sesame"
		w.keeper(r.login)
		w.dockerConfig(fmt.Sprintf(`{"credHelpers":{%q:"kept"}}`, r.at()))
		scheduler = r.image("good")
		w.dropImage(scheduler)
	}
	given := filepath.Join(w.home, "given")
	if err := os.Mkdir(given, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(given, "file"), "of the host")
	insecure, own, prometheus := freePort(t), freePort(t), freePort(t)
	config := filepath.Join(w.home, "config.yaml")
	write(t, config, `kind: KwokctlConfiguration
apiVersion: config.kwok.x-k8s.io/v1alpha1
components:
- name: mine
  image: `+local+`
  command: [kwok]
  links: [kube-apiserver]
  args: [--kubeconfig=config/kwok-controller.kubeconfig, --manage-all-nodes=false, --manage-nodes-with-label-selector=none=here, "--server-address=0.0.0.0:8080"]
  ports: [{name: http, port: 8080, hostPort: `+own+`}]
  ready: http://127.0.0.1:8080/readyz
componentsPatches:
- name: kube-scheduler
  extraVolumes: [{name: v, hostPath: given, mountPath: /given, readOnly: true}]
`)
	w.create("others", "-c", config, "--kube-scheduler-image", scheduler, "--etcd-image", local, "--prometheus-image", local, "--prometheus-port", prometheus,
		"--audit", "--kube-apiserver-insecure-port", insecure)
	for name, c := range w.components("others") {
		if c.State != "Ready" || c.Restarts > 0 {
			t.Errorf("%s: %+v\n%s", name, c, w.ok("logs", name, "--name", "others"))
		}
	}
	w.untold("open-sesame")
	w.secured("others", "kube-scheduler")
	w.ok("scale", "node", "--replicas", "1", "--name", "others")
	w.kubectl("others", "create", "deployment", "d", "--image", "i")
	w.kubectl("others", "rollout", "status", "deployment", "d", "--timeout", "60s")
	if _, got := fetch(t, "http://127.0.0.1:"+prometheus+"/targets"); got != "prometheus 200\netcd 200\nkube-apiserver 200\nkube-controller-manager 200\nkube-scheduler 200\nkwok-controller 200\nkwok-controller-metrics-discovery 200\n" {
		t.Errorf("prometheus collects:\n%s", got)
	}
	if code, got := fetch(t, "http://127.0.0.1:"+own+"/healthz"); code != http.StatusOK || got != "ok" {
		t.Errorf("the user's component: %d %q", code, got)
	}
	if code, got := fetch(t, "http://127.0.0.1:"+insecure+"/version"); code != http.StatusOK {
		t.Errorf("insecure port: %d %q", code, got)
	}
	if code, got := fetch(t, "http://127.0.0.1:"+insecure+"/version", "Host", "kube-apiserver-insecure-proxy"); code != http.StatusForbidden {
		t.Errorf("insecure port, by another name: %d %q", code, got)
	}
	w.ok("stop", "component", "kube-scheduler", "--name", "others")
	w.ok("start", "component", "kube-scheduler", "--name", "others")
	w.audited("others")
	w.ok("start", "cluster", "--name", "others")
	if got := w.ok("--name", "others", "etcdctl", "get", "/registry/namespaces/default", "--keys-only"); !strings.Contains(got, "default") {
		t.Errorf("etcdctl: %q", got)
	}
	w.ok("delete", "cluster", "--name", "others")
	w.gone("others")
}

// secured looks at what a container of another image may do, and at the user's file in it.
func (w *world) secured(name, component string) {
	w.t.Helper()
	container := "/containers/kwok-" + name + "-" + component
	var c struct {
		Config     struct{ User string }
		HostConfig struct {
			ReadonlyRootfs bool
			CapDrop        []string
			SecurityOpt    []string
			PortBindings   map[string][]struct{ HostIp string }
			ExtraHosts     []string
		}
	}
	w.engineCall(http.MethodGet, container+"/json", nil, &c)
	if c.Config.User != "65532:65532" || !c.HostConfig.ReadonlyRootfs || len(c.HostConfig.CapDrop) == 0 || !strings.Contains(strings.Join(c.HostConfig.SecurityOpt, ","), "no-new-privileges") {
		w.t.Errorf("%s: %+v", component, c)
	}
	for port, at := range c.HostConfig.PortBindings {
		for _, binding := range at { // podman knows ports that are not published, too
			if binding.HostIp != "127.0.0.1" {
				w.t.Errorf("port %s of %s at %+v", port, component, at)
			}
		}
	}
	if w.runtime == docker.Podman { // whose name server may be gone
		if at := "kube-apiserver:" + w.address(name, "kube-apiserver"); !slices.Contains(c.HostConfig.ExtraHosts, at) {
			w.t.Errorf("%s knows %q, not %s", component, c.HostConfig.ExtraHosts, at)
		}
	}
	var archive bytes.Buffer
	w.engineCall(http.MethodGet, container+"/archive?path=/given/file", nil, &archive)
	files := tar.NewReader(&archive)
	if _, err := files.Next(); err != nil {
		w.t.Fatal(err)
	}
	if text, _ := io.ReadAll(files); string(text) != "of the host" {
		w.t.Errorf("/given/file: %q", text)
	}
}

// audited finds a call in the audit log of a cluster in all ways there are, also after it was stopped, which it is then.
func (w *world) audited(name string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	follower := w.command(ctx, "logs", "audit", "-f", "--name", name)
	out, err := follower.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := follower.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.run("--name", name, "kubectl", "get", "configmap", "last-call")
	for seen, part := "", make([]byte, 64<<10); !strings.Contains(seen, "last-call"); {
		n, err := out.Read(part)
		if err != nil {
			w.t.Fatalf("logs -f ended before the call was in it: %v", err)
		}
		seen = seen[max(0, len(seen)-100):] + string(part[:n])
	}
	if err := follower.Process.Signal(os.Interrupt); err != nil {
		w.t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, out)
	if err := follower.Wait(); err != nil {
		w.t.Errorf("logs -f, interrupted: %v", err)
	}
	if got := w.ok("audit", "summary", "--name", name); !strings.Contains(got, "kwok-admin") {
		w.t.Errorf("summary: %s", got)
	}
	w.ok("stop", "cluster", "--name", name)
	if !strings.Contains(w.ok("logs", "audit", "--name", name), `"name":"last-call"`) {
		w.t.Error("the call is not in the log of the stopped cluster")
	}
}
