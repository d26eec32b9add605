package pki

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"testing"
	"time"
)

// TestMakeWebhook holds what the rotator of Kubernetes' own projects asks of the Secret that it finds, in 120 days and
// with 90 more before it would replace anything.
func TestMakeWebhook(t *testing.T) {
	now := time.Now()
	files, err := MakeWebhook("kueue-ca", []string{"s.ns.svc", "kueue"}, now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := parseCert(files["ca.crt"])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	for _, tt := range []struct{ cert, key, host string }{
		{"ca.crt", "ca.key", "kueue-ca"}, {"tls.crt", "tls.key", "s.ns.svc"}, {"tls.crt", "tls.key", "kueue"}, {"tls.crt", "tls.key", "localhost"},
	} {
		if _, err := tls.X509KeyPair(files[tt.cert], files[tt.key]); err != nil {
			t.Errorf("%s: %v", tt.cert, err)
		}
		c, err := parseCert(files[tt.cert])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Verify(x509.VerifyOptions{DNSName: tt.host, Roots: roots, CurrentTime: now.Add(9 * leafLife)}); err != nil {
			t.Errorf("%s for %s: %v", tt.cert, tt.host, err)
		}
		if Expiring(files[tt.cert], now, 210*24*time.Hour) {
			t.Errorf("%s ends too early", tt.cert)
		}
	}
	block, _ := pem.Decode(files["ca.key"])
	if _, err := x509.ParsePKCS1PrivateKey(block.Bytes); err != nil {
		t.Errorf("ca.key: %v", err)
	}
}
