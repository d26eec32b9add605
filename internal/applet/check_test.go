package applet

import (
	"strings"
	"testing"
)

// TestCheckArgs holds what the programs themselves would say against their arguments.
func TestCheckArgs(t *testing.T) {
	for _, tt := range []struct {
		program string
		args    []string
		want    string
	}{
		{"kube-apiserver", []string{"--v=2"}, ""}, // no authorization mode allows all
		{"kube-apiserver", []string{"--admission-control=AlwaysAdmit"}, ""},
		{"kube-apiserver", []string{"--authorization-mode=RBAC,Maybe"}, "Maybe"},
		{"kube-apiserver", []string{"--enable-admission-plugins=Nothing"}, "Nothing"},
		{"kube-apiserver", []string{"--no-such-flag"}, "no-such-flag"},
		{"kube-controller-manager", []string{"--controllers=*,-ttl"}, ""},
		{"kube-controller-manager", []string{"--controllers=deploymentt"}, "deploymentt"},
		{"kube-scheduler", []string{"--v=two"}, "two"},
		{"etcd", []string{"--heartbeat-interval=50"}, ""},
		{"etcd", []string{"--heartbeat-interval=x"}, "heartbeat-interval"},
	} {
		err := CheckArgs(tt.program, tt.args)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s %v: %v, want %q", tt.program, tt.args, err, tt.want)
		}
	}
}
