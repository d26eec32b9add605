package kubeconfig

import (
	"testing"

	"k8s.io/client-go/tools/clientcmd"
)

func TestEncodeForOtherWaysToTheServer(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change   func(*Entry)
		ca       string
		server   string // tls-server-name
		insecure bool
	}{
		"as it is":        {change: func(*Entry) {}, ca: "ca"},
		"by another name": {change: func(e *Entry) { e.ServerName = "localhost" }, ca: "ca", server: "localhost"},
		// Clients refuse an authority beside insecure-skip-tls-verify.
		"insecure": {change: func(e *Entry) { e.Insecure, e.ServerName = true, "localhost" }, insecure: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := entry("kwok-a")
			tt.change(&e)
			text, err := Encode(e)
			must(t, err)
			cfg, err := clientcmd.Load(text)
			must(t, err)
			must(t, clientcmd.Validate(*cfg))
			got := cfg.Clusters["kwok-a"]
			if string(got.CertificateAuthorityData) != tt.ca || got.TLSServerName != tt.server || got.InsecureSkipTLSVerify != tt.insecure || !got.DisableCompression {
				t.Errorf("%s", text)
			}
		})
	}
}
