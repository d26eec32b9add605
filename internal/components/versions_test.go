package components

import (
	"strings"
	"testing"
)

func TestLocate(t *testing.T) {
	t.Parallel()
	const official = "https://dl.k8s.io/release/v1.30.4/bin/linux/amd64/"
	for _, tt := range []struct {
		name      string
		change    func(*Options)
		goos      string
		apiserver string
		scheduler string
		etcd      string
		wrong     string
	}{
		{name: "nothing asked", change: func(*Options) {}},
		{name: "the embedded one", change: func(o *Options) { o.KubeVersion, o.EtcdVersion = "v1.36.9", "3.6.1-0" }},
		{name: "the embedded minor", change: func(o *Options) { o.KubeVersion = "1.36" }},
		{name: "another", change: func(o *Options) { o.KubeVersion = "1.30.4" }, apiserver: official + "kube-apiserver", scheduler: official + "kube-scheduler"},
		{name: "with v", change: func(o *Options) { o.KubeVersion = "v1.30.4" }, apiserver: official + "kube-apiserver", scheduler: official + "kube-scheduler"},
		{name: "a newer one", change: func(o *Options) { o.KubeVersion, o.Disable = "1.37.0-rc.1", []string{"kube-scheduler"} },
			apiserver: "https://dl.k8s.io/release/v1.37.0-rc.1/bin/linux/amd64/kube-apiserver"},
		{name: "a mirror", change: func(o *Options) { o.KubeVersion, o.KubeBinaryPrefix = "1.30.4", "https://mirror/k8s/" },
			apiserver: "https://mirror/k8s/kube-apiserver", scheduler: "https://mirror/k8s/kube-scheduler"},
		{name: "own programs stay", change: func(o *Options) { o.KubeVersion, o.KubeSchedulerBinary = "1.30.4", "/mine" }, apiserver: official + "kube-apiserver", scheduler: "/mine"},
		{name: "on darwin", goos: "darwin", change: func(o *Options) { o.KubeVersion = "1.30.4" },
			apiserver: "https://github.com/kwok-ci/k8s/releases/download/v1.30.4-kwok.0-darwin-amd64/kube-apiserver",
			scheduler: "https://github.com/kwok-ci/k8s/releases/download/v1.30.4-kwok.0-darwin-amd64/kube-scheduler"},
		{name: "etcd", change: func(o *Options) { o.EtcdVersion = "3.5.21-0" },
			etcd: "https://github.com/etcd-io/etcd/releases/download/v3.5.21/etcd-v3.5.21-linux-amd64.tar.gz#etcd"},
		{name: "etcd of a mirror", change: func(o *Options) { o.EtcdVersion, o.EtcdBinaryPrefix = "3.5.21", "https://mirror/e" },
			etcd: "https://mirror/e/etcd-v3.5.21-linux-amd64.tar.gz#etcd"},
		{name: "no patch", change: func(o *Options) { o.KubeVersion = "1.30" }, wrong: "all three numbers"},
		{name: "too old", change: func(o *Options) { o.KubeVersion = "1.10.2" }, wrong: "the oldest that can be run is 1.22"},
		{name: "no version", change: func(o *Options) { o.KubeVersion = "latest" }, wrong: `kubeVersion "latest": want a version`},
		{name: "one number", change: func(o *Options) { o.KubeVersion = "1" }, wrong: "want a version"},
		{name: "negative", change: func(o *Options) { o.KubeVersion = "1.-5.0" }, wrong: "want a version"},
		{name: "two", change: func(o *Options) { o.KubeVersion = "2.0.0" }, wrong: "begins with 1"},
		{name: "etcd four", change: func(o *Options) { o.EtcdVersion = "4.0.0" }, wrong: "begins with 3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := Options{}
			tt.change(&o)
			if tt.goos == "" {
				tt.goos = "linux"
			}
			err := Locate(&o, tt.goos, "amd64")
			if tt.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wrong) {
					t.Errorf("%v, want %q", err, tt.wrong)
				}
				return
			}
			if err != nil || o.KubeApiserverBinary != tt.apiserver || o.KubeSchedulerBinary != tt.scheduler || o.EtcdBinary != tt.etcd || o.KwokControllerBinary != "" {
				t.Errorf("%v: %q, %q, %q", err, o.KubeApiserverBinary, o.KubeSchedulerBinary, o.EtcdBinary)
			}
		})
	}
}

func TestOptionalAddress(t *testing.T) {
	t.Parallel()
	o := Options{JaegerVersion: "v1.70.0", MetricsServerBinaryPrefix: "https://mirror/100%/"}
	for name, want := range map[string]string{
		"prometheus":      "https://github.com/prometheus/prometheus/releases/download/v3.12.0/prometheus-3.12.0.linux-arm64.tar.gz#prometheus",
		"jaeger":          "https://github.com/jaegertracing/jaeger/releases/download/v1.70.0/jaeger-1.70.0-linux-arm64.tar.gz#jaeger-all-in-one",
		"metrics-server":  "https://mirror/100%/metrics-server-linux-arm64",
		"kwok-controller": "",
	} {
		if got := optionalAddress(&o, name, "linux", "arm64"); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
